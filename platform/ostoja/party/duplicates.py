"""Duplicates are parties that look like one another: the same name, phone, e-mail, tax number or account (PTY-1)."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Q
from django.utils.translation import gettext as _

from ostoja.access.policy import visible, visible_fields
from ostoja.kernel.actors import Actor

from .models import BankAccount, ContactPoint, Party, TaxId

MOST = 20


@dataclass(frozen=True)
class Duplicate:
    """A party that looks like another, and why, in a few words."""

    party: Party
    why: str


def duplicates(actor: Actor, party: Party) -> list[Duplicate]:
    """The parties that look like this one, the surest first; only those, and by those signs, that the actor may see."""
    others = visible(actor, Party).filter(merged_into=None).exclude(pk=party.pk)
    found: dict[object, Duplicate] = {}
    for model, name, why in (
        (TaxId, "value", _("the same tax number")),
        (BankAccount, "iban", _("the same account")),
        (ContactPoint, "value_normalised", _("the same contact")),
    ):
        if name not in visible_fields(actor, model):
            continue
        values = visible(actor, model).filter(party=party).values_list(name, flat=True)
        keys = visible(actor, model).filter(**{f"{name}__in": list(values)}).exclude(party=party).values("party")
        _add(found, others.filter(pk__in=keys), why)
    same_name = Q(name__iexact=party.name, kind=party.kind)
    _add(found, others.filter(same_name), _("the same name"))
    return list(found.values())[:MOST]


def _add(found: dict, parties, why: str) -> None:
    for party in parties[:MOST]:
        found.setdefault(party.pk, Duplicate(party, why))
