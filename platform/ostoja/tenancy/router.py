"""Which tables live where: shared ones in ``public``, everything else in a tenant's schema; contenttypes nowhere."""

from django.apps import apps

from .context import PLATFORM


class Router:
    """Decides migrations by the models' own word (``lives_in_public``) for the schema that is open."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        """True where the app's tables belong into the schema that is open on that connection."""
        from django.db import connections

        if app_label == "contenttypes":
            return False
        shared = getattr(apps.get_app_config(app_label), "lives_in_public", False)
        return shared == (connections[db].schema_name == PLATFORM)
