"""The level of every field of every object under a policy, and why it is so, in words; the matrix that owners look at."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.db import models
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ostoja.kernel import registry
from ostoja.kernel.data import DataClass
from ostoja.kernel.record import Record, class_of

from .core.terms import LOCAL, NEVER, OPEN
from .manifest import AUTHORITY, Policy, compile_manifest, never_lower
from .models import PolicyRule
from .policing import class_label, fields_of, things_of
from .tables import Tables, tables_of


@dataclass(frozen=True)
class Level:
    """The level of one field, and why: the words, and whether a decision about this field alone would change it."""

    path: str
    field: models.Field
    declared: DataClass | None
    level: int
    why: str
    fixed: bool  # never leaves, whatever is decided
    bound: bool  # follows something else: the object, what it points to, what it moves with

    @property
    def label(self) -> str:
        """The field's name as people read it."""
        return str(capfirst(self.field.verbose_name))

    @property
    def class_label(self) -> str:
        """Its data class in one word."""
        if self.path.rpartition(".")[2] in self.field.model.data.secret:
            return _("Secret")
        return class_label(self.declared) if self.declared else _("Undeclared")


@dataclass(frozen=True)
class Object:
    """One object under a policy."""

    model: type[Record]
    fields: tuple[Level, ...]
    closed: bool  # the policy keeps the whole object
    stays: str  # why no record of it can be in the cloud; empty when they can

    @property
    def label(self) -> str:
        """``sales.deal``."""
        return self.model._meta.label_lower

    @property
    def name(self) -> str:
        """What its records are called."""
        return things_of(self.model)

    @property
    def travels(self) -> bool:
        """Whether its records can pass between sites at all."""
        return self.model.sync in AUTHORITY

    def count(self, *levels: int) -> int:
        """How many fields have one of these levels."""
        return sum(1 for f in self.fields if f.level in levels)


def key_of(policy: Policy) -> tuple:
    """A policy as something to remember by."""
    return (
        tuple(sorted((str(c), n) for c, n in policy.classes.items())), tuple(sorted(policy.fields.items())),
        tuple(sorted(policy.closed)),
    )  # fmt: skip


@lru_cache(maxsize=64)
def _tables(classes: tuple, fields: tuple, closed: tuple) -> Tables:
    policy = Policy({DataClass(c): n for c, n in classes}, dict(fields), frozenset(closed))
    return tables_of(compile_manifest(policy).canonical)


def tables_under(policy: Policy) -> Tables:
    """The tables that travel under a policy; worked out once for each policy."""
    return _tables(*key_of(policy))


def objects(policy: Policy, only: str = "", tables: Tables | None = None) -> list[Object]:
    """Every business object under a policy, by name; only one of them when its label is given.

    ``tables``: what really travels, where another site decides as well.
    """
    tables = tables or tables_under(policy)
    found = [m for m in registry.records() if registry.get(m._meta.label_lower) or m.sync in AUTHORITY]
    made = [_object(m, policy, tables) for m in found if only in ("", m._meta.label_lower)]
    return sorted(made, key=lambda o: (not o.travels, o.name.lower()))


def _object(model: type[Record], policy: Policy, tables: Tables) -> Object:
    label = model._meta.label_lower
    travels, closed = model.sync in AUTHORITY, label in policy.closed
    fields = tuple(_level(model, f, policy, tables) for f in fields_of(model))
    stays = ""
    table = tables.get(label)
    if not travels:
        stays = _("Each site keeps its own.")
    elif closed:
        stays = _("The policy keeps the whole object on the premises.")
    elif table is None:
        stays = _("The premises keep the whole object.")
    elif not table.holdable(OPEN):
        stays = _("A record can't be without fields that stay on the premises, so all of it does: {fields}.").format(
            fields=", ".join(f.label.lower() for f in fields if f.level > OPEN and f.level < NEVER) or "–"
        )
    return Object(model, fields, closed, stays)


def _level(model: type[Record], field: models.Field, policy: Policy, tables: Tables) -> Level:
    label, name = model._meta.label_lower, field.name
    path, declared = f"{label}.{name}", class_of(model, name)
    fixed = model.sync not in AUTHORITY or never_lower(model, name)

    def made(level: int, why: str, bound: bool = False) -> Level:
        return Level(path, field, declared, level, why, fixed, bound)

    if name in model.data.secret:
        return made(NEVER, _("A secret leaves no site."))
    if model.sync not in AUTHORITY:
        return made(LOCAL, _("Each site keeps its own."))
    if label in policy.closed:
        return made(LOCAL, _("Rule for the whole object"), bound=True)
    own, why = _own(path, declared, policy)
    table = tables.get(label)
    level = table.levels.get(name, LOCAL) if table is not None else LOCAL
    if level == own:
        return made(level, why)
    refers = field.related_model if field.is_relation else None
    if refers is not None and tables.get(refers._meta.label_lower) is None:
        things = str(refers._meta.verbose_name_plural)
        return made(level, _("It names {things}, which stay on the premises.").format(things=things), bound=True)
    others = next((g for g in getattr(model, "sync_together", ()) if name in g), ())
    if not others or table is None:
        return made(level, _("The premises decided so."), bound=True)
    names = ", ".join(str(model._meta.get_field(n).verbose_name) for n in others if n != name)
    return made(level, _("It moves together with: {fields}.").format(fields=names), bound=True)


def _own(path: str, declared: DataClass | None, policy: Policy) -> tuple[int, str]:
    if path in policy.fields:
        return policy.fields[path], _("Rule for this field")
    if declared is not None and declared in policy.classes:
        return policy.classes[declared], _("Rule for the class “{name}”").format(name=class_label(declared))
    if declared is None:
        return LOCAL, _("Nothing was declared, so it stays.")
    if declared == DataClass.RESTRICTED:
        return LOCAL, _("Restricted data never leaves the premises.")
    open_class = declared in (DataClass.PUBLIC, DataClass.INTERNAL)
    return (OPEN if open_class else LOCAL), _("As the code declares it")


def classes(policy: Policy) -> list[dict]:
    """The four data classes under a policy."""
    out = []
    for one in DataClass:
        level, why = _own("", one, policy)
        out.append({"name": str(one), "label": class_label(one), "level": level, "why": why, "fixed": one == DataClass.RESTRICTED})  # fmt: skip
    return out


def searched(found: Iterable[Object], words: str, level: str = "") -> list[Level]:
    """The fields whose name, object or class contains all these words, and whose level is the one asked for."""
    wanted = words.lower().split()
    out = []
    for one in found:
        for field in one.fields:
            text = f"{one.name} {one.label} {field.label} {field.path} {field.class_label}".lower()
            if all(word in text for word in wanted) and level in ("", shown_level(field)):
                out.append(field)
    return out


def shown_level(field: Level) -> str:
    """The level as the filters name it: open, local or never."""
    if field.fixed:
        return "never"
    return "open" if field.level == OPEN else "local"


def level_label(level: int, in_cloud: bool = False) -> str:
    """A level in the words of a reader on the premises, or in the cloud."""
    if level == NEVER:
        return _("Never leaves")
    if in_cloud and level > OPEN:
        return _("Stays on the premises")
    return str(PolicyRule.Level(min(level, LOCAL)).label)
