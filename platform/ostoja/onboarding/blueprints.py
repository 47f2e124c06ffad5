"""A blueprint is the declarative start of a tenant for an industry: a folder of TOML and CSV, one file per object.

``tenants/blueprints/<name>/blueprint.toml`` says what it is; every other file is named after the address of an object
(``roles.toml``, ``units.csv``, ``pipelines.toml``) and holds its rows, each under a key that other rows point to.
Words are given in every language (``name`` and ``name.pl`` in CSV, ``{ en = "…", pl = "…" }`` in TOML). ``samples/`` holds
rows in the same form that a tenant may add and remove again in one go. ``extends`` takes another blueprint's rows (not its
samples) first, ``without`` leaves some of them out.
"""

from __future__ import annotations

import csv
import difflib
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from django.conf import settings
from django.db import models
from django.utils.translation import gettext as _

from ostoja.access.grants import check_grants
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound, OstojaError, Refused
from ostoja.kernel.registry import Entry

NAME = re.compile(r"^[a-z][a-z0-9-]{1,39}$")
IN_DAYS = re.compile(r"^[+-]\d{1,4}d$")
ANY = "*"
HEAD = {"name", "words", "icon", "order", "extends", "currency", "timezone", "owner_role", "without"}


class BlueprintBroken(OstojaError):
    """A blueprint says something that can't be; the message names the file and the word."""

    code = "blueprint_broken"
    status = 500


@dataclass(frozen=True)
class Row:
    """One record of a blueprint; ``values`` as written, words by language; ``place`` is where it stands."""

    key: str
    values: dict[str, Any]
    place: str

    def over(self, below: Row) -> Row:
        """This row laid over the same row of the blueprint that is extended; rights are laid object by object."""
        values = {**below.values, **self.values}
        if isinstance(below.values.get("grants"), dict) and isinstance(self.values.get("grants"), dict):
            values["grants"] = {**below.values["grants"], **self.values["grants"]}
        return Row(self.key, values, self.place)


Tables = dict[str, dict[str, Row]]  # address of an object -> key -> row


@dataclass(frozen=True, eq=False)
class Blueprint:
    """A blueprint with everything that it takes over from those below it."""

    code: str
    head: Mapping[str, Any]
    tables: Tables = field(default_factory=dict)
    samples: Tables = field(default_factory=dict)
    extends: str = ""

    def title(self, language: str) -> str:
        """Its name in a language."""
        return in_language(self.head["name"], language)

    def words(self, language: str) -> str:
        """The sentence under its name in a language."""
        return in_language(self.head["words"], language)

    @property
    def icon(self) -> str:
        """The icon's name."""
        return self.head.get("icon", "building-2")

    @property
    def order(self) -> int:
        """Its place in the choice of industries."""
        return self.head.get("order", 100)

    def currency(self, language: str) -> str:
        """The currency that a company with this language most likely keeps its books in."""
        return in_language(self.head.get("currency", {"en": "EUR", "pl": "PLN"}), language)

    @property
    def timezone(self) -> str:
        """The time zone of a new tenant."""
        return self.head.get("timezone", "Europe/Warsaw")

    @property
    def owner_role(self) -> str:
        """The key of the role that the first user holds besides owning the tenant."""
        return self.head.get("owner_role", "")


def directory() -> Path:
    """Where blueprints are: in ``tenants/`` of a checkout, else in what was installed."""
    checkout = Path(__file__).parents[3] / "tenants" / "blueprints"
    return checkout if checkout.is_dir() else Path(__file__).parents[1] / "_tenants" / "blueprints"


def names() -> list[str]:
    """The names of all blueprints, in the order in which they are offered."""
    found = [path.parent.name for path in directory().glob("*/blueprint.toml")]
    return sorted(found, key=lambda name: (get(name).order, name))


def get(name: str) -> Blueprint:
    """A blueprint by its name, read once. Raises NotFound, or BlueprintBroken when its files can't be read."""
    return _read_once(directory(), name)


@lru_cache(maxsize=64)
def _read_once(root: Path, name: str) -> Blueprint:
    return load(root, name)


