"""What could not both stay becomes a conflict that somebody sees: both values, the rule that applied, and whose it is."""

from __future__ import annotations

import datetime as dt
from collections.abc import Container, Iterable

from django.db import connection, transaction
from django.utils.translation import gettext_noop as _

from ostoja.kernel.errors import Refused

from .core.apply import Held, Outcome
from .core.hlc import ms_of
from .core.merge import Conflict as Dispute
from .core.wire import Delete, Entry, Key, Op, Row
from .holding import Holding, values
from .models import Conflict
from .sending import enter
from .writing import REFUSALS, Put, said

WORDS = {
    "latest": _("Both sites changed it; the later change stands."),
    "deleted": _("It was changed on one site and deleted on the other."),
    "authority": _("The other site decides this; its word stands."),
    "transition": _("Both sites took a step; the premises decide which one counts."),
}


def record(attempt, ops: Iterable[Op], out: Outcome, before: Held, state: Holding) -> None:
    """Keep the conflicts of an outcome; a field that is settled by a later change elsewhere is no conflict any more."""
    _settled(out, before)
    if not out.conflicts:
        return
    told = {op.key: op for op in ops}
    whole: dict[Key, list[Dispute]] = {}
    asked = {(dispute.key, dispute.field) for dispute in out.conflicts}
    for dispute in out.conflicts:
        if dispute.rule == "deleted":
            whole.setdefault(dispute.key, []).append(dispute)
        elif not _derived(attempt, dispute, asked):
            ours, theirs = _sides(dispute, before)
            if ours != theirs:
                reason = getattr(dispute, "reason", "") or ""
                op = told.get(dispute.key)
                note(attempt, dispute.key, dispute.field, dispute.rule, ours, theirs, reason, state, op)
    for key, some in whole.items():
        was = before.things.get(key)
        ours = {n: c.value for n, c in was.cells.items()} if isinstance(was, Row) else None
        theirs = None if ours else {d.field: d.lost.value for d in some if d.lost is not None}
        note(attempt, key, "", "deleted", ours, theirs, "", state, told.get(key))


def _sides(dispute: Dispute, before: Held) -> tuple[str | None, str | None]:
    """(our value, theirs)."""
    was = before.things.get(dispute.key)
    mine = was.cells.get(dispute.field) if isinstance(was, Row) else None
    kept, lost = (c.value if c is not None else None for c in (dispute.kept, dispute.lost))
    if dispute.lost is not None and mine is not None and dispute.lost.stamp == mine.stamp:
        return lost, kept
    return kept, lost


def _derived(attempt, dispute: Dispute, asked: Container[tuple[Key, str]]) -> bool:
    """Whether the field is what a rule makes of the record's parts, or of a field that is not in question: nobody typed it."""
    table = attempt.tables.get(dispute.key.model)
    source = table.model.sync_derived.get(dispute.field) if table else None
    if source is None:
        return False
    if source in table.columns:
        return (dispute.key, source) not in asked
    below = attempt.tables.get(source)
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT EXISTS (SELECT FROM "{below.name}" WHERE "{below.parent_column}" = %s)', [dispute.key.id]
        )
        return cursor.fetchone()[0]


def _settled(out: Outcome, before: Held) -> None:
    if not out.things:
        return
    state = Conflict.State
    back = [k.id for k, t in out.things.items() if isinstance(t, Row) and not isinstance(before.things.get(k), Row)]
    if back:
        Conflict.objects.filter(record__in=back, rule="deleted", state=state.OPEN).update(state=state.SETTLED)
    if not Conflict.objects.filter(state=state.OPEN).exclude(field="").exists():
        return
    rows = Conflict.objects.raw(
        "SELECT * FROM hybrid_conflict WHERE state = 'open' AND field <> '' AND record = ANY(%s::uuid[])",
        [[key.id for key in out.things]],
    )
    for conflict in rows:
        key = Key(conflict.about, str(conflict.record))
        was, row = before.things.get(key), out.things.get(key)
        cell = row.cells.get(conflict.field) if isinstance(row, Row) else None
        if cell is None or not isinstance(was, Row) or was.cells.get(conflict.field) is cell:
            continue
        decided = state.OURS if cell.value == conflict.ours else state.THEIRS
        Conflict.objects.filter(pk=conflict.pk).update(state=decided)


