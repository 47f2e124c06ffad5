"""Unique clashes: two sites made the same natural key; both rows stay, one is marked, and the same one everywhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .terms import Unique
from .wire import Key, Row


def values(row: Row, rule: Unique) -> tuple | None:
    """What the rule compares; None when a value is missing or empty, which clashes with nothing."""
    found = tuple(row.cells[n].value if n in row.cells else None for n in rule.fields)
    return None if any(v is None or v == "" for v in found) else found


def losers(rows: Mapping[Key, Row] | Iterable[tuple[Key, Row]], rule: Unique) -> dict[Key, Key]:
    """Loser -> winner among living rows of one model. The smallest id wins: the oldest, for UUIDv7, whoever computes it."""
    first: dict[tuple, Key] = {}
    lost: dict[Key, Key] = {}
    for key, row in sorted(rows.items() if isinstance(rows, Mapping) else rows, key=lambda pair: pair[0]):
        what = values(row, rule)
        if what is None:
            continue
        winner = first.setdefault(what, key)
        if winner != key:
            lost[key] = winner
    return lost
