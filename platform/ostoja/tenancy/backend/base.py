"""A database connection that is always at the open tenant, or raises: role and search_path in one statement, read back."""

from __future__ import annotations

import re

from django.db.backends.postgresql.operations import DatabaseOperations
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django_tenants.postgresql_backend import base as django_tenants_base
from psycopg2 import extensions

from ostoja.kernel.errors import NoTenant
from ostoja.tenancy.context import PLATFORM, opening

SCHEMA_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")

SWITCH = (
    "SELECT set_config('role', %s, false), set_config('search_path', %s, false), "
    "set_config('statement_timeout', %s, false)"
)


class Operations(DatabaseOperations):
    """Foreign keys are checked at once and can be deferred: what Citus and a sync batch both need."""

    def deferrable_sql(self):
        return " DEFERRABLE INITIALLY IMMEDIATE"


class SchemaEditor(DatabaseSchemaEditor):
    """Runs the statements of a migration; while the connection is ``recording``, keeps them too, with their values."""

    def execute(self, sql, params=()):
        super().execute(sql, params)
        if self.connection.recording is not None and not self.collect_sql:
            statement = str(sql)
            if params:
                with self.connection.cursor() as cursor:
                    statement = cursor.mogrify(statement, params).decode()
            self.connection.recording.append(statement)


class DatabaseWrapper(django_tenants_base.DatabaseWrapper):
    """Derives the connection's state from the context variable at every cursor.

    Where the library's own switch swallows an error and answers from the previous tenant, this one closes the
    connection and raises. The ``owner`` alias (provisioning, migrations) keeps its own role and only changes the path.
    """

    ops_class = Operations
    SchemaEditorClass = SchemaEditor

    def __init__(self, *args, **kwargs):
        self._at = None
        self.recording: list[str] | None = None
        super().__init__(*args, **kwargs)
        self._keeps_role = bool(self.settings_dict.get("KEEPS_ROLE"))

    @property
    def schema_name(self):
        """The schema that the context asks for."""
        now = opening()
        return now.schema if now else None

    @schema_name.setter
    def schema_name(self, value):
        """Set by the library; the context variable alone decides."""

    def set_tenant(self, tenant, include_public=True):
        """The library calls this while it is built; the context variable alone decides."""
        self.search_path_set_schemas = None

    def connect(self):
        self._at = None
        super().connect()

    def close(self):
        self._at = None
        super().close()

    def rollback(self):
        self._at = None
        super().rollback()

    def savepoint_rollback(self, sid):
        try:
            super().savepoint_rollback(sid)
        finally:
            self._at = None

    def _handle_search_path(self, cursor=None):
        now = opening()
        if now is None:
            raise NoTenant("No tenant is open: this query would not know whose data to ask.")
        if self._at is now or (self._at and (self._at.schema, self._at.role) == (now.schema, now.role)):
            return
        if self._setting_search_path:
            return
        if self.connection.get_transaction_status() == extensions.TRANSACTION_STATUS_INERROR:
            return  # the server refuses everything but a rollback, which clears the switch
        if not SCHEMA_NAME.fullmatch(now.schema):
            raise NoTenant(f"“{now.schema}” is no name of a schema.")
        role = "none" if self._keeps_role else now.role
        path = PLATFORM if now.schema == PLATFORM else f"{now.schema}, {PLATFORM}"
        self._setting_search_path = True
        try:
            with self.wrap_database_errors, self.connection.cursor() as switch:
                switch.execute(SWITCH, (role, path, str(now.timeout_ms)))
                got = switch.fetchone()
            if (got[0], got[1]) != (role, path):
                raise NoTenant(f"The database is at {got[0]}, {got[1]} instead of {role}, {path}.")
        except BaseException:
            self._at = None
            self._setting_search_path = False
            self._abandon()
            raise
        self._setting_search_path = False
        self._at = now

    def _abandon(self):
        """Drop the physical connection, whatever state it is in."""
        self.needs_rollback = self.in_atomic_block
        self.closed_in_transaction = self.in_atomic_block
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.close()
