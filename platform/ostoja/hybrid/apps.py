"""Hybrid as a Django app."""

from django.apps import AppConfig


class HybridConfig(AppConfig):
    name = "ostoja.hybrid"
    label = "hybrid"

    def ready(self):
        """What hybrid adds to the pages of the web and to the API is declared."""
        from . import reaching, words  # noqa: F401
        from .pages import conflicts, links, navigation, records  # noqa: F401
