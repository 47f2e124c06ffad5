"""A deal over HTTP: amounts without loss, lines inside it, verbs with their reasons, and two people at once."""

from __future__ import annotations

import threading
from decimal import Decimal

import pytest
from django.db import connections

from .answers import at, items, problem
from .samples import fill


@pytest.fixture
def there(api, owner):
    """One record of every object: slug -> id."""
    return {key.slug: value for key, value in fill(api, owner).items() if not isinstance(key, tuple)}


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("1054.00", "1054.00"),
        ("1054", "1054.00"),
        (1054, "1054.00"),
        (1054.1, "1054.10"),
        (0.07, "0.07"),
        ("9999999999999999.99", "9999999999999999.99"),
        (0, "0.00"),
    ],
)
def test_an_amount_is_kept_to_the_penny(api, there, sent, kept):
    made = api.post(at("deals"), {"title": "Steel", "amount": sent, "currency": "PLN"})
    assert made.status_code == 201, made.content
    assert made.json()["amount"] == kept
    assert items(api.get(at("deals", amount=kept, fields="amount")))[0]["amount"] == kept


@pytest.mark.parametrize(
    "sent",
    [-5, "-0.01", "1.001", "1e3", "NaN", "Infinity", 1e300, 12345678901234567.5, True, [1], {"a": 1}, "one", "1_000"],
)
def test_an_amount_that_is_none_is_named(api, there, sent):
    said = problem(api.post(at("deals"), {"title": "Steel", "amount": sent, "currency": "PLN"}), 422)
    assert said["errors"]["amount"]


def test_lines_are_inside_their_deal(api, there):
    lines = [{"product": there["products"], "quantity": "2", "price": "10.50"}, {"description": "Work", "price": "100"}]
    made = api.post(at("deals"), {"title": "Steel", "currency": "PLN", "lines": lines}).json()
    assert made["amount"] == "121.00"
    first, second = made["lines"]
    assert (first["quantity"], first["price"], first["net"]) == ("2.000000", "10.50000000", "21.00")
    assert first["product"]["id"] == there["products"] and first["product"]["label"]
    assert second["description"] == "Work" and "deal" not in second
    path = at("deals", made["id"])
    changed = api.patch(
        path, {"lines": [{"id": second["id"], "quantity": 3}, {"description": "Travel", "price": "1"}]}
    ).json()
    assert changed["amount"] == "301.00" and len(changed["lines"]) == 2
    assert changed["lines"][0]["id"] == second["id"] and changed["lines"][0]["description"] == "Work"
    problem(api.get(at("deal-lines", first["id"])), 404)
    said = problem(api.patch(path, {"lines": [{"id": second["id"], "quantity": -1}]}), 422)
    assert said["errors"]["lines.0.quantity"]
    for wrong in ([{"id": first["id"]}], [7], {}, "x", [{"nonsense": 1}], [{"price": "x"}], [{"product": {"id": 5}}]):
        problem(api.patch(path, {"lines": wrong}), 422)
    assert api.get(path).json()["amount"] == "301.00"


def test_a_deal_is_won_lost_and_reopened(api, there):
    stages = [("Open", "open", 10), ("Won", "won", 100), ("Lost", "lost", 0)]
    pipeline = api.post(at("pipelines"), {"name": "Direct"}).json()["id"]
    for position, (name, kind, probability) in enumerate(stages):
        body = {"pipeline": pipeline, "name": name, "kind": kind, "probability": probability, "position": position}
        assert api.post(at("stages"), body).status_code == 201
    first = items(api.get(at("stages", pipeline=pipeline, kind="open")))[0]["id"]
    body = {"title": "Steel", "amount": "0", "currency": "PLN", "stage": first, "party": there["parties"]}
    path = at("deals", api.post(at("deals"), body).json()["id"])
    assert "amount" in problem(api.post(f"{path}/win"), 422)["errors"]
    api.patch(path, {"amount": "500"})
    won = api.post(f"{path}/win", HTTP_IF_MATCH='"2"').json()
    assert won["state"] == "won" and won["closed_at"] and won["stage"]["label"] == "Won"
    assert "Reopen" in problem(api.patch(path, {"amount": "1"}), 422)["detail"]
    problem(api.post(f"{path}/win"), 422, "state")
    reopened = api.post(f"{path}/reopen", {"reopened_because": "They called again"}).json()
    assert reopened["state"] == "open" and reopened["closed_at"] is None
    lost = api.post(f"{path}/lose", {"lost_reason": there["lost-reasons"]}).json()
    assert lost["state"] == "lost" and lost["lost_reason"]["id"] == there["lost-reasons"]
    verbs = [e["verb"] for e in items(api.get(f"{path}/history"))]
    assert verbs[:5] == ["lose", "reopen", "win", "change", "add"]
    [row] = items(api.get(at("deals/aggregate", group_by="state", measure="count,sum:amount", title="Steel")))
    assert row == {"state": "lost", "count": 1, "sum:amount": "500.00"}


def test_a_pivot_sums_exactly(api, there):
    for amount in ("0.10", "0.20", "1234567890123.45"):
        api.post(at("deals"), {"title": "Penny", "amount": amount, "currency": "PLN"})
    [row] = items(api.get(at("deals/aggregate", measure="sum:amount,min:amount,max:amount,avg:amount", title="Penny")))
    assert row["sum:amount"] == "1234567890123.75" == str(Decimal(row["sum:amount"]))
    assert (row["min:amount"], row["max:amount"]) == ("0.10", "1234567890123.45")


def test_two_at_once_upon_one_version_are_one_change(api, tenant, there):
    path, start, answers = at("deals", there["deals"]), threading.Barrier(2), []
    etag = api.get(path)["ETag"]

    def change(title):
        program = type(api)(tenant, api.token)
        start.wait()
        answers.append(program.patch(path, {"title": title}, HTTP_IF_MATCH=etag).status_code)
        connections.close_all()

    threads = [threading.Thread(target=change, args=(title,)) for title in ("First", "Second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [200, 412]


def test_search_finds_by_the_customers_name(api, there):
    acme = api.post(at("parties"), {"name": "Acme Stalownia"}).json()["id"]
    api.post(at("deals"), {"title": "Rails", "party": acme, "currency": "PLN"})
    api.post(at("deals"), {"title": "Stalownia visit", "currency": "PLN"})
    assert {d["title"] for d in items(api.get(at("deals", search="stalow")))} == {"Rails", "Stalownia visit"}
    assert [d["title"] for d in items(api.get(at("deals", search="acme rail")))] == ["Rails"]
    assert [d["title"] for d in items(api.get(at("deals", sort="-party", search="stal")))] == [
        "Stalownia visit",
        "Rails",
    ]
    assert [d["title"] for d in items(api.get(at("deals", party__name__contains="ACME")))] == ["Rails"]


def test_history_keeps_amounts_to_the_penny(api, there):
    made = api.post(at("deals"), {"title": "Steel", "amount": "9999999999999999.99", "currency": "PLN"}).json()
    api.patch(at("deals", made["id"]), {"amount": "0.10"})
    event = items(api.get(at("deals", made["id"], "history")))[0]
    assert {"field": "amount", "before": "9999999999999999.99", "after": "0.10"} in event["fields"]
