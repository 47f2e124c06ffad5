"""Hybrid as a Django app."""

from django.apps import AppConfig


class HybridConfig(AppConfig):
    name = "ostoja.hybrid"
    label = "hybrid"
