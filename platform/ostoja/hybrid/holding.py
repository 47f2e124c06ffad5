"""What a site holds of the records that a batch names: rows with their stamps, labels, what is owed, parked and on its way."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from django.db import connection

from . import clocks as clocking
from .clocks import Clock
from .core.apply import Held, Parked
from .core.purge import WHOLE
from .core.wire import Cell, Key, Stamp, Stash, op_from
from .models import Absent
from .models import Parked as ParkedRow
from .models import Stash as StashRow
from .tables import Table, Tables

ALIAS = "~"


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

    def read(self, keys: Iterable[Key]) -> Holding:
        """The state of these records."""
        by_model: dict[str, list[str]] = defaultdict(list)
        for key in keys:
            by_model[key.model].append(key.id)
        ids = [id for some in by_model.values() for id in some]
        out = Holding(Held())
        if not ids:
            return out
        for label, some in by_model.items():
            table = self.tables.get(label)
            if table is not None:
                out.values |= values(table, some, lock=True)
        out.clocks = clocking.read(ids, lock=True)
        out.levels = clocking.levels(ids)
        absent(out.values, ids)
        things, ships = {}, {}
        for label, some in by_model.items():
            for id in some:
                clock = out.clocks.get(id)
                if clock is None:
                    continue
                key = Key(label, id)
                thing = clock.thing(out.values.get(id), out.levels.get(id, 0))
                if thing is not None:
                    things[key] = thing
                if (ship := clock.ship(self.peer)) is not None:
                    ships[key] = ship
        known = [key.id for key in things]
        out.held = Held(things, self._stashes(ids), ships, self._pending(known), self._parked(ids))
        return out

    def _stashes(self, ids: list[str]) -> dict[Key, Stash]:
        return {Key(s.model, str(s.pk)): stash_of(s) for s in StashRow.objects.filter(pk__in=ids)}

    def _parked(self, ids: list[str]) -> dict[Key, list[Parked]]:
        found: dict[Key, list[Parked]] = {}
        for row in ParkedRow.objects.filter(link=self.link, record__in=ids).order_by("id"):
            key = Key(row.about, str(row.record))
            found.setdefault(key, []).append(Parked(key, op_from(row.operation), row.reason, self.peer))
        return found

    def _pending(self, ids: list[str]) -> dict[Key, frozenset[str]]:
        """Fields changed here that the peer has not acknowledged; ``*`` for a whole record."""
        found: dict[Key, frozenset[str]] = {}
        if not ids:
            return found
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT c.model, c.record::text, c.op, c.fields FROM journal_change c WHERE c.record = ANY(%s::uuid[]) "
                "AND (c.seq IS NULL OR c.seq > %s) AND (c.actor <> %s OR c.origin = %s)",
                [ids, self.acked, f"site:{self.link.pk}", self.here],
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


def values(table: Table, ids: Iterable[str], *, lock: bool = False) -> dict[str, dict[str, str | None]]:
    """{key: {field: text}} of these rows of a table, all its travelling columns."""
    names = list(table.columns)
    columns = ", ".join(f'"{table.columns[n].column}"::text' for n in names)
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT id::text, {columns} FROM "{table.name}" WHERE id = ANY(%s::uuid[])'
            + (" ORDER BY id FOR NO KEY UPDATE" if lock else ""),
            [list(ids)],
        )
        return {row[0]: dict(zip(names, row[1:], strict=True)) for row in cursor.fetchall()}


def absent(known: dict[str, dict[str, str | None]], ids: Iterable[str]) -> None:
    """Put the references that are kept aside into the values: the key, or the alias behind its mark."""
    for kept in Absent.objects.filter(record__in=list(ids)):
        row = known.get(str(kept.record))
        if row is not None and row.get(kept.field, "") is None:
            row[kept.field] = f"{ALIAS if kept.alias else ''}{kept.target}"


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