def load(root: Path, name: str, above: tuple[str, ...] = ()) -> Blueprint:
    """Read a blueprint and those that it extends. Raises NotFound or BlueprintBroken."""
    folder = root / name
    if not NAME.match(name) or not (folder / "blueprint.toml").is_file():
        raise NotFound(_("There is no blueprint “{name}”.").format(name=name))
    if name in above:
        raise BlueprintBroken(f"{name}: it extends itself ({' → '.join([*above, name])}).")
    head = _toml(folder / "blueprint.toml")
    below = load(root, head["extends"], (*above, name)) if head.get("extends") else None
    tables = _tables(folder)
    samples = _tables(folder / "samples")
    if below is not None:
        head = {**below.head, "without": [], **head}
        tables = _over(tables, below.tables)
    for dropped in head.get("without", []):
        slug, _dot, key = str(dropped).partition(".")
        if not _drop(tables, slug, key):
            raise BlueprintBroken(f"{name}/blueprint.toml: without names “{dropped}”, which is not there anyway.")
    return Blueprint(name, head, tables, samples, extends=head.get("extends") or "")


def _drop(tables: Tables, slug: str, key: str) -> bool:
    """Take a row out, with the rows that are its parts; answers whether it was there."""
    if tables.get(slug, {}).pop(key, None) is None:
        return False
    entry = registry.by_slug(slug)
    for part in parts_of(entry) if entry else ():
        for row in list(tables.get(part.slug, {}).values()):
            if row.values.get(part.surface.inside) == key:
                _drop(tables, part.slug, row.key)
    return True


def _over(tables: Tables, below: Tables) -> Tables:
    merged = {slug: dict(rows) for slug, rows in below.items()}
    for slug, rows in tables.items():
        mine = merged.setdefault(slug, {})
        for key, row in rows.items():
            mine[key] = row.over(mine[key]) if key in mine else row
    return merged


def in_language(words: Any, language: str) -> Any:
    """Words in a language, English where it has none; what is not in languages is itself."""
    if not is_words(words):
        return words
    return words.get(language) or words["en"]


def is_words(value: Any) -> bool:
    """Whether a value is a text in several languages."""
    return isinstance(value, Mapping) and "en" in value and all(code in languages() for code in value)


def languages() -> tuple[str, ...]:
    """The languages that Ostoja speaks."""
    return tuple(code for code, _label in settings.LANGUAGES)


# --- reading --------------------------------------------------------------------------------------------------------


def _tables(folder: Path) -> Tables:
    tables: Tables = {}
    for file in sorted(folder.glob("*")):
        if file.name == "blueprint.toml" or file.is_dir() or file.name.startswith("."):
            continue
        if file.suffix not in (".toml", ".csv"):
            raise BlueprintBroken(f"{_place(file)}: a blueprint is made of .toml and .csv files.")
        if file.stem in tables:
            raise BlueprintBroken(f"{_place(file)}: {file.stem} stands in two files; put it into one.")
        rows = _toml_rows(file) if file.suffix == ".toml" else _csv_rows(file)
        tables[file.stem] = _by_key(rows)
    for slug in list(tables):
        _spread(tables, slug)
    return tables


def _spread(tables: Tables, slug: str) -> None:
    """Parts that are written inside their record (``stages = […]``) become rows of their own object, in this order."""
    entry = registry.by_slug(slug)
    if entry is None:
        return
    for part, relation in parts_of(entry).items():
        place_of_part = "position" in part.fields
        for row in tables[slug].values():
            for number, values in enumerate(row.values.pop(relation, ()), 1):
                key = f"{row.key}.{values.get('key', number)}"
                values = {part.surface.inside: row.key, **{k: v for k, v in values.items() if k != "key"}}
                if place_of_part:
                    values.setdefault("position", number * 10)
                rows = tables.setdefault(part.slug, {})
                if key in rows:
                    raise BlueprintBroken(f"{row.place}: {relation} has the key “{key}” twice.")
                rows[key] = Row(key, values, f"{row.place} {relation} {number}")


def parts_of(entry: Entry) -> dict[Entry, str]:
    """Objects that are parts of this one and are not edited as its lines, with the name of the relation to them."""
    found = {}
    for part in registry.entries():
        if part.parent is entry:
            relation = part.fields[part.surface.inside].remote_field.get_accessor_name()
            if relation not in entry.lines:
                found[part] = relation
    return found


def _by_key(rows: Iterable[Row]) -> dict[str, Row]:
    found: dict[str, Row] = {}
    for row in rows:
        if row.key in found:
            raise BlueprintBroken(f"{row.place}: the key “{row.key}” stands here twice.")
        found[row.key] = row
    return found


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BlueprintBroken(f"{_place(file)} is not TOML: {error}.") from None


