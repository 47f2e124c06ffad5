"""What leaves: journal entries become operations by the core, with values read through the views of what may leave, and nothing else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

import orjson
from django.db import connection, transaction

from ostoja.tenancy.context import schema_context

from . import authors as writers
from . import clocks as clocking
from .batches import array, texts
from .clocks import Clock
from .core import egress
from .core.link import LinkTerms
from .core.link import Site as CoreSite
from .core.wire import Entry, Key, Op, Row, Ship, Stash, Thing
from .holding import stash_of
from .install import CLOUD_CEILING, egress_role, view_of
from .models import Link
from .models import Stash as StashRow
from .sites import Here, schema
from .tables import Table, Tables

MOST_ENTRIES = 5000
FAR = 4 * MOST_ENTRIES  # so many are a long queue
MOST_MORE = 20000  # of one transaction, or of one record with its parts, so that neither is cut in two
LABEL = "hybrid.label"


# What went in batches of a long queue: link -> {record: (where its batch ended, up to which number it was told)}. Only of the
# site that dials: one process speaks there, so that it knows of every batch that may arrive.
_covered: dict[tuple[str, int, int], dict[str, tuple[int, int]]] = {}


def _is_covered(told: tuple[int, int] | None, after: int, seq: int) -> bool:
    return told is not None and after >= told[0] and seq <= told[1]


def _cover(told: tuple[int, int] | None, after: int, to: int, high: int) -> tuple[int, int]:
    """Of batches that were not acknowledged any may be the one that arrives: what the least of them told counts."""
    return (to, high) if told is None or after >= told[0] else (max(to, told[0]), min(high, told[1]))


@dataclass
class Batch:
    """Operations for a link, the numbers that they cover, and what the peer will hold of records once they have left."""

    ops: tuple[Op, ...] = ()
    seq_from: int = 0
    seq_to: int = 0
    high: int = 0
    ships: dict[Key, Ship] = field(default_factory=dict)


@contextmanager
def as_sender(ceiling: int) -> Iterator[None]:
    """One snapshot of the database, seen by the role that reads only what may leave to a site of this ceiling."""
    name = schema()
    with schema_context(name, role=egress_role(name, ceiling)):
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_user")  # switches, or raises, before the transaction begins
            if cursor.fetchone()[0] != egress_role(name, ceiling):
                raise PermissionError("The sender did not get its role.")
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            yield


class Sender:
    """Reads for one link. ``view`` is the ceiling of the views that it reads through, ``terms`` what the core is told."""

    def __init__(self, here: Here, link: Link, tables: Tables, acked: int):
        self.here, self.link, self.tables = here, link, tables
        self.peer = link.site.number
        self.view = CLOUD_CEILING if link.site.ceiling == CLOUD_CEILING else 1
        self.prefix = "egress" if self.view == CLOUD_CEILING else "whole"
        ceiling = CLOUD_CEILING if here.withdrawn else link.site.ceiling
        self.terms = LinkTerms(self.peer, ceiling, tables.manifest, here.leads_to(link), acked)
        self.site = CoreSite(here.number, here.epoch, here.is_owner)

    def batch(self, after: int, high: int, most: int = MOST_ENTRIES) -> Batch:
        """The operations of the journal's numbers after ``after``, up to ``high``: about so many entries, no half of anything."""
        if high <= after:
            return Batch(seq_from=after + 1, seq_to=after, high=high)
        covered = _covered.setdefault((str(self.link.pk), self.terms.peer, self.site.epoch), {})
        with as_sender(self.view):
            if high - after <= FAR:
                to = self._end(min(high, after + most), high)
                authors = {}
                entries = self._entries(after, to, authors)
            else:
                entries, authors, to = self._far_behind(after, high, most, covered)
            entries = [e for e in entries if not _is_covered(covered.get(e.key.id), after, e.seq)]
            told = {entry.key.id for entry in entries}
            state = _State(clocking.read(told, source=f"{self.prefix}_clock"))
            entries = [e for entry in entries if (e := self._ours(entry, state)) is not None]
            self._state({entry.key.id for entry in entries}, state)
            entries = [self._under_its_label(entry, state) for entry in entries]
            self._read(entries, state)
            plan = egress.plan(
                entries, state.things, state.stashes, state.ships, self.site, self.terms, to, frozenset(state.unheld)
            )
        if to == high or not self.link.dials:
            covered.clear()
        else:
            covered |= {id: _cover(covered.get(id), after, to, high) for id in told & state.clocks.keys()}
        by = writers.told({*authors.values()})
        ops = tuple(
            o._replace(by=by.get(authors[o.key.id], "")) if o.key.id in authors and hasattr(o, "by") else o
            for o in plan.ops
        )
        return Batch(ops, after + 1, to, high, dict(plan.ships))

    def _far_behind(
        self, after: int, high: int, most: int, covered: Mapping
    ) -> tuple[list[Entry], dict[str, str], int]:
        """(entries, authors, where the batch ends) of a long queue: a record goes once, with all that the queue says of it.

        What was sent so is passed over when its later entries come up, once the batch that it went in was acknowledged.
        """
        entries: list[Entry] = []
        authors: dict[str, str] = {}
        records: set[str] = set()
        to, last = after, min(high, after + 10 * most)
        while to < last and len(records) < most:
            start, to = to, min(last, to + most)
            for entry in self._entries(start, to, authors):
                entries.append(entry)
                if not _is_covered(covered.get(entry.key.id), after, entry.seq):
                    records.add(entry.key.id)
                if len(records) == most:
                    to = entry.seq
                    break
        end = self._end(to, high)
        entries += self._entries(to, end, authors)
        if entries:
            entries += self._entries(end, high, authors, {e.key.id for e in entries})
        return entries, authors, end

    def _end(self, to: int, high: int) -> int:
        """Where the batch ends: with a whole transaction, and with a whole record that is sent again."""
        if to == high:
            return to
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT greatest(%s, max(j.seq)) FROM "{self.prefix}_journal" j, "{self.prefix}_journal" last WHERE last.seq = %s '
                "AND j.seq > %s AND j.seq <= %s AND CASE WHEN last.op = 'R' THEN j.op = 'R' AND j.cause IS NOT DISTINCT FROM last.cause "
                "AND last.cause IS NOT NULL ELSE j.xid = last.xid END",
                [to, to, to, to + MOST_MORE],
            )
            return cursor.fetchone()[0] or to

    def _entries(self, after: int, to: int, authors: dict[str, str], only: Iterable[str] | None = None) -> list[Entry]:
        """The entries, ``only`` those of these records; ``authors`` gets {record: who wrote it last}.

        Not those of what came from the peer where no stamp of the record is ours: nothing of them can be (``_ours``).
        """
        if to <= after:
            return []
        echo, me, found = f"site:{self.link.pk}", self.here.number, []
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT id, xid, model, record::text, op, fields, actor, origin, seq "
                f'FROM "{self.prefix}_journal" j WHERE seq > %s AND seq <= %s AND (actor <> %s OR origin = %s OR '
                f'(SELECT c.site = %s OR c.stamps @? %s::jsonpath FROM "{self.prefix}_clock" c WHERE c.id = j.record)) '
                f"{'AND record = ANY(%s::uuid[])' if only else ''} ORDER BY seq",
                [after, to, echo, me, me, f"$.*[1] ? (@ == {me})", *([array(only)] if only else [])],
            )
            for id, xid, model, record, op, columns, actor, origin, seq in cursor.fetchall():
                came = self.peer if actor == echo and origin != me else 0
                if model == LABEL:
                    if not came:
                        found.append(Entry(id, xid, Key("", record), "L", seq=seq))
                    continue
                table = self.tables.get(model)
                if table is None and not self.here.is_owner:
                    continue
                if op in "IUD":
                    authors[record] = writers.after(authors.get(record, ""), actor, op)
                fields = (
                    frozenset(table.by_column[c] for c in columns if c in table.by_column) if table else frozenset()
                )
                found.append(Entry(id, xid, Key(model, record), op, fields, origin=came, seq=seq))
        return found

    def _ours(self, entry: Entry, state: _State) -> Entry | None:
        """The entry, when it is to be told: of what came from the peer, what a rule of ours made besides is ours."""
        clock = state.clocks.get(entry.key.id)
        if clock is None:
            return None
        if not entry.key.model:
            entry = entry._replace(key=Key(clock.model, entry.key.id))
        if not entry.origin:
            return entry
        me = self.here.number
        if entry.op == "D":
            return entry._replace(origin=0) if clock.whole.site == me else None
        table = self.tables.get(entry.key.model)
        if entry.op not in "IU" or table is None:
            return None
        names = entry.fields if entry.op == "U" else frozenset(table.columns)
        mine = {n for n in names if (said := clock.stamps.get(n)) and said[1] == me}
        if entry.op == "U" and clock.whole.site == me:
            mine |= {n for n in names if n not in clock.stamps}
        return entry._replace(op="U", fields=frozenset(mine), origin=0) if mine else None

    def _under_its_label(self, entry: Entry, state: _State) -> Entry:
        """The entry with the version of the label that its writer knew, as far as that can be told."""
        ver = 0 if entry.id < state.labelled.get(entry.key.id, 0) else state.clocks[entry.key.id].label_ver
        return entry._replace(label_ver=ver) if ver else entry

    def _state(self, ids: set[str], state: _State) -> None:
        """What the core must see of these records but for their fields, through the views."""
        state.levels = clocking.levels(ids, source=f"{self.prefix}_label") if ids else {}
        if not self.here.is_owner:
            state.labelled = self._labelled(ids)
        for id in ids:
            clock = state.clocks[id]
            table, level = self.tables.get(clock.model), state.levels.get(id, 0)
            key = Key(clock.model, id)
            if (ship := clock.ship(self.peer)) is not None:
                state.ships[key] = ship
            if table is None or not table.holdable(self.terms.ceiling):
                if not self.here.is_owner:
                    continue
                state.unheld.add(key)
            if not clock.alive:
                state.things[key] = clock.marker(level)
            elif level > self.terms.ceiling or key in state.unheld:
                state.things[key] = Row({}, clock.cl, level, clock.label_ver)
            else:
                state.wanted[key] = set()
        if self.prefix == "whole":
            self._stashes(ids, state)

    def _read(self, entries: list[Entry], state: _State) -> None:
        """Read the fields that these entries are about: all of a record that goes as a whole."""
        for entry in entries:
            if entry.key not in state.wanted:
                continue
            ship, names = state.ships.get(entry.key), state.wanted[entry.key]
            if entry.op != "U" or ship is None or not ship.held or ship.seq > self.terms.acked or names is None:
                state.wanted[entry.key] = None
            else:
                names |= entry.fields
        by_model: dict[str, list[Key]] = defaultdict(list)
        for key, names in state.wanted.items():
            if names is None or names:
                by_model[key.model].append(key)
        for label, some in by_model.items():
            self._rows(self.tables.by_label[label], some, state)

    def _rows(self, table: Table, keys: list[Key], state: _State) -> None:
        names, group_of, wanted = table.open(self.terms.ceiling), table.terms.group_of, state.wanted
        if group_of:
            wanted |= {k: egress.with_groups(wanted[k], group_of) for k in keys if wanted[k] is not None}
        if all(wanted[key] is not None for key in keys):
            some = set().union(*(wanted[key] for key in keys))
            names = [n for n in names if n in some]
        columns = "".join(f', "{name}"' for name in names)
        by_id = {key.id: key for key in keys}
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT id::text{columns} FROM "{view_of(table, self.view)}" WHERE id = ANY(%s::uuid[])',
                [array(by_id)],
            )
            for id, *values in cursor.fetchall():
                clock, key = state.clocks[id], by_id[id]
                row, mine = dict(zip(names, values, strict=True)), wanted[key]
                if mine is not None and not mine.issuperset(names):
                    row = {n: v for n, v in row.items() if n in mine}
                cells = clock.cells(row)
                state.things[key] = Row(cells, clock.cl, state.levels.get(id, 0), clock.label_ver)

    def _labelled(self, ids: set[str]) -> dict[str, int]:
        """Until which entry a record's label may have been another one: what was written before was written unaware."""
        if not ids:
            return {}
        with connection.cursor() as cursor:
            cursor.execute(
                f'SELECT record::text, max(id) FROM "{self.prefix}_journal" WHERE record = ANY(%s::uuid[]) '
                "AND op IN ('I', 'D', 'L') AND actor LIKE 'site:%%' GROUP BY record",
                [array(ids)],
            )
            return dict(cursor.fetchall())

    def _stashes(self, ids: set[str], state: _State) -> None:
        if not ids:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT id, model, cl, label_ver, cells::text FROM whole_stash WHERE id = ANY(%s::uuid[])",
                [array(ids)],
            )
            for id, model, cl, label_ver, cells in cursor.fetchall():
                row = StashRow(id=id, model=model, cl=cl, label_ver=label_ver, cells=orjson.loads(cells))
                state.stashes[Key(model, str(id))] = stash_of(row)


