"""Concealing keeps the names of related records from readers who may not know of them: a nameless one stands in their place."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import models

from ostoja.access.narrowing import concerns
from ostoja.access.policy import out_of_sight
from ostoja.kernel.actors import Actor

from .columns import entry_of


def concealed(actor: Actor, records: Iterable) -> list:
    """The records of one object, to be shown to this reader: what they refer to and is out of the reader's sight has no name.

    One query for each object referred to of which anything is out of sight; none where nothing is.
    """
    records = list(records)
    if not records or not concerns(actor):
        return records
    for field in type(records[0])._meta.concrete_fields:
        if not isinstance(field, models.ForeignKey) or entry_of(field.related_model) is None:
            continue
        keys = {key for one in records if (key := getattr(one, field.attname)) is not None}
        hidden = out_of_sight(actor, field.related_model, keys)
        for one in records:
            if getattr(one, field.attname) in hidden:
                setattr(one, field.name, _nameless(field, getattr(one, field.attname)))
    return records


def _nameless(field: models.ForeignKey, key: object) -> models.Model:
    standing_in = field.related_model(pk=key)
    standing_in._state.adding = False
    standing_in._state.concealed = True
    return standing_in
