"""Runs are how web, API and command line import: start, guess, preview, check, run, stop, undo (see the package's page)."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePath
from zoneinfo import available_timezones

from django.db import models, transaction
from django.utils.translation import gettext as _

from ostoja import gate
from ostoja.access.policy import find, may, must, visible, visible_fields
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry
from ostoja.tenancy.context import current_tenant

from . import files, guessing
from .engine import Engine, Item
from .export import neutral
from .finding import Finder, Missing
from .mapping import VERSION, parse
from .models import ImportRun, RowError, SavedMapping
from .reading import Table, open_table
from .targets import Target, Targets, keys_of
from .values import ORDERS, plain, text_of

PREVIEWED = 20
DISTINCT = 200  # values shown for each column that has unknown ones
OPTIONS = ("encoding", "delimiter", "sheet", "header_row", "date_order", "decimal", "timezone")


def entry_for(actor: Actor, label: str) -> Entry:
    """The object into which the actor may import, by label or slug. Raises NotFound, NotAllowed."""
    entry = registry.get(label) or registry.by_slug(label)
    if entry is None or not may(actor, entry, "view"):
        raise NotFound(_("There is no object “{label}”.").format(label=label))
    must(actor, entry, "import")
    return entry


def start(
    actor: Actor,
    label: str,
    content: bytes,
    file_name: str,
    *,
    mapping: Mapping | None = None,
    options: Mapping | None = None,
    name: str = "",
    mode: str = "",
    whole: bool = False,
) -> ImportRun:
    """Take a file in for an object and guess its mapping unless one is given. Nothing is written to the object yet.

    Raises Refused (with a code ``file_…`` and the way out) when the file can't be read, NotAllowed, NotFound.
    """
    entry = entry_for(actor, label)
    mapping = dict(mapping or {})
    options = _options({**(mapping.get("options") or {}), **(options or {})})
    table = open_table(content, options)
    rows = sum(1 for _row in table.rows())
    if not rows:
        raise Refused(_("The file has a header but no rows below it."), code="file_empty")
    safe = PurePath(file_name.replace("\\", "/")).name.replace("\x00", "")[:200] or f"import.{table.format}"
    run = ImportRun(
        object=entry.label,
        name=name or safe,
        file_name=safe,
        file_size=len(content),
        file_digest=hashlib.sha256(content).hexdigest(),
        format=table.format,
        columns=table.columns,
        options={**options, **table.options},
        mode=mode or mapping.get("mode") or ImportRun.Mode.ADD,
        whole=whole,
        rows=rows,
        owner_id=actor.user_id,
        result={"total": rows, "warnings": table.warnings, "sheets": table.sheets},
    )
    if mapping:
        run.mapping = {k: v for k, v in mapping.items() if k != "options"} | {"mode": run.mode}
        _fitting(actor, run, table)
    else:
        run.mapping, run.mode = guess(actor, run, table)
        if mode:
            run.mode = run.mapping["mode"] = mode
    run.file_key = files.keep(content, table.format)
    try:
        with changing(actor, "add"):
            run.save(force_insert=True)
    except BaseException:
        files.forget(run.file_key)
        raise
    return run


def _options(options: Mapping) -> dict:
    unknown = sorted(set(options) - set(OPTIONS))
    if unknown:
        raise Refused(
            _("“{key}” is no option. There are: {keys}.").format(key=unknown[0], keys=", ".join(OPTIONS)),
            fields={"options": [_("There is no such option.")]},
        )
    found = {k: v for k, v in options.items() if v not in (None, "")}
    known = {"date_order": ("auto", *ORDERS), "decimal": ("auto", ".", ","), "timezone": available_timezones()}
    for name, values in known.items():
        if name in found and str(found[name]) not in values:
            raise Refused(
                _("“{value}” is no {name}.").format(value=str(found[name])[:40], name=name),
                fields={name: [_("It is not known.")]},
            )
    found = {k: v for k, v in found.items() if v != "auto"}
    if "header_row" in found:
        text = str(found["header_row"])
        if not text.isascii() or not text.isdigit() or len(text) > 6:
            raise Refused(
                _("The header row is a number, 0 for none."), fields={"header_row": [_("A number is expected.")]}
            )
        found["header_row"] = int(text)
    return {k: v if k == "header_row" else str(v) for k, v in found.items()}


def table_of(run: ImportRun) -> Table:
    """The run's file, opened as its options say. Raises NotFound when the file is gone."""
    return open_table(files.read(run.file_key), {k: v for k, v in run.options.items() if k in OPTIONS})


