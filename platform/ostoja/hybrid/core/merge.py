"""Merge: two versions of a record become one, the same one in whatever order they meet, and nothing is lost unseen."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import NamedTuple

from . import hlc
from .egress import with_groups
from .link import LinkTerms, Site
from .purge import WHOLE, last_stamp
from .terms import Authority, Merge, Mode, ModelTerms
from .wire import ZERO, Cell, Delete, Fields, Key, Marker, Row, Snap, Stamp, Thing


class Conflict(NamedTuple):
    """Two people wrote what could not both stay. ``rule`` says why ``kept`` stayed: latest, deleted, authority, transition.

    ``field`` is "" for a whole record. Both sides of a link make the same conflict of the same two writes. Rule ``refused``:
    the database of the site that decides did not let it be written, for the ``reason`` in its sentence; only it tells so.
    """

    key: Key
    field: str
    rule: str
    kept: Cell | None
    lost: Cell | None
    reason: str = ""


class Merged(NamedTuple):
    """What a merge came to: the record now, the fields that changed, the conflicts.

    ``op`` is the entry that the store owes for it (I, U, D; "" for none); ``again``: tell the peer the whole record;
    ``unknown``: fields of a record that is not here: park them and ask for the whole.
    """

    thing: Thing | None
    op: str = ""
    changed: frozenset[str] = frozenset()
    conflicts: tuple[Conflict, ...] = ()
    again: bool = False
    unknown: bool = False


def written(
    row: Row, values: Mapping[str, object], terms: ModelTerms | None, now_ms: int, site: int, top: int = 0
) -> tuple[Row, frozenset[str]]:
    """The record after a person here wrote these values, and the fields whose stamps moved (whole groups).

    The reference of what the capture trigger does in the database. ``top`` is the largest clock that this site ever saw
    of the record, also of values that were purged since: no stamp is given twice.
    """
    moved = with_groups(values.keys(), terms.group_of) if terms else frozenset(values)
    stamp = hlc.after(now_ms, (Stamp(top, site), *(c.stamp for c in row.cells.values())), site)
    cells = dict(row.cells)
    for name in moved:
        before = cells.get(name)
        if name in values or before is not None:
            value = values[name] if name in values else before.value
            cells[name] = Cell(value, stamp, _base(before, site))
    return row._replace(cells=cells), moved


def _base(before: Cell | None, site: int):
    if before is None:
        return ZERO
    return before.base if before.stamp.site == site else before.stamp


def path(edges: Mapping[str, tuple[str, ...]], start: str, end: str) -> tuple[str, ...] | None:
    """The shortest way through a state table, without ``start`` itself; () when they are the same, None when there is none."""
    ways = deque([(start, ())])
    seen = {start}
    while ways:
        here, way = ways.popleft()
        if here == end:
            return way
        for to in edges.get(here, ()):
            if to not in seen:
                seen.add(to)
                ways.append((to, (*way, to)))
    return None


def concurrent(mine: Cell, theirs: Cell, pending: bool) -> bool:
    """Whether two writes were made without knowledge of each other."""
    if theirs.stamp == mine.stamp or theirs.base == mine.stamp or mine.base == theirs.stamp:
        return False
    if theirs.stamp.site == mine.stamp.site:
        return False
    return pending or theirs.base <= mine.stamp


def may_write(terms: ModelTerms, link: LinkTerms) -> bool:
    """Whether what comes over this link may change records of this model."""
    return terms.authority == Authority.SHARED or terms.authority in link.leads_to


def merge(
    thing: Thing | None,
    op: Fields | Snap | Delete,
    terms: ModelTerms,
    site: Site,
    link: LinkTerms,
    now_ms: int,
    pending: frozenset[str] = frozenset(),
    recovering: bool = False,
    retold: bool = False,
) -> Merged:
    """Bring an operation of a peer into a record. ``pending``: fields changed here that the peer has not acknowledged.

    ``recovering``: this site was restored, and takes back from the peer what it once wrote or passed on.
    ``retold``: the peer tells everything again, and may have been restored: its word may be older than what it said before.
    """
    if may_write(terms, link):
        return _merged(thing, op, terms, site, link, now_ms, pending, retold)
    if recovering:
        return _recovered(thing, op, terms, site, link, now_ms, pending)
    return _refused(thing, op, site, now_ms)


def _merged(thing, op, terms: ModelTerms, site: Site, link: LinkTerms, now_ms: int, pending, retold=False) -> Merged:
    decided = terms.authority in link.leads_to
    outdated = decided and retold and _said_before(last_stamp(thing), _newest(op))
    if isinstance(op, Delete):
        op = op._replace(label_ver=0) if site.owner else op
        return _deleted(thing, op, terms, pending, decided and not outdated, site.owner)
    if decided and isinstance(op, Snap) and isinstance(thing, Marker) and not thing.withheld and not outdated:
        thing = None
    if thing is None or isinstance(thing, Marker):
        return _made(thing, op, site)
    if decided and (op.cl == thing.cl or (isinstance(op, Snap) and not (outdated and op.cl < thing.cl))):
        return _decided(thing, op, site, link, retold)
    if op.cl < thing.cl:
        return Merged(thing, conflicts=_late(op, last_stamp(thing), "deleted"))
    if op.cl > thing.cl:
        if isinstance(op, Fields):
            return Merged(thing, unknown=True)
        return _next_life(thing, op, terms, site, link, pending)
    return _fields(thing, op, terms, site, link, now_ms, pending)


def _refused(thing, op, site: Site, now_ms: int) -> Merged:
    if isinstance(op, Delete) and isinstance(thing, Marker) and thing.cl >= op.cl:
        return Merged(thing)
    cells = op.cells if not isinstance(op, Delete) else {"": None}
    conflicts = tuple(
        Conflict(op.key, n, "authority", thing.cells.get(n) if isinstance(thing, Row) else None, c)
        for n, c in cells.items()
        if not (isinstance(thing, Row) and c is not None and thing.cells.get(n) == c)
    )
    if thing is not None:
        return Merged(thing, conflicts=conflicts, again=bool(conflicts))
    dead = Marker(
        op.cl + op.cl % 2,
        label_ver=0 if site.owner else op.label_ver,
        stamp=hlc.after(now_ms, [_newest(op)], site.number),
    )
    return Merged(dead, "D", conflicts=conflicts, again=True)


def _recovered(thing, op, terms, site, link, now_ms, pending) -> Merged:
    """What the peer did not write itself it once had from here; what it wrote is refused as ever."""
    if isinstance(op, Delete):
        foreign = op if op.stamp.site == link.peer else None
    else:
        theirs = {n: c for n, c in op.cells.items() if c.stamp.site == link.peer}
        foreign = op._replace(cells=theirs) if theirs or not op.cells else None
        op = op._replace(cells={n: c for n, c in op.cells.items() if n not in theirs})
    if foreign is not None and (isinstance(op, Delete) or not op.cells):
        return _refused(thing, foreign, site, now_ms)
    merged = _merged(thing, op, terms, site, link, now_ms, pending)
    if foreign is None:
        return merged
    refused = _refused(thing, foreign, site, now_ms).conflicts if thing is not None else ()
    return merged._replace(conflicts=(*merged.conflicts, *refused), again=True)


def _said_before(mine: Stamp, theirs: Stamp) -> bool:
    """Whether this is an older word of the same speaker: a restored authority tells again what it has forgotten since."""
    return theirs.site == mine.site and theirs.hlc < mine.hlc


def _newest(op):
    return op.stamp if isinstance(op, Delete) else max((c.stamp for c in op.cells.values()), default=ZERO)


def _late(op, seen, rule) -> tuple[Conflict, ...]:
    return tuple(Conflict(op.key, n, rule, None, c) for n, c in op.cells.items() if c.stamp > seen)


def _deleted(thing, op: Delete, terms, pending, decided: bool = False, owner: bool = False) -> Merged:
    if terms.mode == Mode.APPEND:
        return Merged(thing, conflicts=(Conflict(op.key, "", "authority", None, None),), again=thing is not None)
    if thing is None:
        return Merged(Marker(op.cl, label_ver=op.label_ver, stamp=op.stamp), "D")
    known = isinstance(thing, Marker) and (thing.cl, thing.stamp) == (op.cl, op.stamp)
    if known or (op.cl <= thing.cl and not decided):
        return Merged(thing)
    stamp = op.stamp if decided else max(op.stamp, last_stamp(thing))
    if isinstance(thing, Marker):
        return Merged(thing._replace(cl=op.cl, stamp=stamp, withheld=thing.withheld and not owner), "D")
    lost = tuple(
        Conflict(op.key, n, "deleted", None, c)
        for n, c in thing.cells.items()
        if n in pending or WHOLE in pending or c.stamp > op.stamp
    )
    return Merged(Marker(op.cl, thing.level, max(thing.label_ver, op.label_ver), stamp), "D", conflicts=lost)


def _made(thing: Marker | None, op: Fields | Snap, site: Site) -> Merged:
    if thing is not None:
        if thing.withheld and op.label_ver <= thing.label_ver and not site.owner:
            return Merged(thing)
        if op.cl < thing.cl:
            return Merged(thing, conflicts=_late(op, thing.stamp, "deleted"), again=thing.cl % 2 == 0)
        if thing.cl % 2 == 0 and op.cl % 2 == 0:
            return Merged(thing)
    if isinstance(op, Fields):
        return Merged(thing, unknown=True)
    level, ver = op.level, op.label_ver
    if site.owner:
        level, ver = (thing.level, thing.label_ver) if thing is not None else (0, 0)
    return Merged(Row(dict(op.cells), op.cl, level, ver), "I", frozenset(op.cells))


def _next_life(row: Row, op: Snap, terms, site, link, pending) -> Merged:
    """It was deleted and restored elsewhere: that life counts; what may not pass the link is kept of the one we have."""
    passing = terms.open_at(link.ceiling)
    kept = {n: c for n, c in row.cells.items() if n not in passing}
    lost = tuple(
        Conflict(op.key, n, "deleted", op.cells.get(n), c)
        for n, c in row.cells.items()
        if n in passing and (n in pending or WHOLE in pending)
    )
    level, ver = (row.level, row.label_ver) if site.owner else _label(row, op, link)
    return Merged(Row(kept | dict(op.cells), op.cl, level, ver), "I", frozenset(op.cells), lost)


def _decided(row: Row, op: Fields | Snap, site: Site, link: LinkTerms, retold: bool = False) -> Merged:
    """The authority has spoken: its last word counts, whatever was written elsewhere with later stamps."""
    changed = frozenset(
        n
        for n, c in op.cells.items()
        if (mine := row.cells.get(n)) != c and not (retold and mine is not None and _said_before(mine.stamp, c.stamp))
    )
    level, ver = (row.level, row.label_ver) if site.owner else _label(row, op, link)
    conflicts = tuple(
        Conflict(op.key, n, "authority", op.cells[n], row.cells[n])
        for n in sorted(changed & row.cells.keys())
        if row.cells[n].stamp > op.cells[n].stamp
    )
    now = Row({**row.cells, **{n: op.cells[n] for n in changed}}, op.cl, level, ver)
    entry = "I" if op.cl != row.cl else "L" if level != row.level else "U" if changed else ""
    return Merged(now, entry, changed, conflicts)


def _label(row: Row, op: Fields | Snap, link: LinkTerms) -> tuple[int, int]:
    if not link.up or op.label_ver < row.label_ver:
        return row.level, row.label_ver
    return (op.level if isinstance(op, Snap) else row.level), op.label_ver


def _fields(row: Row, op, terms: ModelTerms, site: Site, link: LinkTerms, now_ms: int, pending) -> Merged:
    cells, conflicts, changed = dict(row.cells), [], set()
    refused = _refused_steps(row, op, terms, site)
    append, whole = terms.mode == Mode.APPEND, WHOLE in pending
    for name, theirs in op.cells.items():
        mine = cells.get(name)
        if name in refused or (append and mine is not None and _fixed(terms, name)):
            continue
        if mine is None or theirs.stamp > mine.stamp or _given_up(mine, theirs, terms.fields[name].refers, site, link):
            kept, lost = theirs, mine
            cells[name] = theirs
            changed.add(name)
        else:
            kept, lost = mine, theirs
        if lost is not None and lost.value != kept.value and concurrent(mine, theirs, whole or name in pending):
            if not _fixed(terms, name):
                conflicts.append(Conflict(op.key, name, "latest", kept, lost))
    for name in sorted(refused):
        mine, theirs = cells.get(name), op.cells.get(name)
        if mine is None or theirs is None:
            continue
        if mine.value != theirs.value:
            conflicts.append(Conflict(op.key, name, "transition", mine, theirs))
        if theirs.stamp >= mine.stamp:
            cells[name] = Cell(mine.value, hlc.after(now_ms, (mine.stamp, theirs.stamp), site.number), theirs.stamp)
            changed.add(name)
    if site.owner:
        level, ver = row.level, row.label_ver
    else:
        level, ver = _label(row, op, link)
    moved = (level, ver) != (row.level, row.label_ver)
    if not changed and not moved:
        return Merged(row, conflicts=tuple(conflicts), again=bool(refused))
    now = Row(cells, row.cl, level, ver)
    entry = "L" if level != row.level else "U" if changed else ""
    return Merged(now, entry, frozenset(changed), tuple(conflicts), again=bool(refused))


def _given_up(mine: Cell, theirs: Cell, refers: str, site: Site, link: LinkTerms) -> bool:
    """Whether this site emptied a field that closed, and the premises tell the very same write again now that it is open.

    A reference differs also by its alias; the store sets it right.
    """
    same = theirs.stamp == mine.stamp and theirs.value != mine.value
    return same and link.up and not site.owner and not refers


def _fixed(terms: ModelTerms, name: str) -> bool:
    return terms.fields[name].merge == Merge.FIXED


def _refused_steps(row: Row, op, terms: ModelTerms, site: Site) -> frozenset[str]:
    """The fields of steps that the authority does not take, with all that moves with them."""
    if not site.owner or not terms.edges:
        return frozenset()
    refused = set()
    for name, edges in terms.edges.items():
        mine, theirs = row.cells.get(name), op.cells.get(name)
        if mine is None or theirs is None or theirs.stamp == mine.stamp or theirs.value == mine.value:
            continue
        if theirs.base == mine.stamp or theirs.stamp.site == mine.stamp.site:
            taken = theirs.stamp > mine.stamp and path(edges, mine.value, theirs.value) is not None
            if not taken and theirs.stamp < mine.stamp:
                continue  # an older word of the same speaker, told again
        else:
            if mine.base == theirs.stamp:
                continue  # what we replaced ourselves, told again
            taken = theirs.stamp > mine.stamp and theirs.value in edges.get(mine.value, ())
        if not taken:
            refused |= with_groups({name}, terms.group_of)
    return frozenset(refused)
