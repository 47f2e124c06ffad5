"""A line that drops, delays, doubles, reorders, truncates and corrupts: both sides work on, and nothing is lost or doubled."""

from __future__ import annotations

import time

from installations import until
from proxy import TOXICS
from workload import Work

SEED = 20261
GROUPS = (
    ("latency", "double", "again", "swap"),
    ("flip", "flip_answer", "flip_head", "truncate", "truncate_answer"),
    ("cut_request", "cut_answer", "lose_answer", "late", "hold"),
)
CHANCE = 0.25


def test_nothing_is_lost_or_doubled_whatever_the_line_does(pair, line):
    assert {name for group in GROUPS for name in group} == set(TOXICS)
    with Work(pair, SEED) as work:
        for group in GROUPS:
            with line.toxic(**dict.fromkeys(group, CHANCE)) as inflicted:
                until(
                    lambda group=group: all(inflicted[name] for name in group), 60,
                    lambda inflicted=inflicted: f"Not every toxic was inflicted: {inflicted}",
                )  # fmt: skip
        line.black_hole()
        time.sleep(1.0)
        line.down()
        time.sleep(1.5)
        line.up()
        time.sleep(1.0)
    assert work.ledger.known > 50, (work.ledger.known, work.ledger.refused, work.samples)
    work.judge()


def test_while_the_line_is_cut_both_sides_work_and_say_why_nothing_passes(pair, line):
    deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]["id"]
    line.down()
    assert "does not answer" in pair.trouble("p", "unreachable")
    pair.premises.call("PATCH", f"/deals/{deal}", {"source": "while it was cut"})
    pair.cloud.call("PATCH", f"/deals/{deal}", {"title": "Also while it was cut"})
    line.up()
    pair.at_rest()
    for side in pair.sides.values():
        found = side.get(f"/deals/{deal}")
        assert (found["source"], found["title"]) == ("while it was cut", "Also while it was cut")
    assert pair.words("p") == ""
