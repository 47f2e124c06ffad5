"""Records over HTTP: list, read, create, change, delete, verbs and history, straight from the registry through the gate."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal

from django.db import models
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.access.models import User
from ostoja.access.policy import find, visible, visible_fields
from ostoja.gate import perform
from ostoja.journal.history import history as events_of
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from . import values
from .door import body_of, entry_at, key_in, not_there, query_of, reply, root, upon
from .rows import MARK, MARKS, Statement, compiled, one, statement
from .selection import USUAL, Selection, select, whole, words_of
from .values import Wrong

COUNTED = 10_000
PREFIX = "/api/v1"


# --- reading ------------------------------------------------------------------------------------------------------------


def listed(request: HttpRequest, slug: str) -> HttpResponse:
    """A page of records."""
    return listed_of(request, entry_at(request, slug), query_of(request))


def listed_of(request: HttpRequest, entry: Entry, query: Mapping[str, list[str]]) -> HttpResponse:
    """A page of an object's records that a query asks for."""
    selection, asked = _asked(request.actor, entry, query)
    found = asked.run()
    more = len(found) > selection.limit
    found = found[: selection.limit]
    place = selection.order.place(found[-1][1:]) if more else None
    parts = ['{"items":[', ",".join([row[0] for row in found]), '],"next":', f'"{place}"' if place else "null"]
    if selection.count:
        number, exact = _counted(selection)
        parts.append(f',"count":{number},"count_is_exact":{"true" if exact else "false"}')
    parts.append("}")
    response = reply("".join(parts).encode())
    if place:
        link = request.GET.copy()
        link["cursor"] = place
        response["Link"] = f'<{root(request)}{request.path_info.removeprefix(PREFIX)}?{link.urlencode()}>; rel="next"'
    return response


def _asked(actor: Actor, entry: Entry, query: Mapping[str, list[str]]) -> tuple[Selection, Statement]:
    """The selection and its statement, compiled once for a query, and once for all words of a search."""

    def make(asked: Mapping[str, list[str]]) -> tuple[Selection, Statement]:
        selection = select(actor, entry, asked)
        keys = [key.alias for key in selection.order.keys]
        return selection, statement(actor, entry, selection.page, selection.names, keys)

    words = words_of((query.get("search") or [""])[-1])
    if words and "count" not in query and "cursor" not in query and not _marked(query):
        marked = {**query, "search": [" ".join(MARKS[: len(words)])]}
        selection, shape = compiled(actor, (entry.slug, _key(marked)), lambda: make(marked))
        found = shape.searching(words)
        if found is not None:
            return selection, found
    return compiled(actor, (entry.slug, _key(query)), lambda: make(query))


def _marked(query: Mapping[str, list[str]]) -> bool:
    return any(MARK in text for texts in query.values() for text in texts)


def _key(query: Mapping[str, list[str]]) -> tuple:
    return tuple((name, *texts) for name, texts in query.items())


def _counted(selection: Selection) -> tuple[int, bool]:
    """How many records the whole list has; with ``count=1`` no further than to COUNTED."""
    if selection.count == "exact":
        return selection.rows.count(), True
    number = selection.rows[: COUNTED + 1].count()
    return min(number, COUNTED), number <= COUNTED


