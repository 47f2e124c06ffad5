"""Rights hold for every object: no verb without permission, no record outside of a scope, no change without an actor."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection

from ostoja import gate
from ostoja.access.actor_of import EVERYBODY
from ostoja.access.policy import explain, find, visible
from ostoja.kernel import registry
from ostoja.kernel.errors import NoActor, NotAllowed, NotFound, OstojaError

ENTRIES = sorted(registry.entries(), key=lambda e: e.label)
VERBS = [(entry, verb) for entry in ENTRIES for verb in ("change", "delete", *entry.verbs)]
OWNED = [
    entry
    for entry in ENTRIES
    if "own" in entry.surface.scopes
    and entry.label != "access.user"
    and EVERYBODY.get(entry.label, {}).get("view") != "all"
]


def top_of(entry):
    while entry.parent is not None:
        entry = entry.parent
    return entry


@pytest.mark.parametrize(("entry", "verb"), VERBS, ids=lambda x: getattr(x, "label", x))
def test_no_verb_without_its_permission_and_the_reason_is_said(samples, as_role, entry, verb):
    record = samples.of(entry)
    reader = as_role({top_of(entry).label: {"view": "all"}})
    with pytest.raises(NotAllowed) as error:
        gate.perform(reader, record, verb)
    assert error.value.message == explain(reader, record, verb).reason
    assert entry.model._default_manager.get(pk=record.pk).version == record.version


@pytest.mark.parametrize("entry", OWNED, ids=lambda e: e.label)
def test_what_is_outside_of_the_scope_is_not_there(samples, as_role, entry):
    record = samples.of(entry)
    stranger = as_role({entry.label: {"*": "own"}})
    assert record not in visible(stranger, entry.model)
    with pytest.raises(NotFound):
        find(stranger, entry.model, record.pk)
    for verb in ("change", "delete", *entry.verbs):
        with pytest.raises(NotFound):
            gate.perform(stranger, record, verb)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.label)
def test_no_change_without_an_actor(samples, entry):
    record = samples.of(entry)
    table = entry.model._meta.db_table
    for statement in (f'UPDATE "{table}" SET version = version', f'DELETE FROM "{table}"'):  # noqa: S608 - our own names
        with pytest.raises(DatabaseError) as error, connection.cursor() as cursor:
            cursor.execute(f"{statement} WHERE id = %s", [record.pk])
        assert error.value.__cause__.diag.sqlstate in ("42501", "23503", "23514"), error.value
    with pytest.raises(NoActor):
        gate.perform(None, record, "change", {})
    assert entry.model._default_manager.filter(pk=record.pk).exists()


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda e: e.label)
def test_who_sees_only_what_is_public_can_not_write_the_rest(samples, as_role, entry):
    record = samples.of(entry)
    clerk = as_role({top_of(entry).label: {"*": "all"}}, classes=("public",))
    for name in entry.surface.form_fields():
        if str(entry.class_of(name)) == "public" or entry.surface.automatic:
            continue
        with pytest.raises(OstojaError) as error:
            gate.perform(clerk, record, "change", {name: "x"})
        assert error.value.code in ("invalid", "not_allowed") and "x" not in error.value.message