def guess(actor: Actor, run: ImportRun, table: Table | None = None) -> tuple[dict, str]:
    """(mapping, mode) as far as the header, the cells and saved mappings tell. It is a proposal; nothing is kept."""
    table = table or table_of(run)
    saved = _saved_for(actor, run.object, table.columns)
    if saved is not None:
        return {k: v for k, v in saved.mapping.items() if k != "options"}, saved.mapping.get("mode") or run.mode
    targets = Targets(actor, run.entry)
    columns = guessing.guess(targets, table, language=current_tenant().language)
    mode = guessing.guess_mode(targets, columns) or run.mode
    return {"version": VERSION, "mode": mode, "columns": columns}, mode


def _saved_for(actor: Actor, label: str, columns: list[str]) -> SavedMapping | None:
    """The newest saved mapping of this object for a file with the same columns."""
    if not may(actor, SavedMapping, "view"):
        return None
    for saved in visible(actor, SavedMapping).filter(object=label).order_by("-updated_at")[:50]:
        if [plain(c) for c in saved.columns] == [plain(c) for c in columns]:
            return saved
    return None


def remap(
    actor: Actor,
    run: ImportRun,
    *,
    mapping: Mapping | None = None,
    options: Mapping | None = None,
    mode: str | None = None,
    whole: bool | None = None,
    name: str | None = None,
) -> ImportRun:
    """Change how the file is read or where columns go, before it runs; a check that was made is void then.

    Raises Refused with what the mapping names and the file or the object does not have.
    """
    entry_for(actor, run.object)
    run = find(actor, ImportRun, run.pk)
    if run.state not in (ImportRun.State.DRAFT, ImportRun.State.CHECKED, ImportRun.State.FAILED) or run.result.get(
        "cursor"
    ):
        raise Refused(_("An import that has run can't be changed any more; start a new one."), code="state")
    if run.state in (ImportRun.State.CHECKED, ImportRun.State.FAILED):
        run = gate.perform(actor, run, "reopen")
    changes: dict = {}
    table = None
    if options is not None:
        wanted = _options(options)
        table = open_table(files.read(run.file_key), wanted)
        changes["options"] = {**wanted, **table.options}
        run.options = changes["options"]
    if mapping is not None or mode is not None:
        new = dict(mapping if mapping is not None else run.mapping)
        new.pop("options", None)
        new["mode"] = mode or new.get("mode") or run.mode
        changes |= {"mapping": new, "mode": new["mode"]}
        run.mapping = new
        _fitting(actor, run, table)
    changes |= {k: v for k, v in (("whole", whole), ("name", name)) if v is not None}
    with transaction.atomic():
        run = gate.perform(actor, ImportRun.objects.get(pk=run.pk), "change", changes)
        if table is not None:
            with changing(actor, "change"):
                run.columns = table.columns
                run.rows = sum(1 for _row in table.rows())
                run.result = {"total": run.rows, "warnings": table.warnings, "sheets": table.sheets}
                run.save(update_fields=["columns", "rows", "result", "updated_at"])
    return run


def _fitting(actor: Actor, run: ImportRun, table: Table | None) -> Engine:
    return engine(actor, run, table)


def engine(actor: Actor, run: ImportRun, table: Table | None = None) -> Engine:
    """The engine of a run. Raises Refused when the mapping does not fit the file, the object or the actor."""
    plan = parse({**run.mapping, "mode": run.mode})
    options = {"timezone": current_tenant().timezone} | run.options
    return Engine(actor, run.entry, plan, table or table_of(run), cause=run.pk, options=options)


# --- before it runs ---------------------------------------------------------------------------------------------------


@dataclass
class ColumnView:
    """A column of the file with some of its values, where it goes now, and in which ways a relation may be found."""

    name: str
    samples: list[str]
    to: str
    by: str
    ways: list[tuple[str, str]] = field(default_factory=list)


def columns(actor: Actor, run: ImportRun) -> list[ColumnView]:
    """The file's columns for the page on which they are mapped."""
    table = table_of(run)
    targets = Targets(actor, run.entry)
    samples: list[list[str]] = [[] for _c in table.columns]
    for count, (_number, cells) in enumerate(table.rows()):
        if count >= 200:
            break
        for place, seen in enumerate(samples):
            text = text_of(cells[place])[:60]
            if text and len(seen) < 3 and text not in seen:
                seen.append(text)
    mapped = {c["from"]: c for c in reversed(run.mapping.get("columns", []))}
    views = []
    for name, seen in zip(table.columns, samples, strict=True):
        column = mapped.get(name, {})
        target = targets.get(column.get("to", ""))
        views.append(ColumnView(name, seen, column.get("to", ""), column.get("by", ""), ways(actor, target)))
    return views


