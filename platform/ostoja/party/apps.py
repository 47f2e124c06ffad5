"""Parties as a Django app."""

from django.apps import AppConfig


class PartyConfig(AppConfig):
    name = "ostoja.party"
    label = "party"
