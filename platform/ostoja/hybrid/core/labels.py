"""Labels: a record's own level and its version; one site, the premises, owns them all."""

from __future__ import annotations

from collections.abc import Mapping

from .terms import ModelTerms
from .wire import Key, Row, Thing

EPOCH_BITS = 32


def floor_of(epoch: int) -> int:
    """The least label version of an incarnation: a restored owner's labels are newer than all that it forgot.

    The first incarnation starts at 0, so that a tenant's first labels are small numbers. A record made at another site
    starts at the floor of the owner's incarnation that this site knows.
    """
    ordinal = epoch >> EPOCH_BITS
    return ordinal << EPOCH_BITS if ordinal > 1 else 0


def version(thing: Thing, floor: int = 0) -> int:
    """The label version under which a record travels from its owner."""
    return max(thing.label_ver, floor)


def following(thing: Thing, floor: int = 0) -> int:
    """The version of the next label of a record."""
    return version(thing, floor) + 1


def relabelled(row: Row, level: int, floor: int = 0) -> Row:
    """The record with another level, under a new version."""
    return row._replace(level=level, label_ver=following(row, floor))


def whole_of(row: Row, terms: ModelTerms) -> Key | None:
    """The record that this one is a part of."""
    cell = row.cells.get(terms.inherits) if terms.inherits else None
    return None if cell is None or cell.value is None else Key(terms.fields[terms.inherits].refers, str(cell.value))


def inherited(row: Row, terms: ModelTerms, things: Mapping[Key, Thing]) -> int:
    """The level that a record has at least: that of the record it is a part of."""
    whole = whole_of(row, terms)
    parent = things.get(whole) if whole is not None else None
    return max(row.level, parent.level) if parent is not None else row.level


def reference(key: Key, things: Mapping[Key, Thing]) -> str:
    """What a reference finds here: ``present``, ``withheld``, ``deleted`` or ``not yet``."""
    thing = things.get(key)
    if thing is None:
        return "not yet"
    if isinstance(thing, Row):
        return "present"
    return "withheld" if thing.withheld else "deleted"
