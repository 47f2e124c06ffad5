"""Whether two sites hold the same: keyed hashes of every record that may travel, compared from the root down to the keys."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping

import orjson
from django.db import connection

from .exchange import Exchange
from .install import CLOUD_CEILING, view_of
from .models import Conflict, Parked
from .sending import as_sender
from .tables import Table

BUCKETS = 256
MASK = (1 << 64) - 1


def seed_of(link) -> int:
    """The 64-bit key of a link's hashes: its two sites know it, so that a hash is no dictionary for others."""
    digest = hashlib.sha256(f"verify:{link.pk}:{link.fingerprint}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


def tables_and_ceiling(exchange: Exchange) -> tuple[list[Table], int, int]:
    """(the tables of which both sites hold rows, the ceiling of what both hold, the ceiling of the views to read through)."""
    ceiling = min(exchange.here.ceiling, exchange.link.site.ceiling)
    view = 1 if exchange.here.in_cloud or ceiling > CLOUD_CEILING else CLOUD_CEILING
    return [t for t in exchange.tables if t.holdable(ceiling)], ceiling, view


def _leaf(table: Table, ceiling: int, seed: int) -> str:
    values = ", ".join(f'v."{name}"' for name in table.open(ceiling))
    return f"hashtextextended(v.id::text || ROW({values})::text, {seed})"


def roots(exchange: Exchange) -> dict[str, int]:
    """{model: the sum of the hashes of its records}, as far as both sites hold them."""
    tables, ceiling, view = tables_and_ceiling(exchange)
    seed, out = seed_of(exchange.link), {}
    with as_sender(view), connection.cursor() as cursor:
        for table in tables:
            cursor.execute(f'SELECT coalesce(sum({_leaf(table, ceiling, seed)}), 0) FROM "{view_of(table, view)}" v')
            out[table.label] = int(cursor.fetchone()[0]) & MASK
    return out


def root(of_models: Mapping[str, int]) -> str:
    """One hash of all models' roots."""
    return hashlib.sha256(orjson.dumps(dict(sorted(of_models.items())))).hexdigest()[:32]


def buckets(exchange: Exchange, label: str) -> list[int]:
    """256 sums of one model's hashes, by the last two digits of the key."""
    tables, ceiling, view = tables_and_ceiling(exchange)
    sums = [0] * BUCKETS
    for table in (t for t in tables if t.label == label):
        with as_sender(view), connection.cursor() as cursor:
            cursor.execute(
                f"SELECT right(v.id::text, 2), sum({_leaf(table, ceiling, seed_of(exchange.link))}) "
                f'FROM "{view_of(table, view)}" v GROUP BY 1'
            )
            for place, total in cursor.fetchall():
                sums[int(place, 16)] = int(total) & MASK
    return sums


def bucket(exchange: Exchange, label: str, number: int) -> dict[str, int]:
    """{record: hash} of one bucket."""
    tables, ceiling, view = tables_and_ceiling(exchange)
    for table in (t for t in tables if t.label == label):
        with as_sender(view), connection.cursor() as cursor:
            cursor.execute(
                f'SELECT v.id::text, {_leaf(table, ceiling, seed_of(exchange.link))} FROM "{view_of(table, view)}" v '
                "WHERE right(v.id::text, 2) = %s",
                [f"{number % BUCKETS:02x}"],
            )
            return dict(cursor.fetchall())
    return {}


def answer(exchange: Exchange, question: Mapping) -> dict:
    """What the other site asks: ``{"of": "roots"}``, ``{"of": "buckets", "model": …}``, ``{"of": "bucket", "model": …, "number": …}``."""
    label = str(question.get("model", ""))
    match question.get("of"):
        case "buckets":
            return {"buckets": buckets(exchange, label)}
        case "bucket":
            return {"leaves": bucket(exchange, label, int(question["number"]))}
    return {"roots": roots(exchange)}


def compare(exchange: Exchange, ask) -> list[dict]:
    """Every record in which the two sites differ, with the reason as far as this site knows one; none when they are equal.

    ``ask(question)`` brings the other site's answer.
    """
    ours, theirs = roots(exchange), ask({"of": "roots"})["roots"]
    found = []
    for label in sorted(ours.keys() | theirs.keys()):
        if ours.get(label, 0) == theirs.get(label, 0):
            continue
        pairs = zip(buckets(exchange, label), ask({"of": "buckets", "model": label})["buckets"], strict=True)
        for number in [n for n, (a, b) in enumerate(pairs) if a != b]:
            here, there = (
                bucket(exchange, label, number),
                ask({"of": "bucket", "model": label, "number": number})["leaves"],
            )
            for key in sorted(k for k in here.keys() | there.keys() if here.get(k) != there.get(k)):
                found.append({"model": label, "record": key, "why": _why(exchange, key, key in here, key in there)})
    return found


def _why(exchange: Exchange, key: str, here: bool, there: bool) -> str:
    record = uuid.UUID(key)
    if Conflict.objects.filter(record=record, state=Conflict.State.OPEN).exists():
        return "in conflict"
    if Parked.objects.filter(link=exchange.link, record=record).exists():
        return "parked"
    return "different" if here and there else "only here" if here else "only there"