def _toml_rows(file: Path) -> Iterator[Row]:
    for key, values in _toml(file).items():
        place = f"{_place(file)} [{key}]"
        if not isinstance(values, dict):
            raise BlueprintBroken(f"{place}: every row is a table: [{key}].")
        if file.stem == "roles":
            values = _with_grants(key, values)
        yield Row(key, values, place)


def _with_grants(code: str, values: dict[str, Any]) -> dict[str, Any]:
    """A role as it is written: ``"sales.deal" = { view = "team" }`` is one of its rights."""
    grants = {name: value for name, value in values.items() if "." in name or name == ANY}
    return {"code": code, **{k: v for k, v in values.items() if k not in grants}, "grants": grants}


def _csv_rows(file: Path) -> Iterator[Row]:
    with file.open(encoding="utf-8", newline="") as lines:
        reader = csv.DictReader(lines, strict=True)
        if not reader.fieldnames or reader.fieldnames[0] != "key":
            raise BlueprintBroken(f"{_place(file)}: the first column must be “key”.")
        for record in reader:
            place = f"{_place(file)}:{reader.line_num}"
            if None in record or None in record.values():
                raise BlueprintBroken(f"{place} has more or fewer cells than the header.")
            yield Row(record.pop("key"), _with_words(record), place)


def _with_words(record: Mapping[str, str]) -> dict[str, Any]:
    """A row of CSV: empty cells are left out, ``name`` and ``name.pl`` become one text in two languages."""
    values: dict[str, Any] = {}
    for column, cell in record.items():
        name, _dot, language = column.partition(".")
        if language:
            values[name] = {"en": record.get(name, ""), **(values[name] if is_words(values.get(name)) else {})}
            values[name][language] = cell
        elif cell != "" and name not in values:
            values[name] = cell
    return {name: value for name, value in values.items() if not is_words(value) or value["en"]}


def _place(file: Path) -> str:
    parts = file.parts
    return "/".join(parts[parts.index("blueprints") + 1 :] if "blueprints" in parts else parts[-2:])


# --- order ----------------------------------------------------------------------------------------------------------


def in_order(tables: Tables) -> list[tuple[Entry, list[Row]]]:
    """The objects of a blueprint, those that are pointed to before those that point; likewise the rows of one object."""
    waiting = {slug: registry.by_slug(slug) for slug in tables}
    if unknown := next((slug for slug, entry in waiting.items() if entry is None), None):
        raise BlueprintBroken(_no_object(next(iter(tables[unknown].values())).place, unknown))
    ordered: list[tuple[Entry, list[Row]]] = []
    while waiting:
        ready = [s for s, entry in waiting.items() if not (_points_to(entry) & (set(waiting) - {s}))]
        slug = sorted(ready or waiting)[0]
        entry = waiting.pop(slug)
        ordered.append((entry, _parents_first(entry, tables[slug])))
    return ordered


def _points_to(entry: Entry) -> set[str]:
    """Addresses of the objects that an object or its lines point to."""
    fields = [*entry.fields.values(), *(f for part in entry.lines.values() for f in part.fields.values())]
    return {target.slug for f in fields if (target := target_of(f)) is not None}


def target_of(model_field: models.Field) -> Entry | None:
    """The object that a field points to."""
    if not isinstance(model_field, models.ForeignKey):
        return None
    try:
        return registry.of(model_field.related_model)
    except KeyError:
        return None


def _parents_first(entry: Entry, rows: Mapping[str, Row]) -> list[Row]:
    own = [name for name, f in entry.fields.items() if target_of(f) is entry]
    done: dict[str, Row] = {}

    def put(row: Row, above: tuple[str, ...]) -> None:
        if row.key in done:
            return
        if row.key in above:
            raise BlueprintBroken(f"{row.place}: “{row.key}” is a part of itself.")
        for name in own:
            parent = rows.get(str(row.values.get(name, "")))
            if parent is not None:
                put(parent, (*above, row.key))
        done[row.key] = row

    for row in rows.values():
        put(row, ())
    return list(done.values())


# --- checking -------------------------------------------------------------------------------------------------------


def check(blueprint: Blueprint) -> list[str]:
    """Everything that is wrong with a blueprint, each in a sentence with its place; empty when it is sound."""
    problems = [*_check_head(blueprint)]
    for tables in (blueprint.tables, blueprint.samples):
        for slug, rows in tables.items():
            entry = registry.by_slug(slug)
            if entry is None:
                problems.append(_no_object(next(iter(rows.values())).place if rows else slug, slug))
                continue
            for row in rows.values():
                problems += _check_row(blueprint, entry, row.values, row.place)
        if not problems:
            try:
                in_order(tables)
            except BlueprintBroken as error:
                problems.append(error.message)
    return problems


