"""Who may do what, and why: the one policy that lists, counts, search, exports, reports, the API and the gate share."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from django.db.models import Case, F, Q, QuerySet, When
from django.utils.translation import gettext as _
from django.utils.translation import gettext_noop

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoActor, NotAllowed, NotFound
from ostoja.kernel.record import EDITING, SYSTEM_FIELDS
from ostoja.kernel.registry import Entry, get, of
from ostoja.kernel.surfaces import resolve

from .narrowing import as_of_now, concerns, in_sight, why_elsewhere

NOTHING = Q(pk__in=[])
READING = ("view", "export")
REWRITING = ("change", "delete")
WORDS = {
    "view": gettext_noop("view"), "add": gettext_noop("add"), "change": gettext_noop("change"), "delete": gettext_noop("delete"),
    "import": gettext_noop("import"), "export": gettext_noop("export"),
}  # fmt: skip
MARKING = "mark-sensitive"
ELSEWHERE = "decided_elsewhere"
# Rights that no role grants by themselves: whoever has the other one has them too, even on what lasts.
COMES_WITH = {MARKING: "change"}


@dataclass(frozen=True)
class Decision:
    """Allowed or not, with the reason; ``code`` is what programs know a refusal by."""

    allowed: bool
    reason: str
    code: str = NotAllowed.code

    def __bool__(self):
        return self.allowed

    def refusal(self) -> NotAllowed:
        """The error for whoever tries it all the same."""
        return NotAllowed(self.reason, code=self.code)


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


def in_token(actor: Actor, entry: Entry, verb: str) -> bool:
    """Whether the scopes of the API token with which somebody acts include a verb on an object; they do for who has none."""
    return actor.limits is None or _limited(actor.limits, entry.label, verb)


def outside_of_token(entry: Entry, verb: str) -> str:
    """The sentence for what the scopes of a token leave out."""
    return _("The API token does not include “{verb}” on {things}.").format(
        verb=verb, things=entry.model._meta.verbose_name_plural
    )


def scope_of(actor: Actor, entry: Entry, verb: str) -> str | None:
    """The scope that the actor's roles grant for a verb on an object: ``own``, ``team``, ``all`` …, or None.

    Parts of a record (lines, contact points) follow their parent: seeing it shows them, changing it changes them.
    """
    if _done_by_nobody(actor, entry, verb):
        return None
    verb = COMES_WITH.get(verb, verb)
    while entry.parent is not None:
        verb = verb if verb in READING else "change"
        entry = entry.parent
    if not in_token(actor, entry, verb):
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


def _done_by_nobody(actor: Actor, entry: Entry, verb: str) -> bool:
    """Whether nobody may do this here: what is decided elsewhere or written automatically is only read, what is lasting is added,
    read and marked; their own verbs are done on the last two."""
    if verb not in READING and decided_elsewhere(actor, entry):
        return True
    surface = entry.surface
    kept = surface.automatic and verb not in READING or surface.lasting and verb in REWRITING
    return kept and verb not in entry.verbs


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
    return prefixed(resolve(condition, actor), prefix) if prefix else resolve(condition, actor)


def prefixed(condition: Q, prefix: str) -> Q:
    """The condition of a related record: ``prefix`` is the path to it, with ``__`` at its end."""
    out = Q(_connector=condition.connector, _negated=condition.negated)
    for child in condition.children:
        out.children.append(prefixed(child, prefix) if isinstance(child, Q) else (prefix + child[0], child[1]))
    return out


def allowed(actor: Actor, entry: Entry | type, verb: str = "view") -> Q | None:
    """The condition on records over which the actor may do ``verb``; None when all, a never-true Q when none."""
    actor = _actor(actor)
    entry = entry if isinstance(entry, Entry) else of(entry)
    scope = scope_of(actor, entry, verb)
    if scope is None:
        return NOTHING
    conditions = [q for q in (scope_filter(actor, entry, scope), in_sight(actor, entry)) if q is not None]
    return Q(*conditions) if conditions else None


def may(actor: Actor, entry: Entry | type, verb: str) -> bool:
    """Whether the actor may do ``verb`` on any record of the object at all (shows or hides menus and buttons)."""
    entry = entry if isinstance(entry, Entry) else of(entry)
    return scope_of(_actor(actor), entry, verb) is not None


def visible(actor: Actor, model: type, verb: str = "view") -> QuerySet:
    """The records of a model that the actor may see (or do ``verb`` on)."""
    condition = allowed(actor, model, verb)
    rows = model._default_manager.all()
    return rows if condition is None else rows.filter(condition)


def decided_elsewhere(actor: Actor, entry: Entry) -> str:
    """The sentence where records of this object, or what they are parts of, are decided at another place than here; or nothing."""
    while actor.elsewhere and entry is not None:
        if entry.label in actor.elsewhere:
            return why_elsewhere(entry)
        entry = entry.parent
    return ""


def _denied(actor: Actor, entry: Entry, verb: str) -> Decision:
    """The decision for whoever may do ``verb`` on no record of the object."""
    if _done_by_nobody(actor, entry, verb):
        there = decided_elsewhere(actor, entry)
        return Decision(False, there, ELSEWHERE) if there else Decision(False, entry.surface.why_kept())
    verb = COMES_WITH.get(verb, verb)
    if not in_token(actor, entry, verb):
        return Decision(False, outside_of_token(entry, verb))
    things = entry.model._meta.verbose_name_plural
    words = _("Your role does not include “{verb}” on {things}.")
    return Decision(False, words.format(verb=_(WORDS.get(verb, verb)), things=things))


def must(actor: Actor, entry: Entry, verb: str) -> None:
    """Raise NotAllowed unless the actor may do ``verb`` on any record of the object."""
    if not may(actor, entry, verb):
        raise _denied(actor, entry, verb).refusal()


def explain(actor: Actor, record, verb: str) -> Decision:
    """Whether the actor may do ``verb`` on this record, and why. One query at most, and one where the actor did not find it."""
    entry = of(type(record))
    scope = scope_of(_actor(actor), entry, verb)
    if scope is None:
        return _denied(actor, entry, verb)
    if not record._state.adding and not sees(actor, record):
        return Decision(False, absent(entry))
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
    """The record, if the actor may see it; NotFound otherwise, whether it is absent or forbidden.

    With ``lock`` nobody else changes it until the transaction ends, and what was hidden from the actor while they waited for it
    is absent as well: one query more, where records may be hidden at all.
    """
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
    if record is None or lock and concerns(actor) and out_of_sight(as_of_now(actor), model, [record.pk]):
        raise NotFound(absent(of(model)))
    record._state.found_by = actor
    return record


def absent(entry: Entry) -> str:
    """What is said of a record that is not there, and of one that is not for this reader: nobody can tell the two apart."""
    return _("There is no such {thing}, or you may not see it.").format(thing=entry.model._meta.verbose_name)


def sees(actor: Actor, record) -> bool:
    """Whether a record is in the actor's sight, whatever their roles say of it. One query, none where nothing is out of sight."""
    if getattr(record._state, "found_by", None) is actor:
        return True
    return not out_of_sight(actor, type(record), [record.pk])


