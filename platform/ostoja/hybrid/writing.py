"""Rows that are written because another site said so: many in one statement, and each that a rule refuses found out by itself."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from django.db import DataError, IntegrityError, InternalError, connection, transaction
from django.utils.translation import gettext as _

from ostoja.kernel.errors import Refused
from ostoja.refusals import refusal

from .batches import array, texts
from .core.merge import path
from .core.wire import Key
from .holding import ALIAS, values
from .models import Absent
from .tables import Table, Tables

REFUSALS = (IntegrityError, DataError, InternalError)


@dataclass
class Put:
    """One row to be written: the fields that change with their values as text, references resolved; ``new``: it is made.

    ``passed``: the row left its state and came back to it elsewhere; its state with all that moves with it.
    ``before`` and ``final`` are the row before and after it was written, when our own rules made more of it than was given.
    """

    table: Table
    key: Key
    values: dict[str, str | None]
    new: bool
    absent: list[Absent] = field(default_factory=list)
    before: Sequence[str | None] = ()
    final: Sequence[str | None] = ()
    passed: dict[str, str | None] = field(default_factory=dict)

    @property
    def part_of(self) -> str:
        """The key of the record that the row is a part of; "" when of none."""
        inside = self.table.inside
        return (self.values.get(inside) or self.was().get(inside) or "") if inside else ""

    def was(self) -> dict[str, str | None]:
        """The row as it is as long as this was not written, by field."""
        return {} if self.new else values(self.table, [self.key.id]).get(self.key.id, {})

    def differing(self) -> dict[str, str | None]:
        """What our own rules made of the row: fields that stand there otherwise than they were given, or were."""
        place, final = self.table.place, self.final
        if not final:
            return {}
        if self.new:
            return {n: final[place[n]] for n, v in self.values.items() if final[place[n]] != v}
        wanted = {**dict(zip(place, self.before, strict=True)), **self.values}
        return {n: final[i] for n, i in place.items() if final[i] != wanted[n]}


class Writer:
    """Writes puts; answers those that are refused with their sentence."""

    def __init__(self, tables: Tables):
        self.tables = tables
        self.known: dict[str, bool] = {}
        self.relied: dict[str, set[str]] = defaultdict(set)

    def ghosts(self) -> set[str]:
        """Records on whose coming references relied, and that did not come."""
        found: set[str] = set()
        for label, ids in self.relied.items():
            found |= ids - self.existing(label, ids)
        return found

    def resolve(self, puts: Iterable[Put], coming: set[str]) -> dict[Key, Refused]:
        """Let references to what is not here be kept aside; answers the rows that can't be without them."""
        puts = list(puts)
        self._look_up(puts, coming)
        refused = {}
        for put in puts:
            for name in put.table.referring(put.values):
                value, column = put.values[name], put.table.columns[name]
                if value is None or (not value.startswith(ALIAS) and self.known[value]):
                    continue
                if not column.null:
                    refused[put.key] = Refused(f"“{name}” refers to a record that is not here.", code="absent")
                    break
                target, alias = value.removeprefix(ALIAS), value.startswith(ALIAS)
                put.absent.append(
                    Absent(record=put.key.id, model=put.table.label, field=name, target=target, alias=alias)
                )
                put.values[name] = None
        return refused

    def _look_up(self, puts: list[Put], coming: set[str]) -> None:
        wanted: dict[str, set[str]] = defaultdict(set)
        for put in puts:
            for name in put.table.referring(put.values):
                value = put.values[name]
                if value is not None and not value.startswith(ALIAS) and not self.known.get(value):
                    wanted[put.table.columns[name].refers].add(value)
        for label, ids in wanted.items():
            here = self.existing(label, ids - coming)
            self.relied[label] |= ids & coming
            self.known |= {id: id in here or id in coming for id in ids}

    def existing(self, label: str, ids: Iterable[str]) -> set[str]:
        """Those of these keys that are rows of a model here."""
        from django.apps import apps

        ids = list(ids)
        if not ids:
            return set()
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id::text FROM "{apps.get_model(label)._meta.db_table}" WHERE id = ANY(%s::uuid[])',
                [array(ids)],
            )
            return {row[0] for row in cursor.fetchall()}

    def write(self, puts: Iterable[Put]) -> dict[Key, Refused]:
        """Write them, those with the same columns in one statement."""
        groups: dict[tuple, list[Put]] = defaultdict(list)
        for put in puts:
            if put.new or put.values:
                groups[(put.table.label, put.new, *sorted(put.values))].append(put)
        refused: dict[Key, Refused] = {}
        for group in groups.values():
            self._group(group, refused)
        return refused

    def _group(self, group: list[Put], refused: dict[Key, Refused]) -> None:
        try:
            with transaction.atomic():
                (_insert if group[0].new else _update)(group)
        except REFUSALS as error:
            if len(group) == 1:
                refused[group[0].key] = said(error)
                return
            half = len(group) // 2
            self._group(group[:half], refused)
            self._group(group[half:], refused)
            return
        self.keep_absent(group)
        self.known |= {put.key.id: True for put in group if put.new}

    def keep_absent(self, group: list[Put]) -> None:
        """Note which references of these rows are kept aside."""
        table = group[0].table
        references = sorted(group[0].values.keys() & table.references)
        if not references:
            return
        ids = [put.key.id for put in group]
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM hybrid_absent WHERE record = ANY(%s::uuid[]) AND field = ANY(%s)", [array(ids), references]
            )
        Absent.objects.bulk_create([a for put in group for a in put.absent])

    def step_by_step(self, put: Put, edges: Mapping[str, Mapping[str, tuple[str, ...]]]) -> Refused | None:
        """Write a row through the states between: what may not change in the present state may in the one that it comes to."""
        was = put.was()
        moves = {n: path(edges[n], was.get(n), put.values[n]) for n in edges if n in put.values}
        if put.new or not any(moves.values()):
            return self.write([put]).get(put.key)
        try:
            with transaction.atomic():
                for name, steps in moves.items():
                    for step in steps or ():
                        _update([Put(put.table, put.key, {name: step}, new=False)])
                _update([put])
        except REFUSALS as error:
            return said(error)
        self.keep_absent([put])
        return None

    def by_a_detour(self, put: Put, parts: list[Put], edges: Mapping[str, Mapping[str, tuple[str, ...]]]) -> bool:
        """Write a row and parts of it as it happened: the state was left, things changed, the state was taken again."""
        was = put.was()
        for name in put.passed.keys() & edges.keys():
            for between in edges[name].get(was.get(name), ()):
                if (back := path(edges[name], between, put.passed[name])) is None:
                    continue
                try:
                    with transaction.atomic():
                        _update([Put(put.table, put.key, {name: between}, new=False)])
                        if self.write(parts):
                            raise IntegrityError
                        for step in back[:-1]:
                            _update([Put(put.table, put.key, {name: step}, new=False)])
                        _update([Put(put.table, put.key, {**put.values, **put.passed}, new=False)])
                except REFUSALS:
                    continue
                self.keep_absent([put])
                return True
        return False

    def take_over(self, put: Put) -> Refused | None:
        """Write a row as the site above has it, whatever state it is in here: the rules were kept there."""
        table = put.table
        given = [(table.columns[n].column, table.columns[n].type, value) for n, value in put.values.items()]
        if put.new:
            given += [(c, kind, value) for c, (value, kind) in _fixed(table, put.values).items()]
            if "created_at" not in put.values:
                given.append(("created_at", "timestamptz", "now"))
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute(
                    "SELECT hybrid_take_over(%s, %s::uuid, %s, %s, %s, %s)",
                    [table.name, put.key.id, put.new, *([list(some) for some in zip(*given, strict=True)])],
                )
        except REFUSALS as error:
            return said(error)
        self.keep_absent([put])
        return None


