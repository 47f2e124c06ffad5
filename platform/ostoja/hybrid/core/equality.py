"""Equality: keyed hashes of what both sides of a link hold by definition; equal roots are the only proof of health."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import orjson

from .wire import Key, Marker, Row, Thing

BITS = 64
MASK = (1 << BITS) - 1


def leaf(key: Key, thing: Thing, fields: frozenset[str], secret: bytes) -> int:
    """64-bit hash of one record's open projection: values, stamps, causal length. Keyed per link: no dictionary oracle."""
    cells = thing.cells if isinstance(thing, Row) else {}
    shown = {n: [c.value, *c.stamp] for n, c in cells.items() if n in fields}
    body = orjson.dumps([*key, thing.cl, shown], option=orjson.OPT_SORT_KEYS)
    return int.from_bytes(hashlib.blake2b(body, digest_size=8, key=secret[:64]).digest(), "big")


def shared(key: Key, thing: Thing | None, ceiling: int) -> bool:
    """Whether both sides of a link hold this record: it lives and is not above the ceiling."""
    return isinstance(thing, Row) and thing.level <= ceiling


def bucket(key: Key, secret: bytes, count: int = 256) -> int:
    """The bucket of a record, 0..count-1."""
    digest = hashlib.blake2b(key.id.encode(), digest_size=4, key=secret[:64]).digest()
    return int.from_bytes(digest, "big") % count


def root(leaves: Iterable[int]) -> int:
    """The sum of leaves (or of buckets, or of roots); order does not matter, one change is one subtraction and one sum."""
    return sum(leaves) & MASK


def buckets(leaves: Mapping[Key, int], secret: bytes, count: int = 256) -> dict[int, int]:
    """Bucket -> sum of its leaves; empty ones are left out."""
    sums: dict[int, int] = {}
    for key, value in leaves.items():
        place = bucket(key, secret, count)
        sums[place] = (sums.get(place, 0) + value) & MASK
    return sums


def differing(ours: Mapping, theirs: Mapping) -> list:
    """The names (buckets, keys) whose hashes are not equal, or that one side lacks."""
    return sorted(name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name))


def leak(theirs: Iterable[Key], ships: Mapping, things: Mapping[Key, Thing], ceiling: int) -> list[Key]:
    """Records that the peer holds and must not: withheld now, or never shipped. Each is an alarm."""
    found = []
    for key in theirs:
        thing, ship = things.get(key), ships.get(key)
        closed = isinstance(thing, Marker) or (thing is not None and thing.level > ceiling)
        if closed or ship is None or not ship.held:
            found.append(key)
    return sorted(found)
