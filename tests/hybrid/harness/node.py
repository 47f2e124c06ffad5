"""A site in memory: a store, an outbox and links, doing with the core what the rooms around it do with PostgreSQL."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

from ostoja.hybrid.core import apply as applying
from ostoja.hybrid.core import egress, epochs, graves, hlc, labels, merge, purge, refusal, sequence
from ostoja.hybrid.core.link import LinkTerms, Site
from ostoja.hybrid.core.sequence import Inbound, Verdict
from ostoja.hybrid.core.terms import LOCAL, Manifest
from ostoja.hybrid.core.wire import (
    CONTROL,
    DATA,
    Corrupt,
    Entry,
    Envelope,
    Key,
    Marker,
    Purge,
    Row,
    Stamp,
    Stash,
    Thing,
    Want,
    decode,
)

REFUSED = "A rule of the database says no."


@dataclass
class Tx:
    """An open transaction: what it will write, which entries it captured, and which rows it holds."""

    number: int
    puts: dict[Key, Thing] = field(default_factory=dict)
    entries: list[Entry] = field(default_factory=list)
    locks: set[Key] = field(default_factory=set)
    facts: list = field(default_factory=list)


@dataclass
class LinkState:
    """What a site keeps of one link."""

    peer: int
    ceiling: int
    leads_to: frozenset[str]
    peer_manifest: Manifest
    inbound: Inbound = field(default_factory=Inbound)
    outbound: epochs.Outbound = field(default_factory=epochs.Outbound)
    sent: int = 0
    ships: dict = field(default_factory=dict)
    replies: list = field(default_factory=list)
    knew: int = 0


class Node:
    """One site. Its state is plain data, so that a backup is a copy of it."""

    def __init__(self, number: int, manifest: Manifest, *, owner: bool = False):
        self.number, self.manifest, self.owner = number, manifest, owner
        self.epoch = epochs.renewed(0, number)
        self.skew = 0
        self.things: dict[Key, Thing] = {}
        self.stashes: dict[Key, Stash] = {}
        self.outbox: list[Entry] = []
        self.last_id = self.last_tx = self.seq = 0
        self.links: dict[int, LinkState] = {}
        self.conflicts: list[merge.Conflict] = []
        self.parked: list[applying.Parked] = []
        self.poison: set[Key] = set()
        self.alarms: list[str] = []
        self.collected_to = 0
        self.collected: set[Key] = set()
        self.top: dict[Key, int] = {}
        self.restored = False
        self.retired = False
        self.open_txs: dict[int, Tx] = {}

    # what the core must know

    @property
    def site(self) -> Site:
        return Site(self.number, self.epoch, self.owner)

    def link(self, peer: int) -> LinkTerms:
        state = self.links[peer]
        manifest = self.manifest if self.manifest is state.peer_manifest else self.both(state)
        return LinkTerms(peer, state.ceiling, manifest, state.leads_to, state.outbound.acked)

    def both(self, state: LinkState) -> Manifest:
        found = _intersections.get((self.manifest.hash, state.peer_manifest.hash))
        if found is None:
            found = self.manifest.intersect(state.peer_manifest)
            _intersections[self.manifest.hash, state.peer_manifest.hash] = found
        return found

    def pending(self, peer: int) -> dict[Key, frozenset[str]]:
        acked, found = self.links[peer].outbound.acked, {}
        for entry in self.outbox:
            if entry.origin != peer and (entry.seq is None or entry.seq > acked):
                fields = entry.fields if entry.op == "U" else frozenset([purge.WHOLE])
                found[entry.key] = found.get(entry.key, frozenset()) | fields
        return found

    @property
    def is_open(self) -> bool:
        return not self.retired and epochs.is_open((s.inbound for s in self.links.values()), self.restored, self.epoch)

    def locked(self) -> set[Key]:
        return {key for tx in self.open_txs.values() for key in tx.locks}

    # people

    def begin(self) -> Tx:
        self.last_tx += 1
        tx = self.open_txs[self.last_tx] = Tx(self.last_tx)
        return tx

    def stamp_clock(self, now_ms: int) -> int:
        return now_ms + self.skew

    def capture(self, tx: Tx, key: Key, op: str, thing: Thing, fields=frozenset(), before: Thing | None = None) -> None:
        self.last_id += 1
        level = max(thing.level, before.level if before is not None else 0)
        tx.entries.append(Entry(self.last_id, tx.number, key, op, fields, level, thing.label_ver))
        tx.puts[key] = thing
        tx.locks.add(key)

    def create(self, tx: Tx, key: Key, values: dict, now_ms: int) -> Row:
        terms = self.manifest.models[key.model]
        up = next((s for s in self.links.values() if "premises" in s.leads_to), None)
        ver = 0 if up is None else labels.floor_of(up.inbound.epoch)
        row, _moved = merge.written(Row({}, 1, 0, ver), values, terms, self.stamp_clock(now_ms), self.number)
        if self.owner:
            level = labels.inherited(row, terms, self.things)
            if level > row.level:
                row = labels.relabelled(row, level, self.site.floor)
        if terms.inherits and row.cells.get(terms.inherits):
            tx.locks.add(Key(terms.fields[terms.inherits].refers, row.cells[terms.inherits].value))
        self.capture(tx, key, "I", row)
        return row

    def write(self, tx: Tx, key: Key, values: dict, now_ms: int) -> Row:
        terms = self.manifest.models[key.model]
        row, moved = merge.written(
            self.things[key], values, terms, self.stamp_clock(now_ms), self.number, self.top.get(key, 0)
        )
        self.capture(tx, key, "U", row, moved)
        return row

    def delete(self, tx: Tx, key: Key, now_ms: int) -> Marker:
        row = self.things[key]
        stamp = hlc.after(self.stamp_clock(now_ms), [Stamp(self.top[key], self.number)], self.number)
        marker = Marker(row.cl + 1, row.level, row.label_ver, stamp)
        self.capture(tx, key, "D", marker)
        return marker

    def restore(self, tx: Tx, key: Key, values: dict, now_ms: int) -> Row:
        dead = self.things[key]
        terms = self.manifest.models[key.model]
        base = Row({}, dead.cl + 1, dead.level, dead.label_ver)
        row, _moved = merge.written(base, values, terms, self.stamp_clock(now_ms), self.number, self.top[key])
        self.capture(tx, key, "I", row)
        return row

    def relabel(self, tx: Tx, key: Key, level: int) -> None:
        row = self.things[key]
        self.capture(tx, key, "L", labels.relabelled(row, level, self.site.floor), before=row)

    def end(self, tx: Tx, commit: bool) -> None:
        del self.open_txs[tx.number]
        if commit:
            self.put(tx.puts)
            self.outbox += tx.entries

    def put(self, things: dict[Key, Thing]) -> None:
        """Records as they are now; their clocks are remembered."""
        for key, thing in things.items():
            self.things[key] = thing
            self.top[key] = max(self.top.get(key, 0), purge.last_stamp(thing).hlc)

    # the link

    def number_outbox(self) -> None:
        if not self.outbox or self.outbox[-1].seq is not None:
            return
        first = next(i for i, e in enumerate(self.outbox) if e.seq is None)
        numbered, self.seq = sequence.number(self.outbox[first:], self.seq)
        self.outbox[first:] = numbered

    def head(self, state: LinkState, lane: str, now_ms: int, **more) -> Envelope:
        out = state.outbound
        return Envelope(
            link=f"{min(self.number, state.peer)}-{max(self.number, state.peer)}",
            sender=self.number,
            epoch=self.epoch,
            peer_epoch=epochs.peer_epoch(out, self.epoch),
            lane=lane,
            manifest=self.link(state.peer).manifest.hash,
            base=out.base,
            resync_to=out.resync_to,
            seq_from=more.pop("seq_from", out.acked + 1),
            seq_to=more.pop("seq_to", out.acked),
            high_water=self.seq,
            ack=self.ack(state),
            hlc_now=max(0, self.stamp_clock(now_ms)) << 16,
            **more,
        )

    def ack(self, state: LinkState):
        return epochs.ack_of(state.inbound, self.seq)

    def batch(self, peer: int, now_ms: int, most: int = 4, pipelined: bool = False) -> Envelope:
        """The next envelope of the data lane; the shipped-set is written before it is returned."""
        state = self.links[peer]
        self.number_outbox()
        others = [s.inbound for s in self.links.values()] if self.restored else ()
        if self.retired or not epochs.may_send(state.inbound, state.outbound, self.epoch, self.owner, others):
            return self.head(state, DATA, now_ms)
        base = max(state.outbound.acked, state.sent) if pipelined else state.outbound.acked
        entries = self.select(state, base, most)
        seq_to = entries[-1].seq if entries else base
        planned = egress.plan(entries, self.things, self.stashes, state.ships, self.site, self.link(peer), seq_to)
        state.ships |= planned.ships
        state.sent = seq_to
        return self.head(state, DATA, now_ms, seq_from=base + 1, seq_to=seq_to, ops=planned.ops)

    def select(self, state: LinkState, base: int, most: int) -> list[Entry]:
        return sequence.cut((e for e in self.outbox if e.seq is not None and e.seq > base), most)

    def control(self, peer: int, now_ms: int) -> Envelope | None:
        """What the control lane has to say: purges until receipted, receipts, wants."""
        state = self.links[peer]
        ops = self.owed(peer)
        if not ops or self.retired:
            return None
        state.replies = []
        return self.head(state, CONTROL, now_ms, ops=tuple(ops))

    def owed(self, peer: int) -> list:
        """What the control lane has to say now."""
        state = self.links[peer]
        ops = list(state.replies)
        if not self.link(peer).up:
            ops += purge.due(state.ships, self.things, state.ceiling, self.site.floor)
        return ops + [Want(p.key) for p in self.parked if p.reason == applying.ABSENT and p.peer == peer]

    def unsealed(self, sealed: bytes) -> Envelope | None:
        """The envelope in these bytes; None when they were damaged on their way."""
        try:
            return decode(sealed)
        except Corrupt:
            return None

    def receive(self, envelope: Envelope, now_ms: int, crash: bool = False):
        """Take an envelope in. None: it waits for row locks; else what it came to. ``crash``: just before the commit."""
        state = self.links[envelope.sender]
        link = self.link(envelope.sender)
        if applying.names(envelope, link) & self.locked():
            return None
        if crash:
            return "crashed"
        greeting = epochs.greet(state.inbound, state.outbound, envelope, self.epoch, self.seq)
        if greeting.rolled_back or greeting.superseded:
            self.alarms.append("this copy must take a new epoch")
            self.retired = True
            return "retired"
        if greeting.resync:
            self.resync(state, greeting)
        else:
            state.inbound, state.outbound = greeting.inbound, greeting.outbound
            self.release(state)
        self.learn(state, envelope)
        link = self.link(envelope.sender)
        held = self.held(envelope, state, link)
        outcome = applying.apply(envelope, held, state.inbound, self.site, link, self.stamp_clock(now_ms))
        refused = self.refused(outcome)
        if refused:
            held.refused = refused
            outcome = applying.apply(envelope, held, state.inbound, self.site, link, self.stamp_clock(now_ms))
        self.commit(outcome, state)
        return outcome.verdict

    def refused(self, outcome: applying.Outcome) -> dict[Key, str]:
        """What the database does not let be written."""
        return {
            key: REFUSED
            for key, thing in outcome.things.items()
            if key in self.poison and isinstance(thing, Row) and refusal.writes(self.things.get(key), thing)
        }

    def held(self, envelope: Envelope, state: LinkState, link: LinkTerms) -> applying.Held:
        resync = envelope.seq_from <= envelope.resync_to and state.inbound.epoch != 0
        expired = graves.expired(state.knew, self.collected_to) and resync
        return applying.Held(
            self.things,
            self.stashes,
            state.ships,
            self.pending(state.peer) if envelope.ops else {},
            self.parked_of(state.peer),
            recovering=self.restored and resync,
            expired=expired,
            retold=resync,
            parts=self.parts() if self.owner and resync else {},
        )

    def parts(self) -> dict[Key, list[Key]]:
        """What belongs to which record."""
        found: dict[Key, list[Key]] = {}
        for key, thing in self.things.items():
            terms = self.manifest.models[key.model]
            if terms.inherits and isinstance(thing, Row) and (whole := labels.whole_of(thing, terms)) is not None:
                found.setdefault(whole, []).append(key)
        return found

    def parked_of(self, peer: int) -> dict[Key, list[applying.Parked]]:
        found: dict[Key, list[applying.Parked]] = {}
        for parked in self.parked:
            if parked.peer == peer:
                found.setdefault(parked.key, []).append(parked)
        return found

    def resync(self, state: LinkState, greeting: epochs.Greeting) -> None:
        before = state.inbound
        self.number_outbox()
        known = greeting.knew if before.whole else min(greeting.knew, state.knew)
        state.inbound, state.knew, state.sent = greeting.inbound, known, 0
        out = greeting.outbound._replace(base=self.seq, acked=self.seq)
        self.append(epochs.resync_entries([*self.things, *self.stashes, *state.ships]))
        self.number_outbox()
        state.outbound = out._replace(resync_to=self.seq)

    def append(self, entries) -> None:
        self.last_tx += 1
        for entry in entries:
            self.last_id += 1
            self.outbox.append(entry._replace(id=self.last_id, tx=self.last_tx))

    def learn(self, state: LinkState, envelope: Envelope) -> None:
        """The owner of the policy hears which manifest the peer stands at; what opens by it is told again."""
        known = _manifests.get(envelope.manifest)
        if not self.owner or known is None or known is state.peer_manifest or envelope.epoch != state.inbound.epoch:
            return
        before = self.link(state.peer).manifest
        state.peer_manifest = known
        after = self.link(state.peer).manifest
        self.backfill(state, before, after)

    def backfill(self, state: LinkState, before: Manifest, after: Manifest) -> None:
        opened = {m for m in after.models if after.open(m, state.ceiling) - before.open(m, state.ceiling)}
        self.append(epochs.resync_entries(key for key in self.things if key.model in opened))

    def commit(self, outcome: applying.Outcome, state: LinkState) -> None:
        if outcome.verdict not in (Verdict.APPLY, Verdict.EMPTY):
            if outcome.alarm:
                self.alarms.append(outcome.alarm)
            return
        self.put(outcome.things)
        for key, stash in outcome.stashes.items():
            if stash is None:
                self.stashes.pop(key, None)
            else:
                self.stashes[key] = stash
        state.ships |= outcome.ships
        self.parked = [p for p in self.parked if p not in outcome.unparked]
        self.parked += [p for p in outcome.parked if p not in self.parked]
        self.conflicts += outcome.conflicts
        if outcome.purged:
            self.conflicts = [c for c in self.conflicts if c.key not in outcome.purged]
        self.append(outcome.entries)
        state.replies += outcome.replies
        state.inbound = outcome.inbound
        state.outbound = epochs.settle(state.outbound, state.inbound)
        self.release(state)

    def release(self, state: LinkState) -> None:
        if self.stashes and "premises" in state.leads_to:
            for key in purge.released(list(self.stashes), self.pending(state.peer)):
                del self.stashes[key]

    def retry(self, now_ms: int) -> None:
        """What was refused is tried again."""
        for peer, state in self.links.items():
            mine = [p for p in self.parked if p.peer == peer and p.reason == REFUSED]
            if mine:
                self.parked = [p for p in self.parked if p not in mine]
                held = applying.Held(self.things, self.stashes, state.ships, self.pending(peer), self.parked_of(peer))
                link, clock = self.link(peer), self.stamp_clock(now_ms)
                outcome = applying.retry(mine, held, state.inbound, self.site, link, clock)
                if refused := self.refused(outcome):
                    held.refused = refused
                    outcome = applying.retry(mine, held, state.inbound, self.site, link, clock)
                self.commit(outcome, state)

    # housekeeping

    def collect_graves(self) -> None:
        last: dict[Key, int | None] = {}
        for entry in self.outbox:
            last[entry.key] = entry.seq
        settled, locked = [s.outbound.settled for s in self.links.values()], self.locked()
        for key, thing in list(self.things.items()):
            seq = last.get(key)
            if key not in locked and self.collectable(thing, seq, settled, key):
                del self.things[key]
                for state in self.links.values():
                    state.ships.pop(key, None)
                self.collected.add(key)
                self.collected_to = max(self.collected_to, seq)

    def collectable(self, thing, seq, settled, key) -> bool:
        parked = any(p.key == key for p in self.parked)
        return graves.collectable(thing, seq, settled, parked, key in self.stashes, self.owner)

    def adopt(self, manifest: Manifest) -> bool:
        """Take the policy over from the owner. What closes goes; False when people's changes of it must drain first."""
        closing = {
            m: self.manifest.open(m, self.clearance) - manifest.open(m, self.clearance) for m in self.manifest.models
        }
        pending = {k: f for peer in self.links for k, f in self.pending(peer).items()}
        if any(f & (closing[k.model] | {purge.WHOLE}) for k, f in pending.items() if closing[k.model]):
            return False
        self.manifest = manifest
        for state in self.links.values():
            state.peer_manifest = manifest
        for key, thing in self.things.items():
            if isinstance(thing, Row) and closing[key.model]:
                self.things[key] = purge.closed_fields(thing, manifest.open(key.model, self.clearance))
        self.conflicts = [c for c in self.conflicts if c.field not in closing[c.key.model]]
        return True

    @property
    def clearance(self) -> int:
        return LOCAL if self.owner else max(s.ceiling for s in self.links.values())

    def backup(self) -> Node:
        clone = copy.copy(self)
        clone.things, clone.stashes = dict(self.things), dict(self.stashes)
        clone.outbox, clone.conflicts = list(self.outbox), list(self.conflicts)
        clone.parked, clone.alarms, clone.open_txs = list(self.parked), [], {}
        clone.links = {n: copy.copy(s) for n, s in self.links.items()}
        for state in clone.links.values():
            state.ships, state.replies = dict(state.ships), []
        clone.poison, clone.collected, clone.top = set(self.poison), set(self.collected), dict(self.top)
        return clone

    def reborn(self, previous: int, chance: int) -> None:
        """A restored copy takes a new epoch before it says a word."""
        self.epoch = epochs.renewed(previous, chance)
        self.restored = True
        self.retired = False


_intersections: dict[tuple[str, str], Manifest] = {}
_manifests: dict[str, Manifest] = {}


def known_manifests(*manifests: Manifest) -> None:
    """The versions of the policy that sites may name by hash."""
    _manifests.update({m.hash: m for m in manifests})


__all__ = ["LinkState", "Node", "Purge", "Tx", "known_manifests"]
