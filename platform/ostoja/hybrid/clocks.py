"""The clocks of records as the core sees them: read in one statement, written in one statement."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field

import orjson
from django.db import connection

from .batches import array, texts
from .core.terms import OPEN, SEALED
from .core.wire import ZERO, Cell, Marker, Row, Ship, Stamp, Thing

COLUMNS = "id::text, model, cl, hlc, site, stamps::text, top, withheld, label_ver, ships::text"

ROWS = """
FROM unnest(%s::uuid[], %s::text[], %s::int[], %s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::bool[], %s::bigint[], %s::text[])
  AS r(id, model, cl, hlc, site, stamps, top, withheld, label_ver, ships)
"""

STAMPS = """
UPDATE hybrid_clock c SET stamps = r.stamps::jsonb, top = greatest(r.top, c.top)
FROM unnest(%s::uuid[], %s::text[], %s::bigint[]) AS r(id, stamps, top) WHERE c.id = r.id
"""

CHANGE = f"""
UPDATE hybrid_clock c SET cl = r.cl, hlc = r.hlc, site = r.site, stamps = r.stamps::jsonb, top = greatest(r.top, c.top),
  withheld = r.withheld, label_ver = r.label_ver, ships = r.ships::jsonb
{ROWS} WHERE c.id = r.id
"""

WRITE = f"""
INSERT INTO hybrid_clock AS c (id, model, cl, hlc, site, stamps, top, withheld, label_ver, ships)
SELECT r.id, r.model, r.cl, r.hlc, r.site, r.stamps::jsonb, r.top, r.withheld, r.label_ver, r.ships::jsonb
{ROWS}
ON CONFLICT (id) DO UPDATE SET cl = excluded.cl, hlc = excluded.hlc, site = excluded.site, stamps = excluded.stamps,
  top = greatest(excluded.top, c.top), withheld = excluded.withheld, label_ver = excluded.label_ver, ships = excluded.ships
