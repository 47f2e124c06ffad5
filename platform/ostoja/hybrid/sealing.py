"""A sealed record is there for its circle alone: who sealed it, its owner, the owners of the tenant, and whom one of these names."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from django.db import models, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Coalesce
from django.utils.translation import gettext as _

from ostoja.access import remembered
from ostoja.access.actor_of import actor_of
from ostoja.access.models import User
from ostoja.access.narrowing import AT_ANY_MOMENT, narrow
from ostoja.access.policy import explain, find, in_token, outside_of_token
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.data import Sync
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.record import Record
from ostoja.kernel.registry import Entry

from . import copies
from .core.terms import SEALED
from .models import Conflict, Insider, Label, Parked, PurgeCase

OBJECTS = (
    f"SELECT (SELECT array_agg(DISTINCT l.model::text) FROM hybrid_label l WHERE l.level = {SEALED}) || "
    f"(SELECT ARRAY['{AT_ANY_MOMENT}'] FROM hybrid_site s WHERE s.here AND s.kind = 'premises')"
)
# Where records speak of other records: the path to their key, and to the label of their object.
SPEAK_OF = {
    Label: ("pk", "model"), Insider: ("label", "label__model"), Conflict: ("record", "about"), Parked: ("record", "about"),
    PurgeCase: ("record", "about"),
}  # fmt: skip


# --- who sees what --------------------------------------------------------------------------------------------------------


def in_circle(actor: Actor, entry: Entry) -> Q | None:
    """The records of an object that are not sealed, or of whose circle the actor is.

    Parts follow what they are parts of. What is told on the timeline of a sealed record is for its circle, and for whose it is.
    """
    if entry.model in SPEAK_OF:
        left = [q for one in registry.entries() for q in _said_of(actor, *SPEAK_OF[entry.model], one)]
    else:
        left = [q for path, one in _upwards(entry) for q in _left(actor, path, one)]
    return Q(*left) if left else None


def _said_of(actor: Actor, path: str, about: str, entry: Entry) -> Iterator[Q]:
    """What is left of records that speak of an object's. Of what is told on a timeline, only what is here and in sight:
    nobody can tell any more of whom it was told once it is gone."""
    if _concerns(actor, entry):
        yield _outside(actor, path, entry)
    told = [q for up, one in _upwards(entry) for q in _told(actor, up, one)]
    if told:
        yield ~Q((about, entry.label)) | Q((f"{path}__in", entry.model._default_manager.filter(*told).values("pk")))


def _left(actor: Actor, path: str, entry: Entry) -> Iterator[Q]:
    """What is left of an object to whose key ``path`` leads."""
    if _concerns(actor, entry):
        yield _outside(actor, path, entry)
    yield from _told(actor, path, entry)


def _told(actor: Actor, path: str, entry: Entry) -> Iterator[Q]:
    """What is left of an object of timelines: what is told of nothing sealed, or is the actor's own."""
    if entry.surface.timeline is None:
        return
    before = "" if path == "pk" else f"{path}__"
    owner = _owner(entry.model)
    for field in entry.fields.values():
        told_of = registry.get(field.related_model._meta.label_lower) if field.is_relation else None
        if told_of is not None and _concerns(actor, told_of):
            left = _outside(actor, f"{before}{field.name}", told_of)
            yield left | Q((f"{before}{owner.name}", actor.user_id)) if owner is not None else left


def _outside(actor: Actor, path: str, entry: Entry) -> Q:
    """The key at the end of ``path`` is none of a sealed record that is not for the actor."""
    return ~Q((f"{path}__in", _beyond(actor, entry)))


narrow(OBJECTS, in_circle)


def _concerns(actor: Actor, entry: Entry) -> bool:
    known = actor.narrowed
    return entry.label in known if known is not None else can_be_sealed(entry)


def _upwards(entry: Entry) -> Iterator[tuple[str, Entry]]:
    """The object, and what it is a part of, each with the path to its key."""
    path, one = "pk", entry
    while one is not None:
        yield path, one
        path = one.surface.inside if path == "pk" else f"{path}__{one.surface.inside}"
        one = one.parent


def _beyond(actor: Actor, entry: Entry) -> QuerySet:
    """The keys of the sealed records of an object of whose circle the actor is none."""
    rows = Label.objects.filter(level=SEALED, model=entry.label).alias(top=Coalesce("root", "pk"))
    rows = rows.exclude(top__in=Insider.objects.filter(user=actor.user_id).values("label"))
    for _path, one in _upwards(entry):
        if (owner := _owner(one.model)) is not None:
            sealed = Label.objects.filter(level=SEALED, model=one.label).values("pk")
            mine = one.model._default_manager.filter(**{owner.name: actor.user_id}, pk__in=sealed)
            rows = rows.exclude(top__in=mine.values("pk"))
    return rows.values("pk")


