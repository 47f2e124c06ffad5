"""The engine turns rows of a file into records through the gate, chunk by chunk, and tells every error by row and column."""

from __future__ import annotations

import re
import unicodedata
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal

from django.db import models, transaction
from django.db.models import Q
from django.utils.translation import gettext as _

from ostoja import gate
from ostoja.access.policy import must, visible
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from .finding import Finder, Missing, Plain, Way, is_text
from .mapping import Column, fit, key_of
from .mapping import Mapping as Plan
from .reading import Cell, Table
from .targets import Target, Targets, key_path
from .values import Unreadable, choice, plain, read, shown, text_of

LATER = 10_000  # references to records further down that are kept for the end


@dataclass
class Fault:
    """One thing that is wrong: row number, column in the file ("" for the whole row), the cell's text, and advice."""

    row: int
    column: str
    value: str
    message: str


@dataclass
class Item:
    """One record to be: its rows in the file, the values for its form, its lines and parts, and what is wrong with it."""

    rows: list[int]
    values: dict[str, object] = field(default_factory=dict)
    parts: dict[str, list[dict]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    later: list[tuple[str, str, str]] = field(default_factory=list)  # field, column, text
    key: tuple | None = None
    id: uuid.UUID | None = None
    record: models.Model | None = None
    action: str = ""  # create, update, unchanged


@dataclass
class Counts:
    """What became of the rows so far."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0

    def add(self, other: Counts) -> None:
        """Add the counts of another chunk."""
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


@dataclass
class Later:
    """A reference to a record that was not there yet when its row was read."""

    row: int
    column: str
    field: str
    text: str
    record: str

    def as_json(self) -> list:
        """For the job's cursor."""
        return [self.row, self.column, self.field, self.text, self.record]


@dataclass
class Chunk:
    """What became of some rows: the counts, the faults, references for later, and the items themselves for a preview."""

    counts: Counts = field(default_factory=Counts)
    faults: list[Fault] = field(default_factory=list)
    later: list[Later] = field(default_factory=list)
    items: list[Item] = field(default_factory=list)
    last_row: int = 0


class Again(Exception):
    """Some records' parts were refused after the records went in: roll back and go without them."""


class Engine:
    """Brings rows of one table into one object for one actor, as the mapping says. One engine serves a whole run."""

    def __init__(
        self, actor: Actor, entry: Entry, plan: Plan, table: Table, *, cause: uuid.UUID | None, options: Mapping
    ):
        must(actor, entry, "import")
        self.actor, self.entry, self.plan, self.table, self.cause, self.options = (
            actor,
            entry,
            plan,
            table,
            cause,
            options,
        )
        self.targets = Targets(actor, entry)
        self.used = fit(plan, self.targets, table.columns)
        self.key = key_of(plan, entry, self.used)
        self.place = {name: n for n, name in enumerate(table.columns)}
        self.columns = [_Reader(self, c) for c in plan.columns]
        self.own = [r for r in self.columns if not r.target.part]
        self.in_parts = [r for r in self.columns if r.target.part]
        self.has_lines = any(r.target.part in entry.lines for r in self.in_parts)
        self.skips = [(self.place[s.column], s) for s in plan.skip]
        self.finder = Finder(actor)
        self.many = gate.Many(actor, entry.model, cause=cause, history=True)
        self.constants = self._constants()
        self._makers: dict[Entry, gate.Many] = {}

    # --- rows to items ------------------------------------------------------------------------------------------------

    def chunks(self, after: int, size: int) -> Iterator[tuple[list[list[tuple[int, list[Cell]]]], int, int]]:
        """(rows by record, how many were skipped, number of the last row) for about ``size`` rows behind row ``after``.

        Rows that continue a record's lines are never torn apart.
        """
        groups: list[list[tuple[int, list[Cell]]]] = []
        skipped = count = last = 0
        for number, cells in self.table.rows():
            if number <= after:
                continue
            if self._skips(cells):
                skipped += 1
                last = number
                continue
            goes_on = bool(groups) and self.has_lines and self._continues(groups[-1][0][1], cells)
            if not goes_on and count >= size:
                yield groups, skipped, last
                groups, skipped, count = [], 0, 0
            if goes_on:
                groups[-1].append((number, cells))
            else:
                groups.append([(number, cells)])
            count += 1
            last = number
        if groups or skipped:
            yield groups, skipped, last

    def _skips(self, cells: list[Cell]) -> bool:
        for place, skip in self.skips:
            text = plain(cells[place])
            if skip.empty and not text:
                return True
            if skip.one_of and text in {plain(v) for v in skip.one_of}:
                return True
            if skip.none_of and text not in {plain(v) for v in skip.none_of}:
                return True
        return False

    def _continues(self, first: list[Cell], cells: list[Cell]) -> bool:
        """Whether a row only adds a line: the same key as the row above, or nothing but cells of parts."""
        own = [r for r in self.own if text_of(cells[r.place])]
        if not own:
            return True
        keys = [r for r in self.own if r.target.path in self.key]
        return bool(keys) and all(
            text_of(cells[r.place]) and plain(cells[r.place]) == plain(first[r.place]) for r in keys
        )

    def _constants(self) -> dict[str, object]:
        values: dict[str, object] = {}
        for path, raw in self.plan.constants.items():
            target = self.used[path]
            if target.kind == "relation" and target.related is not None:
                found = self.finder.find(Way(target.related), [str(raw)])[str(raw)]
                if isinstance(found, Missing):
                    raise Refused(found.message, fields={"constants": [found.message]}, code="mapping")
                values[path] = found
                continue
            try:
                values[path] = read(target.field, raw, self.options)
            except Unreadable as error:
                raise Refused(str(error), fields={"constants": [str(error)]}, code="mapping") from error
        return values

    def items(self, groups: Iterable[list[tuple[int, list[Cell]]]]) -> list[Item]:
        """Read the cells of some records; relations are looked up together, one query for each column and way."""
        groups = list(groups)
        found = self._relations(groups)
        items = []
        for rows in groups:
            item = Item(rows=[number for number, _cells in rows])
            first_number, first = rows[0]
            for number, cells in rows:
                if len(cells) > len(self.place):
                    item.faults.append(
                        Fault(
                            number, "", "",
                            _("The row has {found} cells, but the header names {width} columns. Is a value with a separator not in quotes?").format(
                                found=len(cells), width=len(self.place)),
                        )
                    )  # fmt: skip
            for path, value in self.constants.items():
                if not self.used[path].part:
                    item.values[path] = value
            for reader in self.own:
                reader.into(item, item.values, first_number, first, found)
            if self.in_parts:
                for number, cells in rows:
                    self._read_parts(item, number, cells, found)
            item.id = parse_uuid(item.values.pop("id", None))
            items.append(item)
        return items

    def _read_parts(self, item: Item, number: int, cells: list[Cell], found) -> None:
        made: dict[tuple[str, str], dict] = {}
        for reader in self.in_parts:
            if not text_of(cells[reader.place]) and reader.column.default in (None, ""):
                continue
            one = made.setdefault((reader.target.part, reader.column.group), {})
            for name, value in reader.column.set.items():
                one.setdefault(name, value)
            reader.into(item, one, number, cells, found)
        for (part, _group), values in made.items():
            for name in [k for k, v in values.items() if v == ""]:
                del values[name]
            for path, value in self.constants.items():
                target = self.used[path]
                if target.part == part:
                    values.setdefault(target.name, value)
            values["__row__"] = number
            item.parts.setdefault(part, []).append(values)

    def _relations(self, groups) -> dict[tuple[Way, str], object]:
        wanted: dict[Way, dict[str, list[_Reader]]] = {}
        for rows in groups:
            for number, cells in rows:
                for reader in self.columns:
                    if reader.way is not None and (reader.target.part or number == rows[0][0]):
                        text = reader.text(cells)
                        if text:
                            wanted.setdefault(reader.way, {}).setdefault(text, []).append(reader)
        found: dict[tuple[Way, str], object] = {}
        for way, texts in wanted.items():
            answers = self.finder.find(way, texts)
            self._create_missing(way, texts, answers)
            for text, answer in answers.items():
                found[way, text] = answer
        return found

    def _create_missing(self, way: Way, texts: Mapping[str, list[_Reader]], answers: dict) -> None:
        """Make the records that a column may create, each once, through the gate."""
        missing: dict[str, tuple[str, _Reader]] = {}
        for text, answer in answers.items():
            readers = [r for r in texts[text] if r.column.create]
            if isinstance(answer, Missing) and not answer.several and readers:
                missing.setdefault(plain(text), (text, readers[0]))
        if not missing:
            return
        entry = way.entry
        name = way.by or (entry.surface.natural_key[0] if len(entry.surface.natural_key) == 1 else entry.surface.title)
        maker = self._makers.get(entry)
        if maker is None:
            maker = self._makers[entry] = gate.Many(self.actor, entry.model, cause=self.cause, history=True)
        rows = [
            {name: text, **(r.column.create if isinstance(r.column.create, dict) else {})}
            for text, r in missing.values()
        ]
        try:
            outcomes = maker.add(rows)
        except NotAllowed as error:
            for text in answers:
                if plain(text) in missing:
                    answers[text] = Missing(error.message)
            return
        made = dict(zip(missing, outcomes, strict=True))
        for text in answers:
            outcome = made.get(plain(text))
            if outcome is None:
                continue
            if outcome.ok:
                answers[text] = outcome.record
                self.finder.remember(way, text, outcome.record)
            else:
                said = " ".join(m for messages in outcome.errors.values() for m in messages)
                answers[text] = Missing(
                    _("The {thing} “{text}” could not be made: {why}").format(
                        thing=entry.model._meta.verbose_name, text=shown(text), why=said
                    )
                )

    # --- items to records ---------------------------------------------------------------------------------------------

    def bring(self, groups, skipped: int, last_row: int) -> Chunk:
        """Bring some records in. The caller holds the transaction; what is refused leaves nothing behind."""
        chunk = Chunk(last_row=last_row)
        chunk.items = self.items(groups)
        while True:
            marks = [len(i.faults) for i in chunk.items]
            try:
                with transaction.atomic():
                    self._bring([i for i in chunk.items if not i.faults])
                break
            except Again:
                self.finder.forget()
                for item, mark in zip(chunk.items, marks, strict=True):
                    item.action = "" if not item.faults[mark:] else item.action
        for item in chunk.items:
            n = len(item.rows)
            chunk.counts.rows += n
            if item.faults:
                chunk.counts.failed += n
                chunk.faults += item.faults
                continue
            match item.action:
                case "create":
                    chunk.counts.created += 1
                case "update":
                    chunk.counts.updated += 1
                case "unchanged":
                    chunk.counts.unchanged += 1
            for name, column, text in item.later:
                chunk.later.append(Later(item.rows[0], column, name, text, str(item.record.pk)))
        chunk.counts.rows += skipped
        chunk.counts.skipped += skipped
        return chunk

    def _bring(self, items: list[Item]) -> None:
        waves = self._waves(items)
        for wave in waves:
            self._match(wave)
            adds = [i for i in wave if not i.faults and i.action == "create"]
            changes = [i for i in wave if not i.faults and i.action == "update"]
            if adds:
                self._settle(adds, self.many.add([self._row(i) for i in adds]))
            if changes:
                self._settle(changes, self.many.change([(i.record, self._row(i, changing=True)) for i in changes]))
            self._add_parts([i for i in adds + changes if not i.faults])

    def _waves(self, items: list[Item]) -> list[list[Item]]:
        """Rows of the same key wait for each other, so that the second one changes what the first one made."""
        if not self.key or self.plan.mode == "add":
            return [items]
        waves: list[list[Item]] = []
        times: dict[tuple, int] = {}
        for item in items:
            item.key = self._key(item)
            turn = times.get(item.key, 0) if item.key is not None else 0
            if item.key is not None:
                times[item.key] = turn + 1
            while len(waves) <= turn:
                waves.append([])
            waves[turn].append(item)
        return waves

    def _key(self, item: Item) -> tuple | None:
        """What tells the item apart, comparable; None when a part of it is empty."""
        if self.key == ("id",):
            return (item.id,) if item.id else None
        values = []
        for name in self.key:
            value = item.values.get(name)
            if value in ("", None):
                return None
            values.append(value.pk if isinstance(value, models.Model) else _comparable(self.entry.fields[name], value))
        return tuple(values)

    def _match(self, items: list[Item]) -> None:
        """Say of each item whether it is added or changes a record that is there (one query)."""
        mode = self.plan.mode
        if mode == "add":
            for item in items:
                item.action = "create"
                if item.id is not None:
                    self._blame(
                        item, "id", _("A new record gets its id by itself. Leave the id out, or change instead of add.")
                    )
            return
        asked = {i.key: i for i in items if i.key is not None}
        there = self._existing(asked)
        for item in items:
            records = there.get(item.key, []) if item.key is not None else []
            if len(records) > 1:
                self._blame(item, self.key[0], _("{count} {things} are told apart by nothing here; their key is the same.").format(
                    count=len(records), things=self.entry.model._meta.verbose_name_plural))  # fmt: skip
            elif records:
                item.record = records[0]
                item.action = "update" if self._differs(item) else "unchanged"
            elif mode == "update" or item.id is not None:
                self._blame(item, self.key[0], _("There is no such {thing}, or you may not see it.").format(
                    thing=self.entry.model._meta.verbose_name))  # fmt: skip
            else:
                item.action = "create"

    def _existing(self, keys: Iterable[tuple]) -> dict[tuple, list[models.Model]]:
        keys = list(keys)
        if not keys:
            return {}
        rows = visible(self.actor, self.entry.model)
        if self.key == ("id",):
            return {(r.pk,): [r] for r in rows.filter(pk__in=[k[0] for k in keys]).select_for_update(of=("self",))}
        condition = Q()
        notes: dict[str, str] = {}
        for n, name in enumerate(self.key):
            values = {k[n] for k in keys}
            f = self.entry.fields[name]
            if f.is_relation or not is_text(f):
                condition &= Q(**{f"{name}__in": values})
            else:
                notes[name] = f"_key{n}"
                condition &= Q(**{f"_key{n}__in": values})
        rows = rows.annotate(**{note: Plain(key_path(self.entry, name)) for name, note in notes.items()})
        found: dict[tuple, list[models.Model]] = {}
        for record in rows.filter(condition).select_for_update(of=("self",)):
            key = tuple(
                getattr(record, notes[name]) if name in notes else getattr(record, self.entry.fields[name].attname)
                for name in self.key
            )
            found.setdefault(key, []).append(record)
        return found

    def _row(self, item: Item, changing: bool = False) -> dict:
        row = {k: v for k, v in item.values.items() if v != "" or (changing and k in self._clearing)}
        for part, values in item.parts.items():
            if part in self.entry.lines:
                row[part] = [{k: v for k, v in one.items() if k != "__row__"} for one in values]
        return row

    @property
    def _clearing(self) -> set[str]:
        return {r.target.path for r in self.own if r.column.blank == "clear"}

    def _differs(self, item: Item) -> bool:
        record = item.record
        for name, value in self._row(item, changing=True).items():
            if name in item.parts:
                if not self._same_lines(record, name, value):
                    return True
            elif not same(self.entry.fields[name], getattr(record, self.entry.fields[name].attname), value):
                return True
        return any(part not in self.entry.lines for part in item.parts)

    def _same_lines(self, record, part: str, rows: list[dict]) -> bool:
        entry = self.targets.parts[part]
        lines = list(entry.model._default_manager.filter(**{entry.surface.inside: record}).order_by(*_order(entry)))
        return len(lines) == len(rows) and all(
            same(entry.fields[name], getattr(line, entry.fields[name].attname), value)
            for line, row in zip(lines, rows, strict=True)
            for name, value in row.items()
        )

    def _settle(self, items: list[Item], outcomes: list[gate.Outcome]) -> None:
        for item, outcome in zip(items, outcomes, strict=True):
            if outcome.ok:
                item.record = outcome.record
                continue
            for path, messages in outcome.errors.items():
                for message in messages:
                    self._blame(item, path, message)

    def _blame(self, item: Item, path: str, message: str) -> None:
        """Tell an error of the gate by row and column of the file."""
        row = item.rows[0]
        steps = path.split(".")
        if len(steps) > 1 and steps[1].isdigit() and steps[0] in item.parts:
            lines = item.parts[steps[0]]
            number = int(steps[1])
            if number < len(lines):
                row = lines[number]["__row__"]
            path = ".".join([steps[0], *steps[2:]])
        reader = next((r for r in self.columns if r.target.path == path), None)
        if reader is None and path:
            target = self.targets.get(path)
            label = target.label if target else path
            message = f"{label}: {message}"
        value = shown(item.values.get(path, "")) if reader and not reader.target.part and not reader.way else ""
        item.faults.append(Fault(row, reader.column.source if reader else "", value, message))

    def _add_parts(self, items: list[Item]) -> None:
        """Add contact points, addresses and the like to the records that went in; refusal of one refuses its record."""
        by_part: dict[str, list[tuple[Item, dict]]] = {}
        for item in items:
            for part, values in item.parts.items():
                if part not in self.entry.lines:
                    by_part.setdefault(part, []).extend((item, one) for one in values)
        refused = False
        for part, wanted in by_part.items():
            entry = self.targets.parts[part]
            inside = entry.surface.inside
            wanted = self._without_present(entry, wanted)
            maker = self._makers.get(entry)
            if maker is None:
                maker = self._makers[entry] = gate.Many(self.actor, entry.model, cause=self.cause, history=True)
            rows = [{inside: item.record, **{k: v for k, v in one.items() if k != "__row__"}} for item, one in wanted]
            if not rows:
                continue
            for (item, one), outcome in zip(wanted, maker.add(rows), strict=True):
                if not outcome.ok:
                    refused = True
                    number = item.parts[part].index(one)
                    for name, messages in outcome.errors.items():
                        for message in messages:
                            self._blame(item, f"{part}.{number}.{name}".rstrip("."), message)
        if refused:
            raise Again

    def _without_present(self, entry: Entry, wanted: list[tuple[Item, dict]]) -> list[tuple[Item, dict]]:
        """Leave out the parts that a changed record has already."""
        old = [item.record.pk for item, _one in wanted if item.action == "update"]
        if not old:
            return wanted
        inside = entry.surface.inside
        present: dict[object, list] = {}
        for part in entry.model._default_manager.filter(**{f"{inside}__in": old}):
            present.setdefault(getattr(part, f"{inside}_id"), []).append(part)
        return [
            (item, one)
            for item, one in wanted
            if not any(
                all(
                    same(entry.fields[k], getattr(part, entry.fields[k].attname), v)
                    for k, v in one.items()
                    if k != "__row__"
                )
                for part in present.get(item.record.pk, ())
            )
        ]

    # --- references to records further down ---------------------------------------------------------------------------

    def refer(self, later: list[Later], *, last: bool) -> tuple[list[Later], list[Fault]]:
        """Set references whose records are there now; returns those that wait on and, at the end, those that found none."""
        waiting, faults = [], []
        by_field: dict[str, list[Later]] = {}
        for one in later:
            by_field.setdefault(one.field, []).append(one)
        for name, ones in by_field.items():
            reader = next(r for r in self.own if r.target.path == name)
            answers = self.finder.find(reader.way, [o.text for o in ones])
            ready = []
            for one in ones:
                answer = answers[one.text]
                if not isinstance(answer, Missing):
                    ready.append((one, answer))
                elif last or answer.several:
                    why = _("{why} The record is in without it.").format(why=answer.message)
                    faults.append(Fault(one.row, one.column, shown(one.text), why))
                else:
                    waiting.append(one)
            records = visible(self.actor, self.entry.model).in_bulk([o.record for o, _answer in ready])
            there = [(o, a) for o, a in ready if uuid.UUID(o.record) in records]
            outcomes = self.many.change([(records[uuid.UUID(o.record)], {name: a}) for o, a in there])
            for (one, _answer), outcome in zip(there, outcomes, strict=True):
                for messages in outcome.errors.values():
                    faults += [Fault(one.row, one.column, shown(one.text), m) for m in messages]
        return waiting, faults


class _Reader:
    """Reads the cells of one mapped column."""

    def __init__(self, engine: Engine, column: Column):
        self.engine = engine
        self.column = column
        self.target: Target = engine.used[column.to]
        self.place = engine.place[column.source]
        self.meanings = {plain(k): v for k, v in column.values.items()}
        run = engine.options
        self.options = {
            name: getattr(column, name) or run.get(name) or "" for name in ("date_order", "decimal", "timezone")
        }
        self.options["multiply"] = column.multiply
        self.way = None
        if self.target.related is not None:
            self.way = Way(self.target.related, column.by, tuple(sorted(column.where.items())))

    def cell(self, cells: list[Cell]) -> Cell:
        """The cell after value map, split, case, prefix and the like."""
        c, cell = self.column, cells[self.place]
        if self.meanings:
            meant = self.meanings.get(plain(cell))
            if meant is not None:
                return meant
        if c.split and isinstance(cell, str):
            pieces = cell.split(c.split)
            cell = pieces[c.take].strip() if -len(pieces) <= c.take < len(pieces) else ""
        if cell in ("", None) or (isinstance(cell, str) and not cell.strip()):
            return "" if c.default is None else c.default
        if c.slug:
            cell = _slug(text_of(cell), c.slug)
        if c.case:
            cell = getattr(text_of(cell), c.case)()
        if c.prefix or c.suffix:
            cell = f"{c.prefix}{text_of(cell)}{c.suffix}"
        return cell

    def text(self, cells: list[Cell]) -> str:
        """The cell as the text by which a relation is found."""
        return text_of(self.cell(cells))

    def into(self, item: Item, values: dict, number: int, cells: list[Cell], found: Mapping) -> None:
        """Put the cell's value under the field's name, or tell what is wrong with it."""
        name, c = self.target.name, self.column
        if self.way is not None:
            text = self.text(cells)
            answer = found.get((self.way, text), "") if text else ""
            if isinstance(answer, Missing):
                if c.fallback is not None and not answer.several:
                    answer = self.engine.finder.find(self.way, [str(c.fallback)])[str(c.fallback)]
                elif self._may_come(answer) and not self.target.part:
                    item.later.append((name, c.source, text))
                    return
            if isinstance(answer, Missing):
                item.faults.append(Fault(number, c.source, shown(cells[self.place]), answer.message))
            else:
                values[name] = answer
            return
        cell = self.cell(cells)
        try:
            values[name] = read(self.target.field, cell, self.options)
        except Unreadable as error:
            if c.fallback is not None and self.target.kind == "choice":
                values[name] = choice(self.target.field, c.fallback)
                return
            item.faults.append(Fault(number, c.source, shown(cells[self.place]), str(error)))

    def _may_come(self, answer: Missing) -> bool:
        """Whether the record that is pointed to may stand further down in the same file."""
        return (
            not answer.several
            and self.way.entry is self.engine.entry
            and self.target.field.null
            and self.engine.plan.mode != "update"
        )


def same(model_field: models.Field, old, new) -> bool:
    """Whether a stored value and a value for the form are the same."""
    if isinstance(new, models.Model):
        return old == new.pk
    if new in ("", None):
        return old in ("", None, [], {})
    if old is None:
        return False
    match model_field:
        case models.DecimalField():
            unit = Decimal(1).scaleb(-model_field.decimal_places)
            return old == Decimal(new).quantize(unit, ROUND_HALF_UP)
        case models.DateTimeField() if isinstance(new, datetime):
            return abs(old - new) < (timedelta(seconds=1) if not new.microsecond else timedelta(milliseconds=1))
    if isinstance(old, str):
        return old.replace("\r\n", "\n").strip() == str(new).replace("\r\n", "\n").strip()
    return old == new or str(old) == str(new)


def _comparable(model_field: models.Field, value) -> object:
    return plain(value) if is_text(model_field) else value


def _order(entry: Entry) -> tuple[str, ...]:
    return ("position", "pk") if "position" in entry.fields else ("pk",)


def _slug(text: str, sign: str) -> str:
    """``Anna Łęcka`` as ``anna.lecka`` with the sign ``.``."""
    folded = unicodedata.normalize("NFKD", text.casefold().translate(str.maketrans("łøđß", "lods")))
    return re.sub(r"[^a-z0-9]+", sign, folded.encode("ascii", "ignore").decode()).strip(sign)
