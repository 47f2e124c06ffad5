"""Egress: what leaves over a link, decided when it is sent, from what the record is then; when in doubt, less."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import NamedTuple

from .labels import version
from .link import LinkTerms, Site
from .purge import hidden
from .wire import Delete, Entry, Fields, Key, Marker, Op, Purge, Ship, Snap, Stash, Thing, Withheld


class Due(NamedTuple):
    """What the entries of one record in a batch come to: which fields, or the whole; the oldest label they were made under."""

    key: Key
    fields: frozenset[str] = frozenset()
    whole: bool = False
    again: bool = False
    label_ver: int | None = None


class Plan(NamedTuple):
    """A batch: its operations, and what the peer will hold. The latter is written before a byte leaves."""

    ops: tuple[Op, ...]
    ships: dict[Key, Ship]


def collapse(entries: Iterable[Entry], link: LinkTerms) -> list[Due]:
    """One Due for each record, in the order in which the records first appear.

    What came from the peer is not echoed. What was captured above the ceiling counts for nothing, unless a later label
    entry (L) or a resync (R) of the record says that it is to be told as it is now.
    """
    dues: dict[Key, Due] = {}
    for entry in entries:
        if entry.origin == link.peer:
            continue
        due = dues.get(entry.key) or Due(entry.key)
        key, fields, whole, again, seen = due
        if entry.op in "LR":
            whole, again = True, again or entry.op == "R"
        elif entry.level > link.ceiling:
            dues.setdefault(key, due)
            continue
        elif entry.op == "U":
            fields = fields | entry.fields
        else:
            whole = True
        if entry.op != "R":
            seen = entry.label_ver if seen is None else min(seen, entry.label_ver)
        dues[key] = Due(key, fields, whole, again, seen)
    return list(dues.values())


def decide(
    due: Due,
    thing: Thing | None,
    stash: Stash | None,
    ship: Ship | None,
    site: Site,
    link: LinkTerms,
    seq_to: int,
    in_scope: bool = True,
) -> tuple[list[Op], Ship | None]:
    """The operations for one record and what the peer holds after them. ``seq_to`` is the number that ends the batch."""
    if thing is None:
        return [], ship
    model = link.manifest.models.get(due.key.model)
    ver = version(thing, site.floor)
    if site.owner or not link.up:
        if model is None or hidden(thing, link.ceiling, in_scope):
            # whoever ever held it may keep something of it, were it a conflict under a delete
            held = ship is not None and (ship.held or due.whole)
            return ([Purge(due.key, thing.cl, ver)] if held else []), ship
    elif model is None or (not isinstance(thing, Marker) and thing.level > link.ceiling):
        return [], ship
    if isinstance(thing, Marker):
        return _of_marker(due, thing, stash, ship, link, ver)
    if not due.whole and not due.fields:
        return [], ship
    open_fields = model.open_at(link.ceiling)
    if not site.owner and due.label_ver is not None:
        ver = min(ver, due.label_ver)
    if due.whole or ship is None or not ship.held or ship.seq > link.acked:
        cells = _with_owed({n: c for n, c in thing.cells.items() if n in open_fields}, stash, link)
        return [Snap(due.key, thing.cl, ver, thing.level, cells)], Ship(True, ver, seq_to)
    wanted = with_groups(due.fields, model.group_of) & open_fields
    cells = {n: thing.cells[n] for n in sorted(wanted) if n in thing.cells}
    cells = _with_owed(cells, stash, link)
    if not cells:
        return [], ship
    return [Fields(due.key, thing.cl, ver, cells)], ship if ver <= ship.label_ver else ship._replace(label_ver=ver)


def _with_owed(cells: dict, stash: Stash | None, link: LinkTerms) -> dict:
    return {**stash.cells, **cells} if link.up and stash is not None else cells


def _of_marker(due, marker: Marker, stash, ship, link, ver) -> tuple[list[Op], Ship | None]:
    ops: list[Op] = []
    if marker.cl % 2 == 0:
        if (due.whole and ship is not None) or due.again:
            ops.append(Delete(due.key, marker.cl, ver, marker.stamp))
            ship = Ship(False, ver)
    elif stash is not None and link.up and (due.fields or due.whole):
        ops.append(Snap(due.key, stash.cl, stash.label_ver, 0, stash.cells))
    if marker.withheld and due.again and link.up:
        ops.append(Withheld(due.key, marker.cl, marker.label_ver))
    return ops, ship


def with_groups(fields: Set[str], group_of: Mapping[str, tuple[str, ...]]) -> frozenset[str]:
    """The fields and all that move with them as one."""
    return frozenset(fields).union(*(group_of[n] for n in fields if n in group_of))


def plan(
    entries: Iterable[Entry],
    things: Mapping[Key, Thing],
    stashes: Mapping[Key, Stash],
    ships: Mapping[Key, Ship],
    site: Site,
    link: LinkTerms,
    seq_to: int,
    outside: frozenset[Key] = frozenset(),
) -> Plan:
    """The batch for these entries over what the store holds in the same snapshot."""
    ops: list[Op] = []
    after: dict[Key, Ship] = {}
    for due in collapse(entries, link):
        key = due.key
        before = ships.get(key)
        found, ship = decide(
            due, things.get(key), stashes.get(key), before, site, link, seq_to, in_scope=key not in outside
        )
        ops += found
        if ship is not None and ship != before:
            after[key] = ship
    return Plan(tuple(ops), after)
