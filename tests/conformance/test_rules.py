"""Rules that the database keeps hold for everybody: every frozen state and every state table, attacked by every path."""

from __future__ import annotations

import itertools

import pytest
from django.db import IntegrityError, connection, models, transaction

from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.conditions import Unknown, holds
from ostoja.kernel.constraints import UNTOUCHED, Follows, Frozen
from ostoja.kernel.record import follows_of


def declared(kind):
    """Every constraint of a kind, with the object that declares it."""
    found = [(e, c) for e in registry.entries() for c in e.model._meta.constraints if isinstance(c, kind)]
    return sorted(found, key=lambda pair: pair[1].name)


FROZEN, STATES = declared(Frozen), declared(Follows)


def named(pair):
    return pair[1].name


def thaw_not(samples, record, condition):
    """Bring a record to a state in which the condition holds."""
    table = follows_of(type(record))
    for state in [None, *(table.edges if table else ())]:
        with transaction.atomic():
            candidate = record if state is None else _reached(samples, record, state)
            if candidate is not None and _true(condition, candidate):
                return candidate
            transaction.set_rollback(True)
    raise AssertionError(f"No state of {type(record).__name__} meets {condition}.")


def _reached(samples, record, state):
    try:
        return samples.in_state(record, state)
    except AssertionError:
        return None


def _true(condition, record):
    try:
        return holds(condition, record) is True
    except Unknown:
        return type(record)._default_manager.filter(condition, pk=record.pk).exists()


def _tables_of(record=None, field=None, *_more) -> set[str]:
    """The state tables that keep the field which an attack changes, by their constraint names."""
    if record is None or field is None:
        return set()
    return {c.name for c in record._meta.constraints if isinstance(c, Follows) and c.field == field.name}


def refused(samples, name, attack, *args):
    """The attack is refused by the constraint of this name (or, when it deletes, by what points to the record)."""
    with pytest.raises(IntegrityError) as error, changing(samples.actor, "attack"):
        attack(*args)
        pytest.fail(f"{attack.__name__} {args[1:]} was not refused.")
    if not isinstance(error.value, models.ProtectedError):
        tables = _tables_of(*args)
        assert error.value.__cause__.diag.constraint_name in {name, *tables}  # a state is also kept by its table


def by_save(record, field, value):
    fresh = type(record)._default_manager.get(pk=record.pk)
    setattr(fresh, field.attname, value)
    fresh.save(update_fields=[field.name])


def by_update(record, field, value):
    type(record)._default_manager.filter(pk=record.pk).update(**{field.attname: value})


def by_bulk_update(record, field, value):
    fresh = type(record)._default_manager.get(pk=record.pk)
    setattr(fresh, field.attname, value)
    type(record)._default_manager.bulk_update([fresh], [field.name])


def by_sql(record, field, value):
    with connection.cursor() as cursor:
        cursor.execute(
            f'UPDATE "{record._meta.db_table}" SET "{field.column}" = %s WHERE id = %s',  # noqa: S608 - our own names
            [field.get_db_prep_save(value, connection), record.pk],
        )


PATHS = (by_save, by_update, by_bulk_update, by_sql)


def delete_by_sql(record):
    with connection.cursor() as cursor:
        cursor.execute(f'DELETE FROM "{record._meta.db_table}" WHERE id = %s', [record.pk])  # noqa: S608 - our own names


def row_of(record):
    return type(record)._default_manager.filter(pk=record.pk).values().get()


def attack_all(samples, record, frozen):
    """Every field by every path, and deletion by every path."""
    before = row_of(record)
    for field in record._meta.concrete_fields:
        if field.primary_key or field.name in frozen.free or field.name in UNTOUCHED:
            continue
        value = samples.other(record, field.name)
        for path in PATHS:
            refused(samples, frozen.name, path, record, field, value)
    refused(samples, frozen.name, type(record)._default_manager.filter(pk=record.pk).delete)
    refused(samples, frozen.name, type(record)._default_manager.get(pk=record.pk).delete)
    refused(samples, frozen.name, delete_by_sql, record)
    assert row_of(record) == before


@pytest.mark.parametrize("pair", [p for p in FROZEN if not p[1].with_parent], ids=named)
def test_K_2_what_is_frozen_stays_as_it_is(samples, pair):
    entry, frozen = pair
    record = thaw_not(samples, samples.of(entry), frozen.when)
    attack_all(samples, record, frozen)


@pytest.mark.parametrize("pair", [p for p in FROZEN if p[1].with_parent], ids=named)
def test_K_2_what_belongs_to_the_frozen_stays_as_it_is(samples, pair):
    entry, frozen = pair
    part, more = samples.of(entry), samples.of(entry)
    thaw_not(samples, getattr(part, frozen.with_parent), frozen.when)
    attack_all(samples, part, frozen)
    with changing(samples.actor, "attack"), transaction.atomic():
        copy = type(more)._default_manager.get(pk=more.pk)
        copy._state.adding, copy.pk = True, type(more)._meta.pk.get_default()
        with pytest.raises(IntegrityError) as error, transaction.atomic():
            copy.save(force_insert=True)
        assert error.value.__cause__.diag.constraint_name == frozen.name


@pytest.mark.parametrize("pair", STATES, ids=named)
def test_K_7_no_step_outside_of_the_state_table(samples, pair):
    entry, table = pair
    states = list(table.edges)
    for at, to in itertools.permutations(states, 2):
        if to in table.edges[at]:
            continue
        record = samples.in_state(samples.of(entry), at, table.field)
        with pytest.raises(IntegrityError) as error:
            samples.write(record, table.field, to)
        allowed = {table.name, *(c.name for c in entry.model._meta.constraints if isinstance(c, Frozen))}
        assert error.value.__cause__.diag.constraint_name in allowed, (at, to)
        assert row_of(record)[table.field] == at


@pytest.mark.parametrize("pair", STATES, ids=named)
def test_K_7_every_step_of_the_state_table_can_be_gone(samples, pair):
    entry, table = pair
    for at, afters in table.edges.items():
        for to in afters:
            record = samples.in_state(samples.of(entry), at, table.field)
            samples.write(record, table.field, to)
            assert row_of(record)[table.field] == to


@pytest.mark.parametrize("pair", STATES, ids=named)
def test_K_7_nothing_begins_in_a_state_that_is_no_beginning(samples, pair):
    entry, table = pair
    for state in set(table.edges) - set(table.start):
        values = row_of(samples.of(entry)) | {table.field: state, "id": entry.model._meta.pk.get_default()}
        with pytest.raises(IntegrityError) as error, changing(samples.actor, "attack"):
            entry.model(**values).save(force_insert=True)
        assert error.value.__cause__.diag.constraint_name == table.name