@dataclass
class _State:
    """What the sender sees of some records. ``unheld`` are those that the peer can't hold at all."""

    clocks: dict[str, Clock]
    levels: dict[str, int] = field(default_factory=dict)
    labelled: dict[str, int] = field(default_factory=dict)
    wanted: dict[Key, set[str] | None] = field(default_factory=dict)
    things: dict[Key, Thing] = field(default_factory=dict)
    stashes: dict[Key, Stash] = field(default_factory=dict)
    ships: dict[Key, Ship] = field(default_factory=dict)
    unheld: set[Key] = field(default_factory=set)


def relabelled(after: int) -> bool:
    """Whether the label of any record has changed since the journal stood at this number."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM journal_change WHERE (seq IS NULL OR seq > %s) AND (model = %s OR op = 'L'))",
            [after, LABEL],
        )
        return cursor.fetchone()[0]


def mark_shipped(peer: int, ships: dict[Key, Ship]) -> None:
    """Note, before the bytes leave, what the peer will hold of these records."""
    if not ships:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE hybrid_clock c SET ships = c.ships || jsonb_build_object(%s::text, jsonb_build_array(s.held, s.ver, s.seq)) "
            "FROM unnest(%s::uuid[], %s::int[], %s::bigint[], %s::bigint[]) AS s(id, held, ver, seq) WHERE c.id = s.id",
            [
                str(peer), array(key.id for key in ships), array(int(s.held) for s in ships.values()),
                array(s.label_ver for s in ships.values()), array(s.seq for s in ships.values()),
            ],
        )  # fmt: skip


def enter(entries: Iterable[Entry], tables: Tables, here: int = 0) -> None:
    """Write entries into the journal that no trigger writes; ``here`` marks those that are our own, though a site acts."""
    rows = []
    for entry in entries:
        table = tables.get(entry.key.model)
        columns = [table.columns[n].column for n in sorted(entry.fields) if n in table.columns] if table else []
        rows.append((entry.key.model, entry.key.id, entry.op, columns, 0 if entry.origin else here))
    if not rows:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO journal_change (xid, model, record, op, fields, hlc, origin, actor, verb) "
            "SELECT pg_current_xact_id()::text::bigint, r.model, r.record, r.op, r.fields::text[], "
            "(extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, r.origin, "
            "coalesce(nullif(current_setting('ostoja.actor', true), ''), 'system:'), 'sync' "
            "FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::smallint[]) AS r(model, record, op, fields, origin)",
            [
                array(r[0] for r in rows), array(r[1] for r in rows), array(r[2] for r in rows),
                texts("{" + ",".join(r[3]) + "}" for r in rows), array(r[4] for r in rows),
            ],
        )  # fmt: skip


def send_again(model: str, records: Iterable, here: int = 0) -> None:
    """Let these records be sent as a whole, in their turn."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO journal_change (xid, model, record, op, fields, hlc, origin, actor, verb) "
            "SELECT pg_current_xact_id()::text::bigint, %s, r, 'R', '{}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, "
            "%s, coalesce(nullif(current_setting('ostoja.actor', true), ''), 'system:'), 'resend' FROM unnest(%s::uuid[]) r",
            [model, here, array(records)],
        )


