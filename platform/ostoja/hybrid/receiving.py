"""Applies what another site sent: the core decides, table by table; the database's rules stand; nothing is lost silently."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import lru_cache

from django.db import connection, transaction
from django.utils import timezone

from ostoja.kernel.errors import OstojaError, Refused

from . import clashes, holding, taking
from . import clocks as clocking
from .clocks import Clock
from .core import apply as applying
from .core import hlc
from .core.apply import Outcome
from .core.labels import whole_of
from .core.link import LinkTerms
from .core.link import Site as CoreSite
from .core.sequence import Inbound, Verdict
from .core.terms import Authority, Manifest, Mode
from .core.wire import (
    TOLD,
    Cell,
    Delete,
    Entry,
    Fields,
    Key,
    Marker,
    Op,
    Purge,
    Receipt,
    Row,
    Snap,
    Withheld,
    op_data,
)
from .holding import Holding, Reader
from .models import Label, Link, Parked, PurgeCase, Reply
from .sending import enter
from .sites import Here
from .tables import Table, Tables
from .writing import REFUSALS, Put, Writer, said

ATTEMPTS = 6
BACKUPS = timedelta(days=35)
LOCK_WAIT = "700ms"  # less than PostgreSQL waits before it looks for a deadlock: people's transactions go on, ours is tried again


class LinkSuspect(OstojaError):
    """A stamp lies so far ahead that a clock must be wrong; nothing of the batch is applied."""

    code = "stamps_ahead"
    status = 409


class NotOpen(OstojaError):
    """The other site sent something that it may not; nothing of the batch is applied."""

    code = "not_open"
    status = 409


@dataclass
class Counts:
    """What became of a batch."""

    written: int = 0
    deleted: int = 0
    purged: int = 0
    conflicts: int = 0
    parked: int = 0


class Receiver:
    """Applies operations of one link, inside of the caller's transaction and under the link's actor."""

    def __init__(
        self, here: Here, link: Link, tables: Tables, *, acked: int, recovering=False, expired=False, retold=False
    ):
        self.here, self.link, self.tables = here, link, tables
        self.peer = link.site.number
        manifest = tables.manifest if here.founded else _founding(tables)
        self.terms = LinkTerms(self.peer, min(here.ceiling, link.site.ceiling), manifest, here.leads_to(link), acked)
        self.site = CoreSite(here.number, here.epoch, here.is_owner)
        self.acked, self.recovering, self.expired, self.retold = acked, recovering, expired, retold
        self.began_ms = int(time.time() * 1000)
        self.now_ms = self.began_ms
        self.ghosts: set[str] = set()

    @property
    def up(self) -> bool:
        """Whether the premises are behind this link."""
        return self.terms.up

    def apply(self, ops: Sequence[Op], inbound: Inbound | None = None) -> Counts:
        """Apply the operations of an admitted envelope. Raises Refused when the database refuses what can't be parked."""
        with connection.cursor() as cursor:
            # What is written was just read: to find it by its key is cheap, and a large table is not read from end to end.
            cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_WAIT}'; SET LOCAL random_page_cost = 1")
        refused: dict[Key, str] = {}
        for _attempt in range(ATTEMPTS):
            attempt = Attempt(self, refused, inbound or Inbound())
            if not ops or attempt.go(ops):
                return attempt.counts
            if attempt.unclear:
                for op in ops:
                    alone = Attempt(self, refused, inbound or Inbound(), alone=True)
                    alone.go([op])
                    attempt.failed |= alone.failed
                if not attempt.failed:
                    break
            refused |= attempt.failed
        raise Refused("The database refuses this batch: " + "; ".join(sorted(set(refused.values())))[:200])


@lru_cache(maxsize=4)
def _founding(tables: Tables) -> Manifest:
    """The terms under which new premises take over what the cloud had before: everything, also what only they decide later."""
    shared = {m: replace(t, authority=Authority.SHARED, mode=Mode.MERGE) for m, t in tables.manifest.models.items()}
    return Manifest(shared)


class _Undone(Exception):
    """An attempt met refusals: all of it is undone."""


@dataclass
class Decided:
    """What operations come to, over the state of the database that was read for them: rows to be written and to be deleted."""

    ops: list[Op]
    out: Outcome
    state: Holding
    puts: list[Put] = field(default_factory=list)
    deletes: list[tuple[Table, Key, Row]] = field(default_factory=list)


