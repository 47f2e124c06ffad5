"""Every site has a series of numbers of its own: two sites never hand out the same one, and each series has no gaps."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from test_database import fill
from two_sites import SYSTEM, Pair, do, value

from ostoja.crm.sales.models import Deal
from ostoja.gate import Many
from ostoja.hybrid.models import Conflict
from ostoja.journal.context import changing
from ostoja.kernel.errors import Refused
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context


@pytest.fixture
def pair(lender):
    """A cloud with a customer and a deal, and premises that have loaded both."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Before the link", "party": party.pk, "amount": "1"})
    made = Pair(cloud, premises)
    made.party, made.deal = party, deal
    made.load()
    made.talk()
    return made


def add(tenant, pair, title, **more):
    return do(tenant, Deal, "add", {"title": title, "party": pair.party.pk, "amount": "1", **more})


def numbers(tenant) -> list[str]:
    with tenant_context(tenant):
        return sorted(Deal.objects.values_list("number", flat=True))


def test_numbers_that_were_there_stay_and_each_site_counts_on_its_own(pair):
    for _time in range(3):
        add(pair.premises, pair, "On the premises")
        add(pair.cloud, pair, "In the cloud")
    pair.talk()
    told = ["D-000001", "D-000002", "D-000003", "D-000004", "D-2-000001", "D-2-000002", "D-2-000003"]
    assert numbers(pair.cloud) == numbers(pair.premises) == told
    with tenant_context(pair.premises):
        assert not Conflict.objects.exists()


def test_a_refused_record_takes_no_number(pair):
    with pytest.raises(Refused):
        add(pair.premises, pair, "", amount="-1")
    assert value(pair.premises, add(pair.premises, pair, "First"), "number") == "D-2-000001"


def test_imports_and_plain_sql_take_numbers_of_the_same_series(pair):
    with tenant_context(pair.premises):
        rows = [{"name": f"Customer {n}", "kind": "org"} for n in range(3)]
        made = [o.record.pk for o in Many(SYSTEM, Party, history=True).add(rows)]
        assert sorted(Party.objects.filter(pk__in=made).values_list("number", flat=True)) == [
            "P-2-000001", "P-2-000002", "P-2-000003",
        ]  # fmt: skip
        party = Party.objects.get(pk=made[0])
        with changing(SYSTEM, "add"), connection.cursor() as cursor:
            columns = [f.column for f in Party._meta.concrete_fields if f.column not in ("id", "number", "name")]
            listed = ", ".join(f'"{c}"' for c in columns)
            cursor.execute(
                f"INSERT INTO party_party (id, number, name, {listed}) "
                f"SELECT gen_random_uuid(), '', 'By hand', {listed} FROM party_party WHERE id = %s RETURNING number",
                [str(party.pk)],
            )
            assert cursor.fetchone()[0] == "P-2-000004"


def test_many_at_once_leave_no_gap(pair):
    def one(number):
        try:
            return value(pair.premises, add(pair.premises, pair, f"Deal {number}"), "number")
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as people:
        given = sorted(people.map(one, range(12)))
    assert given == [f"D-2-{n:06}" for n in range(1, 13)]


def test_a_number_typed_by_hand_at_both_sites_is_kept_twice_and_marked(pair):
    one = add(pair.premises, pair, "One", number="2026/17")
    other = add(pair.cloud, pair, "Other", number="2026/17")
    pair.talk()
    younger = max(one.pk, other.pk)
    for side in (pair.premises, pair.cloud):
        said = {d.pk: value(side, d, "number") for d in (one, other)}
        assert said[min(one.pk, other.pk)] == "2026/17" and said[younger] == f"2026/17-{younger.hex[-6:]}"
    found = []
    for side in (pair.premises, pair.cloud):
        with tenant_context(side):
            found += Conflict.objects.filter(rule="unique", field="number")
    assert found and all(c.state == "open" for c in found)