def send_everything(tables: Tables, only: Iterable[str] | None = None) -> int:
    """Let every record be sent as a whole, each with its parts behind it; answers how many."""
    only = None if only is None else set(only)
    families = [_family(tables, top) for top in tables if not top.parent_column]
    families = [family for family in families if only is None or only & {t.label for t, _root in family}]
    labels, number, depth, root = [], "", "", ""
    for place, family in enumerate(families):
        for below, (table, sql) in enumerate(family):
            labels.append(table.label)
            number += f" WHEN '{table.label}' THEN {place}"
            depth += f" WHEN '{table.label}' THEN {below}" if below else ""
            root += f" WHEN '{table.label}' THEN ({sql})" if below else ""
    depth, root = f"CASE c.model{depth} ELSE 0 END" if depth else "0", f"CASE c.model{root} END" if root else "NULL"
    if not labels:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO journal_change (xid, model, record, op, fields, hlc, origin, actor, verb, cause) "
            "SELECT pg_current_xact_id()::text::bigint, r.model, r.id, 'R', '{}', (extract(epoch FROM clock_timestamp()) * 1000)::bigint << 16, "
            f"0, 'system:', 'resend', r.root FROM (SELECT c.id, c.model, CASE c.model{number} END AS family, {depth} AS depth, "
            f"coalesce({root}, c.id) AS root FROM hybrid_clock c WHERE c.model = ANY(%s)) r "
            "ORDER BY r.family, r.root, r.depth, r.id",
            [labels],
        )
        return cursor.rowcount


def _family(tables: Tables, top: Table) -> list[tuple[Table, str]]:
    """The table and those of its parts, each with the SQL that finds the record on top of a row with the clock c."""
    found = [(top, "c.id")]
    for part in tables.parts_of(top.label):
        column = part.parent_column
        found.append((part, f'SELECT p."{column}" FROM "{part.name}" p WHERE p.id = c.id'))
        for below in tables.parts_of(part.label):
            found.append((
                below,
                f'SELECT p."{column}" FROM "{part.name}" p JOIN "{below.name}" b ON b."{below.parent_column}" = p.id WHERE b.id = c.id',
            ))  # fmt: skip
    return found
