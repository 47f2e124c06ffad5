"""A selection says which records of an object, in which order: filters, search, sort and place, under the actor's rights."""

from __future__ import annotations

import base64
import binascii
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import orjson
from django.core.exceptions import FieldDoesNotExist
from django.db import models
from django.db.models import Case, F, Q, QuerySet
from django.db.models.functions import Cast, Upper
from django.utils.translation import gettext as _

from ostoja.access.narrowing import in_sight
from ostoja.access.policy import allowed, scope_of, value_in_sight, visible, visible_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from . import values
from .problems import BadRequest

LEAST, MOST, USUAL = 1, 500, 50
WORDS, LONGEST = 8, 200
MANY_VALUES = 500
COMPARISONS = ("gt", "gte", "lt", "lte")
OWN = frozenset({"fields", "search", "sort", "limit", "cursor", "count"})


# --- what an actor may name ---------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _readable(entry: Entry, seen: tuple[str, ...]) -> dict[str, models.Field]:
    names = seen if "id" in seen else ("id", *seen)
    return {name: entry.fields[name] for name in names if values.is_shown(entry.fields[name])}


def readable(actor: Actor, entry: Entry) -> dict[str, models.Field]:
    """The fields that the actor may read, by name; a record that may be seen has its id always."""
    return _readable(entry, visible_fields(actor, entry))


def title_of(actor: Actor, entry: Entry | None) -> models.Field | None:
    """The field that names records of an object, if the actor may read it."""
    if entry is None or not entry.surface.title:
        return None
    field = readable(actor, entry).get(entry.surface.title)
    return None if field is None or field.is_relation else field


def _unknown(name: str, entry: Entry) -> BadRequest:
    message = _("“{name}” is no field of {things}, or it can't be used here.").format(
        name=name, things=entry.model._meta.verbose_name_plural
    )
    return BadRequest(message, fields={name: [message]}, code="unknown_field")


def _wrong(name: str, error: object, code: str = "bad_value") -> BadRequest:
    return BadRequest(_("“{name}”: {why}").format(name=name, why=error), fields={name: [str(error)]}, code=code)


def chosen(actor: Actor, entry: Entry, text: str | None) -> tuple[str, ...]:
    """The fields that ``fields=`` asks for, the id always among them; all that may be read when it does not ask."""
    seen = readable(actor, entry)
    if text is None:
        return tuple(seen)
    names = tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    for name in names:
        if name not in seen:
            raise _unknown(name, entry)
    return names if "id" in names else ("id", *names)


# --- filters ------------------------------------------------------------------------------------------------------------


def lookups_of(field: models.Field) -> tuple[str, ...]:
    """What may follow ``__`` after a field's name in a filter."""
    out = ["in", "not", "isnull"]
    if values.is_text(field):
        out += ["contains", *(() if field.choices else COMPARISONS)]
    elif not field.is_relation and not isinstance(field, (models.BooleanField, models.UUIDField)):
        out += COMPARISONS
    return tuple(out)


def condition(actor: Actor, entry: Entry, name: str, texts: Sequence[str]) -> Q:
    """The condition of one filter parameter. Raises BadRequest naming it."""
    head, _sep, rest = name.partition("__")
    field = readable(actor, entry).get(head)
    if field is None or not values.is_filtered(field):
        raise _unknown(name, entry)
    if not rest or rest in lookups_of(field):
        return _compare(name, head, field, rest, texts)
    other = values.entry_of(field)
    if other is None or scope_of(actor, other, "view") is None:
        raise _unknown(name, entry)
    below, _sep, lookup = rest.partition("__")
    field = readable(actor, other).get(below)
    if field is None or not values.is_filtered(field) or (lookup and lookup not in lookups_of(field)):
        raise _unknown(name, entry)
    if allowed(actor, other, "view") is None:
        return _compare(name, f"{head}__{below}", field, lookup, texts)
    inside = _compare(name, below, field, lookup, texts)
    return Q((f"{head}__in", visible(actor, other.model).filter(inside)))