def _fixed(table: Table, given: Iterable[str]) -> dict[str, tuple[str, str]]:
    """{column: (value, type)} of what a new row is filled with besides what is given."""
    fixed = {c.column: (c.default, c.type) for c in table.others.values() if c.default is not None}
    return fixed | {
        c.column: (c.default, c.type)
        for c in table.columns.values()
        if c.field not in given and not c.null and c.default is not None
    }


def _insert(group: list[Put]) -> None:
    table = group[0].table
    names = sorted(group[0].values)
    columns = [table.columns[n] for n in names]
    fixed = _fixed(table, group[0].values)
    extra = "" if "created_at" in names else ', "created_at"'
    into = "".join(f', "{c.column}"' for c in columns) + "".join(f', "{c}"' for c in fixed)
    given = "".join(f', s."{c.column}"::{c.type}' for c in columns) + "".join(f", %s::{t}" for _v, t in fixed.values())
    sql = (
        f'INSERT INTO "{table.name}" ("id", "version", "updated_at"{extra}{into}) '
        f"SELECT s.id, 1, now(){', now()' if extra else ''}{given} FROM {_rows(columns)} RETURNING {_all(table)}"
    )
    final = {row[0]: row[1:] for row in _execute(group, sql, [v for v, _t in fixed.values()], names)}
    for put in group:
        put.final = final.get(put.key.id, ())


def _update(group: list[Put]) -> None:
    table = group[0].table
    names = sorted(group[0].values)
    columns = [table.columns[n] for n in names]
    sets = ", ".join(f'"{c.column}" = s."{c.column}"::{c.type}' for c in columns)
    given = [f't."{c.column}"::text IS DISTINCT FROM s."{c.column}"' for c in columns]
    others = [f't."{c.column}" IS DISTINCT FROM o."{c.column}"' for n, c in table.columns.items() if n not in names]
    before, final = (", ".join(f'{row}."{c.column}"::text' for c in table.columns.values()) for row in "ot")
    sql = (
        f'WITH done AS (UPDATE "{table.name}" t SET {sets} FROM {_rows(columns)} JOIN "{table.name}" o USING (id) WHERE t.id = s.id '
        f"RETURNING t.id, CASE WHEN {' OR '.join(given + others)} THEN ARRAY[ARRAY[{before}], ARRAY[{final}]] END AS differing) "
        "SELECT id::text, differing FROM done WHERE differing IS NOT NULL"
    )
    differing = dict(_execute(group, sql, [], names))
    for put in group if differing else ():
        put.before, put.final = differing.get(put.key.id, ((), ()))


def _rows(columns) -> str:
    arrays = ", ".join(["%s::uuid[]"] + ["%s::text[]"] * len(columns))
    heads = ", ".join(['"id"'] + [f'"{c.column}"' for c in columns])
    return f"unnest({arrays}) AS s({heads})"


def _all(table: Table) -> str:
    return "id::text" + "".join(f', "{c.column}"::text' for c in table.columns.values())


def _execute(group: list[Put], sql: str, params: list, names: list[str]) -> list[tuple]:
    params = [*params, array(put.key.id for put in group), *(texts(put.values[n] for put in group) for n in names)]
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        return cursor.fetchall()


def said(error: Exception) -> Refused:
    """The sentence of the rule that refused. It names no value: it is kept, shown and told where values may not be."""
    state = getattr(error.__cause__, "pgcode", None) or ""
    try:
        found = refusal(error)
    except REFUSALS:
        found = None
    if found is not None and (found.code != "database" or state.startswith("23")):
        return found
    return Refused(_("The database can't take it ({code}).").format(code=state), code="database")