def _written(op: Op | None, names: Iterable[str]) -> dict[str, object]:
    """Who wrote their values, and when the last of them."""
    if op is None:
        return {}
    stamps = [op.stamp] if isinstance(op, Delete) else [op.cells[n].stamp for n in names if n in op.cells]
    stamp = max(stamps, default=None)
    at = dt.datetime.fromtimestamp(ms_of(stamp.hlc) / 1000, dt.UTC) if stamp is not None else None
    return {"theirs_by": op.by[:60], "theirs_at": at}


def note(
    attempt,
    key: Key,
    name: str,
    rule: str,
    ours,
    theirs,
    reason: str,
    state: Holding | None = None,
    op: Op | None = None,
) -> None:
    """Keep one conflict, owned by the record's owner; ``op`` is what the other site said."""
    owner = None
    table = attempt.tables.get(key.model)
    if state is not None and table is not None and "owner" in table.columns:
        row = state.values.get(key.id, {})
        owner = row["owner"] if "owner" in row else values(table, [key.id], ["owner"]).get(key.id, {}).get("owner")
    Conflict.objects.create(
        about=key.model, record=key.id, field=name, rule=rule, ours=ours, theirs=theirs, site=attempt.link.site,
        reason=str(reason or WORDS.get(rule, ""))[:300], owner_id=owner, **_written(op, theirs if isinstance(theirs, dict) and not name else [name]),
    )  # fmt: skip
    attempt.counts.conflicts += 1


def both_kept(attempt, put: Put, why: Refused) -> Refused | None:
    """Two records with the same number, name …: the younger one gets a mark, on all sites the same, and somebody is told."""
    table = put.table
    rule = next((u for u in attempt.tables.manifest.models[table.label].unique if u.name == why.code), None)
    names = [n for n in rule.fields if table.columns[n].type == "text"] if rule else []
    if not names:
        return why
    name, values = names[-1], {**put.was(), **put.values}
    holder = _holder(put, rule.fields, values)
    if holder is None:
        return why
    loser = max(holder, put.key.id)
    mark = f"-{loser.replace('-', '')[-6:]}"
    limit = table.model._meta.get_field(name).max_length or 200
    typed = values[name]
    marked = (typed or "")[: limit - len(mark)] + mark
    try:
        with transaction.atomic():
            if loser == holder:
                _rename(attempt, table, holder, name, marked)
            else:
                put.values[name] = marked
            refused = attempt.writer.write([put]).get(put.key)
            if refused is not None:
                raise _Still(refused)
    except _Still as still:
        return still.refused
    except REFUSALS as error:
        return said(error)
    if loser != holder:
        _stamp(attempt, table, put.key.id, name)
    ours, theirs = (marked, typed) if loser == holder else (typed, marked)
    note(attempt, put.key, name, "unique", ours, theirs, why.message)
    return None


class _Still(Exception):
    def __init__(self, refused: Refused):
        self.refused = refused


def _holder(put: Put, names, values) -> str | None:
    columns = [put.table.columns[n] for n in names]
    where = " AND ".join(f'"{c.column}" IS NOT DISTINCT FROM %s::{c.type}' for c in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f'SELECT id::text FROM "{put.table.name}" WHERE {where} AND id <> %s::uuid LIMIT 1',
            [*(values.get(n) for n in names), put.key.id],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def _rename(attempt, table, id: str, name: str, value: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f'UPDATE "{table.name}" SET "{table.columns[name].column}" = %s WHERE id = %s', [value, id])
    _stamp(attempt, table, id, name)


def _stamp(attempt, table, id: str, name: str) -> None:
    """The mark is a change of ours: it has our stamp, and is told."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT hybrid_stamp(%s, %s::uuid, %s, %s::smallint)", [table.label, id, [name], attempt.on.here.number]
        )
    enter([Entry(0, 0, Key(table.label, id), "U", frozenset([name]))], attempt.tables, here=attempt.on.here.number)
