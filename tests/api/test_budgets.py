"""Budgets: how many statements each kind of request may cost, whatever there is in the tenant."""

from __future__ import annotations

import pytest

from ostoja.gate import perform
from ostoja.kernel import registry
from ostoja.testing.people import make_user

from .answers import at, queries
from .samples import fill

pytestmark = pytest.mark.usefixtures("long_memory")

# The token is remembered, so its one statement is not here.
BUDGETS = {
    "list": 1,
    "list with labels": 1,
    "list with count": 2,
    "search": 1,
    "read": 1,
    "read with lines": 2,
    "history": 2,
    "aggregate": 1,
    "aggregate with labels": 2,
    "add": 8,
    "change": 8,
    "delete": 27,  # one for every kind of part that a party may have
    "verb": 8,
    "bulk of 100": 9,
    "add with a key": 13,
}


@pytest.fixture
def there(api, owner):
    """One record of every object, and twenty parties."""
    found = fill(api, owner)
    api.post(at("parties/bulk"), [{"verb": "add", "data": {"name": f"Party {n}"}} for n in range(20)])
    api.get(at("me"))
    return {key.slug: value for key, value in found.items() if not isinstance(key, tuple)}


def test_reading(api, there):
    cases = {
        "list": at("parties", fields="name,state,city", limit=50),
        "list with labels": at("parties", limit=50),
        "list with count": at("parties", count=1),
        "search": at("parties", search="party 1"),
        "read": at("parties", there["parties"]),
        "read with lines": at("deals", there["deals"]),
        "history": at("parties", there["parties"], "history"),
        "aggregate": at("parties/aggregate", group_by="state", measure="count,sum:employees"),
        "aggregate with labels": at("parties/aggregate", group_by="owner,state"),
    }
    for name, path in cases.items():
        with queries(BUDGETS[name]):
            assert api.get(path).status_code == 200, name


def test_changing(api, there):
    with queries(BUDGETS["add"]):
        made = api.post(at("parties"), {"name": "One more", "city": "Warszawa"})
    assert made.status_code == 201
    path = at("parties", made.json()["id"])
    with queries(BUDGETS["change"]):
        assert api.patch(path, {"name": "Once more"}).status_code == 200
    with queries(BUDGETS["verb"]):
        assert api.post(f"{path}/block").status_code == 200
    with queries(BUDGETS["delete"]):
        assert api.delete(path).status_code == 204
    with queries(BUDGETS["add with a key"]):
        assert api.post(at("parties"), {"name": "Kept"}, HTTP_IDEMPOTENCY_KEY="k").status_code == 201
    with queries(BUDGETS["bulk of 100"]):
        rows = [{"verb": "add", "data": {"name": f"Bulk {n}"}} for n in range(100)]
        assert api.post(at("parties/bulk"), rows).json()["done"] == 100


def test_a_list_within_a_scope_costs_no_more(api, as_role, there):
    for scope in ("own", "team"):
        program = api.as_user(as_role({"party.party": {"view": scope}, "access.user": {"view": scope}}).user)
        program.get(at("me"))
        with queries(1):
            assert program.get(at("parties", limit=50)).status_code == 200


def test_no_object_costs_more_for_its_list(api, there):
    for entry in registry.entries():
        with queries(1):
            assert api.get(at(entry.slug)).status_code == 200, entry.slug


def test_many_rows_cost_no_more_than_one(api, there, actor):
    for n in range(30):
        perform(actor, registry.by_slug("parties").model, "add", {"name": f"Owned {n}", "owner": make_user()})
    with queries(1):
        assert len(api.get(at("parties", limit=500)).json()["items"]) > 50
