"""Which tables live where: shared ones in ``public``, everything else in a tenant's schema; contenttypes nowhere."""

from django.apps import apps

from .context import PLATFORM, opening


class Router:
    """Decides migrations by the models' own word (``lives_in_public``) for the schema that is open."""

    def allow_migrate(self, db, app_label, model_name=None, **hints):
        """True where the app's tables belong into the schema that is open; without one, nowhere."""
        now = opening()
        if now is None or app_label == "contenttypes":
            return False
        shared = getattr(apps.get_app_config(app_label), "lives_in_public", False)
        return shared == (now.schema == PLATFORM)
