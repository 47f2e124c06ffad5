"""Onboarding: how a company comes in: sign-up, its blueprint, its first user, its one-time link; and the demo."""
