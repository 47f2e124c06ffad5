"""Tenants for tests: committed and fresh; a used schema is wiped down to its template and lent again, which takes milliseconds."""

from __future__ import annotations

import itertools
from contextlib import contextmanager

from django.conf import settings
from django.core.cache import cache
from django.db import connections, transaction
from psycopg2 import extensions

from ostoja.tenancy import hosts, pool, template
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import Domain, Template, Tenant

from .installation import TestInstallation

SHAPE = """
SELECT (SELECT count(*) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid WHERE c.relnamespace = n.oid AND a.attnum > 0),
       (SELECT count(*) FROM pg_constraint WHERE connamespace = n.oid),
       (SELECT count(*) FROM pg_proc WHERE pronamespace = n.oid),
       (SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = n.oid)
FROM pg_namespace n WHERE nspname = %s
"""
WIPE = """
DO $wipe$
DECLARE
  one text; filled boolean;
BEGIN
  SET LOCAL session_replication_role = replica;
  SET LOCAL lock_timeout = '5s';
  FOR one IN SELECT format('%%I.%%I', schemaname, tablename) FROM pg_tables WHERE schemaname = '{schema}' AND NOT tablename = ANY('{kept}') LOOP
    EXECUTE 'SELECT EXISTS (SELECT FROM ' || one || ')' INTO filled;
    IF filled THEN EXECUTE 'DELETE FROM ' || one; END IF;
  END LOOP;
  FOR one IN SELECT format('%%I.%%I', schemaname, sequencename) FROM pg_sequences
    WHERE schemaname = '{schema}' AND last_value IS NOT NULL AND NOT sequencename = ANY('{kept}') LOOP
    EXECUTE 'ALTER SEQUENCE ' || one || ' RESTART';
  END LOOP;
END $wipe$
"""
MADE = """
SELECT (SELECT array_agg(oid::regprocedure::text) FROM pg_proc WHERE pronamespace = n.oid),
       (SELECT array_agg(oid::regclass::text) FROM pg_class WHERE relnamespace = n.oid AND relkind = 'v'),
       (SELECT array_agg(rolname) FROM pg_roles WHERE rolname ~ ('^[a-z]_' || n.nspname || '$'))
FROM pg_namespace n WHERE nspname = %s
"""
KEPT_IN_PUBLIC = "platform_migration,platform_migration_id_seq,tenancy_template,tenancy_readyschema"
KEPT_IN_TENANT = "django_migrations,django_migrations_id_seq"


