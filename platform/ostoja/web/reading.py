"""Reading a list: search, filters, order and keyset paging over the records that somebody may see. One query a page."""

from __future__ import annotations

import base64
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from functools import cached_property

from django.core.exceptions import FieldDoesNotExist, ValidationError
from django.db import models
from django.db.models import Case, Count, F, Q, QuerySet, Sum
from django.http import QueryDict
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ostoja.access.models import User
from ostoja.access.policy import may, value_in_sight, visible, visible_fields
from ostoja.kernel.actors import Actor
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from . import display
from .columns import Column, entry_of, kind_of, may_see, title_field, title_of
from .concealing import concealed
from .widgets import plain_number

PAGE = 50
LONGEST_SEARCH = 100
SELDOM = 1000  # records in which a word occurs, so that it pays to name them
MOST_WORDS = 8
NONE = "none"  # a filter's value for “empty”


@dataclass(frozen=True)
class Key:
    """One field of an order; ``shown`` is what stands for it where not all that the path leads to is in the reader's sight."""

    path: str
    down: bool
    nullable: bool
    shown: Case | None = None

    @property
    def name(self) -> str:
        """The name of what is compared."""
        return self.path if self.shown is None else f"_shown_{self.path.replace('__', '_')}"


def path_field(model: type[models.Model], path: str) -> tuple[models.Field | None, bool, bool]:
    """The field at the end of a path; whether it may be null on the way; whether it fans out into many rows."""
    nullable = many = False
    found: models.Field | None = None
    for step in path.split("__"):
        if step == "pk":
            return model._meta.pk, nullable, many
        try:
            found = model._meta.get_field(step)
        except FieldDoesNotExist:
            return None, nullable, many
        nullable |= bool(getattr(found, "null", False))
        many |= bool(found.one_to_many or found.many_to_many)
        if found.is_relation:
            model = found.related_model
    return found, nullable, many


@dataclass
class Filter:
    """One field that a list may be narrowed by, with what was chosen."""

    entry: Entry
    name: str
    field: models.Field
    chosen: list[str] = field(default_factory=list)
    low: str = ""
    high: str = ""

    ME = "me"  # a person's filter means whoever looks

    @property
    def of_people(self) -> bool:
        """Whether its values are users."""
        return isinstance(self.field, models.ForeignKey) and self.field.related_model is User

    @property
    def param(self) -> str:
        """The name of its query parameter."""
        return f"f.{self.name}"

    @property
    def label(self) -> str:
        """The field's name."""
        return str(capfirst(self.field.verbose_name))

    @property
    def kind(self) -> str:
        """``choice``, ``relation``, ``bool``, ``range`` or ``text``: which control it has."""
        kind = kind_of(self.field)
        if kind in ("person", "relation"):
            return "relation"
        if kind in ("choice", "bool"):
            return kind
        return "range" if kind in ("date", "moment", "money", "number") else "text"

    @property
    def input(self) -> str:
        """The type of the inputs of a range."""
        return "date" if kind_of(self.field) in ("date", "moment") else "text"

    @property
    def active(self) -> bool:
        """Whether anything was chosen."""
        return bool(self.chosen or self.low or self.high)

    def condition(self) -> Q | None:
        """What it means for the query; None when nothing (or nonsense) was chosen."""
        if self.kind == "range":
            return self._range()
        if self.kind == "bool":
            value = {"true": True, "false": False}.get(self.chosen[0] if self.chosen else "")
            return None if value is None else Q(**{self.name: value})
        if self.kind == "text":
            return Q(**{f"{self.name}__icontains": self.chosen[0][:LONGEST_SEARCH]}) if self.chosen else None
        values = [v for v in self.chosen if v != NONE]
        if self.kind == "relation":
            values = [v for v in map(parse_uuid, values) if v is not None]
        else:
            known = {str(value) for value, _label in self.field.flatchoices}
            values = [v for v in values if v in known]
        condition = Q(**{f"{self.field.attname}__in": values}) if values else None
        if NONE in self.chosen:
            empty = Q(**{f"{self.name}__isnull": True}) if self.field.null else Q(**{self.name: ""})
            condition = empty if condition is None else condition | empty
        return condition

    def _range(self) -> Q | None:
        low, high = self.bound(self.low), self.bound(self.high)
        condition = Q()
        name = f"{self.name}__date" if kind_of(self.field) == "moment" else self.name
        if low is not None:
            condition &= Q(**{f"{name}__gte": low})
        if high is not None:
            condition &= Q(**{f"{name}__lte": high})
        return condition or None

    def bound(self, text: str) -> object | None:
        """One end of a range as a value; None when it says nothing."""
        if not text:
            return None
        try:
            if self.input == "date":
                return dt.date.fromisoformat(text)
            return Decimal(plain_number(text[:40]))
        except (ValueError, InvalidOperation):
            return None

    def said(self, labels: dict[str, str]) -> tuple[str, str]:
        """Operator and value in words; ``labels`` names related records by id."""
        if self.kind == "range":
            show = display.date if self.input == "date" else display.number
            low, high = self.bound(self.low), self.bound(self.high)
            if low is not None and high is not None:
                return _("is between"), f"{show(low)} – {show(high)}"
            return ("≥", show(low)) if low is not None else ("≤", show(high) if high is not None else "–")
        if self.kind == "bool":
            return _("is"), _("Yes") if self.chosen[0] == "true" else _("No")
        if self.kind == "text":
            return _("contains"), self.chosen[0]
        if self.kind == "choice":
            labels = {str(value): str(label) for value, label in self.field.flatchoices}
        words = [_("empty") if v == NONE else labels.get(v, "?") for v in self.chosen]
        return (_("is") if len(words) == 1 else _("is any of")), ", ".join(words)


