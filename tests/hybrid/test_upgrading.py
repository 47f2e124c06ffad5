"""A release that changes what is installed in hybrid tenants reaches those that are linked already."""

from __future__ import annotations

import pytest
from django.db import connection, connections
from test_database import fill
from two_sites import Pair, do, value

from ostoja.party.models import Party
from ostoja.tenancy import finishing, fleet
from ostoja.tenancy.context import platform_context, schema_context, tenant_context
from ostoja.tenancy.models import Tenant


@pytest.fixture
def pair(lender):
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    made = Pair(cloud, premises)
    made.party = party
    made.load()
    return made


def functions(tenant) -> set[str]:
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT proname FROM pg_proc WHERE pronamespace = current_schema()::regnamespace")
        return {row[0] for row in cursor.fetchall()}


def test_a_linked_tenant_gets_what_the_last_release_did_not_have(pair):
    with schema_context(pair.cloud.schema_name), connections["owner"].cursor() as cursor:
        cursor.execute('DROP FUNCTION "hybrid_take_over"')
    with platform_context():
        Tenant.objects.using("owner").filter(pk=pair.cloud.pk).update(release="an older one")
    outcome = fleet.migrate(lambda _line: None, only=[pair.cloud.schema_name])
    assert pair.cloud.schema_name in outcome.migrated and not outcome.failed
    assert "hybrid_take_over" in functions(pair.cloud)
    do(pair.premises, pair.party, data={"name": "After the upgrade"})
    pair.talk()
    assert value(pair.cloud, pair.party, "name") == "After the upgrade"


def test_a_tenant_that_can_not_be_finished_stays_behind_and_says_so(lender, monkeypatch):
    tenant = lender.lend()

    def fails(_tenant):
        raise RuntimeError("no space")

    monkeypatch.setattr(finishing, "_functions", [fails])
    with platform_context():
        Tenant.objects.using("owner").filter(pk=tenant.pk).update(release="an older one")
    outcome = fleet.migrate(lambda _line: None, only=[tenant.schema_name])
    assert "no space" in outcome.failed[tenant.schema_name]
    monkeypatch.undo()
    assert not fleet.migrate(lambda _line: None, only=[tenant.schema_name]).failed


def test_a_tenant_of_one_site_has_nothing_of_it(lender):
    tenant = lender.lend()
    finishing.finish(tenant)
    with tenant_context(tenant):
        Party.objects.exists()
    assert not any(name.startswith("hybrid_capture") for name in functions(tenant))
