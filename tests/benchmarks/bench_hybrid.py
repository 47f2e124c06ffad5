"""The link between two sites, measured: applying, catching up, bytes on the wire, verifying, and what capture costs a write.

Run it by name (``uv run pytest tests/benchmarks/bench_hybrid.py -s``); it prints one JSON line. ``HYBRID_ROWS`` is the number of
records of the measurements (20,000), ``HYBRID_QUEUED`` that of the changes to catch up with (864,000: ten a second for a
day), ``HYBRID_VERIFIED`` that of the rows that are compared (1,000,000). Both sites lie in one database, on one machine.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from pathlib import Path

from django.db import connection

from ostoja.hybrid import verifying
from ostoja.hybrid.exchange import Message
from ostoja.journal.context import changing
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context

sys.path.insert(0, str(Path(__file__).parent.parent / "hybrid"))

from two_sites import SYSTEM, Pair, do

ROWS = int(os.environ.get("HYBRID_ROWS", "20000"))
QUEUED = int(os.environ.get("HYBRID_QUEUED", "864000"))
VERIFIED = int(os.environ.get("HYBRID_VERIFIED", "1000000"))
SINGLE = 1000
PROBES = 50


def carry(pair, source, target) -> dict:
    """One message from one site to the other, with the time of every step."""
    began = time.perf_counter()
    with tenant_context(source):
        message = pair.exchange(source).outgoing()
    planned = time.perf_counter()
    packed = message.pack()
    sent = time.perf_counter()
    with tenant_context(target):
        exchange = pair.exchange(target)
        read = Message.unpack(packed)
        exchange.incoming(read)
    done = time.perf_counter()
    ops = sum(len(e.ops) for e in message.envelopes)
    return {"ops": ops, "bytes": len(packed), "plan": planned - began, "apply": done - sent, "all": done - began}


def drain(pair, source, target) -> list[dict]:
    """Messages until the source has nothing left to say."""
    steps = []
    while True:
        steps.append(carry(pair, source, target))
        with tenant_context(target):
            back = pair.exchange(target).outgoing()
        with tenant_context(source):
            exchange = pair.exchange(source)
            exchange.incoming(Message.unpack(back.pack()))
            if not exchange.waiting():
                return steps


def written(tenant, sql: str, params=()) -> float:
    """A statement of a person at one site; answers how many seconds it took."""
    with tenant_context(tenant), changing(SYSTEM, "change"), connection.cursor() as cursor:
        began = time.perf_counter()
        cursor.execute(sql, params)
        return time.perf_counter() - began


def singles(tenant) -> float:
    """The median of single-row changes, each a transaction, in milliseconds."""
    times = []
    with tenant_context(tenant):
        keys = list(Party.objects.values_list("pk", flat=True)[:SINGLE])
        for number, key in enumerate(keys):
            began = time.perf_counter()
            with changing(SYSTEM, "change"), connection.cursor() as cursor:
                cursor.execute("UPDATE party_party SET city = %s WHERE id = %s", [f"Town {number}", str(key)])
            times.append(time.perf_counter() - began)
    return statistics.median(times) * 1000


def fill(tenant, count: int) -> None:
    """So many organisations."""
    with tenant_context(tenant), changing(SYSTEM, "add"):
        for start in range(0, count, 5000):
            Party.objects.bulk_create(
                Party(kind="org", name=f"Company number {n}", city="Gdynia", is_customer=True)
                for n in range(start, min(count, start + 5000))
            )


def wal(tenant) -> int:
    """Where the write-ahead log stands, in bytes."""
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


def measured(lender) -> dict:
    """All measures, from two sites made for it."""
    plain = lender.lend()
    fill(plain, SINGLE)
    start = wal(plain)
    without, wal_without = singles(plain), wal(plain) - start
    pair = Pair(lender.lend(), lender.lend())
    pair.load()
    fill(pair.premises, ROWS)
    first = drain(pair, pair.premises, pair.cloud)
    start = wal(pair.premises)
    with_capture, wal_with = singles(pair.premises), wal(pair.premises) - start
    drain(pair, pair.premises, pair.cloud)
    local = written(pair.premises, "UPDATE party_party SET city = 'Town ' || left(id::text, 3), industry = 'Steel'")
    changed = drain(pair, pair.premises, pair.cloud)

    rounds = max(1, QUEUED // ROWS)
    for number in range(rounds):
        written(pair.premises, "UPDATE party_party SET city = 'Round ' || %s || left(id::text, 2)", [number])
    began = time.perf_counter()
    behind = drain(pair, pair.premises, pair.cloud)
    caught_up = time.perf_counter() - began

    small = do(pair.premises, Party, "add", {"kind": "org", "name": "Single", "is_customer": True})
    pair.talk()
    delays = []
    for number in range(PROBES):
        do(pair.premises, small, data={"city": f"Town {number}"})
        delays.append(carry(pair, pair.premises, pair.cloud)["all"])
        pair.talk()

    fill(pair.premises, max(0, VERIFIED - ROWS))
    with tenant_context(pair.premises):
        exchange = pair.exchange(pair.premises)
        began = time.perf_counter()
        verifying.roots(exchange)
        verified = time.perf_counter() - began

    ops = sum(s["ops"] for s in changed)
    return {
        "benchmark": "hybrid",
        "first_load_per_second": round(ROWS / sum(s["all"] for s in first)),
        "applied_per_second": round(ops / sum(s["apply"] for s in changed)),
        "planned_per_second": round(ops / sum(s["plan"] for s in changed)),
        "apply_to_plain_update": round(sum(s["apply"] for s in changed) / local, 2),
        "bytes_per_change": round(sum(s["bytes"] for s in changed) / ops, 1),
        "queued": rounds * ROWS,
        "caught_up_seconds": round(caught_up, 1),
        "caught_up_bytes": sum(s["bytes"] for s in behind),
        "one_change_ms": round(statistics.median(delays) * 1000, 1),
        "verified_rows": max(VERIFIED, ROWS),
        "verified_seconds": round(verified, 2),
        "write_ms": round(without, 3),
        "write_ms_captured": round(with_capture, 3),
        "wal_ratio": round(wal_with / wal_without, 2),
    }


def test_hybrid(lender, capsys):
    line = measured(lender)
    with capsys.disabled():
        print("\n" + json.dumps(line))
    assert line["bytes_per_change"] <= 60 and line["wal_ratio"] <= 2
