"""What leaves: journal entries become operations, with values read through the views of what may leave, and nothing else."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction

from ostoja.tenancy.context import schema_context

from .core.wire import ZERO, Cell, Delete, Fields, Key, Op, Purge, Snap, Stamp
from .install import CLOUD_CEILING, egress_role, view_of
from .models import Link
from .sites import Here, schema
from .tables import Table, Tables

MOST_ENTRIES = 5000
LOAD_ROWS = 1000
LABEL = "hybrid.label"


@dataclass
class Due:
    """What the journal says of one record: sent as a whole, its changed fields, and those that came from the peer itself."""

    model: str
    whole: bool = False
    fields: set[str] = field(default_factory=set)
    echoed: set[str] = field(default_factory=set)
    ours: bool = False


@dataclass
class Batch:
    """Operations for a link, the numbers that they cover, and the records that the peer will hold once they have left."""

    ops: list[Op] = field(default_factory=list)
    seq_from: int = 0
    seq_to: int = 0
    high: int = 0
    held: list[uuid.UUID] = field(default_factory=list)


@dataclass(frozen=True)
class Known:
    """The clock of one record."""

    model: str
    cl: int
    whole: Stamp
    stamps: Mapping[str, list]
    held: tuple[int, ...]

    def cell(self, name: str, value: str | None) -> Cell:
        """A value with its stamp."""
        said = self.stamps.get(name)
        if said is None:
            return Cell(value, self.whole)
        return Cell(value, Stamp(said[0], said[1]), Stamp(said[2], said[3]) if len(said) > 3 else ZERO)


@contextmanager
def as_sender(ceiling: int) -> Iterator[None]:
    """One snapshot of the database, seen by the role that reads only what may leave to a site of this ceiling."""
    name = schema()
    with schema_context(name, role=egress_role(name, ceiling)):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")  # switches, or raises, before the transaction begins
            if cursor.fetchone()[0] != egress_role(name, ceiling):
                raise PermissionError("The sender did not get its role.")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield


class Sender:
    """Reads for one link."""

    def __init__(self, here: Here, link: Link, tables: Tables):
        self.here = here
        self.link = link
        self.tables = tables
        self.peer = link.site.number
        self.ceiling = CLOUD_CEILING if link.site.ceiling == CLOUD_CEILING else 1
        self.prefix = "egress" if self.ceiling == CLOUD_CEILING else "whole"

    def batch(self, after: int, high: int, most: int = MOST_ENTRIES) -> Batch:
        """The operations of the journal's numbers after ``after``, up to ``high``, at most so many entries."""
        out = Batch(seq_from=after + 1, seq_to=min(high, after + most), high=high)
        if out.seq_to <= after:
            return out
        with as_sender(self.ceiling):
            dues = self._dues(after, out.seq_to)
            self._plan(dues, out)
        return out

    def records(self, keys: Iterable[uuid.UUID]) -> Batch:
        """These records as a whole: for a repair, a first load."""
        out = Batch()
        with as_sender(self.ceiling):
            self._plan({key: Due("", whole=True, ours=True) for key in keys}, out)
        return out

    def load(self, model: str, after: uuid.UUID | None) -> tuple[Batch, str, uuid.UUID | None]:
        """The next part of everything, after this place: (operations, model, key); the model is empty at the end.

        Parts come with the record that they are parts of.
        """
        tops = [t for t in self.tables if not t.parent_column and t.holdable(self.ceiling)]
        labels = [t.label for t in tops]
        start = labels.index(model) if model in labels else 0
        with as_sender(self.ceiling):
            for table in tops[start:]:
                keys = self._page(table, after if table.label == model else None)
                if keys:
                    out = Batch()
                    self._plan({k: Due(table.label, whole=True, ours=True) for k in self._with_parts(table, keys)}, out)
                    return out, table.label, keys[-1]
        return Batch(), "", None

    def _page(self, table: Table, after: uuid.UUID | None) -> list[uuid.UUID]:
        with connection.cursor() as cursor:
            view = view_of(table, self.ceiling)
            condition = "WHERE id > %s" if after else ""
            cursor.execute(
                f'SELECT id FROM "{view}" {condition} ORDER BY id LIMIT {LOAD_ROWS}', [after] if after else []
            )
            return [uuid.UUID(str(row[0])) for row in cursor.fetchall()]

    def _with_parts(self, table: Table, keys: list[uuid.UUID]) -> list[uuid.UUID]:
        out = list(keys)
        for part in self.tables.parts_of(table.label):
            if not part.holdable(self.ceiling):
                continue
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT id FROM "{view_of(part, self.ceiling)}" WHERE "{part.inside}" = ANY(%s)',
                    [[str(k) for k in keys]],
                )
                below = [uuid.UUID(str(row[0])) for row in cursor.fetchall()]
            if below:
                out += self._with_parts(part, below)
        return out

    def _dues(self, after: int, to: int) -> dict[uuid.UUID, Due]:
        echo = f"site:{self.link.pk}"
        dues: dict[uuid.UUID, Due] = {}
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT model, record, op, fields, actor FROM "{self.prefix}_journal" WHERE seq > %s AND seq <= %s ORDER BY seq',
                [after, to],
            )
            for model, record, op, columns, actor in cursor.fetchall():
                record = uuid.UUID(str(record))
                if model == LABEL:
                    due = dues.setdefault(record, Due(""))
                    due.whole = due.ours = True
                    continue
                table = self.tables.get(model)
                if table is None or not table.holdable(self.ceiling):
                    continue
                due = dues.setdefault(record, Due(model))
                names = {table.by_column[c] for c in columns if c in table.by_column}
                if op == "I":
                    names = set(table.columns)
                if actor == echo and op != "R":
                    due.echoed |= names
                else:
                    due.ours = True
                    due.fields |= names
                    due.whole = due.whole or op == "R"
        return dues

    def _plan(self, dues: dict[uuid.UUID, Due], out: Batch) -> None:
        keys = list(dues)
        clocks = self._clocks(keys)
        closed = self._closed(keys)
        wanted: dict[str, list[uuid.UUID]] = {}
        for record, due in dues.items():
            known = clocks.get(record)
            if known is None:
                continue
            key = Key(known.model, str(record))
            if record in closed:
                if self.peer in known.held:
                    out.ops.append(Purge(key, known.cl, closed[record]))
            elif known.cl % 2 == 0:
                if self.peer in known.held and (due.ours or known.whole.site == self.here.number):
                    out.ops.append(Delete(key, known.cl, 0, known.whole))
            else:
                wanted.setdefault(known.model, []).append(record)
        for label in self.tables.by_label:
            if label in wanted:
                self._content(self.tables.by_label[label], wanted[label], dues, clocks, out)

    def _content(
        self, table: Table, records: list[uuid.UUID], dues, clocks: dict[uuid.UUID, Known], out: Batch
    ) -> None:
        if not table.holdable(self.ceiling):
            return
        names = table.open(self.ceiling)
        columns = ", ".join(f'"{name}"' for name in names)
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, {columns} FROM "{view_of(table, self.ceiling)}" WHERE id = ANY(%s::uuid[])',
                [[str(r) for r in records]],
            )
            rows = cursor.fetchall()
        here = self.here.number
        for key, *values in rows:
            record = uuid.UUID(str(key))
            due, known = dues[record], clocks[record]
            cells = {name: known.cell(name, value) for name, value in zip(names, values, strict=True)}
            if due.whole or self.peer not in known.held:
                if not due.ours and all(c.stamp.site != here for c in cells.values()):
                    continue
                out.ops.append(Snap(Key(table.label, str(record)), known.cl, 0, 0, cells))
                out.held.append(record)
                continue
            cells = {n: c for n, c in cells.items() if n in due.fields or n in due.echoed and c.stamp.site == here}
            if cells:
                out.ops.append(Fields(Key(table.label, str(record)), known.cl, 0, cells))

    def _clocks(self, keys: list[uuid.UUID]) -> dict[uuid.UUID, Known]:
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, model, cl, hlc, site, stamps, held FROM "{self.prefix}_clock" WHERE id = ANY(%s::uuid[])',
                [[str(k) for k in keys]],
            )
            return {
                uuid.UUID(str(id)): Known(model, cl, Stamp(hlc, site), _parsed(stamps), tuple(held))
                for id, model, cl, hlc, site, stamps, held in cursor.fetchall()
            }

    def _closed(self, keys: list[uuid.UUID]) -> dict[uuid.UUID, int]:
        """The version of the label of those records that may not go to the peer."""
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, label_ver FROM "{self.prefix}_label" WHERE id = ANY(%s::uuid[]) AND level > %s',
                [[str(k) for k in keys], self.link.site.ceiling],
            )
            return {uuid.UUID(str(id)): ver for id, ver in cursor.fetchall()}


def _parsed(value) -> dict:
    import orjson

    return orjson.loads(value) if isinstance(value, str | bytes) else value


def mark_held(peer: int, records: list[uuid.UUID]) -> None:
    """Note, before the bytes leave, that the peer may hold these records."""
    if records:
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE hybrid_clock SET held = held || %s::smallint WHERE id = ANY(%s::uuid[]) AND NOT %s::smallint = ANY(held)",
                [peer, [str(r) for r in records], peer],
            )


def send_again(model: str, records: Iterable[uuid.UUID]) -> None:
    """Let these records be sent as a whole, in their turn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO journal_change (xid, model, record, op, fields, hlc, actor, verb) "
            "SELECT pg_current_xact_id()::text::bigint, %s, r, 'R', '{}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, "
            "coalesce(nullif(current_setting('ostoja.actor', true), ''), 'system:'), 'resend' FROM unnest(%s::uuid[]) r",
            [model, [str(r) for r in records]],
        )


def forget_held(peer: int, records: Iterable[uuid.UUID]) -> None:
    """The peer holds nothing of these records any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE hybrid_clock SET held = array_remove(held, %s::smallint) WHERE id = ANY(%s::uuid[])",
            [peer, [str(r) for r in records]],
        )
