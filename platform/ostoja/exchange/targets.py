"""A target is a field that a column can go to: of the object itself, of a line, or of a part such as a contact point."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from django.db import models

from ostoja.access.policy import visible_fields, writable_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

KEYS = ("number", "code", "email", "name", "title", "external_ref")
JOINT = " / "


@dataclass(frozen=True)
class Target:
    """One field of an object or of its lines and parts, as exchange names it.

    ``path`` is ``amount``, ``lines.product``, ``contact_points.value``; ``part`` the reverse relation ("" for the object
    itself); ``kind`` one of relation, choice, yes_no, number, whole, date, moment, json, text; ``required`` is whether a new
    record needs it.
    """

    path: str
    part: str
    entry: Entry
    field: models.Field

    @property
    def name(self) -> str:
        """The field's own name."""
        return self.field.name

    @property
    def label(self) -> str:
        """What a person reads, in their language; parts are named before the field."""
        own = str(self.field.verbose_name)
        text = own if not self.part else f"{self.entry.model._meta.verbose_name}: {own}"
        return text[:1].upper() + text[1:]

    @property
    def required(self) -> bool:
        """Whether a new record needs a value that nothing else gives."""
        f = self.field
        return not (f.blank or f.has_default() or isinstance(f, models.BooleanField))

    @property
    def kind(self) -> str:
        """What sort of value it takes."""
        match self.field:
            case models.ForeignKey():
                return "relation"
            case models.BooleanField():
                return "yes_no"
            case models.DateTimeField():
                return "moment"
            case models.DateField():
                return "date"
            case models.JSONField():
                return "json"
        if self.field.choices:
            return "choice"
        match self.field:
            case models.DecimalField():
                return "number"
            case models.IntegerField():
                return "whole"
        return "text"

    @property
    def related(self) -> Entry | None:
        """The object that a relation points to, when it has a surface."""
        return entry_of(self.field.related_model) if self.kind == "relation" else None


class Targets:
    """All targets of an object for an actor, by path: only what they may see and set."""

    def __init__(self, actor: Actor, entry: Entry):
        self.actor = actor
        self.entry = entry
        self.by_path = {t.path: t for t in self._all()}

    def __iter__(self):
        return iter(self.by_path.values())

    def get(self, path: str) -> Target | None:
        """The target of a path, or None."""
        return self.by_path.get(path)

    @cached_property
    def parts(self) -> dict[str, Entry]:
        """Reverse relation -> entry, lines first."""
        return parts_of(self.entry)

    def _all(self):
        entry, actor = self.entry, self.actor
        yield Target("id", "", entry, entry.fields["id"])
        for name in writable_fields(actor, entry, history=True):
            yield Target(name, "", entry, entry.fields[name])
        for relation, part in self.parts.items():
            for name in writable_fields(actor, part):
                if name != part.surface.inside:
                    yield Target(f"{relation}.{name}", relation, part, part.fields[name])


def entry_of(model: type) -> Entry | None:
    """The entry of a model, or None when it has no surface."""
    try:
        return registry.of(model)
    except KeyError:
        return None


def parts_of(entry: Entry) -> dict[str, Entry]:
    """The objects that are parts of this one: reverse relation -> entry; lines of its form come first."""
    found = dict(entry.lines)
    for other in registry.entries():
        if other.parent is entry:
            relation = other.model._meta.get_field(other.surface.inside).remote_field
            if not relation.hidden:
                found.setdefault(relation.name, other)
    return found


def keys_of(actor: Actor, entry: Entry) -> list[tuple[str, ...]]:
    """The ways a record of this object is found by text, best first; each is a tuple of fields that the actor may see."""
    ways = [tuple(entry.surface.natural_key)] if entry.surface.natural_key else []
    ways += [(name,) for name in (entry.surface.title, *KEYS) if name]
    return [way for way in dict.fromkeys(ways) if all(tells(actor, entry, name) for name in way)]


def tells(actor: Actor, entry: Entry, name: str) -> bool:
    """Whether records may be found by this field: it is text that the actor sees, or a relation with such a title."""
    model_field = entry.fields.get(name)
    if model_field is None or name not in visible_fields(actor, entry):
        return False
    if model_field.is_relation:
        return _titled(actor, entry, name)
    return isinstance(model_field, (models.CharField, models.TextField, models.IntegerField))


def _titled(actor: Actor, entry: Entry, name: str) -> bool:
    """Whether the records of a relation have a title in text that the actor may see."""
    other = entry_of(entry.fields[name].related_model)
    if other is None or other.surface.title not in visible_fields(actor, other):
        return False
    return not other.fields[other.surface.title].is_relation


def key_path(entry: Entry, name: str) -> str:
    """The look-up path of one field of a key: a relation is told by its title."""
    field = entry.fields[name]
    if not field.is_relation:
        return name
    return f"{name}__{registry.of(field.related_model).surface.title}"
