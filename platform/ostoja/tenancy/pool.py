"""The pool: schemas that were made beforehand, with their final names and roles, so that a new tenant waits for none."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import connections, transaction

from . import grants, locks, release, template
from .context import platform_context
from .models import ReadySchema, Template, new_schema_name


def minimum() -> int:
    """How many schemas should wait: what the settings say, else 5 in a public installation and 3 in others."""
    wanted = getattr(settings, "READY_SCHEMAS", None)
    if wanted is None:
        wanted = 5 if settings.INSTALLATION.kind == "public" else 3
    return wanted


def claim() -> str:
    """Take a ready schema of this release out of the pool and answer its name; made on the spot when none waits.

    Call it in the transaction that makes the tenant: when that rolls back, the schema is in the pool again.
    """
    connection = connections["default"]
    with platform_context():
        mark = release.fingerprint(template.postgres_major(connection))
        return _take(connection, mark) or _make_and_take(connection, mark)


def _take(connection, mark: str) -> str | None:
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM tenancy_readyschema WHERE schema_name = (SELECT schema_name FROM tenancy_readyschema "
            "WHERE release = %s ORDER BY created_at LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING schema_name",
            [mark],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _make_and_take(connection, mark: str) -> str:
    with locks.held(connections["owner"], locks.INSTALL):
        made = template.ensure(report=lambda _line: None)
    while True:
        add(made)
        if taken := _take(connection, mark):
            return taken


def add(made: Template) -> str:
    """Make one more schema, with its role, of a template. Answers its name."""
    owner = connections["owner"]
    schema = new_schema_name()
    with platform_context(), transaction.atomic(using="owner"), owner.cursor() as cursor:
        create(cursor, made, schema)
        ReadySchema.objects.using("owner").create(schema_name=schema, release=made.release)
    return schema


def create(cursor, made: Template, schema: str) -> None:
    """Create a schema and its role of a template, in the caller's transaction as the owner.

    A schema or role that is there already is an error: nothing is ever adopted.
    """
    major = template.postgres_major(cursor.db)
    app = settings.DATABASES["default"]["USER"]
    cursor.execute("SET LOCAL check_function_bodies = off")
    cursor.execute("SET LOCAL synchronous_commit = off")  # whoever claims the schema commits later, and durably
    for statement in grants.role_sql(schema, app, major):
        cursor.execute(statement)
    cursor.execute(template.script_for(made, schema))


def drop(schema: str) -> None:
    """Drop a schema and its roles (``<letter>_<schema>``), as the owner. What is gone already is no error."""
    with platform_context(), transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute(f'DROP SCHEMA IF EXISTS "{schema}" CASCADE')
        cursor.execute("SELECT rolname FROM pg_roles WHERE rolname ~ ('^[a-z]_' || %s || '$')", [schema])
        for (role,) in cursor.fetchall():
            cursor.execute(f'DROP ROLE "{role}"')
        ReadySchema.objects.using("owner").filter(schema_name=schema).delete()


def refill(wanted: int | None = None, report: Callable[[str], None] | None = None) -> int:
    """Make schemas until ``wanted`` (default: the minimum) of this release wait, and drop those of other releases.

    One process at a time; when another is at it, nothing happens. Answers how many were made.
    """
    wanted = minimum() if wanted is None else wanted
    owner = connections["owner"]
    with platform_context():
        mark = release.fingerprint(template.postgres_major(owner))
        waiting = list(ReadySchema.objects.using("owner").values_list("schema_name", "release"))
        missing = wanted - sum(1 for _schema, made_by in waiting if made_by == mark)
        old = [schema for schema, made_by in waiting if made_by != mark]
        if missing <= 0 and not old:
            return 0
        with locks.tried(owner, locks.POOL) as ours:
            if not ours:
                return 0
            made = template.current(owner)
            if made is None:
                return 0
            for schema in old:
                _drop_unclaimed(schema)
            count = 0
            while ReadySchema.objects.using("owner").filter(release=mark).count() < wanted:
                add(made)
                count += 1
                if report:
                    report(f"Ready schemas: {count} of {missing}")
    return count


def _drop_unclaimed(schema: str) -> None:
    """Drop a schema of an old release, unless somebody claims it at this moment."""
    with transaction.atomic(using="owner"):
        row = ReadySchema.objects.using("owner").select_for_update(skip_locked=True).filter(schema_name=schema)
        if row.exists():
            drop(schema)
