"""The kernel as a Django app: it registers the checks and loads every module's surfaces."""

from django.apps import AppConfig
from django.utils.module_loading import autodiscover_modules


class KernelConfig(AppConfig):
    name = "ostoja.kernel"
    label = "kernel"

    def ready(self):
        """Load ``surfaces.py`` of every app, then the checks that read them."""
        autodiscover_modules("surfaces")
        from . import checks  # noqa: F401
