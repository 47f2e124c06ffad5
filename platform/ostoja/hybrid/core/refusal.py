"""Refusals: what becomes of an operation that the database does not let be written; nothing waits for ever, nothing is lost."""

from __future__ import annotations

from . import hlc
from .egress import with_groups
from .link import LinkTerms, Site
from .merge import Conflict, Merged
from .terms import ModelTerms
from .wire import TOLD, Cell, Delete, Fields, Row, Snap, Thing


def writes(before: Thing | None, after: Thing | None) -> bool:
    """Whether the database is asked to write anything: stamps and labels alone are no business of its rules."""
    if not isinstance(before, Row) or not isinstance(after, Row):
        return after is not before
    known = before.cells
    return any(n not in known or known[n].value != c.value for n, c in after.cells.items())


def decides(before: Thing | None, op: Fields | Snap | Delete, terms: ModelTerms, site: Site, link: LinkTerms) -> bool:
    """Whether this site may answer a refused operation with its own values: the owner, of a record that lives there.

    What the authority behind the link has decided can only wait.
    """
    return site.owner and isinstance(before, Row) and isinstance(op, TOLD) and terms.authority not in link.leads_to


def kept(
    before: Row, merged: Merged, op: Fields | Snap, terms: ModelTerms, site: Site, now_ms: int, reason: str
) -> Merged:
    """The record with our own values under later stamps, so that all converge on them; what is lost is told as conflicts.

    ``changed`` are the fields that are ours again; everything else stays as it was merged.
    """
    now = merged.thing
    known = before.cells
    differing = {n for n, c in now.cells.items() if n not in known or known[n].value != c.value}
    differing |= {n for n in known if n not in now.cells}
    ours = with_groups(differing, terms.group_of) & (now.cells.keys() | known.keys())
    seen = [cells[n].stamp for cells in (known, now.cells) for n in ours if n in cells]
    stamp = hlc.after(now_ms, seen, site.number)
    cells = dict(now.cells)
    for name in ours:
        theirs, mine = now.cells.get(name), known.get(name)
        value = None if mine is None else mine.value
        cells[name] = Cell(value, stamp, theirs.stamp if theirs is not None else mine.stamp)
    refused = tuple(
        Conflict(op.key, n, "refused", known.get(n), op.cells[n], reason) for n in sorted(differing) if n in op.cells
    )
    others = tuple(c for c in merged.conflicts if c.field not in ours)
    return Merged(now._replace(cells=cells), "U", frozenset(ours), (*others, *refused), merged.again)


def joined(one: Fields | Snap | Delete, other: Fields | Snap | Delete) -> Fields | Snap | Delete:
    """Two operations of one peer on one record that wait, as one: the later life, of each field the later word."""
    if one.cl != other.cl or isinstance(one, Delete) or isinstance(other, Delete):
        return other if other.cl >= one.cl else one
    cells = dict(one.cells)
    for name, cell in other.cells.items():
        if name not in cells or cells[name].stamp <= cell.stamp:
            cells[name] = cell
    base = max((op for op in (one, other) if isinstance(op, Snap)), key=lambda op: op.label_ver, default=other)
    return base._replace(cells=cells, label_ver=max(one.label_ver, other.label_ver))
