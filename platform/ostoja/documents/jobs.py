"""Once a day the bytes of deleted files are thrown away."""

from __future__ import annotations

from ostoja.jobs.schedule import every
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import Tenant

from .files import clean


@every(seconds=24 * 3600)
def clean_all() -> int:
    """Clean the files of every open tenant; returns how many were thrown away."""
    with platform_context():
        tenants = list(Tenant.objects.filter(state=Tenant.State.OPEN))
    thrown = 0
    for tenant in tenants:
        with tenant_context(tenant):
            thrown += clean()
    return thrown
