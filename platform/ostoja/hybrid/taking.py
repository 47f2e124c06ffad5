"""Rows that go: deleted elsewhere, or called back; and the references to them, which are kept aside and come back."""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable

from django.db import connection, transaction

from ostoja.kernel.errors import Refused

from . import copies, files
from .core.apply import Outcome
from .core.purge import strip
from .core.wire import Key, Purge
from .holding import ALIAS, Holding, Reader, keep_stash
from .models import Absent, Conflict, Parked
from .sites import actor_of
from .tables import Column, Table, Tables
from .writing import REFUSALS, Writer, said


def purge(attempt, out: Outcome, state: Holding) -> None:
    """Take away what was called back: content, parts, history, conflicts and what is parked; a clock without content stays."""
    if not out.purged:
        return
    by_table: dict[str, list[str]] = defaultdict(list)
    for key in out.purged:
        by_table[key.model].append(key.id)
    for table in reversed(list(attempt.on.here.tables)):
        if table.label in by_table:
            take_away(attempt, table, by_table[table.label])
    ids = [key.id for key in out.purged]
    _forget(ids)
    Conflict.objects.filter(record__in=ids).delete()
    Parked.objects.filter(record__in=ids).exclude(operation__0="D").delete()
    copies.forget(actor_of(attempt.link), ids, set(by_table))
    copies.compact_later([t.name for t in attempt.on.here.tables if t.label in by_table])
    attempt.counts.purged += sum(1 for key in out.purged if key.id in state.values)


def _forget(ids: list[str]) -> None:
    """Old values of these records leave the history."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT journal_forget(%s::uuid[])", [list(ids)])


def take_away(attempt, table: Table, ids: list[str], *, dead: bool = False) -> None:
    """Remove rows in whatever state they are, with their parts; references to them are empty from now on.

    ``dead``: they were deleted, not called back.
    """
    tables: Tables = attempt.on.here.tables
    for referring, column in tables.referring(table.label):
        rows = referring_rows(referring, column, ids)
        if rows and column.null:
            _call(referring.label, referring.name, column.column, ids, remove=False)
            Absent.objects.bulk_create(
                [Absent(record=r, model=referring.label, field=column.field, target=t) for r, t in rows],
                ignore_conflicts=True,
            )  # the alias of it may be known already
        elif rows:  # a part can't be without what it is a part of
            parts = [r for r, _t in rows]
            if not dead:
                _keep_owed(attempt, referring, parts)
            take_away(attempt, referring, parts, dead=dead)
            if dead:
                _die(attempt, referring, parts)
            else:
                _forget(parts)
                with connection.cursor() as cursor:
                    cursor.execute(
                        "UPDATE hybrid_clock SET withheld = true, stamps = '{}' WHERE id = ANY(%s::uuid[])", [parts]
                    )
    for name, column in tables.local_parts(table.label):
        _call("", name, column, ids, remove=True)
    files.forget(uuid.UUID(id) for id in ids)
    _call(table.label, table.name, "id", ids, remove=True)
    Absent.objects.filter(record__in=ids).delete()


def _keep_owed(attempt, table: Table, ids: list[str]) -> None:
    """What was changed here of parts that go along, and the premises do not have yet, is kept until they do."""
    on = attempt.on
    held = (
        Reader(attempt.tables, on.link, on.peer, on.here.number, on.acked).read([Key(table.label, i) for i in ids]).held
    )
    for key, row in held.things.items():
        _marker, stash = strip(row, Purge(key, row.cl, row.label_ver), held.pending.get(key, frozenset()))
        if stash is not None and key not in held.stashes:
            keep_stash(key, stash)


def _die(attempt, table: Table, ids: list[str]) -> None:
    """Parts that were added here meanwhile die with what they are parts of."""
    with connection.cursor() as cursor:
        for part in ids:
            cursor.execute(
                "SELECT hybrid_death(%s, %s::uuid, %s::smallint)", [table.label, part, attempt.on.here.number]
            )


def _call(label: str, name: str, column: str, ids: list[str], *, remove: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT hybrid_take_away(%s, %s, %s, %s::uuid[], %s)", [label, name, column, ids, remove])


def referring_rows(table: Table, column: Column, ids: list[str]) -> list[tuple[str, str]]:
    """(row, what it refers to) of the rows of a table that refer to these."""
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT id::text, "{column.column}"::text FROM "{table.name}" WHERE "{column.column}" = ANY(%s::uuid[])',
            [ids],
        )
        return cursor.fetchall()


def delete(attempt, table: Table, key: Key) -> Refused | None:
    """Delete a row because another site did; answers why not, when a rule stands against it."""
    try:
        with transaction.atomic():
            _clear_references(attempt, table, [key.id])
            with connection.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{table.name}" WHERE id = %s', [key.id])
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
                cursor.execute("SET CONSTRAINTS ALL DEFERRED")
            Absent.objects.filter(record=key.id).delete()
    except REFUSALS as error:
        return said(error)
    return None


def _clear_references(attempt, table: Table, ids: list[str]) -> None:
    tables: Tables = attempt.tables
    for name, column in tables.local_parts(table.label):
        with connection.cursor() as cursor:
            cursor.execute(f'DELETE FROM "{name}" WHERE "{column}" = ANY(%s::uuid[])', [ids])
    for referring, column in tables.referring(table.label):
        rows = referring_rows(referring, column, ids)
        if not rows:
            continue
        if column.null:
            with connection.cursor() as cursor:  # the stamp stays: it says what it said, of a record that is not here
                cursor.execute(
                    f'UPDATE "{referring.name}" SET "{column.column}" = NULL WHERE id = ANY(%s::uuid[])',
                    [[r for r, _t in rows]],
                )
            Absent.objects.bulk_create(
                [Absent(record=r, model=referring.label, field=column.field, target=t) for r, t in rows],
                ignore_conflicts=True,
            )
        elif column.field == referring.inside:
            parts = [r for r, _t in rows]
            _clear_references(attempt, referring, parts)
            with connection.cursor() as cursor:
                cursor.execute(f'DELETE FROM "{referring.name}" WHERE id = ANY(%s::uuid[])', [parts])
            _die(attempt, referring, parts)


def waiting_for(tables: Tables, ids: Iterable[str]) -> list[tuple[Table, Column, str, str]]:
    """References that waited for these records: they are set; their stamps stay."""
    found = []
    for waiting in Absent.objects.filter(target__in=list(ids), alias=False):
        referring = tables.get(waiting.model)
        if referring is not None and waiting.field in referring.columns:
            found.append((referring, referring.columns[waiting.field], str(waiting.record), str(waiting.target)))
    return found


def say_again(tables: Tables, writer: Writer, same: Iterable[tuple[Table, Column, str, str]]) -> None:
    """References that say the same as before in another way: by the key instead of an alias, or the other way round."""
    for table, column, record, value in same:
        waiting = Absent.objects.filter(record=record, field=column.field).first()
        target, alias = value.removeprefix(ALIAS), value.startswith(ALIAS)
        if waiting is None:
            if alias:  # what it refers to is about to be taken away
                Absent.objects.create(record=record, model=table.label, field=column.field, target=target, alias=True)
        elif not alias and target in writer.existing(column.refers, [target]):
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT hybrid_put_back(%s, %s, %s::uuid, %s::uuid)", [table.name, column.column, record, target]
                )
            Absent.objects.filter(record=record, field=column.field).delete()
        elif (str(waiting.target), waiting.alias) != (target, alias):
            Absent.objects.filter(pk=waiting.pk).update(target=target, alias=alias)
