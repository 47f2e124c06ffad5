"""A mapping says where each column of a file goes: plain data with a version, kept with the run and saved for the next file.

>>> mapping = {
...     "version": 1,
...     "mode": "upsert",                    # add, update or upsert (change what is there, add the rest)
...     "key": ["number"],                   # tells records apart; the object's natural key when left out
...     "columns": [
...         {"from": "opportunity_id", "to": "number"},
...         {"from": "sales_agent", "to": "owner", "by": "name"},
...         {"from": "product", "to": "lines.product", "values": {"GTXPro": "GTX Pro"}},
...         {"from": "engage_date", "to": "engaged_on", "date_order": "mdy"},
...         {"from": "revenue", "to": "annual_revenue", "multiply": "1000000"},
...     ],
...     "constants": {"currency": "USD"},
...     "skip": [{"column": "status", "is": ["deleted"]}],
... }

A column may also say: ``values`` (what dirty values mean; no matter of case and spaces), ``default`` (for empty cells),
``blank`` (``keep`` or ``clear`` what a changed record has when the cell is empty), ``decimal``, ``timezone``, ``split`` and
``take`` (one piece of the text, counted from 0), ``prefix``, ``suffix``, ``slug`` (the text as letters, digits and this sign),
``case`` (upper, lower, title), ``fallback`` (what a choice or relation gets when the text fits none), and for relations
``by`` (field that finds the record), ``where`` (fields that it must have) and ``create`` (true, or fields of the record that
is made when there is none). For parts of a record ``group`` keeps columns of one part together and ``set`` gives it fields.
"""

from __future__ import annotations

from collections.abc import Mapping as AnyMapping
from dataclasses import dataclass, field, fields
from decimal import Decimal, InvalidOperation
from zoneinfo import available_timezones

from django.utils.translation import gettext as _

from ostoja.access.policy import visible_fields
from ostoja.kernel.errors import Refused
from ostoja.kernel.registry import Entry

from .targets import Target, Targets, entry_of, tells
from .values import ORDERS

VERSION = 1
MODES = ("add", "update", "upsert")


@dataclass(frozen=True)
class Column:
    """Where one column goes, and how its cells are read."""

    source: str
    to: str
    by: str = ""
    values: dict = field(default_factory=dict)
    default: object = None
    fallback: object = None
    blank: str = "keep"
    date_order: str = ""
    decimal: str = ""
    timezone: str = ""
    multiply: str = ""
    split: str = ""
    take: int = 0
    prefix: str = ""
    suffix: str = ""
    slug: str = ""
    case: str = ""
    where: dict = field(default_factory=dict)
    create: object = False
    group: str = ""
    set: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Skip:
    """Rows that are left out: where a column is empty, is one of some values, or is none of them."""

    column: str
    empty: bool = False
    one_of: tuple[str, ...] = ()
    none_of: tuple[str, ...] = ()


@dataclass(frozen=True)
class Mapping:
    """A mapping that was understood."""

    columns: tuple[Column, ...]
    constants: dict
    key: tuple[str, ...]
    skip: tuple[Skip, ...]
    mode: str


COLUMN_KEYS = {f.name for f in fields(Column)} - {"source"} | {"from"}
KEYS = {"version", "object", "name", "mode", "key", "columns", "constants", "skip", "options"}
EXPECTED = {
    "values": dict, "where": dict, "set": dict, "take": int, "by": str, "blank": str, "date_order": str, "decimal": str,
    "timezone": str, "split": str, "prefix": str, "suffix": str, "slug": str, "case": str, "group": str, "create": (bool, dict),
    "multiply": (str, int), "from": str, "to": str,
}  # fmt: skip
ONE_OF = {
    "blank": ("keep", "clear"),
    "date_order": ("", "auto", *ORDERS),
    "decimal": ("", "auto", ".", ","),
    "case": ("", "upper", "lower", "title"),
}


def parse(raw: object) -> Mapping:
    """Understand a mapping's form, whatever object it is for. Raises Refused with the place of the first mistake."""
    if not isinstance(raw, AnyMapping):
        raise wrong("mapping", _("A mapping is an object with “columns”."))
    unknown = sorted(set(raw) - KEYS)
    if unknown:
        raise wrong("mapping", _("“{key}” means nothing in a mapping.").format(key=unknown[0]))
    if raw.get("version", VERSION) != VERSION:
        raise wrong("mapping", _("This mapping is of version {version}; {ours} is understood here.").format(
            version=raw["version"], ours=VERSION))  # fmt: skip
    mode = raw.get("mode") or "add"
    if mode not in MODES:
        raise wrong("mode", _("“{mode}” is none of: add, update, upsert.").format(mode=mode))
    columns, constants, key = raw.get("columns") or [], raw.get("constants") or {}, raw.get("key") or []
    if not isinstance(columns, (list, tuple)) or not isinstance(constants, AnyMapping):
        raise wrong("mapping", _("“columns” is a list and “constants” an object."))
    if not isinstance(key, (list, tuple)) or not all(isinstance(k, str) for k in key):
        raise wrong("key", _("“key” is a list of fields."))
    return Mapping(
        columns=tuple(_column(c, n) for n, c in enumerate(columns, 1)),
        constants=dict(constants),
        key=tuple(key),
        skip=tuple(_skip(s) for s in raw.get("skip") or []),
        mode=mode,
    )


