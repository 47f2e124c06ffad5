"""The installation's own schedule: sends lost jobs again, keeps schemas ready, ends quarantines."""

from __future__ import annotations

from datetime import timedelta

from django.db import connections
from django.utils import timezone

from ostoja.tenancy import pool, provisioning
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.fleet import over_tenants

from .queue import ELSEWHERE, send
from .schedule import every


@every(seconds=5)
def sweep() -> int:
    """Send every due job again; a job that runs is protected by its lock. Returns how many were sent."""
    sql = "SELECT id::text FROM {schema}.jobs_job WHERE state IN ('queued', 'running') AND run_after <= %s AND kind <> ALL(%s)"
    late = timezone.now() - timedelta(seconds=3)
    with platform_context():
        found = list(over_tenants(connections["owner"], sql, [late, list(ELSEWHERE)]))
    for schema, job_id in found:
        send(schema, job_id)
    return len(found)


@every(seconds=5)
def fill_pool() -> int:
    """Make ready schemas for the next sign-ups; returns how many."""
    return pool.refill()


@every(seconds=3600)
def end_quarantines() -> int:
    """Destroy tenants that were deleted 30 days ago; returns how many."""
    return provisioning.purge_due()
