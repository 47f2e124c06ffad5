"""Reads the journal for people: what happened to a record, field by field, as far as the reader may see."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field

from .models import CHANGES, Change


@dataclass
class Event:
    """One change of one record: when, who (``kind:id``), by which verb, and [(column, before, after)] of seen fields.

    ``hidden`` counts changed fields that the reader may not see.
    """

    at: object
    actor: str
    verb: str
    op: str
    fields: list[tuple[str, object, object]] = field(default_factory=list)
    hidden: int = 0
    cause: uuid.UUID | None = None
    id: int = 0


def history(record, seen: set[str], limit: int = 100) -> list[Event]:
    """The changes of a record, newest first; ``seen`` are the names of the fields that the reader may see.

    The value after a change is the value before the next one, or the record's own.
    """
    meta = record._meta
    by_column = {f.column: f.name for f in meta.concrete_fields}
    now = {f.column: getattr(record, f.attname) for f in meta.concrete_fields}
    events = []
    changes = Change.objects.filter(record=record.pk, model=meta.label_lower, op__in=CHANGES)
    for change in changes.order_by("-id")[:limit]:
        event = Event(change.at, change.actor, change.verb, change.op, cause=change.cause, id=change.pk)
        for column in change.fields:
            before = (change.old or {}).get(column)
            name = by_column.get(column)
            if name in seen:
                event.fields.append((name, before, now.get(column)))
            else:
                event.hidden += 1
            now[column] = before
        events.append(event)
    return events


def person_id(actor_key: str) -> uuid.UUID | None:
    """The id in an actor's key when it is a person's."""
    kind, _colon, id = actor_key.partition(":")
    return uuid.UUID(id) if kind == "user" and id else None
