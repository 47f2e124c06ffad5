"""What a site holds of the records that a batch names: rows with their stamps, labels, what is owed, parked and on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from django.db import connection

from . import clocks as clocking
from .batches import array
from .clocks import Clock
from .core.apply import Held, Parked
from .core.purge import WHOLE
from .core.wire import Cell, Key, Row, Stamp, Stash, op_from
from .models import Parked as ParkedRow
from .models import Stash as StashRow
from .tables import Table, Tables

ALIAS = "~"
UNNUMBERED = "FROM journal_change WHERE seq IS NULL AND (actor <> %s OR origin = %s)"
UNACKNOWLEDGED = "FROM journal_change WHERE seq > %s AND (actor <> %s OR origin = %s)"


@dataclass
class Holding:
    """The state of some records: what the core sees (``held``), and their clocks and values as they stand in the database."""

    held: Held
    clocks: dict[str, Clock] = field(default_factory=dict)
    levels: dict[str, int] = field(default_factory=dict)
    values: dict[str, dict[str, str | None]] = field(default_factory=dict)


class Reader:
    """Reads for one link, inside of the transaction that applies; rows and clocks are locked in the order in which people do."""

    def __init__(self, tables: Tables, link, peer: int, here: int, acked: int):
        self.tables, self.link, self.peer, self.here, self.acked = tables, link, peer, here, acked

    def read(self, keys: Iterable[Key], names: Collection[str] | None = None) -> Holding:
        """The state of these records; with ``names`` the core sees just these fields of them, unless more is owed or waits."""
        by_model: dict[str, list[Key]] = defaultdict(list)
        for key in keys:
            by_model[key.model].append(key)
        ids = [key.id for some in by_model.values() for key in some]
        out = Holding(Held())
        if not ids:
            return out
        for label, some in by_model.items():
            table = self.tables.get(label)
            if table is not None:
                out.values |= values(table, (key.id for key in some), names, lock=True)
        out.clocks = clocking.read(ids, lock=True)
        labels, aside, stashes, parked = self._kept()
        out.levels = clocking.levels(ids) if labels else {}
        aside = absent(ids) if aside else {}
        stashes, parked = self._stashes(ids) if stashes else {}, self._parked(ids) if parked else {}
        if (stashes or parked) and names is not None:
            return self.read(keys)
        things, ships = {}, {}
        for some in by_model.values():
            for key in some:
                id = key.id
                clock = out.clocks.get(id)
                if clock is None:
                    continue
                row, level = out.values.get(id), out.levels.get(id, 0) if out.levels else 0
                if not clock.alive:
                    things[key] = clock.marker(level)
                elif row is not None:
                    if id in aside:
                        row = row | {n: value for n, value in aside[id].items() if n in row and row[n] is None}
                    things[key] = Row(clock.cells(row), clock.cl, level, clock.label_ver)
                if clock.ships and (ship := clock.ship(self.peer)) is not None:
                    ships[key] = ship
        out.held = Held(things, stashes, ships, self._pending([key.id for key in things]), parked)
        return out

    def _kept(self) -> tuple[bool, ...]:
        """Whether there are any labels, references kept aside, stashes, parked operations: mostly there are none."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM hybrid_label), EXISTS (SELECT FROM hybrid_absent), EXISTS (SELECT FROM hybrid_stash), "
                "EXISTS (SELECT FROM hybrid_parked WHERE link_id = %s)",
                [str(self.link.pk)],
            )
            return cursor.fetchone()

    def _stashes(self, ids: list[str]) -> dict[Key, Stash]:
        found = StashRow.objects.raw("SELECT * FROM hybrid_stash WHERE id = ANY(%s::uuid[])", [array(ids)])
        return {Key(s.model, str(s.pk)): stash_of(s) for s in found}

    def _parked(self, ids: list[str]) -> dict[Key, list[Parked]]:
        found: dict[Key, list[Parked]] = {}
        rows = ParkedRow.objects.raw(
            "SELECT * FROM hybrid_parked WHERE link_id = %s AND record = ANY(%s::uuid[]) ORDER BY id",
            [str(self.link.pk), array(ids)],
        )
        for row in rows:
            key = Key(row.about, str(row.record))
            found.setdefault(key, []).append(Parked(key, op_from(row.operation), row.reason, self.peer))
        return found

    def _pending(self, ids: list[str]) -> dict[Key, frozenset[str]]:
        """Fields changed here that the peer has not acknowledged; ``*`` for a whole record."""
        found: dict[Key, frozenset[str]] = {}
        ours = [self.acked, f"site:{self.link.pk}", self.here]
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT EXISTS (SELECT {UNNUMBERED}) OR EXISTS (SELECT {UNACKNOWLEDGED})", [*ours[1:], *ours]
            )
            if not ids or not cursor.fetchone()[0]:
                return found
            cursor.execute(
                "SELECT c.model, c.record::text, c.op, c.fields FROM journal_change c WHERE c.record = ANY(%s::uuid[]) "
                "AND (c.seq IS NULL OR c.seq > %s) AND (c.actor <> %s OR c.origin = %s)",
                [array(ids), *ours],
            )
            for model, id, op, columns in cursor.fetchall():
                table = self.tables.get(model)
                if table is None:
                    continue
                if op == "U":
                    fields = frozenset(table.by_column[c] for c in columns if c in table.by_column)
                else:
                    fields = frozenset([WHOLE])
                key = Key(model, id)
                found[key] = found.get(key, frozenset()) | fields
        return found


def values(
    table: Table, ids: Iterable[str], names: Collection[str] | None = None, *, lock: bool = False
) -> dict[str, dict[str, str | None]]:
    """{key: {field: text}} of these rows of a table: all fields that travel, or those of these names."""
    names = [n for n in table.columns if names is None or n in names]
    columns = "".join(f', "{table.columns[n].column}"::text' for n in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT id::text{columns} FROM "{table.name}" WHERE id = ANY(%s::uuid[])'
            + (" ORDER BY id FOR NO KEY UPDATE" if lock else ""),
            [array(ids)],
        )
        return {id: dict(zip(names, row, strict=True)) for id, *row in cursor.fetchall()}


def absent(ids: Iterable[str]) -> dict[str, dict[str, str]]:
    """{record: {field: what it refers to}} of references that are kept aside: the key, or the alias behind its mark."""
    found: dict[str, dict[str, str]] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT record::text, field, target::text, alias FROM hybrid_absent WHERE record = ANY(%s::uuid[])",
            [array(ids)],
        )
        for record, name, target, alias in cursor.fetchall():
            found.setdefault(record, {})[name] = f"{ALIAS if alias else ''}{target}"
    return found


def stash_of(row: StashRow) -> Stash:
    """What a stash row says."""
    cells = {n: Cell(c[0], Stamp(c[1], c[2]), Stamp(c[3], c[4])) for n, c in row.cells.items()}
    return Stash(cells, row.cl, row.label_ver)


def keep_stash(key: Key, stash: Stash | None) -> None:
    """Write or drop what is owed of a record."""
    if stash is None:
        StashRow.objects.filter(pk=key.id).delete()
        return
    cells = {n: [c.value, *c.stamp, *c.base] for n, c in stash.cells.items()}
    StashRow.objects.update_or_create(
        pk=key.id, defaults={"model": key.model, "cl": stash.cl, "label_ver": stash.label_ver, "cells": cells}
    )