def out_of_sight(actor: Actor, model: type, keys: Iterable) -> frozenset:
    """Those of these records that are out of the actor's sight, whatever their roles say. One query, none where nothing is."""
    condition = in_sight(_actor(actor), of(model))
    keys = frozenset(keys) if condition is not None else frozenset()
    if not keys:
        return keys
    return keys - set(model._default_manager.filter(condition, pk__in=keys).values_list("pk", flat=True))


def name_for(actor: Actor, record) -> str:
    """What a record is called, for this reader: its key, where its name might tell of something that is out of their sight."""
    entry = of(type(record))
    title = entry.fields.get(entry.surface.title)
    if concerns(actor) and (title is None or title.is_relation or str(record) != getattr(record, title.name)):
        for field in entry.fields.values():
            key = getattr(record, field.attname) if field.is_relation else None
            if key is not None and _has_entry(field) and out_of_sight(actor, field.related_model, [key]):
                return str(record.pk)
    return str(record)


def _has_entry(field) -> bool:
    return get(field.related_model._meta.label_lower) is not None


def value_in_sight(actor: Actor, related: Entry, path: str, name: str) -> Case | None:
    """A field of the record to which ``path`` leads, empty where that is out of the actor's sight; None when none is."""
    condition = in_sight(actor, related)
    return None if condition is None else Case(When(prefixed(condition, f"{path}__"), then=F(f"{path}__{name}")))


def require(actor: Actor, record, verb: str) -> None:
    """Raise NotAllowed with the reason unless the actor may do ``verb`` on this record."""
    decision = explain(actor, record, verb)
    if not decision:
        raise decision.refusal()


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
    if entry.surface.automatic:
        return (*READING, *entry.verbs)
    kept = REWRITING if entry.surface.lasting else ()
    return (*(verb for verb in EDITING if verb not in kept), *entry.verbs)