def _compare(name: str, path: str, field: models.Field, lookup: str, texts: Sequence[str]) -> Q:
    try:
        if lookup == "isnull":
            return Q((f"{path}__isnull", values.parse(models.BooleanField(), texts[-1])))
        if lookup == "contains":
            found = [_text(t) for t in texts]
            return Q(*[(f"{path}__icontains", t) for t in found])
        if lookup == "in":
            texts = [part for text in texts for part in text.split(",") if part != ""]
            if len(texts) > MANY_VALUES:
                raise values.Wrong(_("At most {n} values.").format(n=MANY_VALUES))
        parsed = [values.parse(field, t) for t in texts]
    except values.Wrong as error:
        raise _wrong(name, error) from error
    if lookup == "in" or (lookup == "" and len(parsed) > 1):
        return Q((f"{path}__in", parsed))
    if lookup == "not":
        return ~Q((f"{path}__in", parsed)) if len(parsed) > 1 else ~Q((path, parsed[0]))
    return Q(*[(f"{path}__{lookup}" if lookup else path, value) for value in parsed])


def _text(text: str) -> str:
    if "\x00" in text:
        raise values.Wrong(_("It has characters that can't be stored."))
    if len(text) > LONGEST:
        raise values.Wrong(_("At most {n} characters.").format(n=LONGEST))
    return text


# --- search -------------------------------------------------------------------------------------------------------------


def words_of(text: str) -> list[str]:
    """The words of a search, each once. Raises BadRequest when they can't be searched for."""
    try:
        return list(dict.fromkeys(_text(text).split()))[:WORDS]
    except values.Wrong as error:
        raise _wrong("search", error) from error


def search(actor: Actor, entry: Entry, text: str) -> Q | None:
    """Records in which every word stands in some searched field; None when nothing is asked for.

    Fields and related records that the actor may not see are not searched. Where several fields are searched, each is
    asked by itself, so that each can use its index.
    """
    words, out = words_of(text), Q()
    for word in words:
        found = [q for path in entry.surface.search if (q := _matches(actor, entry.model, path, word)) is not None]
        found += [
            Q((f"{code}__in", (word, word.upper()))) for code in entry.surface.codes if code in readable(actor, entry)
        ]
        if not found:
            return Q(pk__in=[])
        if len(found) == 1:
            out &= found[0]
            continue
        first, *others = [entry.model._default_manager.order_by().filter(q).values("pk") for q in found]
        out &= Q(pk__in=first.union(*others))
    return out if words else None


def _matches(actor: Actor, model: type[models.Model], path: str, word: str) -> Q | None:
    head, _sep, rest = path.partition("__")
    field = model._meta.get_field(head)
    if not rest:
        try:
            known = readable(actor, registry.of(model))
        except KeyError:
            return None
        return Q((f"{head}__icontains", word)) if head in known and values.is_text(field) else None
    other = values.entry_of(field)
    if other is None:
        return None
    inner = _matches(actor, other.model, rest, word)
    if inner is None or (scope_of(actor, other, "view") is None):
        return None
    part = other.parent is not None and other.parent.model is model  # it has the scope of what is looked for
    limit = in_sight(actor, other) if part else allowed(actor, other, "view")
    rows = other.model._default_manager.order_by().filter(inner)
    if limit is not None:
        rows = rows.filter(limit)
    if field.auto_created:
        return Q(pk__in=rows.values(field.field.attname))
    return Q((f"{head}__in", rows))


# --- order and place ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """One key of the order: a path of the record, its field, and whether it may be null; ``shown`` is what stands for the path
    where not all that it leads to is in the reader's sight."""

    path: str
    field: models.Field
    descending: bool
    nullable: bool
    shown: Case | None = None

    @property
    def folded(self) -> bool:
        """Names are sorted without regard to case, as their indexes are; codes as they stand."""
        return values.is_text(self.field) and not self.field.choices

    @property
    def alias(self) -> str:
        """The name of what is compared: the path, or its alias where that is not all."""
        return self.path if self.expression is None else f"sort_{self.path.replace('__', '_')}"

    @property
    def expression(self) -> Case | Upper | None:
        """What is compared instead of the path itself; None when the path is."""
        return Upper(self.shown or self.path) if self.folded else self.shown


