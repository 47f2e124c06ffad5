"""Finding looks records up by what people call them: many texts with one query, no matter of case and spaces."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from django.db.models import CharField, F, Field, Func, Q, QuerySet, TextField, Value
from django.db.models.functions import Cast, Lower, Trim, Upper
from django.utils.translation import gettext as _

from ostoja.access.policy import visible
from ostoja.kernel.actors import Actor
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from .targets import JOINT, key_path, keys_of
from .values import plain, shown

KEPT = 20_000  # records kept between chunks
CANDIDATES = 2_000  # names compared for “did you mean”


class Plain(Func):
    """The SQL of ``values.plain``: one space between words, lower case."""

    function = "regexp_replace"
    output_field = TextField()

    def __init__(self, path: str):
        super().__init__(Lower(Trim(Cast(F(path), TextField()))), Value(r"\s+"), Value(" "), Value("g"))


@dataclass(frozen=True)
class Way:
    """How a relation's text is understood: which object, by which field ("" for the usual ones), among which records."""

    entry: Entry
    by: str = ""
    where: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True)
class Missing:
    """Why a text finds no single record; ``several`` when it fits more than one."""

    message: str
    several: bool = False


class Finder:
    """Finds records that the actor may see, and remembers them for the length of a run."""

    def __init__(self, actor: Actor):
        self.actor = actor
        self._known: dict[tuple[Way, str], object] = {}
        self._names: dict[Way, list[str]] = {}

    def forget(self) -> None:
        """Forget everything, e.g. after a rollback."""
        self._known.clear()

    def remember(self, way: Way, text: str, record) -> None:
        """Know a record that was just made."""
        self._known[way, plain(text)] = record

    def find(self, way: Way, texts: Iterable[str]) -> dict[str, object]:
        """The record, or Missing, for each text."""
        wanted: dict[str, list[str]] = {}
        for text in texts:
            wanted.setdefault(plain(text), []).append(text)
        if len(self._known) > KEPT:
            self._known.clear()
        found = {p: self._known[way, p] for p in wanted if (way, p) in self._known}
        for spelled in self._ways(way):
            left = {p: wanted[p][0] for p in wanted if p not in found}
            if left:
                found |= self._by(way, spelled, left)
        for p, record in found.items():
            if not isinstance(record, Missing):
                self._known[way, p] = record
        return {
            text: found[p] if p in found else self._missing(way, text)
            for p, spelled in wanted.items()
            for text in spelled
        }

    def _ways(self, way: Way) -> list[tuple[str, ...]]:
        if way.by:
            return [(way.by,)]
        return [("id",), *keys_of(self.actor, way.entry)]

    def _rows(self, way: Way) -> QuerySet:
        rows = visible(self.actor, way.entry.model)
        for n, (path, value) in enumerate(way.where):
            rows = rows.annotate(**{f"_where{n}": Plain(path)}).filter(**{f"_where{n}": plain(value)})
        return rows

    def _by(self, way: Way, names: tuple[str, ...], left: Mapping[str, str]) -> dict[str, object]:
        """Records by one way of telling them: first as it is spelled, which an index may answer, then as it reads."""
        if names == ("id",):
            ids = {p: parse_uuid(t) for p, t in left.items()}
            records = self._rows(way).in_bulk([i for i in ids.values() if i]) if any(ids.values()) else {}
            return {p: records[i] for p, i in ids.items() if i in records}
        paths = [key_path(way.entry, n) for n in names]
        if len(paths) > 1:
            return self._joint(way, names, paths, left)
        path, found = paths[0], {}
        fits: dict[str, list] = {}
        for record, value in self._spelled(way, path, left.values()):
            fits.setdefault(plain(value), []).append((record, value))
        for p, records in fits.items():
            if p in left:
                exact = [r for r, value in records if value == left[p].strip()]
                found[p] = self._single(way, names, left[p], exact or [r for r, _value in records])
        rest = [p for p in left if p not in found]
        if rest and "__" not in path and is_text(way.entry.fields[path]):
            loose: dict[str, list] = {}
            for record in self._rows(way).annotate(_plain=Plain(path)).filter(_plain__in=rest)[: 20 * len(rest)]:
                loose.setdefault(record._plain, []).append(record)
            found |= {p: self._single(way, names, left[p], loose[p]) for p in rest if p in loose}
        return found

    def _spelled(self, way: Way, path: str, texts: Iterable[str]) -> Iterator[tuple[object, str]]:
        """(record, its text) where the field is one of the texts, no matter of case: what an index may answer."""
        rows = self._rows(way)
        first = path.partition("__")[0]
        model_field = way.entry.fields[first]
        if model_field.is_relation:
            rows = rows.select_related(first)
        if model_field.is_relation or is_text(model_field):
            rows = rows.annotate(_upper=Upper(path)).filter(_upper__in={t.strip().upper() for t in texts})
        else:
            values = []
            for text in texts:
                if text.strip().isascii() and text.strip().isdigit() and len(text.strip()) < 10:
                    values.append(int(text))
            rows = rows.filter(**{f"{path}__in": values})
        for record in rows:
            value: object = record
            for step in path.split("__"):
                value = getattr(value, step)
            yield record, text_value(value)

    def _joint(self, way: Way, names: tuple[str, ...], paths: list[str], left: Mapping[str, str]) -> dict[str, object]:
        """Keys of several fields are told as ``first / second``."""
        condition, asked = Q(), {}
        for p, text in left.items():
            pieces = [plain(piece) for piece in text.split(JOINT.strip())]
            if len(pieces) == len(paths):
                asked[tuple(pieces)] = p
                condition |= Q(**{f"_key{n}": piece for n, piece in enumerate(pieces)})
        if not asked:
            return {}
        rows = self._rows(way).annotate(**{f"_key{n}": Plain(path) for n, path in enumerate(paths)}).filter(condition)
        fits: dict[str, list] = {}
        for record in rows:
            p = asked.get(tuple(getattr(record, f"_key{n}") for n in range(len(paths))))
            if p is not None:
                fits.setdefault(p, []).append(record)
        return {p: self._single(way, names, left[p], records) for p, records in fits.items()}

    def _single(self, way: Way, names: tuple[str, ...], text: str, records: list):
        if len(records) == 1:
            return records[0]
        meta = way.entry.model._meta
        label = ", ".join(str(meta.get_field(n).verbose_name) for n in names)
        return Missing(
            _("“{text}” fits {count} {things} by {field}. Use something that tells them apart, such as the id.").format(
                text=shown(text), count=len(records), things=meta.verbose_name_plural, field=label
            ),
            several=True,
        )

    def _missing(self, way: Way, text: str) -> Missing:
        meta = way.entry.model._meta
        near = self.near(way, text)
        message = _("There is no {thing} “{text}”, or you may not see it.").format(
            thing=meta.verbose_name, text=shown(text)
        )
        return Missing(f"{message} {_('Did you mean “{name}”?').format(name=near)}" if near else message)

    def near(self, way: Way, text: str) -> str:
        """The name most like ``text`` among the first records of the object; "" when none is."""
        names = self._names.get(way)
        if names is None:
            ways = [w for w in self._ways(way) if len(w) == 1 and w != ("id",)]
            title = way.by or way.entry.surface.title or (ways[0][0] if ways else "")
            names = []
            if title and title in way.entry.fields and (way.by or (title,) in ways):
                path = key_path(way.entry, title)
                names = [text_value(v) for v in self._rows(way).values_list(path, flat=True)[:CANDIDATES]]
            self._names[way] = names
        close = difflib.get_close_matches(plain(text), [plain(n) for n in names], 1, 0.75)
        return next((n for n in names if close and plain(n) == close[0]), "")


def text_value(value) -> str:
    """A stored value as text."""
    return "" if value is None else str(value).strip()


def is_text(model_field: Field) -> bool:
    """Whether a field holds text."""
    return isinstance(model_field, (CharField, TextField))
