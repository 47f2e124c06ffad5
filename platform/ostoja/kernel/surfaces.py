"""A surface is how a record looks: list, form, board, calendar, columns, filters and the scopes a role may grant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from django.db.models import Q
from django.utils.translation import gettext as _


class _ActorValue:
    """Stands in a scope's Q for a value of whoever asks; resolved for every query."""

    def __init__(self, name: str):
        self.name = name

    def __repr__(self):
        return f"ACTOR.{self.name}"


class _ActorMark(_ActorValue):
    departments = _ActorValue("departments")
    department = _ActorValue("department_id")


ACTOR = _ActorMark("user_id")


def resolve(condition: Q, actor) -> Q:
    """The scope's condition with ACTOR replaced by the actor's own values."""
    out = Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        if isinstance(child, Q):
            out.children.append(resolve(child, actor))
        else:
            path, value = child
            out.children.append((path, getattr(actor, value.name) if isinstance(value, _ActorValue) else value))
    return out


@dataclass(frozen=True)
class Board:
    """Columns by a choice or a relation; ``total`` is the field summed at the head of each column."""

    field: str
    total: str = ""
    card: tuple[str, ...] = ()
    within: Q | None = None  # the rows a board is about, e.g. open deals only


@dataclass(frozen=True)
class Calendar:
    """Records by a date or time field; ``end`` for spans."""

    start: str
    end: str = ""


@dataclass(frozen=True)
class Timeline:
    """Records told as a story on the card of what they belong to: when, of which kind, a headline and a text.

    ``icons`` maps values of the ``kind`` field to icons.
    """

    at: str
    title: str
    text: str = ""
    kind: str = ""
    icons: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Panel:
    """A list of related records on a record's card: ``related`` is the reverse relation's name."""

    related: str
    label: object = ""
    columns: tuple[str, ...] = ()


class Surface:
    """Base of all surfaces; ``@surface(Model)`` registers one.

    Attributes: ``slug`` (in URLs), ``icon``, ``group`` (``crm``, ``erp``, ``insight``, ``settings`` or "" for no place in
    the navigation), ``order`` (in the group), ``title`` (field that names a record), ``subtitle`` (fields under it),
    ``list`` (columns), ``sort`` (default order, with ``-``), ``form`` (fields; a tuple is a row; ``("Heading", [...])`` is a
    section), ``search`` (paths; a word may stand anywhere in them), ``codes`` (indexed fields that a whole word must equal), ``filters``,
    ``views`` (ready-made lists: ``(label, {"field" or "field__lookup": value})``, "me" is whoever looks), ``board``, ``calendar``, ``timeline``, ``scopes``, ``panels`` (of the card), ``lines``
    (reverse relations edited inside the form), ``inside`` (foreign key to the record that this one is a part of: rights are
    those of the parent), ``natural_key`` (fields that find a record in an import), ``history`` (fields that only an import
    may set, e.g. the state of records brought from another system), ``badges`` (choice value -> tone), ``automatic`` (the
    database itself writes these records: people only see and export them, and do their verbs), ``lasting`` (people add these
    records, but nobody changes or deletes them: they go through their verbs; true, or the sentence that says why).
    """

    model = None
    slug = ""
    icon = "box"
    group = ""
    order = 100
    title = ""
    subtitle: Sequence[str] = ()
    list: Sequence[str] = ()
    sort: Sequence[str] = ("-id",)
    form: Sequence = ()
    search: Sequence[str] = ()
    codes: Sequence[str] = ()
    filters: Sequence[str] = ()
    views: Sequence[tuple[object, Mapping[str, str]]] = ()
    board: Board | None = None
    calendar: Calendar | None = None
    timeline: Timeline | None = None
    scopes: dict[str, Q] = {}
    panels: Sequence[Panel] = ()
    lines: Sequence[str] = ()
    inside = ""
    natural_key: Sequence[str] = ()
    history: Sequence[str] = ()
    badges: dict[str, str] = {}
    readonly: Sequence[str] = ()
    automatic = False
    lasting: object = False

    @classmethod
    def why_kept(cls) -> str:
        """Why nobody changes these records, where that is so."""
        if cls.automatic:
            return _("These records are kept by Ostoja itself; nobody changes them.")
        if cls.lasting is True:
            return _("These records stay as they are; nobody changes or deletes them.")
        return str(cls.lasting)

    @classmethod
    def form_fields(cls) -> tuple[str, ...]:
        """The fields of the form in order, rows and sections flattened."""

        def flat(items):
            for item in items:
                if isinstance(item, str):
                    yield item
                elif len(item) == 2 and isinstance(item[1], (list,)):
                    yield from flat(item[1])
                else:
                    yield from flat(item)

        return tuple(dict.fromkeys(flat(cls.form)))
