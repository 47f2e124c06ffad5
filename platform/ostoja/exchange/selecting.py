"""Selecting says which records are exported: the filters, search and sort of a list, under the actor's rights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ostoja.access.policy import allowed, visible, visible_fields
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.kernel.registry import Entry

LOOKUPS = {
    "": "exact",
    "in": "in",
    "gt": "gt",
    "gte": "gte",
    "lt": "lt",
    "lte": "lte",
    "isnull": "isnull",
    "contains": "icontains",
}
OTHER = {"search", "sort", "ids"}

Selection = Callable[[Actor, Entry, Mapping], QuerySet]
_selections: list[Selection] = []


def use_selection(selection: Selection) -> None:
    """The room that answers lists tells here how it reads a query, so that an export holds exactly what the list shows."""
    _selections[:] = [selection]


def selected(actor: Actor, entry: Entry, query: Mapping) -> QuerySet:
    """The records of a query that the actor may export, in its order.

    ``query``: field or field__lookup -> value, ``search``, ``sort`` (list or comma-separated, ``-`` for descending),
    ``ids``. Raises Refused for what the actor does not see.
    """
    if _selections:
        rows = _selections[0](actor, entry, query)
    else:
        rows = _plain_selection(actor, entry, query)
    condition = allowed(actor, entry, "export")
    return rows if condition is None else rows.filter(condition)


def _plain_selection(actor: Actor, entry: Entry, query: Mapping) -> QuerySet:
    seen = set(visible_fields(actor, entry))
    rows = visible(actor, entry.model)
    for name, value in query.items():
        if name in OTHER:
            continue
        field, _sep, lookup = name.partition("__")
        if field not in seen or lookup not in LOOKUPS:
            raise Refused(
                _("“{name}” is no filter here.").format(name=name), fields={name: [_("There is no such filter.")]}
            )
        if lookup == "in" and isinstance(value, str):
            value = value.split(",")
        if lookup == "isnull":
            value = str(value).lower() in ("1", "true", "yes")
        try:
            rows = rows.filter(**{f"{field}__{LOOKUPS[lookup]}": value})
        except (ValueError, TypeError, ValidationError) as error:
            raise Refused(
                _("“{name}” has a value that does not fit.").format(name=name), fields={name: [_("It does not fit.")]}
            ) from error
    if query.get("ids"):
        rows = rows.filter(pk__in=query["ids"])
    if query.get("search"):
        condition = Q()
        for path in entry.surface.search:
            if path.split("__")[0] in seen:
                condition |= Q(**{f"{path}__icontains": query["search"]})
        for code in entry.surface.codes:
            if code in seen:
                condition |= Q(**{f"{code}__in": (query["search"], query["search"].upper())})
        rows = rows.filter(condition) if condition else rows.none()
    sort = query.get("sort") or list(entry.surface.sort)
    order = [s.strip() for s in (sort.split(",") if isinstance(sort, str) else sort)]
    for name in order:
        if name.lstrip("-").split("__")[0] not in seen | {"pk"}:
            raise Refused(
                _("“{name}” is no field to sort by.").format(name=name), fields={"sort": [_("There is no such field.")]}
            )
    return rows.order_by(*order, "pk")
