"""The journal's schedule: number new changes of tenants that wrote something, and anchor the heads."""

from __future__ import annotations

from django.db import connections

from ostoja.jobs.schedule import every
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.fleet import over_tenants
from ostoja.tenancy.models import Tenant

from .chain import anchor


@every(seconds=60)
def anchor_all() -> int:
    """Number and anchor every tenant that has unnumbered changes; returns how many had."""
    with platform_context():
        waiting = {
            s
            for s, _one in over_tenants(
                connections["owner"], "SELECT 1 FROM {schema}.journal_change WHERE seq IS NULL LIMIT 1"
            )
        }
        tenants = list(Tenant.objects.filter(schema_name__in=waiting, state="open"))
    for tenant in tenants:
        anchor(tenant)
    return len(tenants)