class Attempt:
    """One run over a batch in a savepoint. ``refused`` are the records that an earlier one found out the database refuses."""

    def __init__(self, receiver: Receiver, refused: dict[Key, str], inbound: Inbound, *, alone: bool = False):
        self.on, self.refused, self.inbound, self.alone = receiver, refused, inbound, alone
        self.tables, self.link = receiver.tables, receiver.link
        self.counts = Counts()
        self.writer = Writer(self.tables)
        self.failed: dict[Key, str] = {}
        self.later: list[Put] = []
        self.detours: dict[str, Put] = {}
        self.same: list[tuple] = []
        self.unclear = False

    def go(self, ops: Sequence[Op]) -> bool:
        """Apply; False when something was refused: ``failed`` says which records, everything is undone then.

        ``unclear``: a rule that speaks at the end refused, and does not say of which record it speaks. An attempt ``alone``
        only finds out, and is undone anyway.
        """
        try:
            with transaction.atomic():
                self._all(ops)
                if self.failed or self.unclear or self.alone:
                    raise _Undone
        except _Undone:
            return False
        return True

    def _all(self, ops: Sequence[Op]) -> None:
        coming = {op.key.id for op in ops if isinstance(op, Snap) and op.key not in self.refused}
        self.coming = coming - self.on.ghosts
        content: dict[str, list[Op]] = defaultdict(list)
        deaths: dict[str, list[Op]] = defaultdict(list)
        others: list[Op] = []
        for op in ops:
            if isinstance(op, TOLD):
                content[op.key.model].append(op)
            elif isinstance(op, Delete):
                deaths[op.key.model].append(op)
            else:
                others.append(op)
        self._phase(others)
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL DEFERRED")
        for table in self.tables.parts_first():
            mine = content.pop(table.label, ())
            self._phase([op for op in mine if isinstance(op, Snap)])
            self._phase([op for op in mine if isinstance(op, Fields)], table)
        for table in reversed(list(self.tables)):
            self._phase(deaths.pop(table.label, ()))
        self._write_later()
        if not self.failed:
            self._conclude(ops)

    def _conclude(self, ops: Sequence[Op]) -> None:
        """Deferred rules speak now."""
        if ghosts := self.writer.ghosts():
            self.on.ghosts |= ghosts
            raise _Undone
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except REFUSALS as error:
            if len(ops) == 1:
                self.failed[ops[0].key] = said(error).message
            self.unclear = not self.failed
        else:
            taking.say_again(self.tables, self.writer, self.same)

    # one table

    def _phase(self, ops: Iterable[Op], only_fields_of: Table | None = None) -> None:
        ops = list(ops)
        if ops:
            self._write(self._decide(ops, self._read(ops, only_fields_of)))

    def _read(self, ops: list[Op], only_fields_of: Table | None) -> Holding:
        on = self.on
        reader = Reader(self.tables, self.link, on.peer, on.here.number, on.acked)
        parts = self._parts(ops)
        keys = {op.key for op in ops} | self._parents(ops) | {part for some in parts.values() for part in some}
        state = reader.read(keys, _named(ops, only_fields_of) if only_fields_of and not on.retold else None)
        if only_fields_of and any(
            op.cl != clock.cl for op in ops if (clock := state.clocks.get(op.key.id)) is not None
        ):
            state = reader.read(keys)  # of another life of it: all that it says now counts
        self._derived(ops, state)
        held = state.held
        held.parts = parts
        held.refused, held.recovering, held.expired, held.retold = self.refused, on.recovering, on.expired, on.retold
        return state

    def _decide(self, ops: list[Op], state: Holding) -> Decided:
        """What these operations come to; asks the database nothing."""
        on, before = self.on, state.held.things
        out = applying.run(ops, state.held, Outcome(Verdict.APPLY, self.inbound), on.site, on.terms, on.now_ms)
        decided = Decided(ops, out, state)
        for key, thing in out.things.items():
            was = before.get(key)
            table = self.tables.get(key.model)
            if isinstance(thing, Row) and table is not None:
                decided.puts.append(_put(table, key, was, thing, state))
            elif isinstance(was, Row) and key not in out.purged:
                decided.deletes.append((table, key, was))
        return decided

    def _parents(self, ops: list[Op]) -> set[Key]:
        if not self.on.site.owner:
            return set()
        found = set()
        for op in ops:
            terms = self.tables.manifest.models.get(op.key.model)
            if terms and terms.inherits and isinstance(op, TOLD) and op.cells.get(terms.inherits):
                parent = op.cells[terms.inherits].value
                if parent and not parent.startswith(holding.ALIAS):
                    found.add(Key(terms.fields[terms.inherits].refers, parent))
        return found

    def _parts(self, ops: list[Op]) -> dict[Key, list[Key]]:
        """The parts of records that may have to be closed, because restored premises forgot that they were."""
        found: dict[Key, list[Key]] = {}
        if not self.on.site.owner or not (self.on.recovering or any(isinstance(op, Withheld) for op in ops)):
            return found
        for op in ops:
            for part in self.tables.parts_of(op.key.model):
                with connection.cursor() as cursor:
                    cursor.execute(f'SELECT id::text FROM "{part.name}" WHERE "{part.parent_column}" = %s', [op.key.id])
                    found.setdefault(op.key, []).extend(Key(part.label, row[0]) for row in cursor.fetchall())
        return found

    def _derived(self, ops: list[Op], state: Holding) -> None:
        """What a rule of ours has just made of the parts of a record, and the other site made as well, is the other site's."""
        for op in ops:
            clock = state.clocks.get(op.key.id)
            if clock is None or clock.top >> 16 < self.on.began_ms or not isinstance(op, TOLD):
                continue
            row = state.held.things.get(op.key)
            for name, cell in op.cells.items() if isinstance(row, Row) else ():
                mine = row.cells.get(name)
                if mine is None or mine.value != cell.value or mine.stamp.site != self.on.here.number:
                    continue
                if mine.stamp.hlc >> 16 >= self.on.began_ms and cell.stamp < mine.stamp:
                    row.cells[name] = Cell(mine.value, cell.base)

    def _write(self, decided: Decided) -> None:
        out, state = decided.out, decided.state
        taking.purge(self, out, state)
        failed = self.writer.resolve(decided.puts, self.coming)
        for key, refused in failed.items():
            self.failed[key] = refused.message
        ready = [put for put in decided.puts if put.key not in failed]
        refusals = self.writer.write(ready)
        self.later += [put for put in ready if put.key in refusals]
        self.detours |= {put.key.id: put for put in ready if put.passed}
        for table, key, was in decided.deletes:
            self._delete(table, key, was, decided)
        clocks = {}
        for key, thing in out.things.items():
            clock = state.clocks.get(key.id) or clocking.new(key.model)
            clock.becomes(state.held.things.get(key), thing)
            clocks[key.id] = clock
        for put in ready:
            self._made_differently(put, clocks[put.key.id], out)
        for key, ship in out.ships.items():
            clock = clocks.get(key.id) or state.clocks.get(key.id)
            if clock is not None:
                clock.shipped(self.on.peer, ship)
                clocks[key.id] = clock
        clocking.write(clocks, state.clocks)
        self.counts.written += sum(1 for put in ready if put.new or put.values)
        self._arrived([put for put in ready if put.new])
        self._note(decided, ready)

    def _made_differently(self, put: Put, clock: Clock, out: Outcome) -> None:
        """What our rules made of a row is a change of ours; of what came, only where the rules of all sites are kept."""
        for name, value in put.differing().items():
            if name in put.values and not self.on.site.owner:
                continue
            cell = clock.cell(name, value)
            stamp = hlc.after(self.on.now_ms, (cell.stamp,), self.on.here.number)
            clock.say(name, Cell(value, stamp, cell.stamp))
            out.entries.append(Entry(0, 0, put.key, "U", frozenset([name])))

    def _arrived(self, puts: list[Put]) -> None:
        if puts:
            self.same += taking.waiting_for(self.tables, [put.key.id for put in puts])

    # what is refused

    def _write_later(self) -> None:
        """What stood in the way may be written by now: parts, states between; two with one name are both kept."""
        later, self.later = self._by_detours(self.later), []
        for put in later:
            edges = self.tables.manifest.models[put.table.label].edges
            refused = self.writer.step_by_step(put, edges)
            if refused is not None and self.on.up:
                refused = self.writer.take_over(put)
                if refused is None:
                    entry = Entry(0, 0, put.key, "I" if put.new else "U", frozenset(put.values), origin=self.on.peer)
                    enter([entry], self.tables, here=self.on.here.number)
                    self._arrived([put] if put.new else [])
            if refused is not None:
                refused = clashes.both_kept(self, put, refused)
            if refused is not None:
                self.failed[put.key] = refused.message

    def _by_detours(self, later: list[Put]) -> list[Put]:
        """A record that was reopened, changed and closed again is so here as well, its parts too; answers what is left."""
        left = []
        families: dict[str, list[Put]] = defaultdict(list)
        for put in later:
            place = put.key.id if put.key.id in self.detours else put.part_of
            families[place if place in self.detours else ""].append(put)
        for place, puts in families.items():
            if place:
                whole = self.detours[place]
                parts = [put for put in puts if put.key.id != place]
                edges = self.tables.manifest.models[whole.table.label].edges
                if self.writer.by_a_detour(whole, parts, edges):
                    continue
            left += puts
        return left

    def _delete(self, table: Table, key: Key, was: Row, decided: Decided) -> None:
        refused = taking.delete(self, table, key)
        if refused is None:
            self.counts.deleted += 1
            return
        if self.on.up:
            try:
                with transaction.atomic():
                    taking.take_away(self, table, [key.id], dead=True)
            except REFUSALS as error:
                self.failed[key] = said(error).message
            return
        out = decided.out
        revived = was._replace(cl=out.things[key].cl + 1)
        out.things[key] = revived
        out.ships.pop(key, None)
        out.entries = [e for e in out.entries if e.key != key] + [Entry(0, 0, key, "R")]
        op = next((op for op in decided.ops if op.key == key), None)
        clashes.note(self, key, "", "delete refused", None, None, refused.message, op=op)

    # all that is not rows

    def _note(self, decided: Decided, puts: list[Put]) -> None:
        ops, out, state, before = decided.ops, decided.out, decided.state, decided.state.held
        for key, stash in out.stashes.items():
            holding.keep_stash(key, stash)
        for key, thing in out.things.items():
            if isinstance(thing, Row) and thing.level != state.levels.get(key.id, 0):
                _label(key, thing.level, whole_of(thing, self.tables.by_label[key.model].terms))
        clashes.record(self, ops, out, before, state)
        self._park(out)
        gone = {k for k, t in out.things.items() if isinstance(t, Marker) and isinstance(before.things.get(k), Row)}
        enter(_unwritten(out, puts, gone), self.tables, here=self.on.here.number)
        Reply.objects.bulk_create(Reply(link=self.link, operation=op_data(op)) for op in out.replies)
        for op in ops:
            if isinstance(op, Receipt):
                _receipted(self.link, op)
            elif isinstance(op, TOLD):
                self._references(op, out, state)
        if self.on.site.owner:
            self._name_anew([op for op in ops if isinstance(op, TOLD)])

    def _name_anew(self, ops: list[Fields | Snap]) -> None:
        """Whoever refers by its key to what was called back is told the alias instead."""
        targets: dict[str, list[Key]] = defaultdict(list)
        for op in ops:
            table = self.tables.get(op.key.model)
            for name in table.referring(op.cells) if table else ():
                value = op.cells[name].value
                if value and not value.startswith(holding.ALIAS):
                    targets[value].append(op.key)
        closed = (
            [t for t, level in clocking.levels(targets).items() if level > self.on.terms.ceiling] if targets else ()
        )
        again = {key for target in closed for key in targets[target]}
        enter([Entry(0, 0, key, "R") for key in sorted(again)], self.tables, here=self.on.here.number)

    def _references(self, op: Fields | Snap, out: Outcome, state: Holding) -> None:
        """The key instead of an alias, or the other way round, is no change: the stamp is the same."""
        table = self.tables.get(op.key.model)
        names = table.referring(op.cells) if table else ()
        row = (out.things.get(op.key) or state.held.things.get(op.key)) if names else None
        for name in names if isinstance(row, Row) else ():
            cell = op.cells[name]
            if cell.value is not None:
                mine = row.cells.get(name)
                if mine is not None and mine.stamp == cell.stamp and mine.value != cell.value:
                    self.same.append((table, table.columns[name], op.key.id, cell.value))

    def _park(self, out: Outcome) -> None:
        for parked in out.unparked:
            Parked.objects.filter(link=self.link, record=parked.key.id).delete()
        for parked in out.parked:
            row, made = Parked.objects.update_or_create(
                link=self.link, record=parked.key.id,
                defaults={"about": parked.key.model, "operation": op_data(parked.op), "reason": parked.reason[:300]},
            )  # fmt: skip
            self.counts.parked += made