"""


@dataclass(slots=True)
class Clock:
    """The clock of one record: ``whole`` is the stamp of every field that has none of its own in ``stamps``.

    ``deep``: more of it than single stamps is not as it was read.
    """

    model: str
    cl: int
    whole: Stamp
    stamps: dict[str, list[int]]
    top: int
    withheld: bool = False
    label_ver: int = 0
    ships: dict[str, list[int]] = field(default_factory=dict)
    deep: bool = False

    @property
    def alive(self) -> bool:
        """Whether there is a row of it here."""
        return self.cl % 2 == 1 and not self.withheld

    def cells(self, values: Mapping[str, str | None]) -> dict[str, Cell]:
        """Values with their stamps."""
        said, whole = self.stamps, self.whole
        return {n: self.cell(n, value) if n in said else Cell(value, whole) for n, value in values.items()}

    def cell(self, name: str, value: str | None) -> Cell:
        """A value with its stamp."""
        said = self.stamps.get(name)
        if said is None:
            return Cell(value, self.whole)
        return Cell(value, Stamp(said[0], said[1]), Stamp(said[2], said[3]) if len(said) > 3 else ZERO)

    def marker(self, level: int) -> Marker:
        """What is left of the record, when it has no content here."""
        return Marker(self.cl, SEALED if self.withheld else level, self.label_ver, self.whole, self.withheld)

    def thing(self, values: Mapping[str, str | None] | None, level: int = OPEN) -> Thing | None:
        """The record with these values; None when it should be here and is not."""
        if not self.alive:
            return self.marker(level)
        return None if values is None else Row(self.cells(values), self.cl, level, self.label_ver)

    def ship(self, peer: int) -> Ship | None:
        """What a site holds of it, None when it never held anything."""
        said = self.ships.get(str(peer))
        return Ship(bool(said[0]), said[1], said[2]) if said else None

    def shipped(self, peer: int, ship: Ship) -> None:
        """Note what a site holds of it."""
        self.ships[str(peer)] = [int(ship.held), ship.label_ver, ship.seq]
        self.deep = True

    def becomes(self, before: Thing | None, after: Thing) -> None:
        """Take over the stamps of what the record is now."""
        lives_on = isinstance(before, Row) and isinstance(after, Row) and not self.withheld
        if not lives_on or (self.cl, self.label_ver) != (after.cl, after.label_ver):
            self.deep = True
        self.cl, self.label_ver = after.cl, after.label_ver
        if isinstance(after, Marker):
            self.whole, self.stamps, self.withheld = after.stamp, {}, after.withheld
            self.top = max(self.top, after.stamp.hlc)
            return
        self.withheld = False
        known = before.cells if isinstance(before, Row) else {}
        if not isinstance(before, Row) and after.cells:
            self.whole, self.stamps = Counter(c.stamp for c in after.cells.values()).most_common(1)[0][0], {}
            self.top = max(self.top, self.whole.hlc)
        for name, cell in after.cells.items():
            if known.get(name) is not cell:
                self.say(name, cell)

    def say(self, name: str, cell: Cell) -> None:
        """Note the stamp of one field."""
        if cell.stamp == self.whole and cell.base == ZERO:
            self.stamps.pop(name, None)
        else:
            self.stamps[name] = [*cell.stamp] if cell.base == ZERO else [*cell.stamp, *cell.base]
        self.top = max(self.top, cell.stamp.hlc)


def new(model: str) -> Clock:
    """The clock of a record that was not known here."""
    return Clock(model, 0, ZERO, {}, 0)


def parse(row: tuple) -> tuple[str, Clock]:
    """(key, clock) of a row of ``COLUMNS``."""
    key, model, cl, hlc, site, stamps, top, withheld, label_ver, ships = row
    stamps = {} if stamps == "{}" else orjson.loads(stamps)
    ships = {} if ships == "{}" else orjson.loads(ships)
    return key, Clock(model, cl, Stamp(hlc, site), stamps, top, withheld, label_ver, ships)


def read(keys: Iterable[str], *, source: str = "hybrid_clock", lock: bool = False) -> dict[str, Clock]:
    """The clocks of these records by key."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {COLUMNS} FROM {source} WHERE id = ANY(%s::uuid[])" + (" ORDER BY id FOR UPDATE" if lock else ""),
            [array(keys)],
        )
        return dict(map(parse, cursor.fetchall()))


def write(clocks: Mapping[str, Clock], known: Container[str] = ()) -> None:
    """Write these clocks; ``known`` are those that were read and locked, which is quicker to change than what may be new."""
    stamps, changed, fresh = {}, {}, {}
    for key, clock in clocks.items():
        (fresh if key not in known else changed if clock.deep else stamps)[key] = clock
    _write_stamps(stamps)
    _write(CHANGE, changed)
    _write(WRITE, fresh)


def _write_stamps(clocks: Mapping[str, Clock]) -> None:
    if not clocks:
        return
    some = list(clocks.values())
    with connection.cursor() as cursor:
        cursor.execute(STAMPS, [array(clocks), texts([_json(c.stamps) for c in some]), array([c.top for c in some])])


def _write(sql: str, clocks: Mapping[str, Clock]) -> None:
    if not clocks:
        return
    some = list(clocks.values())
    with connection.cursor() as cursor:
        cursor.execute(sql, [
            array(clocks), array(c.model for c in some), array(c.cl for c in some), array(c.whole.hlc for c in some),
            array(c.whole.site for c in some), texts(_json(c.stamps) for c in some), array(c.top for c in some),
            array(c.withheld for c in some), array(c.label_ver for c in some), texts(_json(c.ships) for c in some),
        ])  # fmt: skip


def _json(said: dict) -> str:
    return orjson.dumps(said).decode() if said else "{}"


def levels(keys: Iterable[str], *, source: str = "hybrid_label") -> dict[str, int]:
    """The levels of those of these records that have a label."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT id::text, level FROM {source} WHERE id = ANY(%s::uuid[])", [array(keys)])
        return dict(cursor.fetchall())
