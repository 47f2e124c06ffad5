"""Labels: a record is marked as sensitive and leaves the cloud, or is opened again after a look at exactly what would leave."""

from __future__ import annotations

import uuid

from django.db import connection, transaction
from django.utils.translation import gettext as _

from ostoja.access.policy import MARKING, find, require
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.kernel.record import Record

from . import sealing
from .core.terms import LOCAL, OPEN, SEALED
from .models import Label
from .sending import send_again
from .sites import Here, here
from .tables import Table


def close(actor: Actor, record: Record, level: int = LOCAL) -> int:
    """Mark a record and its parts: they leave the cloud. Answers how many are marked. Raises Refused in the cloud."""
    return _label(actor, record, level)


def reopen(actor: Actor, record: Record) -> int:
    """Take the mark away: its present state, and nothing older, goes to the cloud. Answers how many are opened."""
    return _label(actor, record, OPEN)


def preview(record: Record) -> list[tuple[str, uuid.UUID, dict[str, str | None]]]:
    """Exactly what would leave when this record is open: (model, key, {field: value}) of it and of its parts."""
    site = here()
    out = []
    for table, keys in _family(site, record, hold=False):
        if not table.holdable(OPEN):
            continue
        names = table.open(OPEN)
        columns = ", ".join(f'"{table.columns[n].column}"::text' for n in names)
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id, {columns} FROM "{table.name}" WHERE id = ANY(%s::uuid[])', [[str(k) for k in keys]]
            )
            out += [
                (table.label, uuid.UUID(str(k)), dict(zip(names, row, strict=True))) for k, *row in cursor.fetchall()
            ]
    return out


def _label(actor: Actor, record: Record, level: int) -> int:
    site = here()
    if not site.is_owner:
        raise Refused(_("The premises decide what is sensitive: mark it there."))
    require(actor, record, MARKING)
    if site.tables.get(record._meta.label_lower) is None:
        raise Refused(_("These records never leave the premises; they need no mark."))
    marked: set[uuid.UUID] = set()
    with changing(actor, "label"), transaction.atomic():
        family = _family(site, record)
        find(actor, type(record), record.pk, lock=True)  # somebody may have sealed it while this waited
        for table, keys in family:
            present = {label.pk: label for label in Label.objects.select_for_update().filter(pk__in=keys)}
            moved: list[uuid.UUID] = []
            for key in keys:
                label = present.get(key)
                own = key == record.pk
                root = None if own else record.pk
                if label is None:
                    if level == OPEN:
                        continue
                    Label(id=key, model=table.label, level=level, inherited=not own, root=root).save(force_insert=True)
                elif label.level != level and (own or label.inherited or level in (OPEN, SEALED)):
                    label.level, label.inherited, label.root = level, not own, root
                    label.save(update_fields=["level", "inherited", "root", "updated_at"])
                else:
                    continue
                moved.append(key)
            another_version([str(key) for key in moved])
            marked |= {*moved}
        _tell_references(site, family, marked)
        if level == SEALED and record.pk in marked:
            sealing.begin(actor, record.pk, marked)
    return len(marked)


def another_version(keys: list[str]) -> None:
    """What is known of these records elsewhere is older than this label."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE hybrid_clock SET label_ver = greatest(label_ver, (SELECT label_floor FROM hybrid_site WHERE here)) + 1 "
            "WHERE id = ANY(%s::uuid[])",
            [keys],
        )


def _family(site: Here, record: Record, *, hold: bool = True) -> list[tuple[Table, list[uuid.UUID]]]:
    """The record and its parts, table by table. ``hold``: nobody adds a part meanwhile that is not seen here."""
    out: list[tuple[Table, list[uuid.UUID]]] = []

    def visit(table: Table, keys: list[uuid.UUID]) -> None:
        out.append((table, keys))
        if hold:
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT FROM "{table.name}" WHERE id = ANY(%s::uuid[]) ORDER BY id FOR UPDATE',
                    [[str(k) for k in keys]],
                )
        for part in site.tables.parts_of(table.label):
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT id FROM "{part.name}" WHERE "{part.parent_column}" = ANY(%s::uuid[])',
                    [[str(k) for k in keys]],
                )
                below = [uuid.UUID(str(row[0])) for row in cursor.fetchall()]
            if below:
                visit(part, below)

    table = site.tables.get(record._meta.label_lower)
    if table is not None:
        visit(table, [record.pk])
    return out


def _tell_references(site: Here, family: list[tuple[Table, list[uuid.UUID]]], told: set[uuid.UUID]) -> None:
    """What refers to these records says so by an alias from now on, or by the key again; ``told`` is told anyway."""
    for table, keys in family:
        for referring, column in site.tables.referring(table.label):
            with connection.cursor() as cursor:
                cursor.execute(
                    f'SELECT id FROM "{referring.name}" WHERE "{column.column}" = ANY(%s::uuid[])',
                    [[str(k) for k in keys]],
                )
                others = [uuid.UUID(str(row[0])) for row in cursor.fetchall()]
            others = [o for o in others if o not in told]
            if others:
                send_again(referring.label, others)
