"""Two whole installations by `ostoja up --hybrid`: what one side writes is on the other, and they converge after faults."""

from __future__ import annotations

import secrets

import pytest
from installations import OWNER, Installation, Refused, until
from proxy import Proxy
from visitor import Visitor

DEMO_PASSWORD = "ostoja-demo"
LINKS = "/settings/hybrid/links"


def test_a_change_is_on_the_other_side_without_anybody_asking(pair):
    pair.at_rest()
    deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]
    for here, there in ((pair.premises, pair.cloud), (pair.cloud, pair.premises)):
        word = secrets.token_hex(4)
        here.call("PATCH", f"/deals/{deal['id']}", {"source": word})
        until(lambda there=there, word=word: there.has(f"/deals/{deal['id']}", "source", word), 30, there.links)


def test_both_converge_after_the_agent_was_killed_in_the_middle_of_work(pair):
    deals = [d["id"] for d in pair.cloud.call("GET", "/deals?limit=30&state=open")["items"]]
    for number, key in enumerate(deals):
        pair.premises.call("PATCH", f"/deals/{key}", {"source": f"premises {number}"})
        pair.cloud.call("PATCH", f"/deals/{key}", {"source" if number % 3 == 0 else "title": f"cloud {number}"})
        if number % 10 == 5:
            pair.premises.kill("agent")
    pair.at_rest()
    pair.equal()
    for key in deals:
        here, there = pair.premises.get(f"/deals/{key}"), pair.cloud.get(f"/deals/{key}")
        assert (here["source"], here["title"]) == (there["source"], there["title"])


def test_the_cloud_takes_nothing_closed_once_the_premises_have_everything(pair):
    party = pair.cloud.call("GET", "/parties?limit=1")["items"][0]
    with pytest.raises(Refused) as refused:
        pair.cloud.call("PATCH", f"/parties/{party['id']}", {"notes": "entered in the cloud"})
    assert refused.value.status == 422


def test_both_sites_are_compared_by_the_agent_when_somebody_asks_on_a_page(pair):
    pair.at_rest()
    somebody = Visitor(pair.premises)
    assert somebody.sign_in(OWNER, DEMO_PASSWORD) == 302
    link = pair.premises.status()["link"]
    assert somebody.post(f"{LINKS}/{link}/verify", {}, on=LINKS)[0] == 302
    until(
        lambda: b"Equal: both sites hold the same" in somebody.get(LINKS)[1], 30, lambda: log_of(pair.premises, "agent")
    )


REACHES = "import socket; socket.create_connection(('127.0.0.1', {port}), 5); print('reached')"


def test_only_the_agent_reaches_the_cloud(pair):
    refused = pair.premises.command("manage", "shell", "-c", REACHES.format(port=pair.cloud.port), refused=True)
    assert f"may not connect to 127.0.0.1:{pair.cloud.port}" in refused
    findings = pair.premises.command("doctor", "--check", "outbound")
    assert "The way out is closed" in findings and f"the agent 127.0.0.1:{pair.cloud.port}" in findings
    for side in pair.sides.values():
        for program in ("web", "worker", "schedule", "agent", "prepare"):
            assert "may not connect" not in log_of(side, program)


def test_the_agent_begins_anew_when_the_cloud_is_at_another_place(pair):
    pair.at_rest()
    (process,) = pair.premises.processes("agent")
    line = Proxy(pair.cloud.port)
    try:
        pair.lead(pair.premises, line.port, kill=False)
        deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]
        word = secrets.token_hex(4)
        until(lambda: line.passed["push"] or line.passed["pull"], 60, lambda: log_of(pair.premises, "agent"))
        pair.premises.call("PATCH", f"/deals/{deal['id']}", {"source": word})
        until(lambda: pair.cloud.get(f"/deals/{deal['id']}")["source"] == word, 30)
        assert pair.premises.processes("agent") == [process]
        assert "begins anew" in log_of(pair.premises, "agent")
    finally:
        pair.lead(pair.premises, pair.cloud.port)
        line.close()
    pair.at_rest()


def log_of(side: Installation, program: str) -> str:
    """What a program has logged so far."""
    place = side.home / "logs" / f"{program}.log"
    return place.read_text(errors="replace") if place.exists() else ""
