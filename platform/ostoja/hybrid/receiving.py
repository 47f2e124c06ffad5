"""Applies what another site sent: per field the later stamp wins, the database's rules stand, and nothing is lost silently."""

from __future__ import annotations

import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import orjson
from django.apps import apps
from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from ostoja.gate import refusal
from ostoja.kernel.errors import OstojaError, Refused

from .core.wire import Cell, Delete, Fields, Key, Op, Purge, Receipt, Snap, Stamp, Want, op_data, op_from
from .models import Absent, Conflict, Link, Parked, PurgeCase
from .sending import forget_held, send_again
from .sites import Here
from .tables import Column, Table, Tables

REFUSALS = (IntegrityError, DataError, InternalError)
MOST_AHEAD_MS = 5 * 60 * 1000
RETRIED = 200
ALIAS = "~"
AGAIN = timedelta(seconds=60)
BACKUPS = timedelta(days=35)


class LinkSuspect(OstojaError):
    """A stamp lies so far ahead that a clock must be wrong; nothing of the batch is applied."""

    code = "clock_suspect"
    status = 409


class NotOpen(OstojaError):
    """The other site sent something that it may not; nothing of the batch is applied."""

    code = "not_open"
    status = 409


@dataclass
class State:
    """The clock of a record as it is becoming."""

    model: str
    cl: int
    whole: Stamp
    stamps: dict[str, list]
    top: int
    held: list[int]
    withheld: bool
    new: bool = False

    def stamp(self, name: str) -> Stamp:
        """The stamp of a field."""
        said = self.stamps.get(name)
        return Stamp(said[0], said[1]) if said else self.whole


@dataclass
class Put:
    """One record that is written: the cells that are taken, and whether the row is new."""

    table: Table
    id: uuid.UUID
    op: Op
    cells: dict[str, Cell]
    new: bool
    values: dict[str, str | None] = field(default_factory=dict)
    absent: list[Absent] = field(default_factory=list)


@dataclass
class Counts:
    """What became of a batch."""

    written: int = 0
    deleted: int = 0
    purged: int = 0
    conflicts: int = 0
    parked: int = 0


