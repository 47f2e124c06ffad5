"""Undoing takes a whole import back through the journal: created records go, changed ones get their old values."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from django.db.models import Max, Min, Q, QuerySet
from django.db.models.fields import CharField
from django.utils.translation import gettext as _

from ostoja import gate
from ostoja.access.policy import name_for, visible
from ostoja.journal.models import CHANGES, Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.conditions import Unknown, holds
from ostoja.kernel.constraints import Follows, Frozen
from ostoja.kernel.errors import OstojaError
from ostoja.kernel.record import verbs_of
from ostoja.kernel.registry import Entry

CHUNK = 200
LISTED = 200


def cause_of_undo(cause: uuid.UUID) -> uuid.UUID:
    """Under which cause the journal keeps the undo of an import."""
    return uuid.uuid5(cause, "undo")


@dataclass
class Undone:
    """What an undo did so far; ``kept`` are [label, id, name, reason] of what was left as it is."""

    deleted: int = 0
    restored: int = 0
    kept_count: int = 0
    kept: list[list[str]] = field(default_factory=list)

    def keep(self, label: str, key: object, name: str, reason: str) -> None:
        """Leave a record as it is, and say why."""
        self.kept_count += 1
        if len(self.kept) < LISTED:
            self.kept.append([label, str(key), name[:200], reason[:300]])


@dataclass
class Touched:
    """A record that the import touched: its first and last change in the journal."""

    model: str
    key: uuid.UUID
    first: int
    last: int


def touched(cause: uuid.UUID, before: int | None = None) -> Iterator[list[Touched]]:
    """Chunks of the records that an import touched, the one that was begun last coming first."""
    while True:
        rows = _changes_of(cause).values("model", "record").annotate(first=Min("id"), last=Max("id"))
        if before is not None:
            rows = rows.filter(first__lt=before)
        chunk = [Touched(r["model"], r["record"], r["first"], r["last"]) for r in rows.order_by("-first")[:CHUNK]]
        if not chunk:
            return
        yield chunk
        before = chunk[-1].first


def count(cause: uuid.UUID) -> int:
    """How many records an import touched."""
    return _changes_of(cause).values("model", "record").distinct().count()


def _changes_of(cause: uuid.UUID) -> QuerySet:
    """What an import did itself; histories that the database keeps by itself are not undone, they go on."""
    automatic = [e.label for e in registry.entries() if e.surface.automatic]
    return Change.objects.filter(cause=cause).exclude(model__in=automatic)


class Undo:
    """Takes one import back for one actor."""

    def __init__(self, actor: Actor, cause: uuid.UUID):
        self.actor = actor
        self.cause = cause
        self.undo_cause = cause_of_undo(cause)
        self._many: dict[Entry, gate.Many] = {}

    def take_back(self, chunk: list[Touched], undone: Undone) -> list[Touched]:
        """Undo some records; returns those that something still points to: try them again when the rest is done."""
        again: list[Touched] = []
        changes = self._changes(chunk)
        since = self._changed_since(chunk)
        by_entry: dict[Entry, list[Touched]] = {}
        for one in chunk:
            entry = registry.get(one.model)
            if entry is None:
                undone.keep(one.model, one.key, str(one.key), _("There is no such object here any more."))
                continue
            by_entry.setdefault(entry, []).append(one)
        for entry, ones in by_entry.items():
            there = {r.pk: r for r in visible(self.actor, entry.model).filter(pk__in=[o.key for o in ones])}
            deletes, restores, revives = [], [], []
            with_parent = self._go_with_their_parents(entry, there.values())
            for one in ones:
                rows = changes[one.key]
                record = there.get(one.key)
                if rows[0].op == "I":
                    if record is None or record.pk in with_parent:
                        continue  # it is gone already, or goes and stays with the record that it is a part of
                    if one.key in since:
                        undone.keep(entry.label, one.key, name_for(self.actor, record), since[one.key])
                    else:
                        deletes.append((one, record))
                elif rows[-1].op == "D":
                    if record is None:
                        revives.append((one, _before(rows)))
                elif record is None:
                    undone.keep(entry.label, one.key, str(one.key), _("It was deleted since, or you may not see it."))
                else:
                    self._to_restore(entry, one, record, rows, since, restores, undone)
            self._restore(entry, restores, undone)
            self._revive(entry, revives, undone)
            again += self._delete(entry, deletes, undone)
        return again

    def give_up(self, left: list[Touched], undone: Undone) -> None:
        """Delete what could not be deleted before, one last time, and list what still can't be."""
        for _turn in range(5):
            again = self.take_back(left, undone)
            if not again or len(again) == len(left):
                left = again
                break
            left = again
        by_entry: dict[Entry, list[Touched]] = {}
        for one in left:
            by_entry.setdefault(registry.get(one.model), []).append(one)
        for entry, ones in by_entry.items():
            records = [r for r in visible(self.actor, entry.model).filter(pk__in=[o.key for o in ones])]
            for record, outcome in zip(records, self._of(entry).delete(records), strict=True):
                if outcome.ok:
                    undone.deleted += 1
                else:
                    undone.keep(entry.label, record.pk, name_for(self.actor, record), _said(outcome))

    def _of(self, entry: Entry) -> gate.Many:
        if entry not in self._many:
            self._many[entry] = gate.Many(self.actor, entry.model, cause=self.undo_cause)
        return self._many[entry]

    def _changes(self, chunk: list[Touched]) -> dict[uuid.UUID, list[Change]]:
        rows: dict[uuid.UUID, list[Change]] = {}
        for change in Change.objects.filter(cause=self.cause, record__in=[o.key for o in chunk]).order_by("id"):
            rows.setdefault(change.record, []).append(change)
        return rows

    def _changed_since(self, chunk: list[Touched]) -> dict[uuid.UUID, str]:
        """Records that somebody else changed after the import touched them, with the sentence that says so."""
        first = {o.key: o.first for o in chunk}
        others = Change.objects.filter(record__in=list(first), id__gt=min(first.values())).filter(
            Q(cause__isnull=True) | ~Q(cause__in=[self.cause, self.undo_cause]), op__in=CHANGES
        )
        return {
            change.record: _("It was changed since ({verb}, {when}).").format(
                verb=change.verb, when=change.at.date().isoformat()
            )
            for change in others.order_by("id")
            if change.id > first[change.record]
        }

    def _go_with_their_parents(self, entry: Entry, records: Iterable) -> set[uuid.UUID]:
        """Parts of records that the import created: they are deleted with them, and kept with them."""
        if entry.parent is None:
            return set()
        inside = entry.model._meta.get_field(entry.surface.inside).attname
        parents = {r.pk: getattr(r, inside) for r in records}
        made = set(
            Change.objects.filter(cause=self.cause, op="I", record__in=set(parents.values())).values_list(
                "record", flat=True
            )
        )
        return {key for key, parent in parents.items() if parent in made}

    def _to_restore(self, entry, one, record, rows, since, restores, undone) -> None:
        old = _before(rows)
        if one.key in since:
            touched_later = {
                column
                for change in Change.objects.filter(record=one.key, id__gt=one.first).filter(
                    Q(cause__isnull=True) | ~Q(cause__in=[self.cause, self.undo_cause])
                )
                for column in change.fields
            }
            lost = set(old) & touched_later
            if lost:
                labels = [str(f.verbose_name) for f in entry.model._meta.concrete_fields if f.column in lost]
                undone.keep(
                    entry.label,
                    one.key,
                    name_for(self.actor, record),
                    _("Changed since: {fields}.").format(fields=", ".join(labels)),
                )
            old = {k: v for k, v in old.items() if k not in touched_later}
        if old:
            restores.append((one, record, old))

    def _restore(self, entry: Entry, restores: list, undone: Undone) -> None:
        if not restores:
            return
        outcomes = self._of(entry).put_back([(record, old) for _one, record, old in restores])
        for (one, record, _old), outcome in zip(restores, outcomes, strict=True):
            if outcome.ok:
                undone.restored += 1
            else:
                undone.keep(entry.label, one.key, name_for(self.actor, record), _said(outcome))

    def _revive(self, entry: Entry, revives: list, undone: Undone) -> None:
        if not revives:
            return
        for (one, old), outcome in zip(
            revives, self._of(entry).bring_back([old for _one, old in revives]), strict=True
        ):
            if outcome.ok:
                undone.restored += 1
            else:
                undone.keep(entry.label, one.key, str(old.get("name") or one.key), _said(outcome))

    def _delete(self, entry: Entry, deletes: list, undone: Undone) -> list[Touched]:
        if not deletes:
            return []
        ready = []
        for one, record in deletes:
            try:
                self._thaw(entry, record)
            except OstojaError as error:
                undone.keep(entry.label, one.key, name_for(self.actor, record), error.message)
            else:
                ready.append((one, record))
        again = []
        for (one, record), outcome in zip(ready, self._of(entry).delete([r for _one, r in ready]), strict=True):
            if outcome.ok:
                undone.deleted += 1
            elif outcome.code in ("relation", "database"):
                again.append(one)
            else:
                undone.keep(entry.label, one.key, name_for(self.actor, record), _said(outcome))
        return again

    def _thaw(self, entry: Entry, record) -> None:
        """Lead a frozen record out of its state by a verb that its own rules know; without one it stays, rightly."""
        for constraint in entry.model._meta.constraints:
            if not isinstance(constraint, Frozen) or constraint.with_parent or not _is_frozen(constraint, record):
                continue
            for name, spec in verbs_of(entry.model).items():
                table = next(
                    (c for c in entry.model._meta.constraints if isinstance(c, Follows) and c.field == spec.field), None
                )
                if table is None or spec.to not in table.edges.get(getattr(record, spec.field), ()):
                    continue
                probe = entry.model(
                    **{f.attname: getattr(record, f.attname) for f in entry.model._meta.concrete_fields}
                )
                setattr(probe, spec.field, spec.to)
                if _is_frozen(constraint, probe):
                    continue
                asked = {n: _("Import undone") for n in spec.asks if isinstance(entry.fields[n], CharField)}
                gate.perform(self.actor, record, name, asked, cause=self.undo_cause)
                return


def _is_frozen(constraint: Frozen, record) -> bool:
    try:
        return bool(holds(constraint.when, record))
    except Unknown:
        return True


def _before(rows: list[Change]) -> dict:
    """The values that a record had before the import touched it: the oldest of each column."""
    old: dict = {}
    for change in rows:
        for column, value in (change.old or {}).items():
            old.setdefault(column, value)
    return old


def _said(outcome: gate.Outcome) -> str:
    return " ".join(m for messages in outcome.errors.values() for m in messages)
