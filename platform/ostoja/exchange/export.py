"""Export writes records as CSV or XLSX with the columns that an import reads back, formulas made harmless."""

from __future__ import annotations

import csv
import io
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import IO
from zoneinfo import ZoneInfo

import orjson
import xlsxwriter
from django.db import models
from django.db.models import Count, QuerySet
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ostoja.access.policy import find, may, must, visible, visible_fields
from ostoja.jobs.queue import queue
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry
from ostoja.tenancy.context import current_tenant

from . import files
from .finding import Plain
from .models import KEPT_FOR, ExportRun
from .selecting import selected
from .targets import JOINT, entry_of, key_path, keys_of
from .values import plain

CHUNK = 1_000
XLSX_ROWS = 1_000_000
XLSX_CELL = 32_767  # characters that Excel holds in a cell
DANGEROUS = re.compile(r"'*[=+\-@\t\r]")
TYPES = {"csv": "text/csv; charset=utf-8", "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"}


def entry_for(actor: Actor, label: str) -> Entry:
    """The object that the actor may export, by label or slug. Raises NotFound, NotAllowed."""
    entry = registry.get(label) or registry.by_slug(label)
    if entry is None or not may(actor, entry, "view"):
        raise NotFound(_("There is no object “{label}”.").format(label=label))
    must(actor, entry, "export")
    return entry


def export(
    actor: Actor, label: str, query: Mapping | None = None, format: str = "csv", columns: Sequence[str] | None = None
) -> ExportRun:
    """Queue an export; its file is there for the actor for 24 hours once the state is ``done``.

    ``query`` as in ``selecting.selected``; ``columns`` are names of fields, all that the actor sees unless given. Raises
    NotFound, NotAllowed, and Refused for a field or filter that the actor does not see.
    """
    entry = entry_for(actor, label)
    if format not in TYPES:
        raise Refused(
            _("A file is csv or xlsx, not “{format}”.").format(format=format), fields={"format": [_("Unknown format.")]}
        )
    names = column_names(actor, entry, columns)
    query = dict(query or {})
    selected(actor, entry, query)
    with changing(actor, "add"):
        run = ExportRun(
            object=entry.label, name=file_name(entry, format), query={"query": query, "columns": list(names)}, format=format,
            owner_id=actor.user_id,
        )  # fmt: skip
        run.save(force_insert=True)
        run.job_id = queue(actor, "exchange.export", run.name, run=str(run.pk)).pk
        ExportRun.objects.filter(pk=run.pk).update(job_id=run.job_id)
    return run


def file_name(entry: Entry, format: str) -> str:
    """The name under which the file is saved."""
    return f"{entry.slug}-{timezone.localdate().isoformat()}.{format}"


def open_export(actor: Actor, run_id) -> tuple[IO[bytes], str, str]:
    """(file, name, media type) of a finished export, for whoever asked for it. Raises NotFound."""
    run = find(actor, ExportRun, run_id)
    if run.owner_id != actor.user_id or not run.ready:
        raise NotFound(_("The file is not kept any more, or not ready yet."))
    return files.fetch(run.file_key), run.name, TYPES[run.format]


def exports(actor: Actor) -> QuerySet:
    """The exports that the actor may see, newest first."""
    return visible(actor, ExportRun).order_by("-id")


# --- writing ----------------------------------------------------------------------------------------------------------


