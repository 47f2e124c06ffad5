"""What is done for every hybrid tenant from time to time: parked changes are tried again, old graves are forgotten."""

from __future__ import annotations

import logging

from django.db import connections

from ostoja.jobs.schedule import every
from ostoja.journal.context import changing
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.fleet import over_tenants
from ostoja.tenancy.models import Tenant

from . import burying, receiving
from .exchange import Exchange, open_links
from .sites import actor_of

log = logging.getLogger(__name__)
PARKED_EVERY, GRAVES_EVERY = 30.0, 24 * 3600.0


def hybrid_tenants(condition: str = "TRUE") -> list[Tenant]:
    """The open tenants that live on several sites, and of which the condition (SQL) holds."""
    asked = f"SELECT 1 FROM {{schema}}.hybrid_site s WHERE s.here AND {condition}"
    schemas = [s for s, _one in over_tenants(connections["owner"], asked, states=("open", "catching"))]
    with platform_context():
        return list(Tenant.objects.filter(schema_name__in=schemas))


@every(PARKED_EVERY)
def try_parked_again() -> None:
    """What the database refused may fit by now."""
    for tenant in hybrid_tenants("EXISTS (SELECT FROM {schema}.hybrid_parked)"):
        try:
            with tenant_context(tenant):
                retry_parked()
        except Exception:
            log.exception("Parked changes of %s could not be tried again.", tenant.slug)


def retry_parked() -> int:
    """Try what is parked in the open tenant once more; answers how many changes are still parked."""
    left = 0
    for link in open_links():
        exchange = Exchange(link)
        with changing(actor_of(link), "sync"):
            left += receiving.retry(exchange.here, link, exchange.tables, exchange.progress.acked)
    return left


@every(GRAVES_EVERY)
def forget_graves() -> None:
    """Old graves go."""
    for tenant in hybrid_tenants():
        with tenant_context(tenant):
            burying.collect()
