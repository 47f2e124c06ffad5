"""Two whole installations by `ostoja up --hybrid`: within a second on the other side, and they converge after faults."""

from __future__ import annotations

import secrets
import time

import pytest
from installations import Refused


def test_a_change_is_on_the_other_side_within_a_second(pair):
    pair.at_rest()
    deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]
    for here, there in ((pair.premises, pair.cloud), (pair.cloud, pair.premises)):
        word = secrets.token_hex(4)
        here.call("PATCH", f"/deals/{deal['id']}", {"source": word})
        began = time.monotonic()
        while there.get(f"/deals/{deal['id']}")["source"] != word:
            assert time.monotonic() - began < 1.0
            time.sleep(0.03)


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
