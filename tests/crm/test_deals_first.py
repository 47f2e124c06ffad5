"""Deals: the thin path through the gate."""

from decimal import Decimal

import pytest

from ostoja import gate
from ostoja.catalog.models import Product
from ostoja.crm.sales.models import Deal, LostReason, Pipeline, Stage, StageChange
from ostoja.kernel.errors import Refused
from ostoja.party.models import Party


@pytest.fixture
def pipeline(tenant, actor):
    made = gate.perform(actor, Pipeline, "add", {"name": "Sales"})
    for position, (name, kind, probability) in enumerate(
        [("Prospecting", "open", 10), ("Engaging", "open", 40), ("Won", "won", 100), ("Lost", "lost", 0)]
    ):
        gate.perform(
            actor,
            Stage,
            "add",
            {"pipeline": made.pk, "name": name, "kind": kind, "probability": probability, "position": position},
        )
    return made


def test_a_deal_from_lines_to_won(pipeline, actor):
    party = gate.perform(actor, Party, "add", {"name": "Acme"})
    product = gate.perform(actor, Product, "add", {"code": "G", "name": "GTX Pro", "list_price": "4821"})
    deal = gate.perform(actor, Deal, "add", {"party": party.pk, "lines": [{"product": product.pk, "quantity": "2"}]})
    assert (deal.amount, deal.title, deal.number, deal.stage.name) == (
        Decimal("9642.00"),
        "Acme",
        "D-000001",
        "Prospecting",
    )
    deal = gate.perform(actor, deal, "win")
    assert (deal.state, deal.stage.kind) == ("won", "won") and deal.closed_at
    with pytest.raises(Refused, match="Reopen it first"):
        gate.perform(actor, deal, "change", {"amount": "5"})
    with pytest.raises(Refused, match="Reopen it first"):
        gate.perform(actor, deal, "change", {"lines": []})
    deal = gate.perform(actor, deal, "reopen", {"reopened_because": "they called"})
    reason = gate.perform(actor, LostReason, "add", {"name": "Price"})
    with pytest.raises(Refused):
        gate.perform(actor, deal, "lose")
    deal = gate.perform(actor, deal, "lose", {"lost_reason": reason.pk})
    assert [c.stage.name for c in StageChange.objects.order_by("entered_at")] == [
        "Prospecting",
        "Won",
        "Prospecting",
        "Lost",
    ]


def test_won_deals_come_in_with_their_lines(pipeline, actor):
    product = gate.perform(actor, Product, "add", {"code": "G", "name": "GTX Pro", "list_price": "4821"})
    won = pipeline.stages.get(kind="won")
    rows = [
        {
            "number": f"X{n}",
            "title": "x",
            "stage": won.pk,
            "state": "won",
            "closed_at": "2017-03-01T00:00Z",
            "lines": [{"product": product.pk, "price": "10.5"}],
        }
        for n in range(50)
    ]
    outcomes = gate.Many(actor, Deal, history=True).add(rows)
    assert all(o.ok for o in outcomes), outcomes[0].errors
    assert Deal.objects.filter(state="won", amount="10.50").count() == 50
