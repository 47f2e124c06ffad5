"""The journal as a Django app."""

from django.apps import AppConfig


class JournalConfig(AppConfig):
    name = "ostoja.journal"
    label = "journal"

    def ready(self):
        """Every tenant's schema is finished with the journal's triggers."""
        from ostoja.tenancy.finishing import after_migrations

        from .capture import install_sql

        after_migrations(install_sql)
