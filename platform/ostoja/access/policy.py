"""Who may do what, and why: the one policy that lists, counts, search, exports, reports, the API and the gate share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoActor, NotAllowed, NotFound
from ostoja.kernel.record import EDITING, SYSTEM_FIELDS
from ostoja.kernel.registry import Entry, of
from ostoja.kernel.surfaces import resolve

NOTHING = Q(pk__in=[])
READING = ("view", "export")
WORKS_AS = {"import": "add"}


@dataclass(frozen=True)
class Decision:
    """Allowed or not, with the reason."""

    allowed: bool
    reason: str

    def __bool__(self):
        return self.allowed


def _actor(actor: Actor | None) -> Actor:
    if actor is None:
        raise NoActor("Nobody is acting. Every read and change has an actor.")
    return actor


@lru_cache(maxsize=4096)
def _limited(limits: tuple[str, ...], label: str, verb: str) -> bool:
    for limit in limits:
        what, _colon, may = limit.partition(":")
        if what in ("*", label) and may in ("*", "", verb):
            return True
    return False


def scope_of(actor: Actor, entry: Entry, verb: str) -> str | None:
    """The scope that the actor's roles grant for a verb on an object: ``own``, ``team``, ``all`` …, or None.

    Parts of a record (lines, contact points) follow their parent: seeing it shows them, changing it changes them.
    """
    if _kept_by_itself(entry, verb):
        return None
    while entry.parent is not None:
        verb = verb if verb in READING else "change"
        entry = entry.parent
    if actor.limits is not None and not _limited(actor.limits, entry.label, verb):
        return None
    if actor.superuser:
        return "all"
    for label in (entry.label, "*"):
        verbs = actor.grants.get(label)
        if verbs:
            scope = verbs.get(verb) or verbs.get("*")
            if scope:
                return scope
    return None


def _kept_by_itself(entry: Entry, verb: str) -> bool:
    """Whether nobody may do this: records that are written automatically are only read, and go through their own verbs."""
    return entry.surface.automatic and verb not in READING and verb not in entry.verbs


def scope_filter(actor: Actor, entry: Entry, scope: str) -> Q | None:
    """The condition of a scope on an object; None means no restriction. Parts are restricted through their parent."""
    if scope == "all":
        return None
    prefix, top = "", entry
    while top.parent is not None:
        prefix += f"{top.surface.inside}__"
        top = top.parent
    condition = top.surface.scopes.get(scope)
    if condition is None:
        return NOTHING
    return _prefixed(resolve(condition, actor), prefix) if prefix else resolve(condition, actor)


def _prefixed(condition: Q, prefix: str) -> Q:
    out = Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        out.children.append(_prefixed(child, prefix) if isinstance(child, Q) else (prefix + child[0], child[1]))
    return out


def allowed(actor: Actor, entry: Entry | type, verb: str = "view") -> Q | None:
    """The condition on records over which the actor may do ``verb``; None when all, a never-true Q when none."""
    actor = _actor(actor)
    entry = entry if isinstance(entry, Entry) else of(entry)
    scope = scope_of(actor, entry, verb)
    return NOTHING if scope is None else scope_filter(actor, entry, scope)


def may(actor: Actor, entry: Entry | type, verb: str) -> bool:
    """Whether the actor may do ``verb`` on any record of the object at all (shows or hides menus and buttons)."""
    entry = entry if isinstance(entry, Entry) else of(entry)
    return scope_of(_actor(actor), entry, verb) is not None


def visible(actor: Actor, model: type, verb: str = "view") -> QuerySet:
    """The records of a model that the actor may see (or do ``verb`` on)."""
    condition = allowed(actor, model, verb)
    rows = model._default_manager.all()
    return rows if condition is None else rows.filter(condition)


def explain(actor: Actor, record, verb: str) -> Decision:
    """Whether the actor may do ``verb`` on this record, and why. One query at most."""
    entry = of(type(record))
    scope = scope_of(_actor(actor), entry, verb)
    if scope is None:
        if _kept_by_itself(entry, verb):
            return Decision(False, _("These records are kept by Ostoja itself; nobody changes them."))
        if actor.limits is not None and not _limited(actor.limits, entry.label, verb):
            return Decision(
                False,
                _("The API token does not include “{verb}” on {things}.").format(
                    verb=verb, things=entry.model._meta.verbose_name_plural
                ),
            )
        return Decision(
            False,
            _("Your role does not include “{verb}” on {things}.").format(
                verb=verb, things=entry.model._meta.verbose_name_plural
            ),
        )
    condition = scope_filter(actor, entry, scope)
    if condition is None:
        return Decision(
            True, _("Your role includes all {things}.").format(things=entry.model._meta.verbose_name_plural)
        )
    if record._state.adding or entry.model._default_manager.filter(condition, pk=record.pk).exists():
        return Decision(True, _("Your role includes this with the scope “{scope}”.").format(scope=scope))
    return Decision(
        False,
        _("Your role includes this only with the scope “{scope}”, and this record is outside of it.").format(
            scope=scope
        ),
    )


def find(actor: Actor, model: type, pk, *, lock: bool = False, related: tuple[str, ...] = ()):
    """The record, if the actor may see it; NotFound otherwise, whether it is absent or forbidden."""
    rows = visible(actor, model)
    if related:
        rows = rows.select_related(*related)
    if lock:
        rows = rows.select_for_update(of=("self",))
    try:
        record = rows.filter(pk=pk).first()
    except (ValueError, TypeError):
        record = None
    except Exception as error:
        from django.core.exceptions import ValidationError

        if not isinstance(error, ValidationError):
            raise
        record = None
    if record is None:
        raise NotFound(_("There is no such {thing}, or you may not see it.").format(thing=model._meta.verbose_name))
    return record


def require(actor: Actor, record, verb: str) -> None:
    """Raise NotAllowed with the reason unless the actor may do ``verb`` on this record."""
    decision = explain(actor, record, verb)
    if not decision:
        raise NotAllowed(decision.reason)


def visible_fields(actor: Actor, entry: Entry | type) -> tuple[str, ...]:
    """Names of the fields whose data class the actor may see; others are absent from every face."""
    entry = entry if isinstance(entry, Entry) else of(entry)
    return _fields_for(entry, _actor(actor).classes)


@lru_cache(maxsize=2048)
def _fields_for(entry: Entry, classes: frozenset[str]) -> tuple[str, ...]:
    secret = entry.model.data.secret
    return tuple(name for name in entry.fields if str(entry.class_of(name)) in classes and name not in secret)


def writable_fields(actor: Actor, entry: Entry | type, *, history: bool = False) -> tuple[str, ...]:
    """Names of the fields that the actor may set: visible, in the surface's form, not the system's.

    ``history`` adds the fields that only an import may set.
    """
    entry = entry if isinstance(entry, Entry) else of(entry)
    seen = set(visible_fields(actor, entry))
    names = entry.surface.form_fields() + (tuple(entry.surface.history) if history else ())
    if entry.surface.inside:
        names = (entry.surface.inside, *names)
    return tuple(
        n for n in dict.fromkeys(names) if n in seen and n not in SYSTEM_FIELDS and n not in entry.surface.readonly
    )


def editing_verbs(entry: Entry) -> tuple[str, ...]:
    """All verbs that a role can grant on an object."""
    return (*(READING if entry.surface.automatic else EDITING), *entry.verbs)