def _owner(model: type[models.Model]) -> models.Field | None:
    """The field that says whose record it is, if people own such records."""
    field = next((f for f in model._meta.concrete_fields if f.name == "owner"), None)
    return field if field is not None and field.related_model is User else None


# --- sealing --------------------------------------------------------------------------------------------------------------


def can_be_sealed(entry: Entry) -> bool:
    """Whether records of an object can be sealed by themselves."""
    *_parts, (_path, top) = _upwards(entry)
    return entry.model.sync != Sync.LOCAL and top.surface.group != "settings" and not _is_line(entry)


def why_never_sealed(entry: Entry) -> str:
    """Why records of an object can't be sealed; nothing when they can."""
    if can_be_sealed(entry):
        return ""
    if _is_line(entry):
        return _("A line belongs to what it stands in: seal that.")
    return _("Everybody works with these, so they can't be sealed.")


def _is_line(entry: Entry) -> bool:
    return entry.parent is not None and entry in entry.parent.lines.values()


def begin(actor: Actor, record: uuid.UUID, family: Collection[uuid.UUID]) -> None:
    """In the transaction that seals a record and its parts: whoever seals it is the first to be let in, and copies go."""
    if actor.user_id is not None:
        Insider(label_id=record, user_id=actor.user_id, sealer=True).save(force_insert=True)
    copies.forget(actor, family, ())
    remembered.forget()


# --- the circle -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Circle:
    """Who may see a sealed record besides the owners of the tenant."""

    owner: User | None
    insiders: tuple[Insider, ...]


def label_of(record: Record) -> Label | None:
    """The label of a record that is sealed by itself; None when it is not, or only as a part of another."""
    return Label.objects.filter(pk=record.pk, level=SEALED, inherited=False).first()


def circle_of(record: Record) -> Circle:
    """The circle of a record that is sealed by itself. Two queries at most."""
    field = _owner(type(record))
    found = Insider.objects.filter(label=record.pk).select_related("user").order_by("-sealer", "user__name", "pk")
    return Circle(getattr(record, field.name) if field is not None else None, tuple(found))


def let_in(actor: Actor, record: Record, user: object) -> Insider:
    """Name somebody who may see a sealed record. Whoever is in its circle may do so.

    Raises NotFound for a record that the actor does not see; NotAllowed for an API token that does not include changing such
    records; Refused when it is not sealed, for a person whom the actor does not see, who may see it already, or whose role does
    not show it to them anyway.
    """
    label, person = _sealed(actor, record), _person(actor, user)
    if label.insiders.filter(user=person).exists():
        raise _refused(_("{name} may see it already.").format(name=person.name))
    with changing(actor, "let-in"), transaction.atomic():
        insider = Insider(label=label, user=person)
        insider.save(force_insert=True)
        if not person.is_active or not explain(actor_of(person), record, "view"):
            raise _refused(
                _("The role of {name} does not show them such records. Give them one that does first.").format(
                    name=person.name
                )
            )
    return insider


def shut_out(actor: Actor, record: Record, user: object) -> None:
    """Take somebody's name off the list; that of whoever sealed it only an owner of the tenant takes off.

    Raises NotFound, NotAllowed, Refused.
    """
    label, person = _sealed(actor, record), _person(actor, user)
    with changing(actor, "shut-out"), transaction.atomic():
        found = label.insiders.select_for_update().filter(user=person).first()
        if found is None:
            raise _refused(_("{name} is not on the list.").format(name=person.name))
        if found.sealer and not actor.superuser:
            raise _refused(_("{name} sealed it, and sees it as long as it is sealed.").format(name=person.name))
        found.delete()


def _sealed(actor: Actor, record: Record) -> Label:
    find(actor, type(record), record.pk)
    entry = registry.of(type(record))
    if not in_token(actor, entry, "change"):
        raise NotAllowed(outside_of_token(entry, "change"))
    label = label_of(record)
    if label is None:
        raise Refused(_("This is not sealed, so nobody has to be let in."))
    return label


def _person(actor: Actor, user: object) -> User:
    try:
        return find(actor, User, getattr(user, "pk", user))
    except NotFound as error:
        raise _refused(error.message) from error


def _refused(sentence: str) -> Refused:
    return Refused(sentence, fields={"user": [sentence]})