@dataclass
class Page:
    """The records of one page, and the cursors of its neighbours (None at the ends)."""

    records: list
    before: str | None
    after: str | None


class Listing:
    """What somebody sees of an object's list for one set of query parameters."""

    said_search = gettext_lazy("Search")

    def __init__(self, actor: Actor, entry: Entry, query: QueryDict, *, extra: Q | None = None):
        self.actor = actor
        self.entry = entry
        self.query = query
        self.extra = extra
        self.q = " ".join(query.get("q", "")[:LONGEST_SEARCH].replace("\x00", "").split())

    @cached_property
    def filters(self) -> list[Filter]:
        """The surface's filters that the actor may see, and what else the query asks for, with what it chose."""
        made = []
        asked = [name[2:].partition(".")[0] for name in self.query if name.startswith("f.")]
        for name in dict.fromkeys([*self.entry.surface.filters, *asked]):
            field = self.entry.fields.get(name)
            if field is None or not may_see(self.actor, self.entry, name):
                continue
            one = Filter(self.entry, name, field)
            one.chosen = [v for v in self.query.getlist(one.param) if v][:100]
            if one.of_people:
                one.chosen = [str(self.actor.user_id) if v == Filter.ME else v for v in one.chosen]
            one.low, one.high = self.query.get(f"{one.param}.from", ""), self.query.get(f"{one.param}.to", "")
            made.append(one)
        return made

    @cached_property
    def active(self) -> list[Filter]:
        """The filters that narrow this list."""
        return [f for f in self.filters if f.active and f.condition() is not None]

    @property
    def narrowed(self) -> bool:
        """Whether search or filters leave anything out."""
        return bool(self.q or self.active)

    def rows(self) -> QuerySet:
        """All records of this list, in no order."""
        rows = visible(self.actor, self.entry.model)
        if self.extra is not None:
            rows = rows.filter(self.extra)
        for one in self.active:
            rows = rows.filter(one.condition())
        return search(self.actor, self.entry, rows, self.q) if self.q else rows

    @cached_property
    def sort(self) -> str:
        """The chosen order, ``field`` or ``-field``, or "" for the surface's own."""
        wanted = self.query.get("sort", "")
        name = wanted.removeprefix("-")
        if name not in self.entry.fields or name in ("id",) or not may_see(self.actor, self.entry, name):
            return ""
        return wanted

    def keys(self) -> list[Key]:
        """The order as keys, ending with the id."""
        if self.sort:
            name = self.sort.removeprefix("-")
            field = self.entry.fields[name]
            related = entry_of(field.related_model) if isinstance(field, models.ForeignKey) else None
            paths = [
                ("-" if self.sort.startswith("-") else "") + (f"{name}__{title_field(related)}" if related else name)
            ]
        else:
            paths = list(self.entry.surface.sort)
        keys = []
        for path in paths:
            down, path = path.startswith("-"), path.removeprefix("-")
            if path in ("id", "pk"):
                break
            field, nullable, many = path_field(self.entry.model, path)
            if field is not None and not many:
                shown = self._in_sight(path)
                keys.append(Key(path, down, nullable or shown is not None, shown))
        down = paths[-1].startswith("-") if paths else True
        return [*keys, Key("id", down, False)]

    def _in_sight(self, path: str) -> Case | None:
        """What a path to a related record's field shows this reader; None when all of it."""
        head, _sep, rest = path.partition("__")
        field = self.entry.fields.get(head)
        related = entry_of(field.related_model) if rest and field is not None and field.is_relation else None
        return None if related is None else value_in_sight(self.actor, related, head, rest)

    def page(self, columns: Sequence[Column] = (), related: Sequence[str] = ()) -> Page:
        """The page that the query's ``after`` or ``before`` cursor points to. One query."""
        keys = self.keys()
        shown = {k.name: k.shown for k in keys if k.shown is not None}
        rows = self.rows().alias(**shown)
        back = bool(self.query.get("before")) and not self.query.get("after")
        place = decode(self.query.get("before" if back else "after", ""), self.entry.model, keys)
        if place is None:
            back = False
        else:
            rows = rows.filter(beyond(keys, place, back))
        order = [_order(k, back) for k in keys]
        wanted = rows.order_by(*order).values("pk")[: PAGE + 1]  # narrow rows are sorted, wide ones only fetched
        names = tuple(
            dict.fromkeys([c.field.name for c in columns if c.kind in ("person", "relation")] + list(related))
        )
        rows = self.entry.model._default_manager.filter(pk__in=wanted).alias(**shown)
        if names:
            rows = rows.select_related(*names)
        rows = rows.annotate(**{f"_k{i}": F(k.name) for i, k in enumerate(keys) if "__" in k.path})
        found = concealed(self.actor, rows.order_by(*order))
        more, found = len(found) > PAGE, found[:PAGE]
        if back:
            found.reverse()
        has_before, has_after = (more, True) if back else (place is not None, more)
        return Page(
            found,
            encode(keys, found[0]) if found and has_before else None,
            encode(keys, found[-1]) if found and has_after else None,
        )

    def totals(self, columns: Sequence[Column]) -> tuple[int, list[tuple[str, str]]]:
        """How many records there are in all, and [(label, sum)] of the columns of money. One query."""
        sums = [c for c in columns if c.kind == "money" and "price" not in c.name]
        rows = self.rows()
        by_currency = "currency" in self.entry.fields and bool(sums)
        measures = {"n": Count("pk"), **{f"s{i}": Sum(c.name) for i, c in enumerate(sums)}}
        if by_currency:
            found = list(rows.order_by().values("currency").annotate(**measures).order_by("currency"))
        else:
            found = [rows.aggregate(**measures)]
        total = sum(row["n"] for row in found)
        said = []
        for i, one in enumerate(sums):
            parts = [display.money(r[f"s{i}"], r.get("currency", "")) for r in found if r[f"s{i}"]]
            if parts:
                said.append((one.label, " + ".join(parts)))
        return total, said

    def names_of_chosen(self) -> dict[str, dict[str, str]]:
        """The names of the related records that filters chose: filter -> {id: name}. One query a relation."""
        names = {}
        for one in self.active:
            if one.kind != "relation":
                continue
            ids = [v for v in map(parse_uuid, one.chosen) if v]
            model = one.field.related_model
            rows = visible(self.actor, model) if entry_of(model) else model._default_manager.all()
            names[one.name] = {str(r.pk): title_of(r) for r in rows.filter(pk__in=ids)}
        return names


