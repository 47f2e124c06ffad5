"""The API's schedule: kept answers are deleted when their time is over."""

from __future__ import annotations

from django.db import connections

from ostoja.jobs.schedule import every
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.fleet import over_tenants
from ostoja.tenancy.models import Tenant

from .idempotency import forget_expired

EXPIRED = "SELECT 1 FROM {schema}.api_answer WHERE expires_at <= now() LIMIT 1"


@every(seconds=600)
def forget_answers() -> int:
    """Delete the expired answers of every tenant; returns how many there were."""
    with platform_context():
        schemas = {schema for schema, _one in over_tenants(connections["owner"], EXPIRED)}
        tenants = list(Tenant.objects.filter(schema_name__in=schemas))
    gone = 0
    for tenant in tenants:
        with tenant_context(tenant):
            gone += forget_expired()
    return gone
