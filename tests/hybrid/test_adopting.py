"""A policy that comes into force tells again what it changes, and nothing else."""

from __future__ import annotations

from collections import Counter

import pytest
from by_http import caller, connect
from django.db import connection
from test_database_labels import differing
from test_policy import NOTES, pair, quiet  # noqa: F401
from two_sites import do, value

from ostoja.crm.sales.models import Deal, DealLine
from ostoja.hybrid import adopting, labels, policing, withdrawing
from ostoja.hybrid.models import PurgeCase
from ostoja.kernel import registry
from ostoja.tenancy.context import tenant_context

INDUSTRY = "party.party.industry"
STAGE = "sales.deal.stage"  # the cloud can't hold a deal without it


@pytest.fixture
def sites(pair):  # noqa: F811
    """The pair with a line, an address and a contact point, the cloud at the manifest of the premises."""
    do(pair.cloud, DealLine, "add", {"deal": pair.deal.pk, "description": "Chair", "quantity": "1", "price": "100"})
    do(
        pair.cloud,
        registry.get("party.address").model,
        "add",
        {"party": pair.party.pk, "line1": "Quay 1", "city": "Gdynia"},
    )
    pair.talk()
    contact = {"party": pair.party.pk, "type": "email", "value": "hello@acme.example"}
    do(pair.premises, registry.get("party.contactpoint").model, "add", contact)
    pair.talk()
    follow(pair)
    return pair


def told(sites) -> Counter:
    """How many records of which objects the premises have let be sent again so far."""
    with tenant_context(sites.premises), connection.cursor() as cursor:
        cursor.execute("SELECT model, count(*) FROM journal_change WHERE op = 'R' GROUP BY model")
        return Counter(dict(cursor.fetchall()))


def adopt(sites) -> Counter:
    """The policy comes into force; what was told again by that."""
    before = told(sites)
    with tenant_context(sites.premises):
        adopting.adopt()
    return told(sites) - before


def follow(sites) -> Counter:
    """The cloud takes the policy over; what the premises told again by then."""
    before = told(sites)
    for _answer in range(2):  # that the manifest is another one, and which
        sites.talk()
    with tenant_context(sites.cloud):
        withdrawing.withdraw()
    for _answer in range(2):
        sites.talk()
    return told(sites) - before


def decide(sites, name, level, about="field"):
    """One decision, by as many owners as it needs."""
    with tenant_context(sites.premises):
        rule = policing.propose(sites.olga, about, name, level)
        if rule.state == "proposed":
            policing.approve(sites.ola, rule)
    return rule


def test_a_field_that_opens_is_told_of_its_own_records_alone(sites):
    decide(sites, NOTES, 0)
    assert adopt(sites) == {}
    assert follow(sites) == {"party.party": 1}
    assert value(sites.cloud, sites.party, "notes") == "They pay late."
    assert (adopt(sites), follow(sites)) == ({}, {})


def test_what_was_typed_in_the_cloud_and_closed_since_is_there_again_when_it_opens(sites):
    do(sites.cloud, sites.party, data={"industry": "Chairs"})
    sites.talk()
    decide(sites, INDUSTRY, 1)
    adopt(sites)
    follow(sites)
    assert (value(sites.cloud, sites.party, "industry"), value(sites.premises, sites.party, "industry")) == (
        "",
        "Chairs",
    )
    decide(sites, INDUSTRY, 0)
    adopt(sites)
    follow(sites)
    assert value(sites.cloud, sites.party, "industry") == "Chairs"
    assert differing(sites) == []
    do(sites.cloud, sites.party, data={"industry": "Tables"})
    sites.talk()
    assert value(sites.premises, sites.party, "industry") == "Tables"


def test_an_agent_that_runs_on_hears_of_the_decision(sites, monkeypatch):
    connect(sites, monkeypatch)
    with tenant_context(sites.premises):
        lanes = [caller("push"), caller("pull")]

    def go_on():
        with tenant_context(sites.premises):
            for _round in range(5):
                lanes[1].pull()
                while lanes[0].push():
                    pass

    go_on()
    decide(sites, NOTES, 0)
    adopt(sites)
    go_on()
    with tenant_context(sites.cloud):
        assert withdrawing.withdraw()
    go_on()
    assert value(sites.cloud, sites.party, "notes") == "They pay late."
    decide(sites, NOTES, 1)
    adopt(sites)
    do(sites.premises, sites.party, data={"notes": "They pay early."})
    go_on()
    with tenant_context(sites.cloud):
        assert withdrawing.withdraw()
    assert value(sites.cloud, sites.party, "notes") == ""


def test_what_is_opened_again_after_an_approval_waits_behind_nothing_else(sites):
    with tenant_context(sites.premises):
        labels.close(sites.olga, Deal.objects.get(pk=sites.deal.pk))
    sites.talk()
    decide(sites, NOTES, 0)
    adopt(sites)
    with tenant_context(sites.premises):
        labels.reopen(sites.olga, Deal.objects.get(pk=sites.deal.pk))
    assert sites.send(sites.premises, sites.cloud) == 2  # the deal and its line
    assert value(sites.cloud, sites.deal, "title") == "Hundred chairs"


def test_records_that_can_not_be_without_what_closes_are_called_back(sites):
    decide(sites, STAGE, 1)
    assert adopt(sites) == {"sales.deal": 2}
    assert adopt(sites) == {"sales.deal": 2}  # the cloud has not taken it over yet
    sites.talk()
    with tenant_context(sites.cloud):
        assert not Deal.objects.exists() and not DealLine.objects.exists()
    with tenant_context(sites.premises):
        assert PurgeCase.objects.filter(gone_at__isnull=False).count() == 2
    assert (follow(sites), adopt(sites), follow(sites)) == ({}, {}, {})


@pytest.mark.parametrize(("about", "name"), [("field", STAGE), ("object", "sales.deal")])
def test_what_was_closed_comes_back_when_the_rule_is_withdrawn(sites, about, name):
    rule = decide(sites, name, 1, about)
    adopt(sites)
    follow(sites)
    with tenant_context(sites.cloud):
        assert not Deal.objects.exists() and not DealLine.objects.exists()
    do(sites.premises, sites.deal, data={"title": "Hundred and one chairs"})
    with tenant_context(sites.premises):
        policing.withdraw(sites.olga, rule)
        labels.close(sites.olga, Deal.objects.get(title="Two tables"))
    adopt(sites)
    follow(sites)
    with tenant_context(sites.cloud):
        assert [d.title for d in Deal.objects.all()] == ["Hundred and one chairs"]
        assert DealLine.objects.get().deal_id == sites.deal.pk
    do(sites.cloud, sites.deal, data={"title": "From the cloud"})
    sites.talk()
    assert value(sites.premises, sites.deal, "title") == "From the cloud"
    assert differing(sites) == []
