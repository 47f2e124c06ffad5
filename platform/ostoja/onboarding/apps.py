"""Onboarding as a Django app; what it keeps of a sign-up is in the tables that all tenants share."""

from django.apps import AppConfig


class OnboardingConfig(AppConfig):
    name = "ostoja.onboarding"
    label = "onboarding"
    lives_in_public = True