class Lender:
    """Lends tenants and takes them back."""

    def __init__(self, installation: TestInstallation):
        self.installation = installation
        self.free: list[str] = []
        self.kept: set[str] = set()
        self._numbers = itertools.count(1)
        self._superuser = installation.superuser()
        self._shape: tuple | None = None
        self._made: list[set[str]] = []
        self._template = template.current()

    def lend(self, **fields) -> Tenant:
        """A fresh, open tenant with a host name; nothing is in it but what the migrations put there."""
        number = next(self._numbers)
        slug = fields.pop("slug", f"tenant-{number}")
        with platform_context(), transaction.atomic():
            schema = self.free.pop() if self.free else pool.claim()
            release = self._template.release
            values = {"name": f"Tenant {number}", "state": Tenant.State.OPEN, "release": release} | fields
            tenant = Tenant.objects.create(schema_name=schema, slug=slug, **values)
            Domain.objects.create(tenant=tenant, domain=f"{slug}.{settings.BASE_DOMAIN}", is_primary=True)
        if self._shape is None:
            self._shape, self._made = self._shape_of(schema), self._made_in(schema)
        return tenant

    @contextmanager
    def kept_tenant(self, **fields):
        """A tenant that outlives the tests of the block, for fixtures of a wider scope."""
        tenant = self.lend(**fields)
        self.kept.add(tenant.schema_name)
        try:
            yield tenant
        finally:
            self.kept.discard(tenant.schema_name)
            self.take_back(only={tenant.schema_name})

    def take_back(self, only: set[str] | None = None) -> None:
        """Wipe every tenant that exists, however it was made, and the shared tables; kept tenants stay."""
        _leave_transactions()
        hosts.forget()
        forget_cache()
        with platform_context():
            if not Template.objects.using("owner").filter(release=self._template.release).exists():
                self._template.save(using="owner", force_insert=True)
        with self._superuser.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM tenancy_tenant")
            tenants = {row[0] for row in cursor.fetchall()}
            for schema in tenants - self.kept if only is None else tenants & only:
                self._take_back(cursor, schema)
            if not self.kept:
                cursor.execute(WIPE.format(schema="public", kept="{" + KEPT_IN_PUBLIC + "}").replace("%%", "%"))
            else:
                gone = [schema for schema in tenants if schema not in self.kept]
                with platform_context():
                    Tenant.objects.using("owner").filter(schema_name__in=gone).delete()

    def _take_back(self, cursor, schema: str) -> None:
        shape = self._shape_of(schema)
        if shape is None:
            return
        if self._shape is not None and shape != self._shape:
            self._undo(cursor, schema)
            shape = self._shape_of(schema)
        if self._shape is None or shape != self._shape:
            pool.drop(schema)
            return
        cursor.execute(WIPE.format(schema=schema, kept="{" + KEPT_IN_TENANT + "}").replace("%%", "%"))
        for statement in self._seeds(schema):
            cursor.execute(statement)
        self.free.append(schema)

    def _shape_of(self, schema: str) -> tuple | None:
        """How many columns, constraints, functions and triggers a schema has: a test that changed them spoiled it."""
        with self._superuser.cursor() as cursor:
            cursor.execute(SHAPE, [schema])
            shape = cursor.fetchone()
            if shape is None:
                return None
            cursor.execute(f'SELECT count(*) FROM "{schema}".django_migrations')
            return *shape, cursor.fetchone()[0]

    def _made_in(self, schema: str) -> list[set[str]]:
        """The functions, the views and the roles of a schema, without its name."""
        with self._superuser.cursor() as cursor:
            cursor.execute(MADE, [schema])
            return [
                {one.replace(f"{schema}.", "").replace(schema, "") for one in some or ()} for some in cursor.fetchone()
            ]

    def _undo(self, cursor, schema: str) -> None:
        """Drop the functions, with their triggers, the views and the roles that were made besides: hybrid no more."""
        functions, views, roles = (now - before for now, before in zip(self._made_in(schema), self._made, strict=True))
        if views:
            cursor.execute("DROP VIEW " + ", ".join(f"{schema}.{one}" for one in sorted(views)))
        if functions:
            cursor.execute("DROP FUNCTION " + ", ".join(f"{schema}.{one}" for one in sorted(functions)) + " CASCADE")
        for role in sorted(roles):
            cursor.execute(f'DROP OWNED BY "{role}{schema}"; DROP ROLE "{role}{schema}"')

    def _seeds(self, schema: str) -> list[str]:
        """The statements of the template that fill rows."""
        starts = (f"INSERT INTO {template.PLACEHOLDER}.", f"SELECT pg_catalog.setval('{template.PLACEHOLDER}.")
        return [
            s.replace(template.PLACEHOLDER, schema)
            for s in self._template.script.split(";\n")
            if s.startswith(starts) and ".django_migrations" not in s
        ]


def forget_cache() -> None:
    """Delete what this process kept in the cache, for tenants and for the platform."""
    redis = cache._cache.get_client(write=True)
    keys = list(redis.scan_iter(match=f"*:{cache.key_prefix}:*", count=10_000))
    if keys:
        redis.delete(*keys)


def _leave_transactions() -> None:
    """A test that failed in the middle of a transaction leaves none behind."""
    for connection in connections.all(initialized_only=True):
        raw = connection.connection
        if raw is None:
            continue
        if (
            connection.in_atomic_block
            or raw.closed
            or raw.get_transaction_status() != extensions.TRANSACTION_STATUS_IDLE
        ):
            connection.in_atomic_block = False
            connection.savepoint_ids = []
            connection.needs_rollback = False
            connection.close()
