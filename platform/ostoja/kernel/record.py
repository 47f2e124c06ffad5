"""Record is one business object: what every object of every module inherits, and how it declares its verbs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType

from django.db import models
from django.utils.translation import gettext_lazy as _

from .constraints import Follows
from .data import Data, DataClass, Sync
from .ids import uuid7

SYSTEM_FIELDS = frozenset({"id", "created_at", "updated_at", "version"})
EDITING = ("view", "add", "change", "delete", "import", "export")


@dataclass(frozen=True)
class Verb:
    """A named change of a record beyond plain editing: button, endpoint, permission and journal event in one.

    ``to`` is the state it leads to (its sources come from ``Follows``); ``asks`` are fields of the record that must be
    given as its arguments, ``takes`` those that may be.
    """

    name: str
    label: object
    to: str | None = None
    field: str = "state"
    asks: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    icon: str = "arrow-right"
    tone: str = "neutral"
    confirm: object = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """All argument fields, asked and optional."""
        return self.asks + self.takes


def verb(
    *,
    to: str | None = None,
    label: object = None,
    asks: Iterable[str] = (),
    takes: Iterable[str] = (),
    field: str = "state",
    icon: str = "arrow-right",
    tone: str = "neutral",
    confirm: object = "",
) -> Callable:
    """Declare a method as a verb. The body runs after the arguments and the new state are set, before the save."""

    def declare(method):
        method.verb = Verb(
            name=method.__name__,
            label=label or method.__name__.replace("_", " ").capitalize(),
            to=None if to is None else str(to),
            field=field,
            asks=tuple(asks),
            takes=tuple(takes),
            icon=icon,
            tone=tone,
            confirm=confirm,
        )
        return method

    return declare


class Thing(models.Model):
    """Anything stored in a tenant's schema. It must say its ``data`` and its ``sync`` to be loaded at all."""

    data: Data
    sync: Sync

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        abstract = True


class Record(Thing):
    """One business object: journalled, versioned, changed only through the gate.

    ``sync_together`` are groups of fields that merge as one between sites (an amount and its currency); ``sync_derived`` says
    which field a rule makes of which parts, or of which other field (``{"amount": "sales.dealline", "closed_at": "state"}``), so that
    nobody is asked about it alone.
    """

    sync_together: tuple[tuple[str, ...], ...] = ()
    sync_derived: Mapping[str, str] = MappingProxyType({})

    created_at = models.DateTimeField(_("created"), auto_now_add=True, editable=False)
    updated_at = models.DateTimeField(_("changed"), auto_now=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)

    class Meta:
        abstract = True

    def prepare(self, actor, verb: str) -> None:
        """Hook: fill what follows from other fields, after the form accepted them and before the save."""

    def settled(self, actor, verb: str, changed: frozenset[str]) -> None:
        """Hook: after the save and in the same transaction; ``changed`` are the names of the fields that changed."""

    def leaving(self, actor) -> None:
        """Hook: before it is deleted, with its parts; raise to keep it."""


def class_of(model: type[models.Model], field_name: str) -> DataClass | None:
    """The data class of a field of a model; the system's own fields are internal."""
    if field_name in SYSTEM_FIELDS:
        return DataClass.INTERNAL
    return model.data.class_of(field_name)


@cache
def verbs_of(model: type[models.Model]) -> dict[str, Verb]:
    """The verbs that a model declares, by name, in the order of declaration."""
    found: dict[str, Verb] = {}
    for cls in reversed(model.__mro__):
        for name, value in vars(cls).items():
            spec = getattr(value, "verb", None)
            if isinstance(spec, Verb):
                found[name] = spec
    return found


def follows_of(model: type[models.Model], field: str = "state") -> Follows | None:
    """The state table of a field, if the model declares one."""
    for constraint in model._meta.constraints:
        if isinstance(constraint, Follows) and constraint.field == field:
            return constraint
    return None


def why_not(record: models.Model, spec: Verb) -> str | None:
    """The reason why the record's state does not allow this verb now; None when it does."""
    if spec.to is None:
        return None
    table = follows_of(type(record), spec.field)
    state = getattr(record, spec.field)
    if table is None or spec.to in table.edges.get(state, ()):
        return None
    shown = getattr(record, f"get_{spec.field}_display", lambda: state)()
    return _("Not possible while it is “{state}”.").format(state=shown)
