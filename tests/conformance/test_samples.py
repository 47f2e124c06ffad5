"""Every object of the registry can be made, and says of its fields what its form says."""

import pytest

from ostoja import gate
from ostoja.access.policy import find, may, visible, writable_fields
from ostoja.kernel import registry

ENTRIES = sorted(registry.entries(), key=lambda e: e.label)
each_object = pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.label)


@each_object
def test_a_record_can_be_made_and_is_seen_by_its_owner(samples, actor, entry):
    record = samples.of(entry)
    assert find(actor, entry.model, record.pk) == record
    assert record in visible(actor, entry.model)
    assert str(record)


@each_object
def test_the_owner_may_write_every_field_of_the_form(samples, actor, entry):
    shown = {n for n in entry.surface.form_fields() if n not in entry.surface.readonly}
    assert shown <= set(writable_fields(actor, entry))
    assert all(entry.fields[n].editable for n in shown), "A form shows a field that no form can take."


@each_object
def test_saying_what_is_there_already_changes_nothing(samples, actor, entry):
    if not may(actor, entry, "change") or not entry.surface.form_fields():
        return
    record = samples.of(entry)
    same = {n: getattr(record, entry.fields[n].attname) for n in writable_fields(actor, entry)}
    assert gate.perform(actor, record, "change", same).version == record.version


@each_object
def test_the_story_of_a_record_has_a_place_on_screen(entry):
    assert entry.model._meta.verbose_name and entry.model._meta.verbose_name_plural
    assert entry.surface.list, f"{entry.label} has no columns."
    assert entry.surface.title in entry.fields