class Order:
    """A total order of records: the keys and the id. PostgreSQL's own order of nulls, which its indexes have too."""

    def __init__(self, keys: Iterable[Key], model: type[models.Model]):
        keys = tuple(keys)
        if not keys or keys[-1].path != "id":
            descending = bool(keys) and keys[-1].descending
            keys = (*keys, Key("id", model._meta.pk, descending, False))
        self.keys = keys
        said = ",".join(f"{'-' if k.descending else ''}{k.path}" for k in keys)
        self.stamp = zlib.crc32(f"{model._meta.label_lower} {said}".encode())

    def of(self, rows: QuerySet) -> QuerySet:
        """The rows with what is compared, so that they can be placed and sorted."""
        return rows.alias(**{k.alias: k.expression for k in self.keys if k.expression is not None})

    @property
    def expressions(self) -> list[str]:
        """For ``order_by``."""
        return [f"-{k.alias}" if k.descending else k.alias for k in self.keys]

    def place(self, found: Sequence[str | None]) -> str:
        """An opaque cursor at the record with these keys."""
        return base64.urlsafe_b64encode(orjson.dumps([self.stamp, *found])).rstrip(b"=").decode()

    def after(self, cursor: str) -> Q:
        """The records that follow the cursor. Raises BadRequest when it is none of this order."""
        wrong = BadRequest(
            _("This cursor does not belong to this list: start again without it."),
            fields={"cursor": [_("It is damaged, or the sort is another.")]},
            code="bad_cursor",
        )
        try:
            if len(cursor) > 4000:
                raise ValueError(cursor)
            stamp, *said = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
            if stamp != self.stamp or len(said) != len(self.keys):
                raise ValueError(cursor)
            found = [self._value(k, v) for k, v in zip(self.keys, said, strict=True)]
        except (ValueError, TypeError, binascii.Error) as error:
            raise wrong from error
        return self._after(found)

    @staticmethod
    def _value(key: Key, said: object) -> object:
        if said is None:
            if not key.nullable:
                raise ValueError(key.path)
            return None
        if not isinstance(said, str):
            raise ValueError(key.path)
        if values.is_text(key.field):
            if "\x00" in said:
                raise ValueError(key.path)
            return said
        return values.parse(key.field, said)

    def _after(self, found: Sequence[object]) -> Q:
        """Lexicographic: beyond the first key, or equal in it and beyond in the others."""
        key, value = self.keys[0], found[0]
        condition = _beyond(key, value)
        for number in range(1, len(self.keys)):
            equal = Q(*[_equal(k, v) for k, v in zip(self.keys[:number], found, strict=False)])
            beyond = _beyond(self.keys[number], found[number])
            if beyond is not None:
                part = equal & beyond
                condition = part if condition is None else condition | part
        if condition is None:
            return Q(pk__in=[])
        if value is not None and not key.nullable and len(self.keys) > 1:
            condition = Q((f"{key.alias}__{'lte' if key.descending else 'gte'}", value)) & condition
        return condition


def _equal(key: Key, value: object) -> Q:
    return Q((f"{key.alias}__isnull", True)) if value is None else Q((key.alias, value))


def _beyond(key: Key, value: object) -> Q | None:
    """What comes after a value by itself: nulls are last in an ascending and first in a descending order."""
    if value is None:
        return Q((f"{key.alias}__isnull", False)) if key.descending else None
    if key.descending:
        return Q((f"{key.alias}__lt", value))
    beyond = Q((f"{key.alias}__gt", value))
    return beyond | Q((f"{key.alias}__isnull", True)) if key.nullable else beyond


def order(actor: Actor, entry: Entry, text: str | None) -> Order:
    """The order that ``sort=`` asks for, or the object's usual one as far as the actor may see its fields."""
    keys = []
    if text is None:
        for name in entry.surface.sort:
            key = _key(actor, entry, name)
            if key is not None:
                keys.append(key)
        return Order(keys, entry.model)
    for name in dict.fromkeys(n.strip() for n in text.split(",") if n.strip()):
        key = _key(actor, entry, name)
        if key is None:
            raise _unknown(name.lstrip("-"), entry)
        keys.append(key)
    if len(keys) > 5:
        raise _wrong("sort", _("At most {n} fields.").format(n=5))
    return Order(keys, entry.model)


