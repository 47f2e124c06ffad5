"""The API as a Django app."""

from django.apps import AppConfig


class ApiConfig(AppConfig):
    name = "ostoja.api"
    label = "api"

    def ready(self):
        """An export holds what a list of the API shows."""
        from ostoja.exchange.selecting import use_selection

        from .selection import exported

        use_selection(exported)