def search(actor: Actor, entry: Entry, rows: QuerySet, words: str) -> QuerySet:
    """The rows in which every word occurs in one of the surface's search paths that the actor may see.

    Each path is asked by itself first, so that each can use its index; a word that is nearly everywhere is filtered for
    instead, because then the first page is soon full. One query for each word.
    """
    for word in words.split()[:MOST_WORDS]:
        found = [q for path in entry.surface.search if (q := _matches(actor, entry.model, path, word)) is not None]
        found += [
            Q((f"{code}__in", (word, word.upper()))) for code in entry.surface.codes if may_see(actor, entry, code)
        ]
        if not found:
            return rows.none()
        if len(found) == 1:
            rows = rows.filter(found[0])
            continue
        asked = [
            entry.model._default_manager.order_by().filter(q).values_list("pk", flat=True)[: SELDOM + 1] for q in found
        ]
        keys = set(asked[0].union(*asked[1:], all=True))
        rows = rows.filter(pk__in=keys) if len(keys) <= SELDOM else rows.filter(Q(*found, _connector=Q.OR))
    return rows


def _matches(actor: Actor, model: type[models.Model], path: str, word: str) -> Q | None:
    """Where a word occurs at the end of a path; None when some step of the path may not be seen.

    Related records are looked for among those that the actor may see.
    """
    head, _sep, rest = path.partition("__")
    try:
        field = model._meta.get_field(head)
    except FieldDoesNotExist:
        return None
    here = entry_of(model)
    if field.concrete and here is not None and field.name not in visible_fields(actor, here):
        return None
    if not rest:
        return Q(**{f"{head}__icontains": word})
    inner = _matches(actor, field.related_model, rest, word)
    there = entry_of(field.related_model)
    if inner is None or (there is not None and not may(actor, there, "view")):
        return None
    related = visible(actor, field.related_model) if there is not None else field.related_model._default_manager.all()
    related = related.order_by().filter(inner)
    if field.auto_created:
        return Q(pk__in=related.values(field.field.attname))
    return Q(**{f"{head}__in": related})


