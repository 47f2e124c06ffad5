"""A site gives up what it may not hold: what the premises decided is taken over, closed values leave tables and history."""

from __future__ import annotations

from functools import lru_cache

from django.db import connection, connections, transaction
from django.utils.translation import gettext_noop as _

from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.data import DataClass
from ostoja.tenancy.context import current_tenant, schema_context

from . import copies, files
from .core.terms import OPEN, Authority, Manifest
from .install import closed_columns, install
from .manifest import Policy, compile_manifest
from .models import Link, Site
from .sites import Here, here
from .tables import Table, tables_of

KIND = "hybrid.withdraw"


@lru_cache(maxsize=16)
def wanted(theirs: bytes) -> bytes:
    """The manifest at which this site is to stand when the premises stand at theirs: never more open than our code allows."""
    widest = compile_manifest(Policy(classes={DataClass.CONFIDENTIAL: OPEN}))
    return widest.intersect(Manifest.from_canonical(theirs)).canonical


def begin(exchange) -> None:
    """The premises have everything and stand at another manifest than this site: queue the work, once."""
    progress = exchange.progress
    theirs = bytes(progress.peer_manifest)
    if Authority.PREMISES not in exchange.here.leads_to(exchange.link) or not progress.told or not theirs:
        return
    adopted = Site.objects.values_list("adopted", flat=True).get(here=True)
    if adopted.encode() == wanted(theirs):
        return
    busy = Job.objects.filter(kind=KIND, state__in=(Job.State.QUEUED, Job.State.RUNNING))
    if not busy.exists():
        with transaction.atomic():
            queue(Actor.system("Hybrid"), KIND, _("What stays on the premises leaves the cloud"))


def withdraw() -> int:
    """Stand at the manifest of the premises: closed values, and rows that can't be without them, leave tables and history.

    Answers how many tables were cleared; 0 also while changes of what closes are still on their way to the premises. The
    manifest is taken over when all that is done: what is cut short is done again as a whole.
    """
    site = here()
    links = Link.objects.filter(state=Link.State.OPEN).select_related("site", "progress")
    link = next((one for one in links if Authority.PREMISES in site.leads_to(one)), None)
    if link is None or not bytes(link.progress.peer_manifest):
        return 0
    canonical = wanted(bytes(link.progress.peer_manifest))
    tables = tables_of(canonical)
    if _on_its_way(site, link, tables.manifest):
        return 0
    tenant = current_tenant()
    with changing(Actor.system("Hybrid"), "withdraw"):
        files.withdraw(tables)
        Site.objects.filter(here=True).update(withdrawn=True)
    install(tenant, tables, site.number, in_cloud=site.in_cloud, owner=False, closed=True)
    cleared = ["journal_change"]
    with schema_context(tenant.schema_name), transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        cursor.execute("SELECT set_config('ostoja.actor', 'site:', true), set_config('ostoja.verb', 'purge', true)")
        gone = [t for t in site.tables if tables.get(t.label) is None]
        for table in [*reversed(list(tables)), *reversed(gone)]:
            closed = closed_columns(table, site.ceiling) if tables.get(table.label) is table else {"": ""}
            if not table.holdable(1) or not closed:
                continue
            cursor.execute(f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER')
            if table in gone or not table.holdable(site.ceiling):
                _empty_table(cursor, site, table)
            else:
                _empty_columns(cursor, table, closed)
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
            cursor.execute(f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER')
            cleared.append(table.name)
        cursor.execute("SELECT min(seq) FROM journal_change WHERE old IS NOT NULL")
        first = cursor.fetchone()[0]
        for table in [*tables, *gone]:
            if table in gone or (table.holdable(1) and not table.holdable(site.ceiling)):
                cursor.execute(
                    "UPDATE journal_change SET old = NULL WHERE model = %s AND old IS NOT NULL", [table.label]
                )
            elif columns := list(closed_columns(table, site.ceiling)):
                cursor.execute(
                    "UPDATE journal_change SET old = old - %s::text[] WHERE model = %s AND old IS NOT NULL",
                    [columns, table.label],
                )
            _empty_conflicts(cursor, table, list(table.open(site.ceiling)) if tables.get(table.label) is table else [])
        if first is not None:
            cursor.execute("SELECT journal_chain_anew(%s)", [first])
    with changing(Actor.system("Hybrid"), "withdraw"):
        copies.forget_all(Actor.system("Hybrid"), [t.label for t in [*tables, *gone]])
    copies.compact(cleared)
    with changing(Actor.system("Hybrid"), "withdraw"):
        Site.objects.filter(here=True).update(adopted=canonical.decode())
    return len(cleared) - 1


def _on_its_way(site: Here, link: Link, to: Manifest) -> bool:
    """Whether the premises have not got every change of what is about to close."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT model, op, fields FROM journal_change WHERE (seq IS NULL OR seq > %s) AND op <> 'R' AND actor NOT LIKE 'site:%%'",
            [link.progress.acked],
        )
        for model, op, columns in cursor.fetchall():
            table = site.tables.get(model)
            if table is None:
                continue
            closing = set(table.columns) - to.open(model, site.ceiling)
            if closing and (op != "U" or closing & {table.by_column.get(c, "") for c in columns}):
                return True
    return False


def _empty_conflicts(cursor, table: Table, names: list[str]) -> None:
    cursor.execute(
        "DELETE FROM hybrid_conflict WHERE about = %s AND field <> '' AND NOT field = ANY(%s)", [table.label, names]
    )
    for side in ("ours", "theirs"):  # of whole records
        cursor.execute(
            f"UPDATE hybrid_conflict SET {side} = (SELECT jsonb_object_agg(k, v) FROM jsonb_each({side}) AS e(k, v) WHERE k = ANY(%s)) "
            f"WHERE about = %s AND field = '' AND jsonb_typeof({side}) = 'object'",
            [names, table.label],
        )


def _empty_columns(cursor, table: Table, columns: dict[str, str]) -> None:
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
