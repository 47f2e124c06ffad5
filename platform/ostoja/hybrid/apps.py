"""Hybrid as a Django app."""

from django.apps import AppConfig


class HybridConfig(AppConfig):
    name = "ostoja.hybrid"
    label = "hybrid"

    def ready(self):
        """What hybrid adds to pages, to the API and to every release is declared."""
        from ostoja.refusals import spoken
        from ostoja.tenancy.finishing import after_migrations, in_every_tenant

        from . import reaching, sealing, upgrading, words  # noqa: F401

        spoken("hybrid_owned", "hybrid_closed")
        after_migrations(upgrading.mark)
        in_every_tenant(upgrading.bring_along)
        from .pages import conflicts, links, navigation, records  # noqa: F401