def _column(raw: object, number: int) -> Column:
    where = _("column {number}").format(number=number)
    if not isinstance(raw, AnyMapping) or not raw.get("to") or not raw.get("from"):
        raise wrong(
            "columns", _("{where}: “from” names the column in the file and “to” the field.").format(where=where)
        )
    where = f"“{raw['from']}”"
    for name, value in raw.items():
        if name not in COLUMN_KEYS:
            raise wrong("columns", _("{where}: “{key}” means nothing for a column.").format(where=where, key=name))
        if name in EXPECTED and not isinstance(value, EXPECTED[name]):
            raise wrong("columns", _("{where}: “{key}” has a value of the wrong kind.").format(where=where, key=name))
        if name in ONE_OF and value not in ONE_OF[name]:
            raise wrong("columns", _("{where}: “{key}” is none of: {values}.").format(
                where=where, key=name, values=", ".join(v for v in ONE_OF[name] if v)))  # fmt: skip
    given = {k: v for k, v in raw.items() if k != "from"}
    for name in ("date_order", "decimal"):
        if given.get(name) == "auto":
            given[name] = ""
    if given.get("timezone") and given["timezone"] not in available_timezones():
        raise wrong(
            "columns", _("{where}: there is no time zone “{name}”.").format(where=where, name=given["timezone"])
        )
    if "multiply" in given:
        given["multiply"] = str(given["multiply"])
        try:
            number_of(given["multiply"])
        except ValueError as error:
            raise wrong("columns", _("{where}: “multiply” is not a number.").format(where=where)) from error
    return Column(source=raw["from"], **given)


def number_of(text: str) -> Decimal:
    """The Decimal that a text says. Raises ValueError."""
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(text) from error
    if not value.is_finite() or abs(value.adjusted()) > 20:
        raise ValueError(text)
    return value


def _skip(raw: object) -> Skip:
    if not isinstance(raw, AnyMapping) or not raw.get("column") or set(raw) - {"column", "empty", "is", "not"}:
        raise wrong("skip", _("“skip” is a list of objects with “column” and one of “empty”, “is”, “not”."))
    texts = {name: tuple(str(v) for v in raw.get(name) or ()) for name in ("is", "not")}
    return Skip(column=raw["column"], empty=bool(raw.get("empty")), one_of=texts["is"], none_of=texts["not"])


def fit(mapping: Mapping, targets: Targets, columns: list[str]) -> dict[str, Target]:
    """Refuse what this object, this actor or this file does not have; returns the targets that are used, by path.

    A field that the actor may not see looks like one that does not exist.
    """
    used: dict[str, Target] = {}
    places: set[tuple[str, str]] = set()
    for column in mapping.columns:
        if column.source not in columns:
            raise wrong("columns", _("The file has no column “{name}”.").format(name=column.source))
        target = targets.get(column.to)
        if target is None:
            raise wrong("columns", _("“{name}”: there is no field “{field}”, or it can't be set.").format(
                name=column.source, field=column.to))  # fmt: skip
        place = (column.to, column.group if target.part else "")
        if place in places:
            raise wrong(
                "columns", _("Two columns go to “{field}”. One of them must go elsewhere.").format(field=target.label)
            )
        places.add(place)
        used[column.to] = target
        if target.kind == "relation":
            _fit_relation(column, target, targets)
    for path in mapping.constants:
        target = targets.get(path)
        if target is None:
            raise wrong("constants", _("There is no field “{field}”, or it can't be set.").format(field=path))
        used.setdefault(path, target)
    for skip in mapping.skip:
        if skip.column not in columns:
            raise wrong("skip", _("The file has no column “{name}”.").format(name=skip.column))
    for path in mapping.key:
        if path not in used or used[path].part:
            raise wrong("key", _("“{field}” is to tell records apart, but no column goes to it.").format(field=path))
    if not mapping.columns:
        raise wrong("columns", _("No column goes anywhere yet. Say where at least one goes."))
    if mapping.mode != "add" and not key_of(mapping, targets.entry, used):
        raise wrong("key", _("To change what is there, say which column tells records apart (for example {names}).").format(
            names=", ".join(targets.entry.surface.natural_key) or "id"))  # fmt: skip
    return used


def _fit_relation(column: Column, target: Target, targets: Targets) -> None:
    other = target.related
    if other is None:
        if column.by or column.where or column.create:
            raise wrong("columns", _("“{name}”: such a record is found by its id only.").format(name=column.source))
        return
    if column.by and column.by != "id" and not tells(targets.actor, other, column.by):
        raise wrong("columns", _("“{name}”: {things} can't be found by “{field}”.").format(
            name=column.source, things=other.model._meta.verbose_name_plural, field=column.by))  # fmt: skip
    for path in column.where:
        walk: Entry | None = other
        for name in path.split("__"):
            if walk is None or name not in visible_fields(targets.actor, walk):
                raise wrong("columns", _("“{name}”: {things} have no field “{field}”.").format(
                    name=column.source, things=other.model._meta.verbose_name_plural, field=path))  # fmt: skip
            step = walk.fields[name]
            walk = entry_of(step.related_model) if step.is_relation else None


def key_of(mapping: Mapping, entry: Entry, used: AnyMapping[str, Target]) -> tuple[str, ...]:
    """The fields that tell records apart: as told, else the id, else the natural key if all of it is given."""
    if mapping.key:
        return mapping.key
    if "id" in used:
        return ("id",)
    natural = tuple(entry.surface.natural_key)
    return natural if natural and all(n in used for n in natural) else ()


def wrong(where: str, message: str) -> Refused:
    """A mapping that can't be used, by the part of it that is wrong."""
    return Refused(message, fields={where: [message]}, code="mapping")
