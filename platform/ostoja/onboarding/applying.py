"""Puts a blueprint's rows into the open tenant through the gate; what is there already stays as it is."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from ostoja.gate import Many, perform
from ostoja.journal import samples as journal_samples
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.record import Record
from ostoja.kernel.registry import Entry

from .blueprints import IN_DAYS, Blueprint, BlueprintBroken, Row, Tables, in_language, in_order, target_of

Placed = dict[tuple[str, str], Record]  # (address of the object, key) -> the record in this tenant


def apply(blueprint: Blueprint, actor: Actor, language: str) -> Placed:
    """Add the blueprint's records in a language; answers every record by the object's address and the row's key.

    Call it in a transaction. Records that the tenant has already (by natural key) are left as they are, so that it may
    be repeated. Raises BlueprintBroken, which names the row, when the gate refuses one.
    """
    return _put(blueprint.tables, actor, language, {}, cause=None)


def add_samples(blueprint: Blueprint, actor: Actor, language: str) -> int:
    """Add the blueprint's sample records, owned by the actor; answers how many. ``remove_samples`` takes them away again.

    Call it in a transaction. While some are there, no others are added. Raises BlueprintBroken, NotAllowed.
    """
    if next(samples(), None) is not None:
        return 0
    placed = _put(blueprint.tables, actor, language, {}, cause=None)
    before = len(placed)
    return len(_put(blueprint.samples, actor, language, placed, cause=samples_cause())) - before


def samples_cause() -> uuid.UUID:
    """The cause under which the journal keeps the open tenant's sample records."""
    return journal_samples.cause()


def samples() -> Iterator[Record]:
    """The sample records that are still there, the last one first; parts come with the record that they are a part of."""
    added = Change.objects.filter(cause=samples_cause(), op="I").order_by("-id").values_list("model", "record")
    for label, key in added:
        entry = registry.get(label)
        if entry is not None and entry.parent is None:
            record = entry.model._default_manager.filter(pk=key).first()
            if record is not None:
                yield record


def remove_samples(actor: Actor) -> list[str]:
    """Delete the sample records; answers a sentence for each that had to stay, and why."""
    stayed = []
    for record in list(samples()):
        try:
            perform(actor, record, "delete")
        except (Refused, NotAllowed, NotFound) as error:
            stayed.append(f"{record}: {error.message}")
    return stayed


def _put(tables: Tables, actor: Actor, language: str, placed: Placed, cause: uuid.UUID | None) -> Placed:
    placed = dict(placed)
    for entry, rows in in_order({slug: rows for slug, rows in tables.items() if rows}):
        known = _present(entry)
        waiting = list(rows)
        while waiting:  # one round, or one for each level of a tree
            ready = [row for row in waiting if not _waits(entry, row, waiting)] or waiting
            waiting = [row for row in waiting if row not in ready]
            _add(entry, ready, actor, language, placed, known, cause)
    return placed


def _waits(entry: Entry, row: Row, waiting: list[Row]) -> bool:
    """Whether a row points to another of its own object that is not there yet."""
    own = {str(row.values[name]) for name, f in entry.fields.items() if name in row.values and target_of(f) is entry}
    return any(other.key in own for other in waiting if other is not row)


def _add(
    entry: Entry,
    rows: list[Row],
    actor: Actor,
    language: str,
    placed: Placed,
    known: dict[tuple, Record],
    cause: uuid.UUID | None,
) -> None:
    fresh: list[Row] = []
    data: list[dict] = []
    for row in rows:
        values = _values(entry, row.values, language, placed)
        there = known.get(_natural(entry, values)) if entry.surface.natural_key else None
        if there is not None:
            placed[entry.slug, row.key] = there
        else:
            fresh.append(row)
            data.append(values)
    if not fresh:
        return
    for row, outcome in zip(fresh, Many(actor, entry.model, cause=cause).add(data), strict=True):
        if not outcome.ok:
            field, sentences = next(iter(outcome.errors.items()))
            raise BlueprintBroken(f"{row.place}: {field or entry.slug}: {sentences[0]}")
        placed[entry.slug, row.key] = outcome.record


def _values(entry: Entry, row: Mapping[str, Any], language: str, placed: Placed) -> dict[str, Any]:
    """A row as the gate takes it: in one language, keys replaced by records, days counted from today."""
    values: dict[str, Any] = {}
    for name, value in row.items():
        if name in entry.lines:
            part = entry.lines[name]
            lines = [{k: v for k, v in line.items() if k != "key"} for line in value]
            values[name] = [_values(part, line, language, placed) for line in lines]
            continue
        model_field = entry.fields[name]
        target = target_of(model_field)
        value = in_language(value, language)
        if target is not None:
            value = placed[target.slug, str(value)]
        elif isinstance(model_field, models.DateField) and isinstance(value, str) and IN_DAYS.match(value):
            value = _in_days(model_field, int(value[:-1]))
        values[name] = value
    return values


def _in_days(model_field: models.DateField, days: int) -> date:
    now = timezone.now() + timedelta(days=days)
    return now if isinstance(model_field, models.DateTimeField) else timezone.localdate(now)


def _present(entry: Entry) -> dict[tuple, Record]:
    """The records that are there, by their natural key."""
    if not entry.surface.natural_key:
        return {}
    relations = [name for name in entry.surface.natural_key if target_of(entry.fields.get(name))]
    return {
        tuple(_plain(_reach(record, path)) for path in entry.surface.natural_key): record
        for record in entry.model._default_manager.select_related(*relations)
    }


def _natural(entry: Entry, values: Mapping[str, Any]) -> tuple:
    key = []
    for path in entry.surface.natural_key:
        first, _sep, rest = path.partition("__")
        value = values.get(first)
        key.append(_plain(_reach(value, rest) if rest and value is not None else value))
    return tuple(key)


def _reach(record: Record, path: str) -> Any:
    for part in path.split("__"):
        record = getattr(record, part, None)
    return record


def _plain(value: Any) -> str:
    return str(getattr(value, "pk", value) or "").strip().casefold()
