"""Brings an installation's database to the present release: shared tables, template, tenants, pool; nothing to do is quick."""

from __future__ import annotations

from collections.abc import Callable

from django.db import connections

from . import fleet, locks, platform_schema, pool, template
from .context import platform_context


def prepare(report: Callable[[str], None] = print, *, ready: int | None = None) -> None:
    """Do whatever is missing; may be called any time, by several processes at once.

    ``ready`` is how many schemas should wait in the pool (default: the pool's minimum). Raises OstojaError with advice.
    """
    owner = connections["owner"]
    with platform_context(), locks.held(owner, locks.INSTALL):
        for app, name in platform_schema.migrate(owner):
            report(f"Shared tables: {app}.{name}")
        template.ensure(report)
        fleet.migrate(report)
        pool.refill(ready, report)
