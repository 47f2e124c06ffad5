"""Whether two sites hold the same: keyed hashes of every record that may travel, compared from the root down to the keys."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping

import orjson
from django.db import connection

from .core.terms import OPEN
from .exchange import Exchange
from .install import CLOUD_CEILING, view_of
from .models import Conflict, Parked
from .sending import as_sender

BUCKETS = 256


def key_of(link) -> bytes:
    """The key of a link's hashes: the two sites of the link know it, so that a hash is no dictionary for others."""
    return hashlib.sha256(f"verify:{link.pk}:{link.fingerprint}".encode()).digest()


def leaves(exchange: Exchange, only: set[str] | None = None) -> dict[str, dict[str, int]]:
    """{model: {record: hash}} of all that both sites should hold: the fields that are open to the cloud, as they stand here."""
    link, tables = exchange.link, exchange.tables
    ceiling = 1 if exchange.here.in_cloud else CLOUD_CEILING
    secret = key_of(link).hex()
    out: dict[str, dict[str, int]] = {}
    with as_sender(ceiling):
        for table in tables:
            if not table.holdable(CLOUD_CEILING) or only is not None and table.label not in only:
                continue
            names = table.open(OPEN)
            values = ", ".join(f'"{name}"' for name in names)
            with connection.cursor() as cursor:
                cursor.execute(
                    f"SELECT v.id::text, ('x' || left(md5('{secret}' || v.id || ROW({values})::text), 15))::bit(60)::bigint "
                    f'FROM "{view_of(table, ceiling)}" v'
                )
                out[table.label] = dict(cursor.fetchall())
    return out


def roots(exchange: Exchange) -> dict[str, int]:
    """{model: the sum of its leaves}."""
    return {label: sum(rows.values()) % 2**60 for label, rows in leaves(exchange).items()}


def root(of_models: Mapping[str, int]) -> str:
    """One hash of all models' roots."""
    return hashlib.sha256(orjson.dumps(dict(sorted(of_models.items())))).hexdigest()[:32]


def buckets(exchange: Exchange, label: str) -> list[int]:
    """256 sums of one model's leaves, by the last two digits of the key."""
    sums = [0] * BUCKETS
    for key, leaf in leaves(exchange, {label}).get(label, {}).items():
        sums[int(key[-2:], 16)] += leaf
    return [s % 2**60 for s in sums]


def bucket(exchange: Exchange, label: str, number: int) -> dict[str, int]:
    """The leaves of one bucket."""
    return {k: v for k, v in leaves(exchange, {label}).get(label, {}).items() if int(k[-2:], 16) == number}


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
