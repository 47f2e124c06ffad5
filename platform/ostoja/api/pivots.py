"""A pivot counts and sums the records of a list by groups, with the list's filters and rights."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import models
from django.db.models import Avg, Count, F, Max, Min, Sum
from django.db.models.functions import TruncDay, TruncMonth, TruncQuarter, TruncWeek, TruncYear
from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.access.policy import scope_of, visible
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from . import values
from .door import entry_at, query_of, reply
from .problems import BadRequest
from .selection import narrowed, readable, title_of, whole

OWN = frozenset({"group_by", "measure", "search", "sort", "limit"})
SPANS = {"day": TruncDay, "week": TruncWeek, "month": TruncMonth, "quarter": TruncQuarter, "year": TruncYear}
SUMS = {"sum": Sum, "avg": Avg, "min": Min, "max": Max}
GROUPS, MEASURES, MOST, USUAL = 4, 10, 5000, 1000


@dataclass(frozen=True)
class Group:
    """One dimension: the name in the answer, the expression, its field, and the span of time if it is one."""

    name: str
    expression: object
    field: models.Field
    span: str = ""


def _refuse(parameter: str, name: str, why: object = None) -> BadRequest:
    message = why or _("“{name}” is no field that can be used here.").format(name=name)
    return BadRequest(message, fields={parameter: [str(message)]}, code="unknown_field")


def _listed(query: dict, name: str) -> list[str]:
    return list(dict.fromkeys(p.strip() for text in query.get(name, ()) for p in text.split(",") if p.strip()))


def groups_of(actor: Actor, entry: Entry, names: list[str]) -> list[Group]:
    """The dimensions that ``group_by`` names. Raises BadRequest naming what is none."""
    if len(names) > GROUPS:
        raise _refuse("group_by", "", _("At most {n} fields.").format(n=GROUPS))
    seen, out = readable(actor, entry), []
    for name in names:
        head, _colon, span = name.partition(":")
        field = seen.get(head)
        if field is None or not can_group(field):
            raise _refuse("group_by", name)
        if span and not (values.is_time(field) and span in SPANS):
            raise _refuse("group_by", name)
        if span:
            extra = {} if isinstance(field, models.DateTimeField) else {"output_field": models.DateField()}
            out.append(Group(name, SPANS[span](head, **extra), field, span))
        else:
            out.append(Group(name, F(field.attname), field))
    return out


def can_group(field: models.Field) -> bool:
    """Whether records can be grouped by a field: everything that has few values by nature, and dates."""
    return values.is_filtered(field) and not isinstance(field, models.TextField) and not field.primary_key


def can_measure(how: str, field: models.Field) -> bool:
    """Whether ``how`` makes sense of a field."""
    if how in ("sum", "avg"):
        return values.is_number(field)
    return values.is_number(field) or values.is_time(field)


def measures_of(actor: Actor, entry: Entry, names: list[str]) -> dict[str, object]:
    """The aggregates that ``measure`` names. Raises BadRequest naming what is none."""
    if len(names) > MEASURES:
        raise _refuse("measure", "", _("At most {n} measures.").format(n=MEASURES))
    seen, out = readable(actor, entry), {}
    for name in names:
        how, _colon, head = name.partition(":")
        field = seen.get(head)
        if name == "count":
            out[name] = Count("pk")
        elif how in SUMS and field is not None and can_measure(how, field):
            out[name] = SUMS[how](head)
        else:
            raise _refuse("measure", name)
    return out


def aggregated(request: HttpRequest, slug: str) -> HttpResponse:
    """The groups with their measures, at most ``limit`` of them."""
    actor, entry = request.actor, entry_at(request, slug)
    query = query_of(request)
    groups = groups_of(actor, entry, _listed(query, "group_by"))
    measures = measures_of(actor, entry, _listed(query, "measure") or ["count"])
    limit = whole((query.get("limit") or [None])[-1], "limit", 1, MOST, USUAL)
    aliases = {name: f"m{n}" for n, name in enumerate(measures)} | {g.name: f"g{n}" for n, g in enumerate(groups)}
    order = []
    for name in _listed(query, "sort") or [g.name for g in groups]:
        if name.removeprefix("-") not in aliases:
            raise _refuse("sort", name, _("Sort by what you group by or measure."))
        order.append(("-" if name.startswith("-") else "") + aliases[name.removeprefix("-")])
    rows = narrowed(actor, entry, query, OWN)
    totals = {aliases[name]: aggregate for name, aggregate in measures.items()}
    if groups:
        rows = rows.values(**{aliases[g.name]: g.expression for g in groups}).annotate(**totals).order_by(*order)
        found = list(rows[: limit + 1])
    else:
        found = [rows.aggregate(**totals)]
    truncated, found = len(found) > limit, found[:limit]
    labels = {g.name: _labels(actor, g, [row[aliases[g.name]] for row in found]) for g in groups if g.field.is_relation}
    items = []
    for row in found:
        item = {g.name: _said(g, row[aliases[g.name]], labels.get(g.name)) for g in groups}
        item |= {name: _measured(name, row[aliases[name]], entry) for name in measures}
        items.append(item)
    return reply(values.dumps({"items": items, "truncated": truncated}))


def _labels(actor: Actor, group: Group, ids: list) -> dict:
    other = values.entry_of(group.field)
    title = title_of(actor, other)
    if title is None or scope_of(actor, other, "view") is None:
        return {}
    return dict(visible(actor, other.model).filter(pk__in=[i for i in ids if i]).values_list("pk", title.name))


def _said(group: Group, value: object, labels: dict | None) -> object:
    if value is None:
        return None
    if labels is not None:
        label = labels.get(value)
        return {"id": value, "label": None if label is None else str(label)}
    if group.span and hasattr(value, "date"):
        return value.date()
    return value


def _measured(name: str, value: object, entry: Entry) -> object:
    how, _colon, head = name.partition(":")
    if how == "avg" and value is not None:
        field = entry.fields[head]
        places = field.decimal_places if isinstance(field, models.DecimalField) else 2
        return f"{value:.{max(places, 2)}f}"
    return value
