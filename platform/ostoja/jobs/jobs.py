"""The sweep: finds jobs whose message was lost or whose worker died, in all tenants, and sends them again."""

from __future__ import annotations

from datetime import timedelta

from django.db import connections
from django.utils import timezone

from ostoja.tenancy.context import platform_context
from ostoja.tenancy.fleet import over_tenants

from .queue import send
from .schedule import every


@every(seconds=5)
def sweep() -> int:
    """Send every due job again; a job that runs is protected by its lock. Returns how many were sent."""
    sql = "SELECT id::text FROM {schema}.jobs_job WHERE state IN ('queued', 'running') AND run_after <= %s"
    with platform_context():
        found = list(over_tenants(connections["owner"], sql, [timezone.now() - timedelta(seconds=3)]))
    for schema, job_id in found:
        send(schema, job_id)
    return len(found)