# --- keyset -----------------------------------------------------------------------------------------------------------


def _order(key: Key, back: bool):
    """Empty values come last, in both directions."""
    expression = F(key.name)
    nulls = ({"nulls_first": True} if back else {"nulls_last": True}) if key.nullable else {}
    return expression.desc(**nulls) if key.down != back else expression.asc(**nulls)


def beyond(keys: Sequence[Key], place: Sequence[object], back: bool) -> Q:
    """The rows after ``place`` in this order (before it when ``back``)."""
    condition, equal = Q(), Q()
    for key, value in zip(keys, place, strict=True):
        past = _past(key, value, back)
        if past is not None:
            condition |= equal & past
        equal &= Q(**{f"{key.name}__isnull": True}) if value is None else Q(**{key.name: value})
    first, value = keys[0], place[0]
    if value is not None and not first.nullable:  # lets an index start at the right place
        condition &= Q(**{f"{first.name}__{'lte' if first.down != back else 'gte'}": value})
    return condition


def _past(key: Key, value: object, back: bool) -> Q | None:
    if value is None:
        return Q(**{f"{key.name}__isnull": False}) if back else None
    past = Q(**{f"{key.name}__{'lt' if key.down != back else 'gt'}": value})
    return past | Q(**{f"{key.name}__isnull": True}) if key.nullable and not back else past


def encode(keys: Sequence[Key], record) -> str:
    """Where a record stands in an order, as a cursor."""
    values = [getattr(record, f"_k{i}") if "__" in k.path else getattr(record, k.path) for i, k in enumerate(keys)]
    text = json.dumps([None if v is None else _text(v) for v in values], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _text(value) -> str:
    return value.isoformat() if isinstance(value, (dt.date, dt.datetime)) else str(value)


def decode(cursor: str, model: type[models.Model], keys: Sequence[Key]) -> list | None:
    """The values of a cursor, or None when it is none of this order."""
    if not cursor or len(cursor) > 2000:
        return None
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        if not isinstance(values, list) or len(values) != len(keys):
            return None
        place = []
        for key, value in zip(keys, values, strict=True):
            found, _nullable, _many = path_field(model, key.path)
            if value is not None and ("\x00" in value or not isinstance(value, str)):
                return None
            place.append(None if value is None else found.to_python(value))
        return None if place[-1] is None else place
    except (ValueError, TypeError, ValidationError):
        return None
