"""A record is marked as sensitive, or opened again: who may do it, and where a record stands."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ostoja.access.policy import MARKING, explain
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.record import Record

from . import labels, sealing
from .core.terms import LOCAL, OPEN, SEALED
from .models import Label, PurgeCase, Site
from .standing import travelling
from .tables import Tables

SHARED, STAYS, SEALED_HERE = "shared", "stays", "sealed"


@dataclass(frozen=True)
class Standing:
    """Where a record is: ``shared`` with the cloud, ``stays`` on the premises or ``sealed`` there, and why."""

    state: str
    why: str
    marked: bool = False
    inherited: bool = False
    told_at: dt.datetime | None = None
    gone_at: dt.datetime | None = None
    backups_until: dt.date | None = None

    @property
    def label(self) -> str:
        """The state in words."""
        words = {SHARED: _("Shared with the cloud"), STAYS: _("Stays on the premises"), SEALED_HERE: _("Sealed on the premises")}  # fmt: skip
        return words[self.state]


def standing_of(record: Record, tables: Tables | None = None) -> Standing:
    """Where a record of the premises stands. Two queries, one more when it is marked."""
    label = Label.objects.filter(pk=record.pk, level__gt=OPEN).values_list("level", "inherited").first()
    if label is not None:
        level, inherited = label
        cases = PurgeCase.objects.filter(record=record.pk, sent_at__isnull=False, link__site__kind=Site.Kind.CLOUD)
        case = cases.order_by("-label_ver", "-created_at").first()
        return Standing(
            SEALED_HERE if level == SEALED else STAYS,
            _("It is a part of a record that is marked as sensitive.") if inherited else _("It is marked as sensitive."),
            marked=True, inherited=inherited,
            told_at=case.sent_at if case else None, gone_at=case.gone_at if case else None,
            backups_until=case.backups_until if case else None,
        )  # fmt: skip
    table = (tables or travelling(Site.Kind.PREMISES)).get(record._meta.label_lower)
    if table is None:
        return Standing(STAYS, _("The policy keeps all {things} here.").format(things=record._meta.verbose_name_plural))
    if not table.holdable(OPEN):
        return Standing(STAYS, _("It can't be without fields that stay here."))
    here = len([n for n in table.columns if n not in table.open(OPEN)])
    if here:
        without = ngettext("Without {n} field that stays here.", "Without {n} fields that stay here.", here)
        return Standing(SHARED, without.format(n=here))
    return Standing(SHARED, _("With all its fields."))


def mark(actor: Actor, record: Record, level: int = LOCAL) -> int:
    """Mark a record and its parts: they leave the cloud. Answers how many records are marked now and were not.

    Whoever may change such records may mark them, even where what was once added is changed by nobody. Raises NotAllowed; Refused
    in the cloud, where nothing travels, for what can't be sealed, and for a part that would be less than what it is a part of.
    """
    if level not in (LOCAL, SEALED):
        raise _refused(_("A level is 1 (stays here) or 2 (sealed)."))
    entry = registry.of(type(record))
    if level == SEALED and (why := sealing.why_never_sealed(entry)):
        raise _refused(why)
    above = getattr(record, entry.surface.inside) if entry.parent is not None else None
    if above is not None and Label.objects.filter(pk=above.pk, level__gt=level).exists():
        raise _refused(_("It is a part of “{thing}”, which is sealed.").format(thing=above))
    return labels.close(actor, record, level)


def _refused(sentence: str) -> Refused:
    return Refused(sentence, fields={"level": [sentence]})


def why_not_sealed(record: Record, stands: Standing, tables: Tables) -> str:
    """Why a record can't be sealed as it stands; nothing when it can."""
    if stands.state == SEALED_HERE:
        return _("It is sealed.")
    if tables.get(record._meta.label_lower) is None:
        return _("These records never leave the premises; they need no mark.")
    return sealing.why_never_sealed(registry.of(type(record)))


def open_again(actor: Actor, record: Record) -> int:
    """Take the mark away: the record and its parts, as they are now, go to the cloud. Answers how many records.

    Only owners open. Raises NotAllowed, Refused.
    """
    reason = why_not_opened(actor, record)
    if reason:
        raise NotAllowed(reason) if not actor.superuser else Refused(reason)
    return labels.reopen(actor, record)


def why_not_opened(actor: Actor, record: Record) -> str:
    """Why this actor can't open this record again; nothing when they can."""
    if not actor.superuser:
        return _("Only an owner of the tenant opens what was marked as sensitive.")
    if not Label.objects.filter(pk=record.pk, level__gt=OPEN).exists():
        return _("This is not marked as sensitive.")
    entry = registry.get(record._meta.label_lower)
    if entry is not None and entry.parent is not None:
        above = getattr(record, entry.surface.inside)
        if Label.objects.filter(pk=above.pk, level__gt=OPEN).exists():
            return _("It is a part of “{thing}”, which is marked as sensitive: open that.").format(thing=above)
    return ""


def may_mark(actor: Actor, record: Record) -> bool:
    """Whether this actor may mark this record."""
    return bool(explain(actor, record, MARKING))
