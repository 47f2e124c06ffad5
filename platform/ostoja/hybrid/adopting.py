"""A policy comes into force on the premises: views and triggers follow at once, what opens is told, what closes is called back."""

from __future__ import annotations

from django.db import connection, transaction

from ostoja.tenancy.context import current_tenant

from .core.terms import Manifest
from .install import install
from .labels import another_version
from .sending import send_again, send_everything
from .sites import here
from .tables import Table, Tables, tables_of


def adopt() -> None:
    """Bring this site to the manifest in force, and call back what is closed by it; may be run again."""
    from .exchange import Exchange, open_links

    site = here()
    install(current_tenant(), site.tables, site.number, in_cloud=site.in_cloud, owner=site.is_owner)
    if not site.is_owner:
        return
    for link in open_links():
        exchange = Exchange(link)
        if exchange.progress.own_epoch:
            with transaction.atomic():
                for table in _closing(exchange):
                    send_again(table.label, _known_there(table, link))


def _closing(exchange) -> list[Table]:
    """The tables that the other site of a link can hold as it stands now, and may not any more; what refers to others first."""
    theirs, link = bytes(exchange.progress.peer_manifest), exchange.link
    if not theirs:
        return []
    there = [t.label for t in tables_of(theirs) if _holdable(t, link)]
    return [
        t for t in reversed(list(exchange.here.tables))
        if t.label in there and not _holdable(exchange.tables.get(t.label), link)
    ]  # fmt: skip


def _holdable(table: Table | None, link) -> bool:
    return table is not None and table.holdable(link.site.ceiling)


def _known_there(table: Table, link) -> list[str]:
    """The records of which the other site of a link ever had something."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text FROM hybrid_clock WHERE model = %s AND ships ? %s", [table.label, str(link.site.number)]
        )
        return [row[0] for row in cursor.fetchall()]


def learned(exchange, before: Manifest) -> None:
    """Another site says at which manifest it stands: what is open by it, and was not before, is told.

    Of what it could hold before, the records that have something more; of what it could not, all, with their parts.
    """
    if not exchange.here.is_owner or not exchange.progress.own_epoch:
        return
    tables, was, link = exchange.tables, tables_of(before.canonical), exchange.link
    now, ceiling = tables.manifest, link.site.ceiling
    opened = [t for t in tables if now.open(t.label, ceiling) - before.open(t.label, ceiling) and _holdable(t, link)]
    more = [t for t in opened if _holdable(was.get(t.label), link)]
    anew = [t for t in opened if t not in more]
    with transaction.atomic():
        for table in more:
            send_again(table.label, _alive(table))
        for table in _with_parts(anew, exchange.here.tables):
            another_version(_given_up(table, link))
        send_everything(exchange.here.tables, only=[t.label for t in anew])


def _with_parts(some: list[Table], tables: Tables) -> list[Table]:
    return [below for table in some for below in (table, *_with_parts(tables.parts_of(table.label), tables))]


def _alive(table: Table) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id::text FROM hybrid_clock WHERE model = %s AND cl %% 2 = 1", [table.label])
        return [row[0] for row in cursor.fetchall()]


def _given_up(table: Table, link) -> list[str]:
    """The records that the other site of a link gave up with their table, or may have: it takes them under a later label alone."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT id::text FROM hybrid_clock c WHERE model = %s AND ships ? %s "
            "AND NOT EXISTS (SELECT FROM hybrid_label l WHERE l.id = c.id AND l.level > %s)",
            [table.label, str(link.site.number), link.site.ceiling],
        )
        return [row[0] for row in cursor.fetchall()]