def _no_object(place: str, slug: str) -> str:
    known = [entry.slug for entry in registry.entries()]
    return f"{place}: no object has the address “{slug}”{_meant(slug, known)}"


def _meant(word: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean “{close[0]}”?" if close else "."


def _check_head(blueprint: Blueprint) -> Iterator[str]:
    place, head = f"{blueprint.code}/blueprint.toml", blueprint.head
    for name in sorted(set(head) - HEAD):
        yield f"{place}: “{name}” is no setting of a blueprint{_meant(name, HEAD)}"
    for name in ("name", "words"):
        if not is_words(head.get(name)):
            yield f'{place}: {name} must be given in all languages: {{ en = "…", pl = "…" }}.'
        else:
            yield from _check_words(head[name], name, place)
    if not all(re.fullmatch(r"[A-Z]{3}", str(blueprint.currency(language))) for language in languages()):
        yield f"{place}: currency must be three capital letters, or one such per language."
    if blueprint.timezone not in available_timezones():
        yield f"{place}: “{blueprint.timezone}” is no time zone."
    if blueprint.owner_role and blueprint.owner_role not in blueprint.tables.get("roles", {}):
        yield f"{place}: owner_role names “{blueprint.owner_role}”, which is no role of this blueprint."


def _check_words(words: Mapping[str, str], name: str, place: str) -> Iterator[str]:
    for language in languages():
        if not str(words.get(language, "")).strip():
            yield f"{place}: {name} has no words in “{language}”."


def _check_row(blueprint: Blueprint, entry: Entry, values: Mapping[str, Any], place: str) -> Iterator[str]:
    allowed = fields_of(entry)
    for name, value in values.items():
        if name in entry.lines:
            yield from _check_lines(blueprint, entry.lines[name], value, f"{place} {name}")
        elif name not in allowed:
            yield f"{place}: {entry.slug} have no field “{name}” that can be set{_meant(name, allowed)}"
        else:
            yield from _check_value(blueprint, entry, name, value, place)
    for name in allowed:
        model_field = entry.fields[name]
        required = not model_field.blank and not model_field.has_default() and name != entry.surface.inside
        if required and values.get(name) in (None, ""):
            yield f"{place}: “{name}” must be given."
    if entry.label == "access.role":
        yield from _check_rights(values.get("grants", {}), values.get("classes", []), place)


def _check_lines(blueprint: Blueprint, part: Entry, rows: Any, place: str) -> Iterator[str]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        yield f"{place} must be a list of tables."
        return
    for number, row in enumerate(rows, 1):
        yield from _check_row(blueprint, part, {k: v for k, v in row.items() if k != "key"}, f"{place} {number}")


def _check_value(blueprint: Blueprint, entry: Entry, name: str, value: Any, place: str) -> Iterator[str]:
    model_field = entry.fields[name]
    target = target_of(model_field)
    if is_words(value):
        yield from _check_words(value, name, place)
    elif target is not None and find(blueprint, target, str(value)) is None:
        yield f"{place}: {name} points to “{value}”, and no row of {target.slug} has this key."
    elif model_field.choices and str(value) not in {str(code) for code, _label in model_field.flatchoices}:
        codes = [str(code) for code, _label in model_field.flatchoices]
        yield f"{place}: {name} can't be “{value}”; it can be {', '.join(codes)}."
    elif isinstance(value, float):
        yield f'{place}: {name} is a number with a fraction; write it as a text, "{value}".'


def fields_of(entry: Entry) -> tuple[str, ...]:
    """The fields of an object that a blueprint may give: those of its form, and the record that it is a part of."""
    names = entry.surface.form_fields()
    names = (entry.surface.inside, *names) if entry.surface.inside else names
    return tuple(n for n in dict.fromkeys(names) if n in entry.fields and n not in entry.surface.readonly)


def find(blueprint: Blueprint, target: Entry, key: str) -> Row | None:
    """The row of an object with this key, among the blueprint's own rows and its samples."""
    return blueprint.tables.get(target.slug, {}).get(key) or blueprint.samples.get(target.slug, {}).get(key)


def _check_rights(grants: Any, classes: Any, place: str) -> Iterator[str]:
    """What a role says of objects, verbs, scopes and data classes that the code does not declare."""
    try:
        check_grants(grants, classes)
    except Refused as error:
        for sentences in error.fields.values():
            yield from (f"{place}: {sentence}" for sentence in sentences)