def column_names(actor: Actor, entry: Entry, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """The fields to write: those wanted, else all that the actor sees. Raises Refused for one that they do not see."""
    seen = visible_fields(actor, entry)
    if not wanted:
        return seen
    for name in wanted:
        if name not in seen:
            raise Refused(
                _("There is no field “{name}” to export.").format(name=name),
                fields={"columns": [_("There is no such field.")]},
            )
    return tuple(dict.fromkeys(wanted))


def header(entry: Entry, names: Sequence[str]) -> list[str]:
    """The names of the columns: labels, and the field's own name where two would be the same."""
    labels = [str(entry.fields[n].verbose_name) for n in names]
    labels = [text[:1].upper() + text[1:] for text in labels]
    return [n if labels.count(text) > 1 else text for n, text in zip(names, labels, strict=True)]


def write(
    out: IO[bytes], actor: Actor, entry: Entry, rows: QuerySet, names: Sequence[str], format: str,
    progress: Callable[[int], None] = lambda done: None,
) -> int:  # fmt: skip
    """Write records to a binary file; returns how many. ``progress`` is called with the count after each thousand."""
    writer = _csv if format == "csv" else _xlsx
    return writer(out, header(entry, names), values_of(actor, entry, rows, names), progress)


def values_of(actor: Actor, entry: Entry, rows: QuerySet, names: Sequence[str]) -> Iterator[list[list]]:
    """The values of the records in chunks: relations as the text by which an import finds them again."""
    attnames = [entry.fields[n].attname for n in names]
    naming = {n: Naming(actor, entry.fields[n].related_model) for n in names if entry.fields[n].is_relation}
    chunk: list[tuple] = []
    for row in rows.values_list(*attnames).iterator(chunk_size=CHUNK):
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield _read(entry, names, naming, chunk)
            chunk = []
    if chunk:
        yield _read(entry, names, naming, chunk)


def _read(entry: Entry, names: Sequence[str], naming: Mapping[str, Naming], chunk: list[tuple]) -> list[list]:
    columns = []
    for n, name in enumerate(names):
        values = [row[n] for row in chunk]
        if name in naming:
            texts = naming[name].texts({v for v in values if v is not None})
            values = [None if v is None else texts[v] for v in values]
        elif entry.fields[name].choices:
            labels = dict(entry.fields[name].flatchoices)
            values = [str(labels.get(v, "" if v is None else v)) for v in values]
        columns.append(values)
    return [list(row) for row in zip(*columns, strict=True)]


class Naming:
    """The text by which an import finds a related record again: its usual key, or its id where that fits several."""

    def __init__(self, actor: Actor, model: type[models.Model]):
        self.actor = actor
        self.entry = entry_of(model)
        ways = keys_of(actor, self.entry) if self.entry else []
        self.paths = [key_path(self.entry, n) for n in ways[0]] if ways else []
        self._known: dict[object, str] = {}

    def texts(self, keys: set) -> dict[object, str]:
        """A text for each key."""
        if len(self._known) > 50_000:
            self._known.clear()
        new = keys - self._known.keys()
        if new:
            self._known |= {k: str(k) for k in new}
            if self.paths:
                self._learn(new)
        return self._known

    def _learn(self, new: set) -> None:
        rows = visible(self.actor, self.entry.model)
        found = {row[0]: row[1:] for row in rows.filter(pk__in=new).values_list("pk", *self.paths)}
        marks = {f"_key{n}": Plain(path) for n, path in enumerate(self.paths)}
        wanted = {plain(parts[0]) for parts in found.values()}
        fits = {
            tuple(row[m] for m in marks): row["several"]
            for row in rows.annotate(**marks)
            .filter(_key0__in=wanted)
            .values(*marks)
            .annotate(several=Count("pk"))
            .order_by()
        }
        for key, parts in found.items():
            texts = ["" if p is None else str(p) for p in parts]
            plainly = tuple(plain(t) for t in texts)
            whole = JOINT.join(texts)
            safe = all(JOINT.strip() not in t for t in texts) if len(texts) > 1 else True
            if all(plainly) and fits.get(plainly, 0) == 1 and safe and not _is_id(whole):
                self._known[key] = whole


def _is_id(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def neutral(text: str) -> str:
    """Text that no spreadsheet takes for a formula; an import takes the apostrophe off again."""
    return f"'{text}" if DANGEROUS.match(text) else text


def csv_text(value) -> str:
    """A value as a cell of a CSV file."""
    match value:
        case None:
            return ""
        case str():
            return neutral(value)
        case bool():
            return "true" if value else "false"
        case Decimal():
            return format(value, "f")
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case date() | int() | uuid.UUID():
            return str(value)
    return neutral(orjson.dumps(value).decode())


def _csv(out: IO[bytes], names: list[str], chunks: Iterable[list[list]], progress) -> int:
    text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
    text.write("\ufeff")
    writer = csv.writer(text)
    writer.writerow([neutral(n) for n in names])
    done = 0
    for rows in chunks:
        writer.writerows([csv_text(v) for v in row] for row in rows)
        done += len(rows)
        progress(done)
    text.flush()
    text.detach()
    return done


def _xlsx(out: IO[bytes], names: list[str], chunks: Iterable[list[list]], progress) -> int:
    zone = ZoneInfo(current_tenant().timezone)
    book = xlsxwriter.Workbook(out, {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
    moment = book.add_format({"num_format": "yyyy-mm-dd hh:mm:ss"})
    sheet = book.add_worksheet()
    sheet.freeze_panes(1, 0)
    for place, name in enumerate(names):
        sheet.write_string(0, place, name, bold)
    done = 0
    for rows in chunks:
        for row in rows:
            done += 1
            if done > XLSX_ROWS:
                book.close()
                raise Refused(
                    _("A workbook holds at most {limit} rows. Export as CSV, or narrow the list.").format(
                        limit=number_format(XLSX_ROWS, force_grouping=True)
                    )
                )
            for place, value in enumerate(row):
                match value:
                    case None | "":
                        continue
                    case bool():
                        sheet.write_boolean(done, place, value)
                    case Decimal() | int() if len(str(value).strip("-0").replace(".", "")) <= 15:
                        sheet.write_number(done, place, value)
                    case date() if value.year < 1900:  # before a spreadsheet's time
                        sheet.write_string(done, place, csv_text(value))
                    case datetime():
                        sheet.write_datetime(done, place, value.astimezone(zone).replace(tzinfo=None), moment)
                    case date():
                        sheet.write_datetime(done, place, datetime.combine(value, datetime.min.time()), day)
                    case str() | Decimal() | int() | uuid.UUID():
                        sheet.write_string(done, place, str(value)[:XLSX_CELL])
                    case _:
                        sheet.write_string(done, place, orjson.dumps(value).decode()[:XLSX_CELL])
        progress(done)
    book.close()
    return done


def finish(run: ExportRun, key: str, size: int, rows: int, actor: Actor) -> None:
    """The file is there; it is deleted at once when nobody may have it any more."""
    with changing(actor, "change"):
        waiting = ExportRun.objects.filter(pk=run.pk, state=ExportRun.State.RUNNING)
        if not waiting.update(
            state=ExportRun.State.DONE, file_key=key, file_size=size, rows=rows, expires_at=timezone.now() + KEPT_FOR
        ):
            files.forget(key)


def fail(run: ExportRun, actor: Actor) -> None:
    """The export ended without a file."""
    with changing(actor, "change"):
        ExportRun.objects.filter(pk=run.pk, state=ExportRun.State.RUNNING).update(state=ExportRun.State.FAILED)
