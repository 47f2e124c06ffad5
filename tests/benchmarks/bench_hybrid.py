"""The link between two sites, measured: applying, catching up, bytes on the wire, verifying, and what capture costs a write.

Run it by name (``uv run pytest tests/benchmarks/bench_hybrid.py -s``); it prints one JSON line for each test. ``HYBRID_ROWS``
is the number of records of the first (20,000); of the second ``HYBRID_VERIFIED`` is that of the records that are loaded and
compared (1,000,000), and ``HYBRID_QUEUED`` that of those that change while the line is down (864,000: ten a second for a
day, each of another record, so that nothing is spared by telling the last of several changes alone): first on the premises,
who push them, and then in the cloud, from which they are pulled. Both sites lie in one database, on one machine. The second
takes about twenty minutes.
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
from ostoja.kernel.ids import UUID7_SQL
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context

sys.path.insert(0, str(Path(__file__).parent.parent / "hybrid"))
sys.path.insert(0, str(Path(__file__).parent))

from other_site import other_site
from two_sites import SYSTEM, Pair, do

ROWS = int(os.environ.get("HYBRID_ROWS", "20000"))
QUEUED = int(os.environ.get("HYBRID_QUEUED", "864000"))
VERIFIED = int(os.environ.get("HYBRID_VERIFIED", "1000000"))
SINGLE = 1000
PROBES = 50
ROUNDS = 3
AT_ONCE = 10_000  # rows of one transaction where tables are filled and queues are made


def carry(pair, source, target) -> dict:
    """One message from one site to the other, with the time of every step."""
    began = time.perf_counter()
    with tenant_context(source):
        message = pair.exchange(source).outgoing()
    planned = time.perf_counter()
    packed = message.pack()
    sent = time.perf_counter()
    with tenant_context(target):
        pair.exchange(target).incoming(Message.unpack(packed))
    done = time.perf_counter()
    ops = sum(len(e.ops) for e in message.envelopes)
    return {"ops": ops, "bytes": len(packed), "plan": planned - began, "apply": done - sent, "all": done - began}


def drain(pair, source, target) -> list[dict]:
    """Messages until the source has nothing left to say; each is answered, as in the product, by how far the target is."""
    steps = []
    while True:
        steps.append(carry(pair, source, target))
        with tenant_context(target):
            answer = pair.exchange(target).outgoing(silent=True)
        with tenant_context(source):
            exchange = pair.exchange(source)
            exchange.incoming(Message.unpack(answer.pack()))
            if not exchange.waiting():
                return steps


def catch_up(pair, source, target) -> list[dict]:
    """The same of a long queue, to a process of its own: what comes next is read while the target takes what came before."""
    steps, ahead = [], None
    with other_site(target.slug, "push") as other, tenant_context(source):
        while True:
            exchange = pair.exchange(source)
            message = exchange.outgoing(ahead=ahead)
            packed = message.pack()
            answer = other.take(packed)
            ahead = exchange.ahead(message) if exchange.is_far(message) else None
            exchange.incoming(Message.unpack(answer.result()))
            steps.append({"ops": sum(len(e.ops) for e in message.envelopes), "bytes": len(packed)})
            if not exchange.waiting():
                return steps


def fetch_up(pair, source, target) -> list[dict]:
    """A long queue is pulled from a process of its own: what comes behind is asked for while this is taken."""
    steps = []
    with other_site(source.slug, "pull") as other, tenant_context(target):
        exchange = pair.exchange(target)

        def ask(behind: int = 0):
            message = exchange.outgoing(silent=True)
            message.behind = behind
            return other.take(message.pack())

        coming = ask()
        while True:
            packed = coming.result()
            message = Message.unpack(packed)
            steps.append({"ops": sum(len(e.ops) for e in message.envelopes), "bytes": len(packed)})
            told = message.envelopes[-1]
            if far := exchange.is_far(message):
                coming = ask(told.seq_to)
            exchange.incoming(message)
            if told.seq_to >= told.high_water:
                return steps
            if not far:
                coming = ask()


def settle(pair, source, target) -> float:
    """The target looks through what it got for what is to be told back, which in the product it does meanwhile; the seconds."""
    began = time.perf_counter()
    drain(pair, target, source)
    return time.perf_counter() - began


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
    """So many organisations, in transactions of a size as imports have it."""
    with tenant_context(tenant), changing(SYSTEM, "add"):
        first = Party.objects.create(kind="org", name="Company number 0", city="Gdynia", is_customer=True)
    own = {"id": UUID7_SQL, "number": "'B-' || n", "name": "'Company number ' || n"}
    columns = [f.column for f in Party._meta.concrete_fields]
    given = ", ".join(own.get(c, f'p."{c}"') for c in columns)
    names = ", ".join(f'"{c}"' for c in columns)
    sql = f"INSERT INTO party_party ({names}) SELECT {given} FROM party_party p, generate_series(%s, %s) n WHERE p.id = %s"  # noqa: S608
    for start in range(1, count, AT_ONCE):
        written(tenant, sql, [start, min(count, start + AT_ONCE) - 1, first.pk])


def queue(tenant, count: int, word: str) -> None:
    """So many changes, each of another record."""
    with tenant_context(tenant):
        keys = [str(k) for k in Party.objects.order_by("pk").values_list("pk", flat=True)[:count]]
    for start in range(0, count, AT_ONCE):
        some = "{" + ",".join(keys[start : start + AT_ONCE]) + "}"
        sql = "UPDATE party_party SET city = %s || left(id::text, 3), industry = %s WHERE id = ANY(%s::uuid[])"
        written(tenant, sql, [f"{word} ", f"{word}'s", some])


def loop_ms() -> int:
    """How many milliseconds a fixed piece of Python takes now: two runs are compared by it, for other work slows a machine."""
    known, began = {}, time.perf_counter()
    for n in range(300_000):
        known[n, "x"] = str(n)
    return round((time.perf_counter() - began) * 1000)


def wal(tenant) -> int:
    """Where the write-ahead log stands, in bytes."""
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn")
        return int(cursor.fetchone()[0])


def measured(lender) -> dict:
    """A table of some size: first load, batches, and single changes; from two sites made for it."""
    plain = lender.lend()
    fill(plain, SINGLE)
    start = wal(plain)
    without, wal_without = singles(plain), wal(plain) - start
    pair = Pair(lender.lend(), lender.lend())
    pair.load()
    fill(pair.premises, ROWS)
    first = drain(pair, pair.premises, pair.cloud)
    settle(pair, pair.premises, pair.cloud)
    start = wal(pair.premises)
    with_capture, wal_with = singles(pair.premises), wal(pair.premises) - start
    drain(pair, pair.premises, pair.cloud)
    local, changed, loop = 0.0, [], [loop_ms()]
    for number in range(ROUNDS):
        sql = "UPDATE party_party SET city = %s || left(id::text, 3), industry = %s"
        local += written(pair.premises, sql, [f"Town {number} ", f"Steel {number}"])
        changed += drain(pair, pair.premises, pair.cloud)
        settle(pair, pair.premises, pair.cloud)
    loop.append(loop_ms())

    small = do(pair.premises, Party, "add", {"kind": "org", "name": "Single", "is_customer": True})
    pair.talk()
    delays = []
    for number in range(PROBES):
        do(pair.premises, small, data={"city": f"Town {number}"})
        delays.append(carry(pair, pair.premises, pair.cloud)["all"])
        pair.talk()

    ops, applied = sum(s["ops"] for s in changed), sum(s["apply"] for s in changed)
    return {
        "benchmark": "hybrid",
        "first_load_per_second": round(ROWS / sum(s["all"] for s in first)),
        "applied_per_second": round(ops / applied),
        "planned_per_second": round(ops / sum(s["plan"] for s in changed)),
        "apply_to_plain_update": round(applied / local, 2),
        "bytes_per_change": round(sum(s["bytes"] for s in changed) / ops, 1),
        "one_change_ms": round(statistics.median(delays) * 1000, 1),
        "write_ms": round(without, 3),
        "write_ms_captured": round(with_capture, 3),
        "wal_ratio": round(wal_with / wal_without, 2),
        "loop_ms": loop,
    }


def measured_far_behind(lender) -> dict:
    """A large table: its first load, a long queue, and whether both sites are equal after it."""
    pair = Pair(lender.lend(), lender.lend())
    pair.load()
    rows = max(QUEUED, VERIFIED)
    fill(pair.premises, rows)
    loop, began = [loop_ms()], time.perf_counter()
    catch_up(pair, pair.premises, pair.cloud)
    loaded = time.perf_counter() - began
    settle(pair, pair.premises, pair.cloud)
    queue(pair.premises, QUEUED, "Town")
    loop.append(loop_ms())
    began = time.perf_counter()
    behind = catch_up(pair, pair.premises, pair.cloud)
    caught_up = time.perf_counter() - began
    settled = settle(pair, pair.premises, pair.cloud)
    queue(pair.cloud, QUEUED, "City")
    loop.append(loop_ms())
    began = time.perf_counter()
    pulled = fetch_up(pair, pair.cloud, pair.premises)
    fetched = time.perf_counter() - began
    settle(pair, pair.cloud, pair.premises)
    loop.append(loop_ms())
    roots, times = [], []
    for tenant in (pair.premises, pair.cloud):
        with tenant_context(tenant):
            exchange = pair.exchange(tenant)
            began = time.perf_counter()
            roots.append(verifying.root(verifying.roots(exchange)))
            times.append(time.perf_counter() - began)
    assert len(set(roots)) == 1, "The sites differ."
    assert sum(s["ops"] for s in behind) == sum(s["ops"] for s in pulled) == QUEUED
    return {
        "benchmark": "hybrid, far behind",
        "loaded": rows,
        "loaded_seconds": round(loaded, 1),
        "queued": QUEUED,
        "caught_up_seconds": round(caught_up, 1),
        "settled_seconds": round(settled, 1),
        "pulled_seconds": round(fetched, 1),
        "caught_up_bytes": sum(s["bytes"] for s in behind),
        "messages": len(behind),
        "verified_rows": rows,
        "verified_seconds": [round(t, 2) for t in times],
        "loop_ms": loop,
    }


def test_hybrid(lender, capsys):
    line = measured(lender)
    with capsys.disabled():
        print("\n" + json.dumps(line))
    assert line["bytes_per_change"] <= 60 and line["wal_ratio"] <= 2


def test_hybrid_far_behind(lender, capsys):
    line = measured_far_behind(lender)
    with capsys.disabled():
        print("\n" + json.dumps(line))
    assert line["caught_up_bytes"] <= 60 * line["queued"]