def _put(table: Table, key: Key, was, thing: Row, state: Holding) -> Put:
    if not isinstance(was, Row):
        return Put(table, key, {n: c.value for n, c in thing.cells.items()}, new=True)
    cells, changed = was.cells, {}
    for name, cell in thing.cells.items() if thing.cells is not cells else ():
        old = cells.get(name)
        if old is not cell and (old is None or old.value != cell.value):
            changed[name] = cell.value
    put = Put(table, key, changed, new=False)
    for name in table.terms.edges:
        cell, old = thing.cells.get(name), cells.get(name)
        if cell is not None and old is not None and cell is not old and cell.value == old.value:
            moved = table.terms.group_of.get(name, (name,))
            put.passed |= {n: thing.cells[n].value for n in moved if n in thing.cells}
    return put


def _named(ops: Iterable[Op], table: Table) -> set[str]:
    """The fields that these changes of some fields are about, with all that is decided together with them."""
    terms = table.terms
    names = set().union(*(op.cells.keys() for op in ops)) | {terms.inherits} - {""}
    return names.union(*(group for group in terms.together if names & set(group)))


def _unwritten(out: Outcome, puts: list[Put], gone: set[Key]) -> list[Entry]:
    """The entries that the triggers of the tables did not write already."""
    written = {put.key: put for put in puts}
    found = []
    for entry in out.entries:
        put = written.get(entry.key)
        new = put is not None and put.new
        if entry.op == "I" and new or entry.op == "D" and entry.key in gone:
            continue
        if entry.op == "U":
            theirs = put is not None and entry.origin
            if not entry.fields or theirs and (new or entry.fields <= put.values.keys()):
                continue
            if theirs:
                entry = entry._replace(fields=entry.fields - put.values.keys())
        found.append(entry)
    return found