def _key(actor: Actor, entry: Entry, name: str) -> Key | None:
    path = name.removeprefix("-")
    head, _sep, below = path.partition("__")
    field = readable(actor, entry).get(head)
    if field is None or not values.is_sorted(field):
        return None
    if not field.is_relation:
        return None if below else Key(head, field, name.startswith("-"), field.null)
    other = values.entry_of(field)
    if other is None or scope_of(actor, other, "view") != "all":
        return None
    title = readable(actor, other).get(below) if below else title_of(actor, other)
    if title is None or title.is_relation or not values.is_sorted(title):
        return None
    shown = value_in_sight(actor, other, head, title.name)
    nullable = field.null or title.null or shown is not None
    return Key(f"{head}__{title.name}", title, name.startswith("-"), nullable, shown)


# --- the whole ----------------------------------------------------------------------------------------------------------


@dataclass
class Selection:
    """A list as it was asked for: its rows (unordered, from the start), their order, and where to go on."""

    rows: QuerySet
    names: tuple[str, ...]
    order: Order
    limit: int
    after: Q | None
    count: str

    @property
    def page(self) -> QuerySet:
        """One row more than the page, in order."""
        rows = self.order.of(self.rows)
        rows = rows if self.after is None else rows.filter(self.after)
        return rows.order_by(*self.order.expressions)[: self.limit + 1]


def narrowed(actor: Actor, entry: Entry, query: Mapping[str, Sequence[str]], reserved: Iterable[str]) -> QuerySet:
    """The visible records that meet every filter of a query and its search."""
    rows = visible(actor, entry.model).order_by()
    for name, texts in query.items():
        if name not in reserved:
            rows = rows.filter(condition(actor, entry, name, texts))
    if text := (query.get("search") or [""])[-1]:
        found = search(actor, entry, text)
        if found is not None:
            rows = rows.filter(found)
    return rows


def select(actor: Actor, entry: Entry, query: Mapping[str, Sequence[str]]) -> Selection:
    """Read the parameters of a list. Raises BadRequest naming what is wrong."""

    def last(name: str) -> str | None:
        return query[name][-1] if query.get(name) else None

    asked = order(actor, entry, last("sort"))
    cursor = last("cursor")
    return Selection(
        rows=narrowed(actor, entry, query, OWN),
        names=chosen(actor, entry, last("fields")),
        order=asked,
        limit=whole(last("limit"), "limit", LEAST, MOST, USUAL),
        after=asked.after(cursor) if cursor else None,
        count=_count(last("count")),
    )


def exported(actor: Actor, entry: Entry, query: Mapping) -> QuerySet:
    """The records of a query, in its order, for an export: it holds exactly what the list shows.

    Values are texts or lists of them; ``ids`` narrows to these records.
    """
    said = {name: _texts(value) for name, value in query.items() if name != "ids"}
    asked = order(actor, entry, ",".join(said["sort"]) if said.get("sort") else None)
    rows = asked.of(narrowed(actor, entry, said, OWN))
    if query.get("ids"):
        rows = rows.filter(condition(actor, entry, "id", _texts(query["ids"])))
    return rows.order_by(*asked.expressions)


def _texts(value: object) -> list[str]:
    if isinstance(value, (list, tuple, set)):
        return [str(v) for v in value]
    return [str(value).lower() if isinstance(value, bool) else str(value)]


def whole(text: str | None, name: str, least: int, most: int, usual: int) -> int:
    """A whole number of a query parameter within its limits."""
    if text is None:
        return usual
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise _wrong(name, _("A whole number from {low} to {high} is expected.").format(low=least, high=most))
    return int(text)


def _count(text: str | None) -> str:
    if text in (None, "", "0", "false"):
        return ""
    if text in ("1", "true"):
        return "capped"
    if text == "exact":
        return "exact"
    raise _wrong("count", _("Say 1 or exact."))


def as_text(path: str) -> Cast:
    """A key of the order as text, for the cursor."""
    return Cast(F(path), models.TextField())


def has_field(model: type[models.Model], name: str) -> bool:
    """Whether a model has the field at all."""
    try:
        model._meta.get_field(name)
    except FieldDoesNotExist:
        return False
    return True
