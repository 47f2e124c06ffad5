"""The journal has a row for every change of every object, with the values before and without secrets."""

from __future__ import annotations

import pytest
from django.db import DatabaseError

from ostoja import gate
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.errors import OstojaError
from ostoja.kernel.record import SYSTEM_FIELDS

ENTRIES = sorted(registry.entries(), key=lambda e: e.label)
each_object = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.label)


def changes_of(record, op):
    return Change.objects.filter(record=record.pk, model=record._meta.label_lower, op=op).order_by("-id")


@each_object
def test_a_new_record_is_in_the_journal_by_its_maker(samples, actor, entry):
    record = samples.of(entry)
    change = changes_of(record, "I").get()
    assert change.actor == actor.key and change.verb and change.old is None


@each_object
def test_every_column_that_changes_is_told_with_its_value_before(samples, entry):
    told = 0
    secret = entry.model.data.secret
    for name, field in entry.fields.items():
        if name in SYSTEM_FIELDS:
            continue
        record = samples.of(entry)
        try:
            samples.write(record, name, samples.other(record, name))
        except DatabaseError:
            continue  # a rule does not allow this one alone
        now = entry.model._default_manager.get(pk=record.pk)
        if getattr(now, field.attname) == getattr(record, field.attname):
            continue  # a rule keeps it as it was
        change = changes_of(record, "U").first()
        assert field.column in change.fields
        assert (field.column in change.old) is (name not in secret)
        told += 1
    assert told or entry.surface.automatic or entry.model.__name__ == "Consent"


@each_object
def test_what_is_deleted_is_kept_in_the_journal_without_its_secrets(samples, actor, entry):
    record = samples.of(entry)
    try:
        gate.perform(actor, record, "delete")
    except OstojaError:
        return  # it is used, frozen, or kept by Ostoja itself
    change = changes_of(record, "D").get()
    columns = {f.column for name, f in entry.fields.items() if name not in entry.model.data.secret}
    assert set(change.old) == columns