def _label(key: Key, level: int, whole: Key | None) -> None:
    label = Label.objects.filter(pk=key.id).first()
    if label is None:
        above = Label.objects.filter(pk=whole.id).first() if whole is not None else None
        root = above.root or above.pk if above is not None else None
        Label(id=key.id, model=key.model, level=level, inherited=True, root=root).save(force_insert=True)
    elif label.level != level:
        label.level = level
        label.save(update_fields=["level", "updated_at"])


def _receipted(link: Link, op: Receipt) -> None:
    now = timezone.now()
    PurgeCase.objects.filter(link=link, record=op.key.id, label_ver__lte=op.label_ver, gone_at=None).update(
        gone_at=now, backups_until=(now + BACKUPS).date()
    )


def settle(link: Link, here: Here, acked: int) -> None:
    """Let go of what was owed and is acknowledged by now: only where the premises are behind the link."""
    from .core.terms import Authority
    from .models import Stash

    if Authority.PREMISES not in here.leads_to(link):
        return
    owed = [str(k) for k in Stash.objects.values_list("pk", flat=True)]
    if not owed:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT record::text FROM journal_change WHERE record = ANY(%s::uuid[]) AND (seq IS NULL OR seq > %s) "
            "AND (actor <> %s OR origin = %s)",
            [owed, acked, f"site:{link.pk}", here.number],
        )
        waiting = {row[0] for row in cursor.fetchall()}
    Stash.objects.filter(pk__in=[k for k in owed if k not in waiting]).delete()


def retry(here: Here, link: Link, tables: Tables, acked: int) -> int:
    """Try what the database refused once more; answers how many are still parked."""
    rows = list(
        Parked.objects.filter(link=link).exclude(reason__in=(applying.ABSENT, applying.LINGERING)).order_by("id")[:200]
    )
    for row in rows:
        from .core.wire import op_from

        op = op_from(row.operation)
        receiver = Receiver(here, link, tables, acked=acked)
        row.delete()
        receiver.apply([op])
    return Parked.objects.filter(link=link).count()


__all__ = ["Counts", "LinkSuspect", "NotOpen", "Purge", "Receiver", "retry", "settle"]
