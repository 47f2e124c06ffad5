"""Apply: an envelope and what the store holds become everything that one transaction must write, or nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from . import hlc, labels, refusal
from .link import LinkTerms, Site
from .merge import Conflict, merge
from .purge import receipted, strip
from .sequence import Inbound, Verdict, advance, judge
from .terms import LOCAL
from .wire import (
    CONTENT,
    CONTROL,
    DATA,
    TOLD,
    Delete,
    Entry,
    Envelope,
    Fields,
    Key,
    Marker,
    Op,
    Purge,
    Receipt,
    Row,
    Ship,
    Snap,
    Stash,
    Thing,
    Want,
    Withheld,
)

NOTHING: frozenset[str] = frozenset()
ABSENT = "The record is not here."
LINGERING = "The site was away longer than deaths are remembered, and this record is unknown."


@dataclass(frozen=True)
class Parked:
    """An operation of ``peer`` that could not be applied: kept, counted, shown; it blocks nothing but the grave of its key.

    At most one for a key and a peer (beside a lingering one): what comes later and can't be applied either joins it. It is
    tried again with whatever comes of the key and is applied, and when the store asks for it (``retry``).
    ``reason`` is ABSENT (its record is asked for), LINGERING (people decide) or the sentence of the rule that refused.
    """

    key: Key
    op: Op
    reason: str
    peer: int


@dataclass
class Held:
    """What the store holds of the keys that an envelope names (and of the records they are parts of).

    ``pending``: fields changed here that this peer has not acknowledged (``*``: all of the record).
    ``parked``: the operations of this peer that are parked for these keys.
    ``refused``: keys that the database did not let be written, with its sentence. The store finds out by trying: it rolls
    back, adds the key and applies again. A record that lives at the owner of labels then keeps its values, and all others
    take them over (``refusal.kept``); any other operation is parked; the rest goes on.
    ``recovering``: this site was restored, and this envelope is part of the peer's resync: what this site itself wrote as
    the authority, and forgot, comes back from the copies of others.
    ``expired``: the peer was away longer than graves are kept, and this envelope is part of its resync; what we do not
    know is parked, not merged.
    ``retold``: this envelope is part of the peer's resync; who was restored may tell again what it has since said otherwise.
    ``parts``: at the owner of labels, what belongs to a record whose level this envelope may raise; ``things`` has it too.
    """

    things: Mapping[Key, Thing] = field(default_factory=dict)
    stashes: Mapping[Key, Stash] = field(default_factory=dict)
    ships: Mapping[Key, Ship] = field(default_factory=dict)
    pending: Mapping[Key, frozenset[str]] = field(default_factory=dict)
    parked: Mapping[Key, Sequence[Parked]] = field(default_factory=dict)
    refused: Mapping[Key, str] = field(default_factory=dict)
    recovering: bool = False
    expired: bool = False
    retold: bool = False
    parts: Mapping[Key, Sequence[Key]] = field(default_factory=dict)


@dataclass
class Outcome:
    """Everything that the transaction writes. With another verdict than APPLY or EMPTY all of it is empty.

    ``things`` and ``stashes`` map to None what goes. ``purged``: delete history, conflicts, parked operations, search
    entries, caches and files of these too. ``unparked`` are the parked operations that are settled now. ``entries`` go to
    the outbox without id, transaction and number. ``replies`` go back in the control lane.
    """

    verdict: Verdict
    inbound: Inbound
    things: dict[Key, Thing | None] = field(default_factory=dict)
    stashes: dict[Key, Stash | None] = field(default_factory=dict)
    ships: dict[Key, Ship] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    parked: list[Parked] = field(default_factory=list)
    unparked: list[Parked] = field(default_factory=list)
    purged: list[Key] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    replies: list[Op] = field(default_factory=list)
    alarm: str = ""

    @property
    def taken(self) -> bool:
        """Whether the envelope is applied, or empty."""
        return self.verdict in (Verdict.APPLY, Verdict.EMPTY)


def names(envelope: Envelope, link: LinkTerms) -> set[Key]:
    """The keys that ``Held`` must cover: those of the operations and of the records they are parts of."""
    keys = {op.key for op in envelope.ops}
    for op in envelope.ops:
        terms = link.manifest.models.get(op.key.model)
        if terms and terms.inherits and isinstance(op, TOLD) and terms.inherits in op.cells:
            keys.add(Key(terms.fields[terms.inherits].refers, str(op.cells[terms.inherits].value)))
    return keys


def apply(envelope: Envelope, held: Held, inbound: Inbound, site: Site, link: LinkTerms, now_ms: int) -> Outcome:
    """What an envelope comes to. ``inbound`` is the cursor after ``epochs.greet``; ``now_ms`` since 1970."""
    out = admit(envelope, inbound, site, link, now_ms)
    return run(envelope.ops, held, out, site, link, now_ms) if out.taken else out


def admit(envelope: Envelope, inbound: Inbound, site: Site, link: LinkTerms, now_ms: int) -> Outcome:
    """Whether an envelope is taken, before anything is looked at: verdict and cursor, nothing else."""
    verdict = judge(inbound, envelope, site.epoch)
    if verdict in (Verdict.APPLY, Verdict.EMPTY):
        verdict = _admit(envelope, link, now_ms) or verdict
    if verdict not in (Verdict.APPLY, Verdict.EMPTY):
        alarm = "" if verdict in (Verdict.DUPLICATE, Verdict.GAP, Verdict.STALE) else verdict
        return Outcome(verdict, inbound, alarm=alarm)
    return Outcome(verdict, advance(inbound, envelope) if envelope.lane == DATA else inbound)


def run(ops: Iterable[Op], held: Held, out: Outcome, site: Site, link: LinkTerms, now_ms: int) -> Outcome:
    """Bring operations into what is held; a store may do so table by table, each part seeing what the one before left."""
    return _Application(held, site, link, now_ms, out).run(ops)


def retry(parked: Iterable[Parked], held: Held, inbound: Inbound, site: Site, link: LinkTerms, now_ms: int) -> Outcome:
    """Try parked operations again, after an upgrade or a person removed the reason; those that do not fit are parked again.

    The store takes them out of the parked ones first.
    """
    run = _Application(held, site, link, now_ms, Outcome(Verdict.APPLY, inbound))
    for waiting in parked:
        if (op := run.still_allowed(waiting.op)) is not None:
            run.tell(op)
    return run.out


def _admit(envelope: Envelope, link: LinkTerms, now_ms: int) -> Verdict | None:
    """The gate at the door: terms, fields and clocks, before anything is looked at. What it refuses is not logged."""
    if envelope.lane == CONTROL:
        return None if all(isinstance(op, Purge | Receipt | Want) for op in envelope.ops) else Verdict.FIELD
    if link.up and envelope.manifest != link.manifest.hash:
        return Verdict.MANIFEST
    up, models = link.up, link.manifest.models
    allowed = {n: t.open_at(link.ceiling) if up else t.fields.keys() for n, t in models.items()}
    latest = envelope.hlc_now
    for op in envelope.ops:
        if isinstance(op, TOLD):
            if not op.cells.keys() <= allowed.get(op.key.model, frozenset()) or op.key.model not in allowed:
                return Verdict.FIELD
            if isinstance(op, Snap) and op.level > link.ceiling:
                return Verdict.FIELD
            for cell in op.cells.values():
                if cell.stamp.hlc > latest:
                    latest = cell.stamp.hlc
        elif isinstance(op, Delete):
            if op.key.model not in allowed:
                return Verdict.FIELD
            latest = max(latest, op.stamp.hlc)
    return Verdict.CLOCK if hlc.suspect([latest], now_ms) else None


class _Application:
    """One run over the operations of an envelope, each seeing what those before it left."""

    def __init__(self, held: Held, site: Site, link: LinkTerms, now_ms: int, out: Outcome):
        self.held, self.site, self.link, self.now_ms, self.out = held, site, link, now_ms, out
        self.things = dict(held.things)
        self.told_again: set[Key] = set()
        self.joined: dict[Key, set[Key]] = {}
        self.origin = link.peer

    def run(self, ops) -> Outcome:
        for op in ops:
            if isinstance(op, CONTENT):
                self._content(op)
            elif isinstance(op, Purge):
                self._purge(op)
            elif isinstance(op, Receipt):
                ship = receipted(self._ship(op.key), op)
                if ship is not None:
                    self.out.ships[op.key] = ship
            elif isinstance(op, Withheld):
                self._withheld(op)
            elif isinstance(op, Want):
                self._again(op.key)
        return self.out

    def _ship(self, key: Key) -> Ship | None:
        return self.out.ships.get(key) or self.held.ships.get(key)

    def _stash(self, key: Key) -> Stash | None:
        return self.out.stashes[key] if key in self.out.stashes else self.held.stashes.get(key)

    def _put(self, key: Key, thing: Thing) -> None:
        self.things[key] = self.out.things[key] = thing

    def _enter(self, key: Key, op: str, fields=frozenset(), origin: int = 0) -> None:
        thing = self.things.get(key)
        level, ver = (thing.level, thing.label_ver) if thing is not None else (LOCAL, 0)
        self.out.entries.append(Entry(0, 0, key, op, fields, level, ver, origin))

    def _again(self, key: Key) -> None:
        if key not in self.told_again:
            self.told_again.add(key)
            self._enter(key, "R")

    def _content(self, op: Fields | Snap | Delete) -> None:
        key, before = op.key, self.things.get(op.key)
        if isinstance(op, Fields) and not isinstance(before, Row):
            op = self._with_waiting(op)
        if before is None and not isinstance(op, Delete) and (self.held.expired or self._lingers(key)):
            self._park(op, LINGERING)
            return
        terms = self.link.manifest.models[key.model]
        held = self.held
        owed = held.pending.get(key, NOTHING) if held.pending else NOTHING
        merged = merge(before, op, terms, self.site, self.link, self.now_ms, owed, held.recovering, held.retold)
        if merged.unknown:
            self.out.conflicts += merged.conflicts
            self._park(op, ABSENT)
            self.out.replies.append(Want(key))
            return
        if held.refused and key in held.refused and refusal.writes(before, merged.thing):
            reason = self.held.refused[key]
            if not refusal.decides(before, op, terms, self.site, self.link):
                self._park(op, reason)
                self._note_ship(op)
                return
            told, merged = merged, refusal.kept(before, merged, op, terms, self.site, self.now_ms, reason)
            if told.thing.cl != before.cl:
                self._again(key)
            self._put(key, merged.thing)
            if passed_on := told.changed - merged.changed:
                self._enter(key, "U", passed_on, origin=self.origin)
            self._enter(key, "U", merged.changed)
            merged = merged._replace(op="")
        self._merged(op, before, merged, terms)

    def _merged(self, op, before: Thing | None, merged, terms) -> None:
        key = op.key
        self.out.conflicts += merged.conflicts
        if merged.thing is not before:
            self._put(key, merged.thing)
        if isinstance(merged.thing, Row):
            self._join_stash(key)
            if self.site.owner:
                self._keep_closed(op)
                self._inherit(key, terms)
                if not isinstance(before, Row):
                    self._catch_up(op, terms)
        if merged.op:
            self._enter(key, merged.op, merged.changed, origin=self.origin)
        if self.held.parked and key in self.held.parked:
            self._settle(key)
        self._note_ship(op)
        unaware = self.site.owner and merged.thing is not None and self._unaware(op, merged.thing)
        if merged.again or unaware:
            self._again(key)

    def _lingers(self, key: Key) -> bool:
        """People have not decided yet whether what this peer holds of a record is alive."""
        waiting = self.held.parked.get(key)
        return waiting is not None and any(parked.reason == LINGERING for parked in waiting)

    def _with_waiting(self, op: Fields) -> Fields | Snap:
        """Fields of a record that is not here because it was refused when it came: it is tried again, with them."""
        for parked in self.held.parked.get(op.key, ()):
            if isinstance(parked.op, Snap) and parked.reason != LINGERING and parked not in self.out.unparked:
                if (waiting := self.still_allowed(parked.op)) is not None:
                    self.out.unparked.append(parked)
                    op = refusal.joined(waiting, op)
        return op

    def _park(self, op, reason: str) -> None:
        """Let an operation wait: one for a record and a peer, which says what all that waited before it said."""
        lingers = reason == LINGERING
        for parked in self.held.parked.get(op.key, ()):
            if (parked.reason == LINGERING) == lingers and parked not in self.out.unparked:
                self.out.unparked.append(parked)
                op = refusal.joined(parked.op, op)
        for parked in [p for p in self.out.parked if p.key == op.key and (p.reason == LINGERING) == lingers]:
            self.out.parked.remove(parked)
            op = refusal.joined(parked.op, op)
        self.out.parked.append(Parked(op.key, op, reason, self.link.peer))

    def _settle(self, key: Key) -> None:
        """The record is here (or dead) now: what waited for it joins it, and is told to the peer, who may have forgotten."""
        for parked in self.held.parked.get(key, ()):
            if parked.reason != LINGERING and parked not in self.out.unparked:
                self.out.unparked.append(parked)
                if (op := self.still_allowed(parked.op)) is not None:
                    self.tell(op)

    def tell(self, op) -> None:
        """Apply an operation that waited; what it changes is echoed."""
        self.origin = 0
        self._content(op)
        self.origin = self.link.peer

    def still_allowed(self, op):
        """A parked operation without the fields that were closed while it waited."""
        terms = self.link.manifest.models.get(op.key.model)
        if terms is None or isinstance(op, Delete):
            return op if terms is not None else None
        allowed = terms.open_at(self.link.ceiling) if self.link.up else terms.fields.keys()
        cells = {n: c for n, c in op.cells.items() if n in allowed}
        return op._replace(cells=cells) if cells else None

    def _unaware(self, op, thing: Thing) -> bool:
        """The peer did not know our latest label of the record when it wrote: tell it what the record is now."""
        if isinstance(op, Snap) and op.level != thing.level:
            return True
        return op.label_ver < labels.version(thing, self.site.floor)

    def _note_ship(self, op) -> None:
        ship = self._ship(op.key)
        if isinstance(op, Delete):
            self.out.ships[op.key] = Ship(False, max(op.label_ver, ship.label_ver if ship else 0))
        elif ship is None or not ship.held:
            self.out.ships[op.key] = Ship(True, op.label_ver)

    def _join_stash(self, key: Key) -> None:
        """It is open again: what was owed goes back into it, but for fields that were closed meanwhile: they stay owed."""
        stash, row = self._stash(key), self.things[key]
        if stash is None:
            return
        passing = self.link.manifest.open(key.model, self.link.ceiling)
        owed = {n: c for n, c in stash.cells.items() if n not in passing}
        self.out.stashes[key] = stash._replace(cells=owed) if owed and stash.cl >= row.cl else None
        if stash.cl < row.cl:
            self.out.conflicts += [
                Conflict(key, n, "deleted", row.cells.get(n), c) for n, c in sorted(stash.cells.items())
            ]
            return
        cells = dict(row.cells)
        for name, cell in stash.cells.items():
            if name in passing and (name not in cells or cells[name].stamp < cell.stamp):
                cells[name] = cell
        self._put(key, row._replace(cells=cells))

    def _keep_closed(self, op) -> None:
        """The peer knows a later, closed label: a restored backup forgot it. Labels are forgotten in one direction only."""
        row = self.things[op.key]
        if isinstance(op, Snap) and op.label_ver > row.label_ver and op.level > row.level:
            self._close(op.key, op.level, op.label_ver)

    def _close(self, key: Key, level: int, label_ver: int) -> None:
        thing = self.things[key]
        ver = max(labels.following(thing, self.site.floor), label_ver + 1)
        self._put(key, thing._replace(level=level, label_ver=ver))
        self._enter(key, "L")
        self._parts_follow(key, level)

    def _inherit(self, key: Key, terms) -> None:
        if not terms.inherits:
            return
        row = self.things[key]
        whole = labels.whole_of(row, terms)
        if whole is not None:
            self.joined.setdefault(whole, set()).add(key)
        self._raise(key, labels.inherited(row, terms, self.things))

    def _catch_up(self, op, terms) -> None:
        """A part that was made without knowledge of the last label of its whole: the peer may have given it up along with that."""
        row = self.things[op.key]
        whole = labels.whole_of(row, terms)
        parent = self.things.get(whole) if whole is not None else None
        if parent is not None and op.label_ver < parent.label_ver > row.label_ver:
            self._put(op.key, row._replace(label_ver=parent.label_ver))
            self._again(op.key)

    def _raise(self, key: Key, level: int) -> None:
        row = self.things.get(key)
        if isinstance(row, Row) and level > row.level:
            self._put(key, labels.relabelled(row, level, self.site.floor))
            self._enter(key, "L")
            self._parts_follow(key, level)

    def _parts_follow(self, key: Key, level: int) -> None:
        for part in sorted({*self.held.parts.get(key, ()), *self.joined.get(key, ())}):
            self._raise(part, level)

    def _purge(self, op: Purge) -> None:
        if not self.link.up:
            self.out.alarm = "a purge from a site that owns no labels"
            return
        key, thing = op.key, self.things.get(op.key)
        if isinstance(thing, Row) and op.label_ver < thing.label_ver:
            return  # opened again since, and we know it
        if not (isinstance(thing, Marker) and op.label_ver < thing.label_ver):
            marker, stash = strip(thing, op, self.held.pending.get(key, frozenset()))
            if stash is not None and self._stash(key) is None:
                self.out.stashes[key] = stash
            if marker != thing:
                self._put(key, marker)
                self.out.purged.append(key)
                self._enter(key, "L", origin=self.link.peer)
        for parked in self.held.parked.get(key, ()):
            if not isinstance(parked.op, Delete) and parked.op.label_ver <= op.label_ver:
                self.out.unparked.append(parked)
        ship = self._ship(key)
        if ship is not None and ship.held:
            self.out.ships[key] = Ship(False, op.label_ver)
        self.out.replies.append(Receipt(key, op.label_ver))

    def _withheld(self, op: Withheld) -> None:
        if not self.site.owner:
            return
        thing = self.things.get(op.key)
        if thing is None:  # a restored owner forgot it altogether; whoever tells of it later must not open it
            thing = Marker(op.cl, withheld=op.cl % 2 == 1)
            self._put(op.key, thing)
        if thing.label_ver >= op.label_ver or thing.level > self.link.ceiling:
            return
        self._close(op.key, self.link.ceiling + 1, op.label_ver)
