"""Parties: people and organisations, entered once and used by every module."""
