"""How a conflict reads: what it is about, which rule applied, who wrote each value, and what can be done, for one reader."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

from django.apps import apps
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ostoja.access.policy import may, visible, visible_fields
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.record import SYSTEM_FIELDS, follows_of
from ostoja.kernel.registry import Entry

from .models import Conflict, Site
from .resolving import BOTH, DELETED, KEPT, steps_of

LATEST, REFUSED, STEP, OWNED = "latest", "refused", "transition", "authority"


def concerning(actor: Actor) -> QuerySet[Conflict]:
    """The open conflicts that concern this actor: those that the role includes, of objects and fields that they may see."""
    rows = _decided_alone(actor, visible(actor, Conflict).filter(state=Conflict.State.OPEN))
    if actor.superuser:
        return rows
    seen = Q(pk__in=[])
    for label, name in rows.values_list("about", "field").distinct():
        if _is_seen(actor, label, name):
            seen |= Q(about=label, field=name)
    return rows.filter(seen)


def _decided_alone(actor: Actor, rows: QuerySet[Conflict]) -> QuerySet[Conflict]:
    """Without what a step took along, where the step itself is among those that the actor sees: they are decided with it."""
    step = Conflict.objects.filter(
        state=Conflict.State.OPEN, about=OuterRef("about"), record=OuterRef("record"), rule=OuterRef("rule"), site=OuterRef("site")
    )  # fmt: skip
    for entry in registry.entries():
        for name, names in steps_of(entry.model).items():
            if names and _is_seen(actor, entry.label, name):
                rows = rows.exclude(Q(Exists(step.filter(field=name)), about=entry.label, field__in=names))
    return rows


def _is_seen(actor: Actor, label: str, name: str) -> bool:
    entry = registry.get(label)
    return entry is not None and may(actor, entry, "view") and (not name or name in visible_fields(actor, entry))


def kind_of(conflict: Conflict) -> str:
    """The rule that applied; what concerns a state is about a step, by whichever rule it came here."""
    entry = registry.get(conflict.about)
    if entry is not None and conflict.rule in (LATEST, REFUSED) and conflict.field:
        if follows_of(entry.model, conflict.field) is not None:
            return STEP
    return conflict.rule


def said(conflict: Conflict) -> str:
    """What a conflict is about: the object, and the field."""
    entry = registry.get(conflict.about)
    if entry is None:
        return conflict.about
    name = str(capfirst(entry.model._meta.verbose_name))
    field = entry.fields.get(conflict.field)
    return name if field is None else f"{name}: {field.verbose_name}"


def headline(conflict: Conflict) -> str:
    """What happened, in a few words."""
    return {
        LATEST: _("Changed at both sites"),
        STEP: _("Decided at both sites"),
        OWNED: _("Changed where another site decides"),
        DELETED: _("Deleted here, changed there") if conflict.ours is None else _("Changed here, deleted there"),
        KEPT: _("Deleted there, still needed here"),
        BOTH: _("Two records with the same value"),
    }.get(kind_of(conflict), _("Refused by a rule"))


def rule_in_words(conflict: Conflict) -> str:
    """The rule that applied, and what follows from it."""
    return {
        LATEST: _("Whoever wrote last had not seen the other value. The later one stands at both sites for now; you can turn it around."),
        STEP: _("Both sites took a step, and only one of them can stand. The premises decide on steps: what they decided stands, the other one was not taken."),
        OWNED: _("One site decides on this, and its value stands; what the other site wrote was not taken."),
        DELETED: _("A deletion wins over changes that were made meanwhile. What was changed is kept below, and the record can be brought back with one click."),
        KEPT: _("The other site deleted it, but a rule here did not allow that. So it stays at both sites until you decide."),
        BOTH: _("Both sites gave the same value to different records. Nothing was lost: both are kept, and the younger one got a mark at the end of its value."),
    }.get(kind_of(conflict), _("A rule does not allow what the other site wrote, as the record stands here. Our value stands."))  # fmt: skip


def way_out(conflict: Conflict) -> str:
    """What to do, where a click is not all."""
    return {
        STEP: _("To turn it around, take theirs: the record goes there step by step. Where a step asks for more, do it on the record."),
        BOTH: _("Open both. If they are one and the same, merge them; if not, give one of them another value."),
        REFUSED: _("If theirs is right, make room for it first: reopen the record, or change what the rule is about. Then take theirs."),
    }.get(kind_of(conflict), "")  # fmt: skip


def verbs_for(conflict: Conflict) -> tuple[tuple[str, str], ...]:
    """The verbs that make sense, with the words that say what they do here; the one that changes nothing first."""
    kind = kind_of(conflict)
    if kind == DELETED:
        leave, bring = ("keep_ours", "take_theirs") if conflict.ours is None else ("take_theirs", "keep_ours")
        return (leave, _("Leave it deleted")), (bring, _("Bring it back"))
    if kind == KEPT:
        return ("keep_ours", _("Keep it")), ("take_theirs", _("Delete it here, too"))
    if kind == BOTH:
        return (("settle", _("Leave it as it is")),)
    both = ("keep_ours", _("Keep ours")), ("take_theirs", _("Take theirs"))
    return (*both, ("settle", _("Leave it as it is"))) if kind in (STEP, REFUSED) else both


@dataclass
class Author:
    """Who wrote a value: the key of the actor (empty: not known), when, and at which site."""

    key: str
    at: dt.datetime | None
    site: str
    ours: bool = True


def authors(conflict: Conflict) -> tuple[Author, Author]:
    """Who wrote ours and theirs."""
    here = Site.objects.filter(here=True).first()
    rows = Change.objects.filter(record=conflict.record, at__lte=conflict.created_at).exclude(actor__startswith="site:")
    entry = registry.get(conflict.about)
    if entry is not None and conflict.field in entry.fields:
        rows = rows.filter(fields__contains=[entry.fields[conflict.field].column])
    elif conflict.rule == DELETED:
        rows = rows.filter(op="D") if conflict.ours is None else rows.exclude(op="D")
    last = rows.order_by("-id").first()
    ours = Author(last.actor if last else "", last.at if last else None, str(here or ""))
    return ours, Author(conflict.theirs_by, conflict.theirs_at or conflict.created_at, str(conflict.site), ours=False)


def deletion(conflict: Conflict, ours: Author, theirs: Author) -> tuple[str, Author] | None:
    """Where a record was deleted, in words, and by whom; None when it is about no deletion."""
    if conflict.rule == DELETED and conflict.ours is None:
        return _("Deleted here"), ours
    return (_("Deleted there"), theirs) if conflict.rule in (DELETED, KEPT) else None


def seen_fields(actor: Actor, conflict: Conflict) -> frozenset[str]:
    """The fields of which the actor may see what a conflict keeps: none of an object or a record that they may not see."""
    entry = registry.get(conflict.about)
    if entry is None or not may(actor, entry, "view"):
        return frozenset()
    if not visible(actor, entry.model).filter(pk=conflict.record).exists() and record_of(conflict) is not None:
        return frozenset()
    return frozenset(visible_fields(actor, entry)) - SYSTEM_FIELDS


def values(actor: Actor, conflict: Conflict) -> Mapping[str, object]:
    """Both values as they are stored, as far as the actor may see the fields; those of whole rows field by field."""
    seen = seen_fields(actor, conflict)

    def one(value: object) -> object:
        if isinstance(value, dict) and not conflict.field:
            return {n: v for n, v in value.items() if n in seen}
        return value if conflict.field in seen else None

    return {
        "ours": one(conflict.ours), "theirs": one(conflict.theirs), "rule": rule_in_words(conflict), "way_out": way_out(conflict),
        "reason": _(conflict.reason) if conflict.reason and (conflict.field in seen or conflict.rule == KEPT and seen) else "",
    }  # fmt: skip


def twin_of(conflict: Conflict):
    """The other record of a clash: the one that holds what this one's value was before it got a mark."""
    entry = registry.get(conflict.about)
    if conflict.rule != BOTH or entry is None or conflict.field not in entry.fields:
        return None
    for value in (conflict.ours, conflict.theirs):
        other = entry.model._default_manager.filter(**{conflict.field: value}).exclude(pk=conflict.record).first()
        if other is not None:
            return other
    return None


def field_label(entry: Entry, name: str) -> str:
    """A field as people call it."""
    field = entry.fields.get(name)
    return str(capfirst(field.verbose_name)) if field is not None else ""


def record_of(conflict: Conflict):
    """The record, if it is here."""
    return apps.get_model(conflict.about)._default_manager.filter(pk=conflict.record).first()
