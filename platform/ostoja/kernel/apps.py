"""The kernel as a Django app: it registers the checks and loads every module's surfaces."""

from django.apps import AppConfig
from django.contrib.postgres.indexes import OpClass
from django.db.models.expressions import OrderBy
from django.db.models.functions import Collate
from django.db.models.indexes import IndexExpression
from django.utils.module_loading import autodiscover_modules


class KernelConfig(AppConfig):
    name = "ostoja.kernel"
    label = "kernel"

    def ready(self):
        """Load ``surfaces.py`` of every app, then the checks that read them."""
        # What django.contrib.postgres would do, without its queries at every new connection.
        IndexExpression.register_wrappers(OrderBy, OpClass, Collate)
        autodiscover_modules("surfaces")
        from . import checks  # noqa: F401