def read(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """One record with its lines."""
    entry = entry_at(request, slug)
    query_of(request, known=())
    return shown(request, entry, key_in(entry, key))


def shown(request: HttpRequest, entry: Entry, key: object, status: int = 200) -> HttpResponse:
    """A record as the answer; after a change that took it out of the actor's sight, its id alone."""
    found = one(request.actor, entry, key)
    if found is None:
        if status == 200 and request.method in ("GET", "HEAD"):
            raise not_there(entry)
        return reply(values.dumps({"id": key}), status)  # done, and now outside of what the actor may see
    body, version = found
    return reply(body, status, ETag=f'"{version}"')


# --- changing -----------------------------------------------------------------------------------------------------------


def created(request: HttpRequest, slug: str) -> HttpResponse:
    """A new record, with its lines."""
    entry = entry_at(request, slug, "add")
    query_of(request, known=())
    record = perform(request.actor, entry.model, "add", given(entry, body_of(request)))
    response = shown(request, entry, record.pk, 201)
    response["Location"] = f"{root(request)}/{slug}/{record.pk}/"
    return response


def changed(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """The fields that the body names, changed."""
    return _performed(request, slug, key, "change")


def deleted(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """The record, gone."""
    entry = entry_at(request, slug)
    query_of(request, known=())
    perform(request.actor, entry.model(pk=key_in(entry, key)), "delete", version=upon(request))
    return HttpResponse(status=204)


def verb_done(request: HttpRequest, slug: str, key: str, verb: str) -> HttpResponse:
    """The record after a verb."""
    entry = entry_at(request, slug)
    if verb not in entry.verbs:
        raise NotFound(_("“{thing}” has no verb “{verb}”.").format(thing=entry.model._meta.verbose_name, verb=verb))
    return _performed(request, slug, key, verb)


def _performed(request: HttpRequest, slug: str, key: str, verb: str) -> HttpResponse:
    entry = entry_at(request, slug)
    query_of(request, known=())
    data = given(entry, body_of(request))
    record = perform(request.actor, entry.model(pk=key_in(entry, key)), verb, data, version=upon(request))
    return shown(request, entry, record.pk)


def given(entry: Entry, data: Mapping) -> dict:
    """A body as the gate takes it: types checked field by field; what a field may be, its form decides. Raises Refused."""
    out, wrong = {}, {}
    for name, value in data.items():
        if name in entry.lines and isinstance(value, list):
            out[name] = []
            for number, row in enumerate(value):
                if not isinstance(row, dict):
                    wrong[f"{name}.{number}"] = [_("An object is expected.")]
                    continue
                out[name].append(_row(entry.lines[name], row, wrong, f"{name}.{number}."))
            continue
        out |= _row(entry, {name: value}, wrong)
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)
    return out


def _row(entry: Entry, data: Mapping, wrong: dict[str, list[str]], prefix: str = "") -> dict:
    out = {}
    for name, value in data.items():
        field = entry.fields.get(name)
        try:
            out[name] = value if field is None or not values.is_shown(field) else values.incoming(field, value)
        except Wrong as error:
            wrong[prefix + name] = [str(error)]
    return out


# --- history ------------------------------------------------------------------------------------------------------------


def history(request: HttpRequest, slug: str, key: str) -> HttpResponse:
    """What happened to a record, newest first, as far as the actor may see its fields."""
    actor, entry = request.actor, entry_at(request, slug)
    query = query_of(request, known=("limit",))
    limit = whole((query.get("limit") or [None])[-1], "limit", 1, 500, USUAL)
    record = find(actor, entry.model, key_in(entry, key))
    events = events_of(record, set(visible_fields(actor, entry)), limit)
    people = _people(actor, {event.actor for event in events})
    items = [
        {
            "at": event.at,
            "actor": people.get(event.actor) or _stranger(event.actor),
            "verb": event.verb,
            "change": {"I": "added", "U": "changed", "D": "deleted"}[event.op],
            "fields": [_change(entry.fields[name], before, after) for name, before, after in event.fields],
            "hidden": event.hidden,
            "cause": event.cause,
        }
        for event in events
    ]
    return reply(values.dumps({"items": items}))


def _change(field: models.Field, before: object, after: object) -> dict:
    return {"field": field.name, "before": _past(field, before), "after": _past(field, after)}


def _past(field: models.Field, value: object) -> object:
    """A value as the journal keeps it, in the form that the API gives it now."""
    if value is None:
        return None
    if isinstance(field, models.DecimalField):
        return format(Decimal(str(value)).quantize(Decimal(1).scaleb(-field.decimal_places)), "f")
    if isinstance(field, models.DateTimeField) and isinstance(value, str):
        return datetime.datetime.fromisoformat(value)
    return value


def _people(actor, keys: set[str]) -> dict[str, dict]:
    """The users behind ``user:<id>`` keys, with the names that the actor may see: one query."""
    ids = {key: parse_uuid(key.partition(":")[2]) for key in keys if key.startswith("user:")}
    names = dict(visible(actor, User).filter(pk__in=[i for i in ids.values() if i]).values_list("pk", "name"))
    return {key: {"kind": "user", "id": id, "label": names.get(id)} for key, id in ids.items()}


def _stranger(key: str) -> dict:
    kind, _colon, id = key.partition(":")
    return {"kind": kind, "id": id or None, "label": None}
