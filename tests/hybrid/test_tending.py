"""What is done for hybrid tenants from time to time."""

from __future__ import annotations

import pytest
from test_database import fill
from two_sites import Pair

from ostoja.hybrid import tending


@pytest.fixture
def pair(lender):
    cloud, premises = lender.lend(), lender.lend()
    fill(cloud)
    made = Pair(cloud, premises)
    made.load()
    return made


def test_only_hybrid_tenants_are_tended(pair, lender):
    plain = lender.lend()
    slugs = {t.slug for t in tending.hybrid_tenants()}
    assert pair.cloud.slug in slugs and pair.premises.slug in slugs and plain.slug not in slugs