def ways(actor: Actor, target: Target | None) -> list[tuple[str, str]]:
    """(field, label) of the fields by which a relation's record may be found."""
    if target is None or target.related is None:
        return []
    single = [w[0] for w in keys_of(actor, target.related) if len(w) == 1]
    return [(n, str(target.related.fields[n].verbose_name)) for n in dict.fromkeys(single)]


def missing_fields(actor: Actor, run: ImportRun) -> list[str]:
    """Labels of the fields that a new record needs and to which nothing goes."""
    given = {c["to"] for c in run.mapping.get("columns", [])} | set(run.mapping.get("constants") or {})
    return [t.label for t in Targets(actor, run.entry) if t.required and not t.part and t.path not in given]


@dataclass
class UnknownValue:
    """A text that means nothing here: how many rows have it, and what it probably means."""

    text: str
    rows: int
    proposal: str
    message: str


@dataclass
class UnknownColumn:
    """The unknown values of one mapped column; ``choices`` are the (value, label) that it may have, if they are few."""

    name: str
    to: str
    target: str
    values: list[UnknownValue]
    choices: list[tuple[str, str]]


def unknown_values(actor: Actor, run: ImportRun) -> list[UnknownColumn]:
    """Texts of relation and choice columns that fit no record and no choice, for the page that asks what they mean."""
    brought = engine(actor, run)
    counts: list[dict[str, int]] = [{} for _r in brought.columns]
    asked = [r.target.kind in ("relation", "choice") for r in brought.columns]
    for _number, cells in brought.table.rows():
        for n, reader in enumerate(brought.columns):
            if asked[n]:
                text = reader.text(cells)
                if text and (text in counts[n] or len(counts[n]) < 20 * DISTINCT):
                    counts[n][text] = counts[n].get(text, 0) + 1
    found = []
    finder = Finder(actor)
    for reader, texts in zip(brought.columns, counts, strict=True):
        if not texts:
            continue
        values, choices = [], []
        if reader.way is not None:
            mine = {plain(t) for t in texts} if reader.way.entry is run.entry else set()
            for text, answer in finder.find(reader.way, texts).items():
                if (
                    isinstance(answer, Missing)
                    and not reader.column.create
                    and not _in_file(brought, reader, text, mine)
                ):
                    values.append(UnknownValue(text, texts[text], finder.near(reader.way, text), answer.message))
        elif reader.target.field.choices:
            choices = [(str(v), str(label)) for v, label in reader.target.field.flatchoices]
            for text in texts:
                problem = guessing.not_a_choice(reader.target.field, text)
                if problem:
                    values.append(
                        UnknownValue(text, texts[text], guessing.nearest_choice(reader.target.field, text), problem)
                    )
        if values:
            values.sort(key=lambda v: -v.rows)
            found.append(
                UnknownColumn(reader.column.source, reader.target.path, reader.target.label, values[:DISTINCT], choices)
            )
    return found


def _in_file(brought: Engine, reader, text: str, mine: set[str]) -> bool:
    """Whether a reference to the same object may be to a row of the file itself."""
    if not mine:
        return False
    names = {
        r.place
        for r in brought.own
        if r.target.path in (*brought.entry.surface.natural_key, brought.entry.surface.title)
    }
    if not hasattr(brought, "_texts_in_file"):
        brought._texts_in_file = {plain(cells[p]) for _n, cells in brought.table.rows() for p in names}
    return plain(text) in brought._texts_in_file


@dataclass
class PreviewRow:
    """One record as it would be: what happens to it, its values as a person reads them, and what is wrong."""

    row: int
    action: str
    values: dict[str, str]
    errors: list[dict]


@dataclass
class Preview:
    """The first records as they would be; ``columns`` are (path, label)."""

    columns: list[tuple[str, str]]
    rows: list[PreviewRow]


class _TakenBack(Exception):
    """Ends a transaction whose work was only to be looked at."""


def preview(actor: Actor, run: ImportRun, count: int = PREVIEWED) -> Preview:
    """The first records as they would be; done in earnest and taken back."""
    brought = engine(actor, run)
    rows: list[PreviewRow] = []
    try:
        with transaction.atomic():
            for groups, skipped, last in brought.chunks(0, count):
                chunk = brought.bring(groups[:count], skipped, last)
                rows = [_previewed(brought, item) for item in chunk.items]
                break
            raise _TakenBack
    except _TakenBack:
        pass
    return Preview([(path, target.label) for path, target in brought.used.items()], rows)


