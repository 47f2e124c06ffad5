"""What is done for hybrid tenants from time to time."""

from __future__ import annotations

import pytest
from test_database import fill
from two_sites import Pair

from ostoja.hybrid import joining, tending
from ostoja.jobs.models import Job
from ostoja.tenancy.context import tenant_context


@pytest.fixture
def pair(lender):
    cloud, premises = lender.lend(), lender.lend()
    fill(cloud)
    made = Pair(cloud, premises)
    made.load()
    return made


def test_both_sites_are_compared_by_the_one_that_dials(pair, monkeypatch):
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)
    tending.compare_links()
    for tenant, jobs in ((pair.premises, 1), (pair.cloud, 0)):
        with tenant_context(tenant):
            assert Job.objects.filter(kind=joining.COMPARE).count() == jobs


def test_only_hybrid_tenants_are_tended(pair, lender):
    plain = lender.lend()
    slugs = {t.slug for t in tending.hybrid_tenants()}
    assert pair.cloud.slug in slugs and pair.premises.slug in slugs and plain.slug not in slugs
