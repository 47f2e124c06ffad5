"""Purge: content goes, a marker without content stays, and what is still owed upwards is kept until acknowledged."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .labels import version
from .terms import SEALED
from .wire import Key, Marker, Purge, Receipt, Row, Ship, Stamp, Stash, Thing

WHOLE = "*"


def last_stamp(thing: Thing | None) -> Stamp:
    """The largest stamp of a record."""
    if isinstance(thing, Row):
        return max((c.stamp for c in thing.cells.values()), default=Stamp(0, 0))
    return thing.stamp if thing is not None else Stamp(0, 0)


def strip(thing: Thing | None, order: Purge, pending: frozenset[str]) -> tuple[Marker, Stash | None]:
    """What is left of a record after a purge, and what is still owed.

    ``pending`` are the fields with changes made here that the site above has not acknowledged (``*``: all of them).
    A death is never forgotten: the causal length stays.
    """
    cl = max(order.cl, thing.cl if thing is not None else 0)
    marker = Marker(cl, SEALED, order.label_ver, last_stamp(thing), withheld=True)
    if not isinstance(thing, Row) or not pending:
        return marker, None
    owed = {n: c for n, c in thing.cells.items() if n in pending or WHOLE in pending}
    return marker, Stash(owed, thing.cl, thing.label_ver) if owed else None


def hidden(thing: Thing, ceiling: int, in_scope: bool = True) -> bool:
    """Whether a record as it is now may not pass a link."""
    return thing.level > ceiling or not in_scope


def due(
    ships: Mapping[Key, Ship],
    things: Mapping[Key, Thing],
    ceiling: int,
    floor: int = 0,
    outside: frozenset[Key] = frozenset(),
) -> list[Purge]:
    """The purges that the peer of a link has not receipted: the control lane sends them until it has.

    ``outside`` are the keys that are out of the link's scope or of its manifest.
    """
    return [
        Purge(key, thing.cl, version(thing, floor))
        for key, ship in sorted(ships.items())
        if ship.held and (thing := things.get(key)) is not None and hidden(thing, ceiling, key not in outside)
    ]


def receipted(ship: Ship | None, receipt: Receipt) -> Ship | None:
    """What the peer holds after its receipt; a receipt of an older label than the last content says nothing."""
    if ship is not None and receipt.label_ver > ship.label_ver:
        return Ship(False, receipt.label_ver)
    return ship


def released(stashes: Iterable[Key], pending: Mapping[Key, frozenset[str]]) -> list[Key]:
    """The stashes that are no longer owed: everything in them was acknowledged."""
    return [key for key in stashes if not pending.get(key)]


def closed_fields(row: Row, open_fields: frozenset[str]) -> Row:
    """The record without the fields that a new manifest no longer lets be held here."""
    return row._replace(cells={n: c for n, c in row.cells.items() if n in open_fields})
