"""Plain filters in an address, as the API has them (``state=won``, ``amount__gte=100``), put into the words of a list."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest, QueryDict

from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from . import places
from .columns import may_see
from .reading import NONE, Filter

OWN = frozenset({"q", "sort", "after", "before", "n", "id", "next", "month", "tab"})
ALSO = {"search": "q"}  # the API's word for it
ENDS = {"gte": "from", "lte": "to"}
TRUE, FALSE = ("true", "1", "yes"), ("false", "0", "no")

Pairs = list[tuple[str, str]]


def pairs_of(query: QueryDict) -> Pairs:
    """A query as pairs, in order."""
    return [(name, value) for name, values in query.lists() for value in values]


def translated(
    actor: Actor, entry: Entry, pairs: Iterable[tuple[str, str]], own: Iterable[str] = ()
) -> tuple[Pairs, Pairs]:
    """The pairs in the words of a list, and those that are not understood.

    ``own`` names further parameters that the page has besides filters. What is not understood stays out of the pairs.
    """
    known = OWN | set(own)
    made: Pairs = []
    strange: Pairs = []
    for name, value in pairs:
        if name in known:
            said = [(name, value)]
        elif name in ALSO:
            said = [(ALSO[name], value)]
        elif name.startswith("f."):
            said = [(name, value)] if not value or _fits(actor, entry, name[2:], value) else []
        else:
            said = _plain(actor, entry, name, value)
        made += said
        if not said:
            strange.append((name, value))
    return list(dict.fromkeys(made)), strange


def elsewhere(request: HttpRequest, entry: Entry, own: Iterable[str] = ()) -> tuple[str, list[str]]:
    """The page's address in its own words when this one has plain filters, else ""; and what it does not understand."""
    given = pairs_of(request.GET)
    made, strange = translated(request.actor, entry, given, own)
    moved = "" if set(given) <= {*made, *strange} else places.with_query(request.path, [*made, *strange])
    return moved, [f"{name}={value}" for name, value in strange]


def _filter(actor: Actor, entry: Entry, name: str) -> Filter | None:
    field = entry.fields.get(name)
    return Filter(entry, name, field) if field is not None and may_see(actor, entry, name) else None


def _fits(actor: Actor, entry: Entry, param: str, value: str) -> bool:
    """Whether a filter in the list's own words says something."""
    name, _dot, end = param.partition(".")
    one = _filter(actor, entry, name)
    if one is None or (end and (one.kind != "range" or end not in ENDS.values())):
        return False
    if one.kind == "range":
        return bool(end) and one.bound(value) is not None
    one.chosen = [str(actor.user_id) if value == Filter.ME and one.of_people else value]
    return one.condition() is not None


def _plain(actor: Actor, entry: Entry, name: str, value: str) -> Pairs:
    """A plain filter in the list's own words; nothing when it is none."""
    name, _sep, lookup = name.partition("__")
    one = _filter(actor, entry, name)
    if one is None or value == "":
        return []
    if lookup == "isnull":
        made = [(one.param, NONE)] if value.lower() in TRUE and one.kind in ("choice", "relation") else []
    elif one.kind == "range":
        ends = [ENDS[lookup]] if lookup in ENDS else ["from", "to"] if lookup == "" else []
        made = [(f"{one.param}.{end}", value) for end in ends]
    elif one.kind == "text":
        made = [(one.param, value)] if lookup in ("", "contains") else []
    elif one.kind == "bool":
        word = "true" if value.lower() in TRUE else "false" if value.lower() in FALSE else ""
        made = [(one.param, word)] if word and not lookup else []
    else:
        values = value.split(",") if lookup == "in" else [value] if not lookup else []
        made = [(one.param, v.strip()) for v in values if v.strip()]
    return made if all(_fits(actor, entry, param[2:], v) for param, v in made) else []
