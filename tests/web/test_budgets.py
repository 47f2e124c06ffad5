"""How many queries a page may ask: few, and the same for five records as for fifty."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ostoja import gate
from ostoja.kernel import registry

pytestmark = pytest.mark.usefixtures("long_memory")

# path -> most queries of the tenant's own connection, the session and the jobs of the frame included
BUDGETS = {
    "/deals": 8,
    "/deals?q=deal": 8,
    "/deals/totals": 4,
    "/deals/board": 16,
    "/deals/calendar": 8,
    "/deals/{deal}": 12,
    "/deals/{deal}?tab=history": 14,
    "/deals/{deal}/edit": 14,
    "/deals/new": 14,
    "/parties/{party}": 18,
    "/palette?q=deal": 14,
}


def model(label):
    return registry.get(label).model


@pytest.fixture
def records(actor):
    pipeline = gate.perform(actor, model("sales.pipeline"), "add", {"name": "Sales", "position": 1})
    stages = [
        gate.perform(
            actor,
            model("sales.stage"),
            "add",
            {"pipeline": pipeline.pk, "name": n, "position": i, "kind": "open", "probability": 10},
        )
        for i, n in enumerate(("New", "Offer"))
    ]
    parties = [
        o.record
        for o in gate.Many(actor, model("party.party")).add([{"name": f"Party {n}", "kind": "org"} for n in range(50)])
    ]

    def add(count):
        rows = [
            {
                "title": f"Deal {n}",
                "party": parties[n % 50],
                "stage": stages[n % 2],
                "amount": n,
                "closes_on": f"2026-11-{1 + n % 28:02}",
            }
            for n in range(count)
        ]
        return [o.record for o in gate.Many(actor, model("sales.deal")).add(rows)]

    return {"deal": add(5)[0].pk, "party": parties[0].pk, "add": add}


def count(browser, path) -> int:
    with CaptureQueriesContext(connection) as queries:
        assert browser.get(path).status_code == 200
    return len([q for q in queries if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))])


@pytest.mark.parametrize("path", list(BUDGETS))
def test_the_budget_holds_and_does_not_grow(signed_in, records, path):
    url = path.format(**{k: v for k, v in records.items() if k != "add"})
    signed_in.get(url)
    few = count(signed_in, url)
    records["add"](60)
    many = count(signed_in, url)
    assert many <= BUDGETS[path], f"{path} asks {many} queries; the budget is {BUDGETS[path]}"
    assert many <= few, f"{path} asked {few} queries for five deals and {many} for sixty-five"