class Receiver:
    """Applies operations of one link, inside of the caller's transaction and under the link's actor."""

    def __init__(self, here: Here, link: Link, tables: Tables, *, unsent_after: int):
        self.here = here
        self.link = link
        self.tables = tables
        self.peer = link.site.number
        self.ceiling = link.site.ceiling if here.in_cloud else 1
        self.unsent_after = unsent_after
        self.counts = Counts()
        self.states: dict[uuid.UUID, State] = {}
        self.before: dict[uuid.UUID, State] = {}
        self.settled: dict[uuid.UUID, dict[str, Cell]] = {}
        self.kept: dict[uuid.UUID, dict[str, Stamp]] = defaultdict(dict)
        self.same: list[tuple[Table, Column, uuid.UUID, str]] = []
        self.leaving: dict[str, list[uuid.UUID]] = defaultdict(list)

    def apply(self, ops: Sequence[Op]) -> Counts:
        """Apply the operations. Raises LinkSuspect or NotOpen, with nothing applied."""
        self._check(ops)
        keys = [uuid.UUID(op.key.id) for op in ops]
        self._load(keys)
        puts: dict[str, list[Put]] = defaultdict(list)
        deletes: dict[str, list[tuple[uuid.UUID, Delete]]] = defaultdict(list)
        for op, key in zip(ops, keys, strict=True):
            match op:
                case Snap() | Fields():
                    put = self._put(op, key)
                    if put is not None:
                        puts[op.key.model].append(put)
                case Delete():
                    if self._dies(op, key):
                        deletes[op.key.model].append((key, op))
                case Purge():
                    self._purge(op, key)
                case Receipt():
                    self._receipt(op, key)
                case Want():
                    forget_held(self.peer, [key])
                    send_again(op.key.model, [key])
        self._take_away()
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        self._write(puts)
        for table in reversed(list(self.tables)):
            if table.label in deletes:
                self._delete(table, deletes[table.label])
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        self._say_again()
        self._set_clocks()
        return self.counts

    # what may come at all

    def _check(self, ops: Sequence[Op]) -> None:
        latest = (int(time.time() * 1000) + MOST_AHEAD_MS) << 16
        for op in ops:
            table = self.tables.get(op.key.model)
            if isinstance(op, Snap | Fields):
                if table is None:
                    raise NotOpen(
                        f"“{op.key.model}” does not travel on this link: compare the manifests of both sites."
                    )
                for name, cell in op.cells.items():
                    if name not in table.levels or (self.here.in_cloud and table.levels[name] > 0):
                        raise NotOpen(
                            f"“{op.key.model}.{name}” does not travel on this link: compare the manifests of both sites."
                        )
                    if cell.stamp.hlc > latest:
                        raise LinkSuspect(
                            "The other site's clock is more than five minutes ahead of ours: set both by NTP."
                        )
            elif isinstance(op, Delete) and op.stamp.hlc > latest:
                raise LinkSuspect("The other site's clock is more than five minutes ahead of ours: set both by NTP.")

    # clocks

    def _load(self, keys: list[uuid.UUID]) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, model, cl, hlc, site, stamps, top, held, withheld FROM hybrid_clock WHERE id = ANY(%s::uuid[]) "
                "ORDER BY id FOR UPDATE",
                [[str(k) for k in keys]],
            )
            for id, model, cl, hlc, site, stamps, top, held, withheld in cursor.fetchall():
                stamps = orjson.loads(stamps) if isinstance(stamps, str) else stamps
                state = State(model, cl, Stamp(hlc, site), stamps, top, list(held), withheld)
                self.states[uuid.UUID(str(id))] = state

    def _put(self, op: Snap | Fields, key: uuid.UUID) -> Put | None:
        table = self.tables.by_label[op.key.model]
        state = self.states.get(key)
        if state is None:
            if isinstance(op, Fields):
                self._park(op, "Its whole record has not come yet.")
                return None
            return Put(table, key, op, dict(op.cells), new=True)
        if self.peer not in state.held:
            state.held.append(self.peer)
        if op.cl < state.cl or state.cl % 2 == 0 and op.cl <= state.cl:
            return None  # dead here, of a later death than the sender knew: its deletion goes there
        gone = state.withheld or state.cl % 2 == 0
        if gone and isinstance(op, Fields):
            self._park(op, "Its whole record has not come yet.")
            return None
        if gone:
            return Put(table, key, op, dict(op.cells), new=True)
        taken = {n: c for n, c in op.cells.items() if c.stamp > state.stamp(n)}
        for name, cell in op.cells.items():
            if cell.stamp == state.stamp(name) and table.columns[name].refers and cell.value is not None:
                self.same.append((table, table.columns[name], key, cell.value))
        return Put(table, key, op, taken, new=False) if taken else None

    def _dies(self, op: Delete, key: uuid.UUID) -> bool:
        state = self.states.get(key)
        if state is None:
            self.states[key] = State(op.key.model, op.cl, op.stamp, {}, op.stamp.hlc, [], False, new=True)
            self.settled[key] = {}
            return False
        return op.cl > state.cl

    # writing

    def _order(self) -> list[Table]:
        """Parts before what they are parts of: a record may come frozen, its parts with it."""
        out: list[Table] = []

        def visit(table: Table) -> None:
            for part in self.tables.parts_of(table.label):
                if part not in out:
                    visit(part)
            out.append(table)

        for table in self.tables:
            if not table.parent_column and table not in out:
                visit(table)
        return out + [t for t in self.tables if t not in out]

    def _write(self, puts: Mapping[str, list[Put]]) -> None:
        coming = {label: {p.id for p in some if p.new} for label, some in puts.items()}
        again: list[tuple[Put, Refused]] = []
        for table in self._order():
            some = puts.get(table.label)
            if not some:
                continue
            self._conflicts(table, [p for p in some if not p.new])
            ready = [p for p in some if self._resolve(p, coming)]
            groups: dict[tuple, list[Put]] = defaultdict(list)
            for put in ready:
                groups[(put.new, *sorted(put.cells))].append(put)
            for group in groups.values():
                again += self._write_group(table, group)
        for put, _refused in again:  # what stood in the way may be written by now
            for left, refused in self._write_group(put.table, [put]):
                self._refused(left, refused)
        for table in self.tables:
            new = [p.id for p in puts.get(table.label, ()) if p.new and p.id in self.settled]
            if new:
                self._arrived(table, new)
        if any(p.new for some in puts.values() for p in some):
            self._retry_parked()

    def _resolve(self, put: Put, coming: Mapping[str, set]) -> bool:
        """Turn cells into values; references to what is not here become empty and are kept aside. False when parked."""
        absent: list[Absent] = []
        for name, cell in put.cells.items():
            column, value = put.table.columns[name], cell.value
            if column.refers and value is not None:
                alias = value.startswith(ALIAS)
                target = uuid.UUID(value.removeprefix(ALIAS))
                if alias or not (target in coming.get(column.refers, ()) or self._exists(column, target)):
                    if not column.null:
                        self._park(put.op, f"“{name}” refers to a record that is not here.")
                        return False
                    absent.append(Absent(record=put.id, model=put.table.label, field=name, target=target, alias=alias))
                    value = None
                put.values[name] = value
                continue
            put.values[name] = value
        put.absent = absent
        return True

    def _exists(self, column: Column, target: uuid.UUID) -> bool:
        known = self.__dict__.setdefault("_known", {})
        if target not in known:
            model = apps.get_model(column.refers)
            with connection.cursor() as cursor:
                cursor.execute(f'SELECT EXISTS (SELECT FROM "{model._meta.db_table}" WHERE id = %s)', [str(target)])
                known[target] = cursor.fetchone()[0]
        return known[target]

    def _conflicts(self, table: Table, puts: list[Put]) -> None:
        """Note what was written here and is now replaced by somebody who had not seen it."""
        unseen = []
        for put in puts:
            state = self.states[put.id]
            for name, cell in put.cells.items():
                ours = state.stamp(name)
                if (
                    ours.site != cell.stamp.site
                    and cell.stamp > ours
                    and cell.base < ours
                    and ours.site == self.here.number
                ):
                    unseen.append((put, name, cell))
        if not unseen:
            return
        values = self._values(table, [put.id for put, _n, _c in unseen])
        for put, name, cell in unseen:
            ours = values.get(put.id, {}).get(name)
            if ours != cell.value:
                self._conflict(
                    table, put.id, name, "latest", ours, cell.value, "Both sites changed it; the later change stands."
                )

    def _values(self, table: Table, ids: Iterable[uuid.UUID]) -> dict[uuid.UUID, dict[str, str | None]]:
        names = list(table.columns)
        columns = ", ".join(f'"{table.columns[n].column}"::text' for n in names)
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, {columns} FROM "{table.name}" WHERE id = ANY(%s::uuid[])', [[str(i) for i in ids]]
            )
            return {uuid.UUID(str(id)): dict(zip(names, row, strict=True)) for id, *row in cursor.fetchall()}

    def _write_group(self, table: Table, group: list[Put]) -> list[tuple[Put, Refused]]:
        """Write rows with the same columns in one statement, or one by one when one is refused; answers those that are."""
        statement = self._insert if group[0].new else self._update
        try:
            with transaction.atomic():
                statement(table, group)
        except REFUSALS as error:
            if len(group) == 1:
                return [(group[0], _said(error))]
            return [left for put in group for left in self._write_group(table, [put])]
        references = [n for n in group[0].cells if table.columns[n].refers]
        if references:
            Absent.objects.filter(record__in=[p.id for p in group], field__in=references).delete()
            Absent.objects.bulk_create([a for p in group for a in p.absent])
        for put in group:
            self.settled[put.id] = put.cells
            if put.new:
                self.__dict__.setdefault("_known", {})[put.id] = True
                self._revive(put)
        self.counts.written += len(group)
        return []

    def _revive(self, put: Put) -> None:
        stamps = Counter(c.stamp for c in put.cells.values())
        whole = stamps.most_common(1)[0][0]
        was = self.states.get(put.id)
        held = [*dict.fromkeys([*(was.held if was else ()), self.peer])]
        top = max(whole.hlc, was.top if was else 0)
        self.states[put.id] = State(put.table.label, put.op.cl, whole, {}, top, held, False, new=was is None)

    def _insert(self, table: Table, group: list[Put]) -> None:
        names = sorted(group[0].cells)
        columns = [table.columns[n] for n in names]
        fixed = {c.column: (c.default, c.type) for c in table.others.values() if c.default is not None}
        fixed |= {
            c.column: (c.default, c.type)
            for c in table.columns.values()
            if c.field not in group[0].cells and not c.null and c.default is not None
        }
        extra = "" if "created_at" in names else ', "created_at"'
        into = ", ".join(f'"{c.column}"' for c in columns) + "".join(f', "{c}"' for c in fixed)
        given = ", ".join(f's."{c.column}"::{c.type}' for c in columns) + "".join(
            f", %s::{t}" for _v, t in fixed.values()
        )
        arrays = ", ".join(["%s::uuid[]"] + ["%s::text[]"] * len(columns))
        heads = ", ".join(['"id"'] + [f'"{c.column}"' for c in columns])
        sql = (
            f'INSERT INTO "{table.name}" ("id", {into}, "version", "updated_at"{extra}) '
            f"SELECT s.id, {given}, 1, now(){', now()' if extra else ''} FROM unnest({arrays}) AS s({heads})"
        )
        params = [v for v, _t in fixed.values()]
        params += [[str(p.id) for p in group], *([p.values[n] for p in group] for n in names)]
        with connection.cursor() as cursor:
            cursor.execute(sql, params)

    def _update(self, table: Table, group: list[Put]) -> None:
        names = sorted(group[0].cells)
        columns = [table.columns[n] for n in names]
        sets = ", ".join(f'"{c.column}" = s."{c.column}"::{c.type}' for c in columns)
        arrays = ", ".join(["%s::uuid[]"] + ["%s::text[]"] * len(columns))
        heads = ", ".join(['"id"'] + [f'"{c.column}"' for c in columns])
        with connection.cursor() as cursor:
            cursor.execute(
                f'UPDATE "{table.name}" t SET {sets} FROM unnest({arrays}) AS s({heads}) WHERE t.id = s.id',
                [[str(p.id) for p in group], *([p.values[n] for p in group] for n in names)],
            )

    def _refused(self, put: Put, why: Refused) -> None:
        """A rule of the database stands against it: both kept where two are the same, else a conflict, or parked."""
        if put.new:
            if self._both_kept(put, why):
                return
            self._park(put.op, why.message)
            return
        state = self.states[put.id]
        values = self._values(put.table, [put.id]).get(put.id, {})
        for name, cell in put.cells.items():
            if values.get(name) != put.values.get(name):
                self._conflict(put.table, put.id, name, "refused", values.get(name), cell.value, why.message)
        self.settled.setdefault(put.id, {})
        if not self.here.in_cloud:  # the premises know all: theirs stands, and is said again with a later stamp
            top = max([state.top, *(c.stamp.hlc for c in put.cells.values())]) + 1
            for name in put.cells:
                state.stamps[name] = [top, self.here.number]
            state.top = top
            send_again(put.table.label, [put.id])

    def _both_kept(self, put: Put, why: Refused) -> bool:
        """Two records with the same number, name …: the younger one gets a mark, and somebody is asked to look at them."""
        rule = next((u for u in self.tables.manifest.models[put.table.label].unique if u.name == why.code), None)
        names = [n for n in rule.fields if put.table.columns[n].type == "text"] if rule else []
        if not names:
            return False
        name = names[-1]
        mine = self._holder(put, rule.fields)
        if mine is None:
            return False
        loser = max(mine, put.id)
        limit = put.table.model._meta.get_field(name).max_length or 200
        mark = f"-{loser.hex[-6:]}"
        value = (put.values[name] or "")[: limit - len(mark)] + mark
        column = put.table.columns[name]
        try:
            with transaction.atomic():
                if loser == mine:
                    with connection.cursor() as cursor:
                        cursor.execute(
                            f'UPDATE "{put.table.name}" SET "{column.column}" = %s WHERE id = %s', [value, str(mine)]
                        )
                else:
                    put.values[name] = value
                self._insert(put.table, [put])
        except REFUSALS:
            return False
        self.settled[put.id] = {n: c for n, c in put.cells.items() if loser == mine or n != name}
        self._revive(put)
        self.counts.written += 1
        ours, theirs = (value, put.cells[name].value) if loser == mine else (put.cells[name].value, value)
        self._conflict(put.table, put.id, name, "unique", ours, theirs, why.message)
        return True

    def _holder(self, put: Put, names: Sequence[str]) -> uuid.UUID | None:
        where = " AND ".join(
            f'"{put.table.columns[n].column}" IS NOT DISTINCT FROM %s::{put.table.columns[n].type}' for n in names
        )
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id FROM "{put.table.name}" WHERE {where} AND id <> %s::uuid LIMIT 1',
                [*(put.values.get(n) for n in names), str(put.id)],
            )
            row = cursor.fetchone()
        return uuid.UUID(str(row[0])) if row else None

    def _arrived(self, table: Table, ids: list[uuid.UUID]) -> None:
        """References that waited for these records are set; their stamps stay."""
        for waiting in Absent.objects.filter(target__in=ids, alias=False):
            referring = self.tables.get(waiting.model)
            if referring is None or waiting.field not in referring.columns:
                continue
            column = referring.columns[waiting.field]
            if column.refers == table.label:
                self.same.append((referring, column, waiting.record, str(waiting.target)))

    def _say_again(self) -> None:
        """References that say the same as before in another way: by the key instead of an alias, or the other way round."""
        for table, column, record, value in self.same:
            waiting = Absent.objects.filter(record=record, field=column.field).first()
            target, alias = uuid.UUID(value.removeprefix(ALIAS)), value.startswith(ALIAS)
            if waiting is None:
                if alias:  # what it refers to is about to be taken away
                    Absent.objects.create(
                        record=record, model=table.label, field=column.field, target=target, alias=True
                    )
            elif not alias and self._exists(column, target):
                self._put_back(table, column, record, target)
            elif (waiting.target, waiting.alias) != (target, alias):
                Absent.objects.filter(pk=waiting.pk).update(target=target, alias=alias)

    def _put_back(self, table: Table, column: Column, record: uuid.UUID, target: uuid.UUID) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT hybrid_put_back(%s, %s, %s::uuid, %s::uuid)",
                [table.name, column.column, str(record), str(target)],
            )
        Absent.objects.filter(record=record, field=column.field).delete()

    def _quietly(self, table: Table, column: Column, records: list[uuid.UUID], value: str | None) -> None:
        """Set a reference without making it a new change: the stamp that it had is given back."""
        missing = [r for r in records if r not in self.states]
        self._load(missing)
        for record in records:
            if record in self.states:
                self.kept[record][column.field] = self.states[record].stamp(column.field)
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    f'UPDATE "{table.name}" SET "{column.column}" = %s::uuid WHERE id = ANY(%s::uuid[])',
                    [value, [str(r) for r in records]],
                )
        except REFUSALS as error:
            for record in records:
                self._conflict(table, record, column.field, "refused", None, value, _said(error).message)

    # deaths

    def _delete(self, table: Table, dying: list[tuple[uuid.UUID, Delete]]) -> None:
        for key, op in dying:
            state = self.states[key]
            row = self._values(table, [key]).get(key)
            if row is None:
                state.cl, state.whole, state.stamps, state.top = op.cl, op.stamp, {}, max(state.top, op.stamp.hlc)
                self.settled[key] = {}
                continue
            edited = [n for n in table.columns if state.stamp(n).site == self.here.number and state.stamp(n) > op.stamp]
            try:
                with transaction.atomic():
                    self._clear_references(table, [key])
                    with connection.cursor() as cursor:
                        cursor.execute(f'DELETE FROM "{table.name}" WHERE id = %s', [str(key)])
                        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                        cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            except REFUSALS as error:
                self._conflict(table, key, "", "delete refused", None, None, _said(error).message)
                state.cl = op.cl + 1
                state.top = max(state.top, op.stamp.hlc) + 1
                self.settled.setdefault(key, {})
                send_again(table.label, [key])
                continue
            state.cl, state.whole, state.stamps, state.top = op.cl, op.stamp, {}, max(state.top, op.stamp.hlc)
            self.settled[key] = {}
            self.counts.deleted += 1
            if edited:
                self._conflict(table, key, "", "deleted", row, None, "It was changed here and deleted there.")

    def _clear_references(self, table: Table, ids: list[uuid.UUID]) -> None:
        keys = [str(i) for i in ids]
        for name, column in self.tables.local_parts(table.label):
            with connection.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{name}" WHERE "{column}" = ANY(%s::uuid[])', [keys])
        for referring, column in self.tables.referring(table.label):
            rows = self._referring(referring, column, ids)
            if not rows:
                continue
            if column.null:
                self._quietly(referring, column, [r for r, _t in rows], None)
                Absent.objects.bulk_create(
                    Absent(record=r, model=referring.label, field=column.field, target=t) for r, t in rows
                )
            elif column.field == referring.inside:  # parts that were added here meanwhile die with it
                self._clear_references(referring, [r for r, _t in rows])
                with connection.cursor() as cursor:
                    cursor.execute(
                        f'DELETE FROM "{referring.name}" WHERE id = ANY(%s::uuid[])', [[str(r) for r, _t in rows]]
                    )

    # purges

    def _purge(self, op: Purge, key: uuid.UUID) -> None:
        """Content goes, unless changes of ours to it are on their way: then when they have been acknowledged."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM journal_change WHERE record = %s AND (seq IS NULL OR seq > %s) AND actor NOT LIKE 'site:%%')",
                [str(key), self.unsent_after],
            )
            if cursor.fetchone()[0]:
                self._park(op, "Changes made here are on their way; then it goes.")
                return
        table = self.tables.get(op.key.model)
        state = self.states.get(key)
        if table is not None and state is not None and not state.withheld and state.cl % 2:
            self.leaving[table.label].append(key)
        PurgeCase.objects.filter(link=self.link, record=key).delete()
        PurgeCase.objects.create(
            link=self.link, about=op.key.model, record=key, label_ver=op.label_ver, gone_at=timezone.now()
        )

    def _take_away(self) -> None:
        """Remove the content of what was called back, its parts and its history; a clock without content stays."""
        for table in reversed(list(self.tables)):
            keys = self.leaving.pop(table.label, [])
            if keys:
                self._remove(table, keys)

    def _remove(self, table: Table, keys: list[uuid.UUID]) -> None:
        for referring, column in self.tables.referring(table.label):
            rows = self._referring(referring, column, keys)
            if rows and column.null:
                self._call(referring.label, referring.name, column.column, keys, remove=False)
                Absent.objects.bulk_create(
                    [Absent(record=r, model=referring.label, field=column.field, target=t) for r, t in rows],
                    ignore_conflicts=True,
                )  # the alias of it may be known already
            elif rows:  # a part can't be without what it is a part of
                self._remove(referring, [r for r, _t in rows])
        for name, column in self.tables.local_parts(table.label):
            self._call("", name, column, keys, remove=True)
        self._call(table.label, table.name, "id", keys, remove=True)
        with connection.cursor() as cursor:
            for key in keys:
                cursor.execute("SELECT journal_forget(%s)", [str(key)])
            cursor.execute(
                "UPDATE hybrid_clock SET withheld = true, stamps = '{}' WHERE id = ANY(%s::uuid[])",
                [[str(k) for k in keys]],
            )
        for key in keys:
            if key in self.states:
                self.states[key].withheld = True
                self.states[key].stamps = {}
        Conflict.objects.filter(record__in=keys).delete()
        Parked.objects.filter(record__in=keys).delete()
        self.counts.purged += len(keys)

    def _referring(self, table: Table, column: Column, keys: list[uuid.UUID]) -> list[tuple[uuid.UUID, uuid.UUID]]:
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, "{column.column}" FROM "{table.name}" WHERE "{column.column}" = ANY(%s::uuid[])',
                [[str(k) for k in keys]],
            )
            return [(uuid.UUID(str(r)), uuid.UUID(str(t))) for r, t in cursor.fetchall()]

    def _call(self, label: str, name: str, column: str, keys: list[uuid.UUID], *, remove: bool) -> None:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT hybrid_take_away(%s, %s, %s, %s::uuid[], %s)",
                [label, name, column, [str(k) for k in keys], remove],
            )

    def _receipt(self, op: Receipt, key: uuid.UUID) -> None:
        now = timezone.now()
        PurgeCase.objects.filter(link=self.link, record=key, label_ver__lte=op.label_ver, gone_at=None).update(
            gone_at=now, backups_until=(now + BACKUPS).date()
        )
        forget_held(self.peer, [key])

    # what can't be applied now

    def _park(self, op: Op, reason: str) -> None:
        key = uuid.UUID(op.key.id)
        Parked.objects.filter(link=self.link, record=key).delete()
        Parked.objects.create(
            link=self.link, about=op.key.model, record=key, operation=op_data(op), reason=reason[:300]
        )
        self.counts.parked += 1

    def _retry_parked(self) -> None:
        """Try what was parked as whole records or purges again."""
        for parked in Parked.objects.filter(link=self.link).order_by("id")[:RETRIED]:
            op = op_from(parked.operation)
            key = uuid.UUID(op.key.id)
            if not isinstance(op, Snap) or key in self.settled:
                if key in self.settled:
                    parked.delete()
                continue
            put = Put(self.tables.by_label[op.key.model], key, op, dict(op.cells), new=True)
            missing = [
                n for n, c in op.cells.items()
                if (column := put.table.columns[n]).refers and not column.null and c.value
                and not c.value.startswith(ALIAS) and not self._exists(column, uuid.UUID(c.value))
            ]  # fmt: skip
            if missing or not self._resolve(put, {}):
                continue
            if not self._write_group(put.table, [put]):
                parked.delete()

    def _conflict(self, table: Table, key: uuid.UUID, name: str, rule: str, ours, theirs, reason: str) -> None:
        owner = None
        if "owner" in table.columns:
            owner = self._values(table, [key]).get(key, {}).get("owner")
        Conflict.objects.create(
            about=table.label, record=key, field=name, rule=rule, ours=ours, theirs=theirs, site=self.link.site,
            reason=str(reason)[:300], owner_id=owner,
        )  # fmt: skip
        self.counts.conflicts += 1

    # at last

    def _set_clocks(self) -> None:
        """Give the records the stamps that came; what the rules of the database made differently is a change of ours."""
        touched = set(self.settled) | set(self.kept)
        if not touched:
            return
        after: dict[uuid.UUID, State] = {}
        mine, self.states = self.states, {}
        self._load(list(touched))
        after, self.states = self.states, mine
        by_table: dict[str, list[uuid.UUID]] = defaultdict(list)
        for key in touched:
            if key in self.states and self.states[key].cl % 2 and not self.states[key].withheld:
                by_table[self.states[key].model].append(key)
        final: dict[uuid.UUID, dict[str, str | None]] = {}
        for label, ids in by_table.items():
            final |= self._values(self.tables.by_label[label], ids)
        rows = []
        for key in touched:
            state = self.states.get(key)
            if state is None:
                continue
            rows.append((key, self._becoming(key, state, after.get(key), final.get(key, {}))))
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO hybrid_clock AS c (id, model, cl, hlc, site, stamps, top, held, withheld) "
                "SELECT r.id, r.model, r.cl, r.hlc, r.site, r.stamps::jsonb, r.top, r.held::smallint[], r.withheld FROM unnest("
                "%s::uuid[], %s::text[], %s::int[], %s::bigint[], %s::smallint[], %s::text[], %s::bigint[], %s::text[], %s::bool[]) "
                "AS r(id, model, cl, hlc, site, stamps, top, held, withheld) "
                "ON CONFLICT (id) DO UPDATE SET cl = excluded.cl, hlc = excluded.hlc, site = excluded.site, stamps = excluded.stamps, "
                "top = greatest(excluded.top, c.top), held = excluded.held, withheld = excluded.withheld",
                [
                    [str(k) for k, _s in rows],
                    [s.model for _k, s in rows],
                    [s.cl for _k, s in rows],
                    [s.whole.hlc for _k, s in rows],
                    [s.whole.site for _k, s in rows],
                    [orjson.dumps(s.stamps).decode() for _k, s in rows],
                    [s.top for _k, s in rows],
                    ["{" + ",".join(map(str, s.held)) + "}" for _k, s in rows],
                    [s.withheld for _k, s in rows],
                ],
            )

    def _becoming(self, key: uuid.UUID, state: State, after: State | None, final: Mapping[str, str | None]) -> State:
        cells = self.settled.get(key, {})
        kept = self.kept.get(key, {})
        if after is not None and state.cl % 2 and not state.withheld:
            for name, said in after.stamps.items():  # triggers changed it besides
                if (
                    name not in cells
                    and name not in kept
                    and Stamp(said[0], said[1]) > state.stamp(name)
                    and name in final
                ):
                    state.stamps[name] = said
        for name, cell in cells.items():
            value = cell.value
            if self.tables.by_label[state.model].columns[name].refers:
                pass  # what is absent here is kept aside, the stamp is the sender's
            elif name in final and final[name] != value and not self.here.in_cloud and after is not None:
                state.stamps[name] = [max(after.top, cell.stamp.hlc + 1), self.here.number, *cell.stamp]
                continue
            if cell.stamp == state.whole:
                state.stamps.pop(name, None)
            else:
                state.stamps[name] = [*cell.stamp] if not any(cell.base) else [*cell.stamp, *cell.base]
        tops = [state.top, state.whole.hlc, *(s[0] for s in state.stamps.values())]
        state.top = max(tops)
        return state


def _said(error: Exception) -> Refused:
    try:
        return refusal(error)
    except REFUSALS as unknown:
        return Refused(str(unknown).splitlines()[0], code="database")


def settle(here: Here, link: Link, tables: Tables, acked: int) -> int:
    """Carry out purges that waited for our changes to be acknowledged; answers how many."""
    waiting = [p for p in Parked.objects.filter(link=link) if p.operation and p.operation[0] == "P"]
    done = 0
    for parked in waiting:
        op = op_from(parked.operation)
        receiver = Receiver(here, link, tables, unsent_after=acked)
        parked.delete()
        done += receiver.apply([op]).purged
    return done


def control_ops(link: Link) -> list[Op]:
    """What has to be told beside the stream: receipts of purges, and records that are wanted as a whole."""
    late = timezone.now() - AGAIN
    receipts = [
        Receipt(Key(c.about, str(c.record)), c.label_ver)
        for c in PurgeCase.objects.filter(link=link, gone_at__isnull=False, sent_at=None, backups_until=None)
    ]
    purges = [
        Purge(Key(c.about, str(c.record)), 1, c.label_ver)
        for c in PurgeCase.objects.filter(link=link, gone_at=None, sent_at__lt=late)
    ]
    wants = [
        Want(Key(p.about, str(p.record)))
        for p in Parked.objects.filter(Q(attempts=1) | Q(updated_at__lt=late), link=link)
        if p.operation and p.operation[0] == "F"
    ]
    return [*receipts, *purges, *wants]


def told(link: Link, ops: Iterable[Op]) -> None:
    """The other site has these control operations: they need not be told again."""
    for op in ops:
        if isinstance(op, Receipt | Purge):
            PurgeCase.objects.filter(link=link, record=op.key.id).update(sent_at=timezone.now())
        elif isinstance(op, Want):
            Parked.objects.filter(link=link, record=op.key.id).update(attempts=F("attempts") + 1)
