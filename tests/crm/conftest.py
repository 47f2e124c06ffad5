"""Fixtures of the tests of sales: a pipeline with open and closing stages, a reason of loss."""

import pytest


@pytest.fixture
def pipeline(tenant, actor):
    """Prospecting 10 %, Engaging 40 %, Won, Lost."""
    from ostoja import gate
    from ostoja.crm.sales.models import Pipeline, Stage

    made = gate.perform(actor, Pipeline, "add", {"name": "Sales"})
    stages = [("Prospecting", "open", 10), ("Engaging", "open", 40), ("Won", "won", 100), ("Lost", "lost", 0)]
    for position, (name, kind, probability) in enumerate(stages):
        values = {"name": name, "kind": kind, "probability": probability, "position": position}
        gate.perform(actor, Stage, "add", {"pipeline": made.pk, **values})
    return made


@pytest.fixture
def reason(tenant, actor):
    """A reason to lose a deal."""
    from ostoja import gate
    from ostoja.crm.sales.models import LostReason

    return gate.perform(actor, LostReason, "add", {"name": "Price"})
