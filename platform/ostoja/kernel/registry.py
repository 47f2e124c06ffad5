"""The registry knows every business object and its surface; web, API, exchange and hybrid reach objects only through it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from django.apps import apps
from django.db import models

from .data import DataClass
from .nouns import Noun, noun, nouns
from .record import Record, Thing, Verb, class_of, verbs_of
from .surfaces import Surface


@dataclass(eq=False)
class Entry:
    """One business object: its model, its surface, and what follows from both."""

    model: type[Record]
    surface: type[Surface]

    @cached_property
    def label(self) -> str:
        """``app.model``, as roles, journal and sync name it."""
        return self.model._meta.label_lower

    @cached_property
    def slug(self) -> str:
        """The plural in URLs, e.g. ``deals``."""
        return self.surface.slug or f"{self.model._meta.model_name}s"

    @property
    def thing(self) -> Noun:
        """What one of them is called, in the reader's language."""
        return noun(self.model)

    @property
    def things(self) -> Noun:
        """What many of them are called, in the reader's language."""
        return nouns(self.model)

    @cached_property
    def verbs(self) -> dict[str, Verb]:
        """Declared verbs by name."""
        return verbs_of(self.model)

    @cached_property
    def parent(self) -> Entry | None:
        """The entry that this object is a part of, when the surface says ``inside``."""
        if not self.surface.inside:
            return None
        return of(self.model._meta.get_field(self.surface.inside).related_model)

    @cached_property
    def fields(self) -> dict[str, models.Field]:
        """Concrete fields by name, those of the system included."""
        return {f.name: f for f in self.model._meta.concrete_fields}

    @cached_property
    def lines(self) -> dict[str, Entry]:
        """Child records edited inside the form: reverse relation -> entry."""
        return {name: of(self.model._meta.get_field(name).related_model) for name in self.surface.lines}

    @cached_property
    def scopes(self) -> tuple[str, ...]:
        """The scopes that a role may grant over this object."""
        return (*self.surface.scopes, "all")

    def class_of(self, field_name: str) -> DataClass | None:
        """Data class of a field."""
        return class_of(self.model, field_name)


_entries: dict[type, Entry] = {}
_by_label: dict[str, Entry] = {}
_by_slug: dict[str, Entry] = {}


def surface(model: type[Record]):
    """Register a surface for a model: ``@surface(Deal) class DealSurface(Surface): …``."""

    def register(cls):
        cls.model = model
        entry = Entry(model, cls)
        if model in _entries:
            raise TypeError(f"{model.__name__} has a surface already: {_entries[model].surface.__name__}.")
        if entry.slug in _by_slug:
            raise TypeError(
                f"The address “{entry.slug}” belongs to {_by_slug[entry.slug].label}; give {cls.__name__} a slug."
            )
        _entries[model] = _by_label[entry.label] = _by_slug[entry.slug] = entry
        return cls

    return register


def of(model: type[models.Model]) -> Entry:
    """The entry of a model. KeyError when it has no surface."""
    return _entries[model]


def get(label: str) -> Entry | None:
    """The entry with this label (``sales.deal``), or None."""
    return _by_label.get(label)


def by_slug(slug: str) -> Entry | None:
    """The entry with this plural (``deals``), or None."""
    return _by_slug.get(slug)


def entries() -> Iterator[Entry]:
    """All entries, in the order of navigation."""
    return iter(sorted(_entries.values(), key=lambda e: (e.surface.group, e.surface.order, e.label)))


def things() -> list[type[Thing]]:
    """Every concrete model of ours that is stored in a tenant's schema."""
    return [m for m in apps.get_models() if issubclass(m, Thing)]


def records() -> list[type[Record]]:
    """Every concrete business object; each is journalled."""
    return [m for m in things() if issubclass(m, Record)]
