"""The tables that all tenants share, in the schema ``public``, and their migrations, which are recorded in ``platform_migration``.

Tenants' migrations are recorded in ``django_migrations`` of each schema. No table name exists in both: a tenant's
search path ends with ``public``, and a table that is missing in its schema must not be answered from there.
"""

from __future__ import annotations

from django.apps.registry import Apps
from django.conf import settings
from django.db import models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from django.utils.timezone import now

from . import grants, release
from .context import platform_context

TABLE = "platform_migration"


class PlatformMigration(models.Model):
    """A migration of the shared tables that was applied."""

    app = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    applied = models.DateTimeField(default=now)

    class Meta:
        apps = Apps()
        app_label = "platform"
        db_table = TABLE


class PlatformRecorder(MigrationRecorder):
    """Records migrations in the platform's own table."""

    Migration = PlatformMigration


class PlatformLoader(MigrationLoader):
    """Knows from the platform's own table what was applied, whatever the library read."""

    @property
    def applied_migrations(self):
        """(app, name) -> row of every applied migration."""
        return self._applied

    @applied_migrations.setter
    def applied_migrations(self, _read_by_the_library):
        self._applied = PlatformRecorder(self.connection).applied_migrations()


class PlatformExecutor(MigrationExecutor):
    """Migrates the shared tables."""

    def __init__(self, connection, progress_callback=None):
        super().__init__(connection, progress_callback)
        self.loader = PlatformLoader(connection)
        self.recorder = PlatformRecorder(connection)


def pending(connection) -> list[tuple[str, str]]:
    """Migrations of the shared tables that were not applied yet, by their names alone."""
    with platform_context(), connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [f"public.{TABLE}"])
        applied: set[tuple[str, str]] = set()
        if cursor.fetchone()[0]:
            cursor.execute(f"SELECT app, name FROM public.{TABLE}")
            applied = set(cursor.fetchall())
    return [one for one in release.migrations(public=True) if one not in applied]


def migrate(connection) -> list[tuple[str, str]]:
    """Apply what is pending, as the owner, and grant the application its rows. Answers what was applied."""
    todo = pending(connection)
    if not todo:
        return []
    with platform_context(), transaction.atomic(using=connection.alias):
        executor = PlatformExecutor(connection)
        shared = set(release.labels(public=True))
        executor.migrate([key for key in executor.loader.graph.leaf_nodes() if key[0] in shared])
        with connection.cursor() as cursor:
            for statement in grants.public_sql(settings.DATABASES["default"]["USER"], connection.settings_dict["USER"]):
                cursor.execute(statement)
    return todo
