"""Rows become bytes in the database: one statement reads a page and writes its JSON, compiled once per shape and actor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from weakref import WeakKeyDictionary

from django.core.exceptions import EmptyResultSet
from django.db import connection, models
from django.db.models import F, OuterRef, QuerySet, Subquery
from django.db.models.functions import Cast

from ostoja.access.policy import allowed, scope_of, visible
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from . import values
from .selection import WORDS, as_text, readable, title_of

MANY_SHAPES = 256
MARK = (
    "\ue000"  # a character that nobody types: it stands for a word in a statement that is compiled once for all words
)
MARKS = tuple(f"{MARK}{chr(97 + n)}" for n in range(WORDS))


@dataclass(frozen=True)
class Statement:
    """Compiled SQL that answers one row of text per record: its JSON, then its keys."""

    sql: str
    params: tuple

    def run(self) -> list[tuple]:
        """The rows."""
        with connection.cursor() as cursor:
            cursor.execute(self.sql, self.params)
            return cursor.fetchall()

    def searching(self, words: Sequence[str]) -> Statement | None:
        """The statement with these words where it was compiled with marks; None when a mark was used in another way."""
        if not self.params:
            return self
        meant: dict[object, str] = {}
        for mark, word in zip(MARKS, words, strict=False):
            meant |= {
                f"%{mark}%": f"%{connection.ops.prep_for_like_query(word)}%",
                mark: word,
                mark.upper(): word.upper(),
            }
        params = tuple(meant.get(p, p) if isinstance(p, str) else p for p in self.params)
        if any(isinstance(p, str) and p not in meant and MARK in p for p in self.params):
            return None
        return Statement(self.sql, params)


class _Nothing(Statement):
    def run(self) -> list[tuple]:
        return []


NOTHING = _Nothing("", ())
_compiled: WeakKeyDictionary[Actor, dict[tuple, object]] = WeakKeyDictionary()


def compiled(actor: Actor, key: tuple, make: Callable[[], object]) -> object:
    """What was made for this key, as long as the actor lives: its rights are in the statement, so it is never shared."""
    shapes = _compiled.get(actor)
    if shapes is None:
        shapes = _compiled.setdefault(actor, {})
    found = shapes.get(key)
    if found is None:
        found = make()
        if len(shapes) >= MANY_SHAPES:
            shapes.clear()
        shapes[key] = found
    return found


def statement(actor: Actor, entry: Entry, rows: QuerySet, names: Sequence[str], keys: Sequence[str] = ()) -> Statement:
    """The statement that reads ``rows`` (already narrowed, ordered and cut) as JSON objects of the fields ``names``.

    Related records are ``{"id", "label"}``; the label is null when the actor may not see the record or its name. Amounts
    are text. ``keys`` are paths whose values follow as text, for a cursor or an ETag.
    """
    fields = readable(actor, entry)
    columns: dict[str, object] = {}
    shown = []
    for number, name in enumerate(names):
        field, alias = fields[name], f"c{number}"
        if field.is_relation:
            columns[alias] = F(field.attname)
            label = _label(actor, field)
            if label is None:
                said = "null"
            else:
                columns[f"l{number}"] = label
                said = f'r."l{number}"'
            value = f"CASE WHEN r.\"{alias}\" IS NULL THEN NULL ELSE json_build_object('id', r.\"{alias}\", 'label', {said}) END"
        else:
            exact = isinstance(field, models.DecimalField)
            columns[alias] = Cast(F(name), models.TextField()) if exact else F(name)
            value = f'r."{alias}"'
        shown.append(f'{value} AS "{name}"')
    extra = []
    for number, path in enumerate(keys):
        columns[f"k{number}"] = as_text(path)
        extra.append(f', r."k{number}"')
    rows = rows.annotate(**columns).values_list(*columns)
    try:
        sql, params = rows.query.get_compiler(connection=connection).as_sql()
    except EmptyResultSet:
        return NOTHING
    return Statement(
        f"SELECT (SELECT row_to_json(x)::text FROM (SELECT {', '.join(shown)}) x){''.join(extra)} FROM ({sql}) r",  # noqa: S608
        tuple(params),
    )


def _label(actor: Actor, field: models.Field) -> object | None:
    """The name of the related record, as far as the actor may see it."""
    other = values.entry_of(field)
    title = title_of(actor, other)
    if title is None or scope_of(actor, other, "view") is None:
        return None
    if allowed(actor, other, "view") is None:
        path = F(f"{field.name}__{title.name}")
        return path if values.is_text(title) else Cast(path, models.TextField())
    rows = visible(actor, other.model).filter(pk=OuterRef(field.attname)).values(title.name)[:1]
    return Subquery(rows) if values.is_text(title) else Cast(Subquery(rows), models.TextField())


def one(actor: Actor, entry: Entry, key: object, names: Sequence[str] | None = None) -> tuple[bytes, str] | None:
    """A record's JSON and its version, or None when the actor may not see it. One query, and one for each kind of lines."""
    names = tuple(readable(actor, entry)) if names is None else tuple(names)

    def make() -> Statement:
        rows = visible(actor, entry.model).order_by().filter(pk=_HERE)[:1]
        return statement(actor, entry, rows, names, keys=("version",))

    found = _at(compiled(actor, ("one", entry.label, names), make), key).run()
    if not found:
        return None
    text, version = found[0]
    for name, part in entry.lines.items():
        text = f'{text[:-1]},"{name}":[{",".join(_lines(actor, part, key))}]}}'
    return text.encode(), version


def _lines(actor: Actor, part: Entry, key: object) -> list[str]:
    if scope_of(actor, part, "view") is None:
        return []

    def make() -> Statement:
        inside = part.surface.inside
        order = ("position", "id") if "position" in part.fields else ("id",)
        rows = part.model._default_manager.filter(**{inside: _HERE}).order_by(*order)
        names = [n for n in readable(actor, part) if n != inside]
        return statement(actor, part, rows, names)

    return [row[0] for row in _at(compiled(actor, ("lines", part.label), make), key).run()]


_HERE = values.parse(models.UUIDField(), "00000000-0000-7000-8000-000000000000")


def _at(shape: Statement, key: object) -> Statement:
    """The statement with the real key in the place of the one that it was compiled with."""
    return Statement(shape.sql, tuple(key if p == _HERE else p for p in shape.params)) if shape.params else shape
