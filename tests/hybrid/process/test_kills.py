"""``kill -9`` of every program of either side, at any moment and in the middle of applying; and a disk that is full."""

from __future__ import annotations

import random
import secrets
import time

import pytest
from installations import Refused, sentence_in, until
from workload import Work

SEED = 20262
TARGETS = (
    ("p", "agent"),
    ("c", "web"),
    ("p", "web"),
    ("c", "worker"),
    ("p", "postgres"),
    ("c", "postgres"),
    ("p", "agent"),
)


def test_nothing_is_lost_or_doubled_when_programs_are_killed_while_people_work(pair, line):
    chance = random.Random(SEED)
    with Work(pair, SEED) as work:
        for side, part in TARGETS:
            time.sleep(chance.uniform(0.5, 1.5))
            until(lambda side=side, part=part: pair.sides[side].kill(part), 60, pair.sides[side].log.read_text)
        time.sleep(1.0)
    for side in pair.sides.values():
        until(side.answers, 60, side.log.read_text)
    assert work.ledger.known > 30, (work.ledger.known, work.ledger.refused, work.samples)
    work.judge()


@pytest.mark.parametrize(("side", "part"), [("p", "agent"), ("p", "postgres"), ("c", "web"), ("c", "postgres")])
def test_what_is_killed_in_the_middle_of_applying_has_applied_all_or_nothing_and_goes_on(pair, line, side, part):
    here, there = pair.sides[side], pair.sides["c" if side == "p" else "p"]
    deal, other = (one["id"] for one in there.call("GET", "/deals?limit=2&state=open")["items"])
    word = secrets.token_hex(4)
    with here.locked("sales_deal", deal) as somebody_waits:
        there.call("PATCH", f"/deals/{other}", {"source": word})
        there.call("PATCH", f"/deals/{deal}", {"source": word})
        until(somebody_waits, 30, here.log.read_text)
        assert here.kill(part)
    for key in (deal, other):
        until(lambda key=key: here.has(f"/deals/{key}", "source", word), 60, here.log.read_text)
    pair.at_rest()


def test_a_full_disk_is_told_and_mends_itself_when_there_is_room(pair, line):
    if not pair.disk.mounted:
        pytest.skip("Only root of a machine that mounts files can have a small disk to fill.")
    deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]["id"]

    def refuses() -> bool:
        try:
            pair.premises.call("PATCH", f"/deals/{deal}", {"notes": secrets.token_hex(5000)}, timeout=5)
        except Refused as error:
            return error.unknown
        return False

    with pair.disk.full():
        until(refuses, 60)
        pair.cloud.call("PATCH", f"/deals/{deal}", {"source": "while the disk was full"})
        until(lambda: sentence_in(pair.premises.log, "are free on the disk"), 30, pair.premises.log.read_text)
    until(lambda: sentence_in(pair.premises.log, "There is room again"), 30, pair.premises.log.read_text)
    until(pair.premises.answers, 90, pair.premises.log.read_text)
    until(lambda: pair.premises.has(f"/deals/{deal}", "source", "while the disk was full"), 60)
    pair.at_rest()
    pair.equal()
