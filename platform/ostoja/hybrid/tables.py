"""What travels, as the database sees it: table, columns and types of every model that the manifest names, in order of dependence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from django.db import connection, models

from ostoja.kernel import registry
from ostoja.kernel.conditions import Unknown, holds
from ostoja.kernel.data import Sync

from .core.terms import NEVER, Manifest, ModelTerms


@dataclass(frozen=True)
class Column:
    """One travelling field: its column, the type that its text is cast to, the model it refers to and whether it may be empty."""

    field: str
    column: str
    type: str
    refers: str
    null: bool
    default: str | None


class Table:
    """One travelling model as a table."""

    def __init__(self, model: type[models.Model], fields: dict[str, int], terms: ModelTerms):
        self.model, self.terms, self.together = model, terms, terms.together
        self.label = model._meta.label_lower
        self.name = model._meta.db_table
        self.levels = fields
        entry = registry.get(self.label)
        self.inside = entry.surface.inside if entry else ""
        self._open: dict[int, tuple[str, ...]] = {}
        self._holdable: dict[int, bool] = {}

    @cached_property
    def columns(self) -> dict[str, Column]:
        """Travelling columns by field name."""
        return {name: _column(self.model._meta.get_field(name)) for name in sorted(self.levels)}

    @cached_property
    def place(self) -> dict[str, int]:
        """Where a field stands among ``columns``."""
        return {name: n for n, name in enumerate(self.columns)}

    @cached_property
    def references(self) -> frozenset[str]:
        """Those of its travelling fields that refer to a record."""
        return frozenset(name for name, column in self.columns.items() if column.refers)

    def referring(self, names: Mapping) -> Collection[str]:
        """Those of these fields that refer to a record: mostly none, which is quickly found."""
        return () if self.references.isdisjoint(names) else self.references & names.keys()

    @cached_property
    def by_column(self) -> dict[str, str]:
        """Field names by column name."""
        return {c.column: c.field for c in self.columns.values()}

    @cached_property
    def others(self) -> dict[str, Column]:
        """Columns that do not travel and that a new row must fill all the same."""
        return {
            f.name: _filled(_column(f))
            for f in self.model._meta.concrete_fields
            if f.name not in self.columns and f.name not in ("id", "version", "updated_at", "created_at") and not f.null
        }

    @cached_property
    def parent_column(self) -> str:
        """The column of the record that this one is a part of; empty when it is a part of none."""
        return self.columns[self.inside].column if self.inside in self.columns else ""

    def open(self, ceiling: int) -> tuple[str, ...]:
        """The fields that may pass to a site of this ceiling, in order."""
        if ceiling not in self._open:
            self._open[ceiling] = tuple(name for name, level in sorted(self.levels.items()) if level <= ceiling)
        return self._open[ceiling]

    def holdable(self, ceiling: int) -> bool:
        """Whether a site of this ceiling can hold such rows at all: no field that must be filled, and no rule of the
        table, is about what it may not see."""
        if ceiling not in self._holdable:
            self._holdable[ceiling] = self._can_be_held(ceiling)
        return self._holdable[ceiling]

    def _can_be_held(self, ceiling: int) -> bool:
        closed = set(self.columns) - set(self.open(ceiling))
        if any(not self.columns[n].null and self.columns[n].default is None for n in closed):
            return False
        if any(self.model._meta.get_field(n).unique for n in self.others):
            return False
        for rule in self.model._meta.constraints:
            if isinstance(rule, models.CheckConstraint) and (named := _named(rule.condition)) & closed:
                if not named <= closed or not _met_by_nothing(rule, self.model):
                    return False
            if isinstance(rule, models.UniqueConstraint) and closed & {*rule.fields, *_in_expressions(rule)}:
                return False
        return True


def _named(condition: models.Q) -> set[str]:
    names: set[str] = set()
    for child in condition.children:
        if isinstance(child, models.Q):
            names |= _named(child)
        elif isinstance(child, tuple):
            names.add(child[0].partition("__")[0])
            if isinstance(child[1], models.F):
                names.add(child[1].name)
    return names


def _met_by_nothing(rule: models.CheckConstraint, model: type[models.Model]) -> bool:
    """Whether a new row meets the rule with what its fields are by default."""
    try:
        return holds(rule.condition, model()) is not False
    except Unknown:
        return False


def _in_expressions(rule: models.UniqueConstraint) -> set[str]:
    return {e.name for expression in rule.expressions for e in expression.flatten() if isinstance(e, models.F)}


def _column(field: models.Field) -> Column:
    kind = (field.db_type(connection) or "text").partition("(")[0]
    if kind == "varchar":
        kind = "text"
    refers = field.related_model._meta.label_lower if field.is_relation else ""
    default: str | None = None
    if not field.null and not field.is_relation:
        if field.has_default():
            given = field.get_default()
            default = _text(field, given)
        elif field.has_db_default():
            default = _text(field, getattr(field.db_default, "value", field.db_default))
        elif field.blank and field.empty_strings_allowed:
            default = ""
    return Column(field.name, field.column, kind, refers, field.null, default)


def _filled(column: Column) -> Column:
    """A text that does not travel is empty in a row that comes from elsewhere: a password, the digest of a key."""
    return replace(column, default="") if column.default is None and column.type == "text" else column


def _text(field: models.Field, value) -> str | None:
    prepared = field.get_db_prep_save(value, connection)
    if prepared is None:
        return None
    prepared = getattr(prepared, "adapted", prepared)
    if isinstance(prepared, bool):
        return "true" if prepared else "false"
    if isinstance(prepared, dict | list):
        import orjson

        return orjson.dumps(prepared).decode()
    return str(prepared)


class Tables:
    """All travelling tables of a manifest: referred-to tables before those that refer to them."""

    def __init__(self, manifest: Manifest):
        by_label = {m._meta.label_lower: m for m in registry.records()}
        found = {
            label: Table(by_label[label], {n: t.level for n, t in terms.fields.items() if t.level < NEVER}, terms)
            for label, terms in manifest.models.items()
            if label in by_label and by_label[label].sync != Sync.LOCAL
        }
        self.by_label = {label: found[label] for label in _ordered(found)}
        self.manifest = manifest

    def __iter__(self):
        return iter(self.by_label.values())

    def get(self, label: str) -> Table | None:
        """The table of a model, or None when it does not travel."""
        return self.by_label.get(label)

    def parts_first(self) -> list[Table]:
        """All tables, parts before what they are parts of: a record may come frozen, its parts with it."""
        out: list[Table] = []

        def visit(table: Table) -> None:
            if table in out:
                return
            for part in self.parts_of(table.label):
                visit(part)
            out.append(table)

        for table in self:
            if not table.parent_column:
                visit(table)
        return out + [t for t in self if t not in out]

    def parts_of(self, label: str) -> list[Table]:
        """Tables whose rows are parts of rows of this one."""
        return [t for t in self if t.inside and t.columns.get(t.inside) and t.columns[t.inside].refers == label]

    def referring(self, label: str) -> list[tuple[Table, Column]]:
        """(table, column) of every travelling reference to this model."""
        return [(t, c) for t in self for c in t.columns.values() if c.refers == label]

    def local_parts(self, label: str) -> list[tuple[str, str]]:
        """(table, column) of what refers to this model and never travels: it goes when the record goes."""
        found = []
        for model in registry.things():
            if model._meta.label_lower in self.by_label:
                continue
            entry = registry.get(model._meta.label_lower)
            for f in model._meta.concrete_fields:
                if f.is_relation and f.related_model._meta.label_lower == label:
                    if (entry and entry.surface.inside == f.name) or f.remote_field.on_delete is models.CASCADE:
                        found.append((model._meta.db_table, f.column))
        return found


def _ordered(tables: dict[str, Table]) -> list[str]:
    """Labels, referred-to ones first; circles are cut where they close."""
    out: list[str] = []
    entered: set[str] = set()

    def visit(label: str) -> None:
        if label in entered or label not in tables:
            return
        entered.add(label)
        for column in tables[label].columns.values():
            if column.refers:
                visit(column.refers)
        out.append(label)

    for label in sorted(tables):
        visit(label)
    return out


@lru_cache(maxsize=16)
def tables_of(manifest_canonical: bytes) -> Tables:
    """The tables of a manifest by its canonical form."""
    return Tables(Manifest.from_canonical(manifest_canonical))
