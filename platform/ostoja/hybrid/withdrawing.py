"""The cloud gives up what it may not hold any longer: once the premises have everything, closed values leave tables and history."""

from __future__ import annotations

from django.db import connections, transaction

from ostoja.jobs.queue import queue
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import current_tenant, schema_context

from .core.terms import OPEN
from .install import closed_columns, install
from .models import Link, Progress
from .sites import Here, here
from .tables import Table

KIND = "hybrid.withdraw"


def begin(link: Link) -> None:
    """The premises have everything: queue the work, once."""
    with transaction.atomic():
        if Progress.objects.filter(link=link, loaded=False).update(loaded=True):
            queue(Actor.system("Hybrid"), KIND, "Values that stay on the premises leave the cloud")


def withdraw() -> int:
    """Take closed values, and rows that can't be without them, out of the open tenant's tables and history.

    Answers how many tables were cleared. May be repeated. Files of records, and rows that they hang on, stay until files
    travel as well.
    """
    site = here()
    tenant = current_tenant()
    install(tenant, site.tables, site.number, in_cloud=True, closed=True)
    cleared = ["journal_change"]
    with schema_context(tenant.schema_name), transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT set_config('ostoja.actor', 'site:', true), set_config('ostoja.verb', 'purge', true)")
        for table in reversed(list(site.tables)):
            if not table.holdable(1) or not closed_columns(table):
                continue
            cursor.execute(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER')
            if table.holdable(OPEN):
                _empty_columns(cursor, table)
            else:
                _empty_table(cursor, site, table)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER')
            cleared.append(table.name)
        cursor.execute("SELECT min(seq) FROM journal_change WHERE old IS NOT NULL")
        first = cursor.fetchone()[0]
        for table in site.tables:
            columns = list(closed_columns(table))
            if table.holdable(1) and columns:
                kept = "old - %s::text[]" if table.holdable(OPEN) else "NULL"
                cursor.execute(
                    f"UPDATE journal_change SET old = {kept} WHERE model = %s AND old IS NOT NULL",
                    [columns, table.label] if table.holdable(OPEN) else [table.label],
                )
        if first is not None:
            cursor.execute("SELECT journal_chain_anew(%s)", [first])
    with schema_context(tenant.schema_name), connections["owner"].cursor() as cursor:
        for name in cleared:  # so that nothing is left in the files either
            cursor.execute(f'VACUUM (FULL) "{name}"')
    return len(cleared) - 1


def _empty_columns(cursor, table: Table) -> None:
    columns = closed_columns(table)
    sets = ", ".join(f'"{c}" = {value}' for c, value in columns.items())
    differs = " OR ".join(f'"{c}" IS DISTINCT FROM {value}' for c, value in columns.items())
    cursor.execute(f'UPDATE "{table.name}" SET {sets} WHERE {differs}')


def _empty_table(cursor, site: Here, table: Table) -> None:
    """Remove the rows that nothing which stays here hangs on."""
    stays = [f'SELECT "{c.column}" FROM "{t.name}"' for t, c in site.tables.referring(table.label) if not t.holdable(1)]
    for name, column in site.tables.local_parts(table.label):
        cursor.execute(f'DELETE FROM "{name}" WHERE "{column}" IN (SELECT id FROM "{table.name}")')
    where = " AND ".join(f"t.id NOT IN ({one})" for one in stays) or "true"
    cursor.execute(f'SELECT t.id::text FROM "{table.name}" t WHERE {where}')
    keys = [row[0] for row in cursor.fetchall()]
    for referring, column in site.tables.referring(table.label):
        if column.null:
            cursor.execute(
                f'UPDATE "{referring.name}" SET "{column.column}" = NULL WHERE "{column.column}" = ANY(%s::uuid[])',
                [keys],
            )
    cursor.execute(f'DELETE FROM "{table.name}" WHERE id = ANY(%s::uuid[])', [keys])
    cursor.execute("UPDATE hybrid_clock SET withheld = true, stamps = '{}' WHERE id = ANY(%s::uuid[])", [keys])
