"""A policy comes into force on the premises: views and triggers follow at once, what opens is told, what closes is called back."""

from __future__ import annotations

from django.db import connection, transaction

from ostoja.tenancy.context import current_tenant

from .core.terms import Manifest
from .install import install
from .sending import send_everything
from .sites import here


def adopt() -> None:
    """Bring this site to the manifest in force, and tell every link what is open or closed by it; may be run again."""
    from .exchange import Exchange, open_links

    site = here()
    install(current_tenant(), site.tables, site.number, in_cloud=site.in_cloud, owner=site.is_owner)
    if not site.is_owner:
        return
    for link in open_links():
        exchange = Exchange(link)
        closed = {t.label for t in exchange.tables if not t.holdable(link.site.ceiling)}
        if exchange.progress.own_epoch:
            with transaction.atomic():
                send_everything(site.tables, only=closed | _shipped_but_gone(exchange))


def _shipped_but_gone(exchange) -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT model FROM hybrid_clock WHERE (ships -> %s ->> 0)::int = 1",
            [str(exchange.link.site.number)],
        )
        return {row[0] for row in cursor.fetchall() if exchange.tables.get(row[0]) is None}


def learned(exchange, before: Manifest) -> None:
    """Another site says at which manifest it stands: what is open by it, and was not before, is told."""
    if not exchange.here.is_owner or not exchange.progress.own_epoch:
        return
    now, ceiling = exchange.tables.manifest, exchange.link.site.ceiling
    opened = {m for m in now.models if now.open(m, ceiling) - before.open(m, ceiling)}
    if opened:
        with transaction.atomic():
            send_everything(exchange.here.tables, only=opened)