def _previewed(brought: Engine, item: Item) -> PreviewRow:
    shown: dict[str, str] = {}
    for path, target in brought.used.items():
        if not target.part:
            value = item.values.get(path, "")
            if item.record is not None and not item.faults and path != "id":
                value = getattr(item.record, target.field.name, value)
            coming = next((text for name, _column, text in item.later if name == target.name), "")
            shown[path] = coming or _as_text(target, value)
        else:
            ones = item.parts.get(target.part, ())
            shown[path] = ", ".join(_as_text(target, one[target.name]) for one in ones if target.name in one)
    faults = [{"row": f.row, "column": f.column, "value": f.value, "message": f.message} for f in item.faults]
    return PreviewRow(item.rows[0], "error" if faults else item.action, shown, faults)


def _as_text(target: Target, value) -> str:
    if isinstance(value, models.Model):
        return str(value)
    if target.field.choices and value not in ("", None):
        return str(dict(target.field.flatchoices).get(value, value))
    return text_of(value)


# --- running ----------------------------------------------------------------------------------------------------------


def check(actor: Actor, run: ImportRun) -> ImportRun:
    """Queue the dry run. Its outcome is in the run's counts and errors when the state is ``checked``."""
    return gate.perform(actor, run, "dry_run")


def go(actor: Actor, run: ImportRun) -> ImportRun:
    """Queue the import, or let a stopped or failed one go on."""
    return gate.perform(actor, run, "run")


def stop(actor: Actor, run: ImportRun) -> ImportRun:
    """Ask a check, an import or an undo to stop at its next safe point."""
    return gate.perform(actor, run, "stop")


def undo(actor: Actor, run: ImportRun) -> ImportRun:
    """Queue the undo of all that the run changed. Rows that were changed since stay and are listed in ``result``."""
    return gate.perform(actor, run, "undo")


def errors(run: ImportRun, limit: int = 200, after: int = 0) -> Iterable[RowError]:
    """Errors of the last check or import in the order of rows, from behind the error with the id ``after``."""
    return RowError.objects.filter(run=run, pk__gt=after).order_by("pk")[:limit]


def errors_file(actor: Actor, run: ImportRun) -> bytes:
    """The rows that were refused, as a CSV with their original columns and a last one that says what is wrong."""
    table = table_of(run)
    said: dict[int, list[str]] = {}
    for error in RowError.objects.filter(run=run).order_by("pk").iterator():
        where = f"{error.column}: " if error.column else ""
        said.setdefault(error.row, []).append(f"{where}{error.message}")
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow([*table.columns, _("What is wrong")])
    for number, cells in table.rows():
        if number in said:
            writer.writerow([neutral(text_of(c)) for c in cells[: len(table.columns)]] + [" ".join(said[number])])
    return out.getvalue().encode("utf-8-sig")


def template_file(actor: Actor, label: str) -> bytes:
    """An empty CSV whose header names every field that the actor may import."""
    targets = Targets(actor, entry_for(actor, label))
    names = [t.label for t in targets if not t.part and t.path != "id"]
    out = io.StringIO()
    csv.writer(out).writerow(names)
    return out.getvalue().encode("utf-8-sig")


def save_mapping(actor: Actor, run: ImportRun, name: str) -> SavedMapping:
    """Keep the run's mapping under a name; one of the same name is replaced."""
    data = {"mapping": {**run.mapping, "mode": run.mode}, "columns": run.columns, "options": _kept_options(run)}
    old = visible(actor, SavedMapping).filter(object=run.object, name=name).first()
    if old is not None:
        return gate.perform(actor, old, "change", data)
    return gate.perform(actor, SavedMapping, "add", {"object": run.object, "name": name, **data})


def saved_mapping(actor: Actor, label: str, name: str) -> dict:
    """The mapping that was saved under a name, with its options. Raises NotFound."""
    entry = entry_for(actor, label)
    saved = visible(actor, SavedMapping).filter(object=entry.label, name=name).first()
    if saved is None:
        raise NotFound(
            _("There is no saved mapping “{name}” for {things}.").format(
                name=name, things=entry.model._meta.verbose_name_plural
            )
        )
    return {**saved.mapping, "options": saved.options}


def _kept_options(run: ImportRun) -> dict:
    return {k: v for k, v in run.options.items() if k in ("date_order", "decimal", "timezone", "delimiter", "encoding")}


def runs(actor: Actor, label: str = "") -> models.QuerySet:
    """The imports that the actor may see, newest first."""
    rows = visible(actor, ImportRun).order_by("-id")
    return rows.filter(object=label) if label else rows


def targets_for(actor: Actor, label: str) -> list[Target]:
    """Everything that a column may go to, for the choice on the page."""
    entry = entry_for(actor, label)
    return [t for t in Targets(actor, entry) if t.name in visible_fields(actor, t.entry)]
