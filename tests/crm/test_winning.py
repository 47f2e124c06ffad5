"""How deals are brought through their stages, closed and reopened: by verbs, by stages, by imports and by merges."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.db import IntegrityError, connection
from django.test.utils import CaptureQueriesContext

from ostoja import gate
from ostoja.catalog.models import Product
from ostoja.crm.sales.models import Deal, DealLine, LostReason, Pipeline, Stage
from ostoja.journal.context import changing
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.party.models import Party

CENT = Decimal("0.01")


@pytest.fixture
def pipeline(tenant, actor):
    """New 10 %, Offer 50 %, Won, Lost."""
    made = gate.perform(actor, Pipeline, "add", {"name": "Sales"})
    rows = [("New", "open", 10), ("Offer", "open", 50), ("Won", "won", 100), ("Lost", "lost", 0)]
    for position, (name, kind, probability) in enumerate(rows):
        row = {"pipeline": made, "name": name, "kind": kind, "probability": probability, "position": position}
        gate.perform(actor, Stage, "add", row)
    return made


@pytest.fixture
def stage(pipeline):
    """``stage("Offer")`` -> a stage of the pipeline."""
    return lambda name: pipeline.stages.get(name=name)


@pytest.fixture
def deal(pipeline, actor):
    """``deal(amount="10")`` -> a new deal."""
    return lambda **data: gate.perform(actor, Deal, "add", data)


@pytest.fixture
def reason(tenant, actor):
    """A reason of loss."""
    return gate.perform(actor, LostReason, "add", {"name": "Price"})


def as_rows(given_lines):
    return [{"description": "x", "quantity": str(q), "price": str(p), "discount": str(d)} for q, p, d in given_lines]


def write(actor, record, **values):
    """Change columns past all verbs and forms."""
    with changing(actor, "attack"):
        type(record).objects.filter(pk=record.pk).update(**values)


# --- amounts ----------------------------------------------------------------------------------------------------------


def test_CRM_2_the_line_is_rounded_first(deal):
    made = deal(
        lines=as_rows([(Decimal(16), Decimal("348.35"), Decimal(4))] + [(Decimal(1), Decimal("0.005"), Decimal(0))] * 3)
    )
    assert made.amount == Decimal("5350.66") + 3 * CENT


def test_CRM_2_a_line_that_goes_over_to_another_deal_changes_both(deal, actor):
    one, two = (deal(lines=as_rows([(Decimal(1), Decimal(p), Decimal(0))] * 2)) for p in (10, 3))
    write(actor, one.lines.first(), deal=two)
    assert [Deal.objects.get(pk=d.pk).amount for d in (one, two)] == [10, 16]


def test_a_line_takes_the_price_of_the_catalogue_in_the_deals_currency_only(deal, actor):
    row = {"code": "G", "name": "GTX", "list_price": "4821", "currency": "USD"}
    product = gate.perform(actor, Product, "add", row)
    assert deal(currency="USD", lines=[{"product": product, "quantity": 2, "discount": 10}]).amount == Decimal(
        "8677.80"
    )
    with pytest.raises(Refused) as refused:
        deal(currency="PLN", lines=[{"product": product}])
    assert "lines.0.price" in refused.value.fields
    assert not Deal.objects.filter(currency="PLN").exists()


# --- stage and state ----------------------------------------------------------------------------------------------------


def test_a_deal_begins_in_the_first_stage_under_its_customers_name(deal, actor, stage):
    acme = gate.perform(actor, Party, "add", {"name": "Acme"})
    made = deal(party=acme)
    assert (made.stage, made.pipeline, made.state, made.title) == (stage("New"), stage("New").pipeline, "open", "Acme")
    assert deal().title == "D-000002"


def test_closing_by_its_stage_needs_the_right_of_the_verb(deal, actor, as_role, stage, reason):
    clerk = as_role({"sales.deal": {"view": "all", "add": "all", "change": "all"}, "sales.pipeline": {"view": "all"}})
    made = deal(amount="10")
    with pytest.raises(NotAllowed, match="win"):
        gate.perform(clerk, made, "change", {"stage": stage("Won")})
    with pytest.raises(NotAllowed, match="win"):
        gate.perform(clerk, Deal, "add", {"amount": "10", "stage": stage("Won")})
    won = gate.perform(actor, made, "change", {"stage": stage("Won")})
    assert (won.state, won.stage) == ("won", stage("Won")) and won.closed_at
    lost = deal()
    with pytest.raises(Refused, match="say why"):
        gate.perform(actor, lost, "change", {"stage": stage("Lost")})
    lost = gate.perform(actor, lost, "lose", {"lost_reason": reason, "notes": "too dear"})
    with pytest.raises(Refused, match="Reopen"):
        gate.perform(actor, lost, "change", {"stage": stage("New")})


@pytest.mark.parametrize("state", ["won", "lost"])
def test_an_import_may_say_the_state_or_the_stage(pipeline, actor, stage, state):
    named = stage(state.capitalize())
    rows = [
        {"amount": "5", "state": state},
        {"amount": "5", "stage": named},
        {"amount": "5", "state": state, "stage": named},
    ]
    outcomes = gate.Many(actor, Deal, history=True).add(rows)
    assert [(o.record.state, o.record.stage_id) for o in outcomes] == [(state, named.pk)] * 3
    assert all(o.record.number and o.record.closed_at for o in outcomes)
    wrong = gate.Many(actor, Deal, history=True).add([{"state": state, "stage": stage("New"), "amount": "5"}])[0]
    assert wrong.code == "deals_stand_in_their_stage"


def test_no_deal_without_a_pipeline_and_it_says_so(tenant, actor):
    with pytest.raises(Refused, match="the pipeline has no stage for it"):
        gate.perform(actor, Deal, "add", {"title": "x"})


def test_a_stage_of_another_pipeline_takes_the_deal_along(deal, actor, pipeline):
    other = gate.perform(actor, type(pipeline), "add", {"name": "Other", "position": 1})
    stage = gate.perform(actor, Stage, "add", {"pipeline": other, "name": "In", "probability": 5})
    made = deal(amount="3")
    moved = gate.perform(actor, made, "change", {"stage": stage})
    assert moved.pipeline == other
    with pytest.raises(Refused, match="no stage for it"):
        gate.perform(actor, moved, "win")


def test_a_stage_asks_for_what_it_needs(deal, actor, stage):
    offer = gate.perform(actor, stage("Offer"), "change", {"required_fields": ["party", "closes_on", "amount"]})
    made = deal()
    with pytest.raises(Refused) as refused:
        gate.perform(actor, made, "change", {"stage": offer})
    assert set(refused.value.fields) == {"party", "closes_on", "amount"}
    acme = gate.perform(actor, Party, "add", {"name": "Acme"})
    filled = {"stage": offer, "party": acme, "closes_on": "2026-05-01", "amount": "4"}
    assert gate.perform(actor, made, "change", filled).stage == offer
    with pytest.raises(Refused, match="“nonsense” is none"):
        gate.perform(actor, offer, "change", {"required_fields": ["nonsense"]})
    with pytest.raises(Refused):
        gate.perform(actor, offer, "change", {"required_fields": {"party": 1}})


# --- won ------------------------------------------------------------------------------------------------------------------


def test_a_deal_without_an_amount_is_not_won(deal, actor):
    made = deal()
    with pytest.raises(Refused, match="Give the deal an amount") as refused:
        gate.perform(actor, made, "win")
    assert "amount" in refused.value.fields
    assert Deal.objects.get(pk=made.pk).state == "open"


def test_a_won_deal_follows_a_merge_of_its_customer_and_nothing_else(deal, actor):
    acme, twin, third = (gate.perform(actor, Party, "add", {"name": n}) for n in ("Acme", "ACME Ltd", "Third"))
    won = gate.perform(actor, deal(party=twin, amount="10"), "win")
    for to in (acme, third, None):
        with pytest.raises(IntegrityError):
            write(actor, won, party=to)
    gate.perform(actor, twin, "merge", {"merged_into": acme})
    won.refresh_from_db()
    assert won.party == acme
    with pytest.raises(IntegrityError):
        write(actor, won, party=third)
    gate.perform(actor, twin, "unmerge")
    won.refresh_from_db()
    assert won.party == twin


def test_a_won_deal_can_be_handed_over(deal, actor, owner):
    won = gate.perform(actor, deal(amount="10"), "win")
    write(actor, won, owner=None)
    assert gate.perform(actor, won, "change", {"owner": owner}).owner == owner


def test_reopening_and_losing_ask_why(deal, actor):
    with pytest.raises(Refused) as refused:
        gate.perform(actor, deal(), "lose")
    assert set(refused.value.fields) == {"lost_reason"}
    won = gate.perform(actor, deal(amount="1"), "win")
    with pytest.raises(Refused) as refused:
        gate.perform(actor, won, "reopen")
    assert set(refused.value.fields) == {"reopened_because"}


# --- stages that were ------------------------------------------------------------------------------------------------------


def test_CRM_4_nobody_rewrites_the_stages_that_were(deal, actor):
    told = deal().stage_changes.get()
    for verb, data in (("change", {"stage": None}), ("delete", {})):
        with pytest.raises(NotAllowed, match="kept by Ostoja itself"):
            gate.perform(actor, told, verb, data)
    with pytest.raises(NotAllowed):
        gate.perform(actor, type(told), "add", {})


def test_a_deleted_deal_takes_its_lines_and_stages_along(deal, actor):
    made = deal(lines=as_rows([(Decimal(1), Decimal(5), Decimal(0))]))
    gate.perform(actor, made, "delete")
    assert not Deal.objects.exists() and not DealLine.objects.exists()
    told = Change.objects.filter(op="D").values_list("model", flat=True)
    assert sorted(told) == ["sales.deal", "sales.dealline", "sales.stagechange"]


# --- cost -----------------------------------------------------------------------------------------------------------------


def test_deals_in_bulk_cost_few_statements_and_know_what_the_database_made_of_them(pipeline, actor, stage):
    rows = [{"title": f"Deal {n}", "amount": str(n + 1), "state": "won", "stage": stage("Won")} for n in range(200)]
    many = gate.Many(actor, Deal, history=True)
    with CaptureQueriesContext(connection) as queries:
        outcomes = many.add(rows)
    assert all(o.ok for o in outcomes) and len(queries) <= 20
    assert [o.record.number for o in outcomes] == [f"D-{n:06d}" for n in range(1, 201)]
    assert all(o.record.pipeline_id == pipeline.pk and o.record.closed_at for o in outcomes)


def test_reasons_of_loss_in_use_stay(deal, actor, reason):
    gate.perform(actor, deal(), "lose", {"lost_reason": reason})
    with pytest.raises(Refused, match="still used by 1 deals"):
        gate.perform(actor, reason, "delete")
    assert LostReason.objects.exists()
