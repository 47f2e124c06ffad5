"""The world: sites, people, a faulty network, restores and clocks, and the oracles that watch what must hold (I1 to I10)."""

from __future__ import annotations

from typing import NamedTuple

from ostoja.hybrid.core import equality
from ostoja.hybrid.core.apply import ABSENT, LINGERING
from ostoja.hybrid.core.merge import path
from ostoja.hybrid.core.sequence import Verdict
from ostoja.hybrid.core.terms import LOCAL, OPEN, Authority, FieldTerms, Manifest, Merge, Mode, ModelTerms, Unique
from ostoja.hybrid.core.wire import (
    DATA,
    ZERO,
    Delete,
    Envelope,
    Fields,
    Key,
    Marker,
    Purge,
    Row,
    Snap,
    encode,
)

from .node import LinkState, Node, Tx, known_manifests

P, C, L = 1, 2, 3
STEPS = {"open": ("won", "lost"), "won": ("open",), "lost": ()}
START_MS = 1_700_000_000_000
HOUR = 3_600_000
SEALED_EVERY = 4  # of so many envelopes one travels as bytes, as all of them do between processes; it is slow


class Broken(AssertionError):
    """An invariant does not hold; the message begins with its id."""


def hold(condition: object, invariant: str, *told: object) -> None:
    """The oracle's voice; what it tells is only put into words when something is wrong."""
    if not condition:
        raise Broken(f"{invariant}: {' '.join(map(str, told))}")


def _manifest(email: int) -> Manifest:
    text = FieldTerms(OPEN)
    return Manifest(
        {
            "deal": ModelTerms(
                Mode.MERGE,
                fields={
                    "name": text,
                    "note": text,
                    "code": text,
                    "amount": text,
                    "currency": text,
                    "parent": FieldTerms(OPEN, Merge.LATEST, "deal"),
                    "state": FieldTerms(OPEN, Merge.TRANSITION),
                    "email": FieldTerms(email),
                    "ssn": FieldTerms(LOCAL),
                },
                together=(("amount", "currency"),),
                unique=(Unique("code_once", ("code",)),),
                edges={"state": STEPS},
            ),
            "move": ModelTerms(
                Mode.APPEND,
                fields={
                    "deal": FieldTerms(OPEN, Merge.FIXED, "deal"),
                    "qty": FieldTerms(OPEN, Merge.FIXED),
                    "memo": FieldTerms(LOCAL, Merge.FIXED),
                },
                inherits="deal",
            ),
            "tariff": ModelTerms(Mode.PREMISES, Authority.PREMISES, {"price": text}),
            "visit": ModelTerms(Mode.CLOUD, Authority.CLOUD, {"text": text}),
        }
    )


EMAIL_OPEN, EMAIL_LOCAL = _manifest(OPEN), _manifest(LOCAL)
known_manifests(EMAIL_OPEN, EMAIL_LOCAL)
OWNED = {"tariff": P, "visit": C}
TOKENS = ("name", "note", "amount", "currency", "email", "ssn", "memo", "price", "text")


class Write(NamedTuple):
    """A committed write of a person: the ledger of I2."""

    site: int
    key: Key
    field: str
    value: object
    stamp: object
    cl: int


class Death(NamedTuple):
    """A committed delete."""

    key: Key
    cl: int


class Message(NamedTuple):
    """Bytes on their way."""

    to: int
    envelope: Envelope


class World:
    """Two sites (premises, cloud) or three (and a laptop at the premises). Every method is one thing that may happen."""

    node_class: type[Node] = Node

    def __init__(self, sites: int = 2, node_class: type[Node] | None = None):
        node_class = node_class or self.node_class
        self.now = START_MS
        self.nodes = {P: node_class(P, EMAIL_OPEN, owner=True), C: node_class(C, EMAIL_OPEN)}
        self._join(P, C, OPEN, {Authority.CLOUD}, {Authority.PREMISES})
        if sites == 3:
            self.nodes[L] = node_class(L, EMAIL_OPEN)
            self._join(P, L, LOCAL, set(), {Authority.PREMISES, Authority.CLOUD})
        self.net: list[Message] = []
        self.backups: dict[int, Node] = {}
        self.count = self.delivered = 0
        self.secret: set[str] = set()
        self.ledger: list[Write] = []
        self.deaths: list[Death] = []
        self.moves: dict[Key, int] = {}
        self.pairs: list[tuple[Write, Write]] = []
        self.told: dict[tuple[int, int], int] = {}
        self.withdrawn: set[tuple[Key, int]] = set()
        self.rogued: set[Key] = set()
        self.said: dict[tuple, object] = {}
        self.restores = 0

    def _join(self, above: int, below: int, ceiling: int, down, up) -> None:
        manifest = EMAIL_OPEN
        self.nodes[above].links[below] = LinkState(below, ceiling, frozenset(down), manifest)
        self.nodes[below].links[above] = LinkState(above, ceiling, frozenset(up), manifest)

    # people

    def token(self, word: str = "v") -> str:
        """A value that occurs nowhere else."""
        self.count += 1
        return f"{word}{self.count};"

    def alive(self, node: Node, model: str = "deal") -> list[Key]:
        """The records that a person may touch there now."""
        locked = node.locked()
        return sorted(k for k, t in node.things.items() if k.model == model and type(t) is Row and k not in locked)

    def dead(self, node: Node, model: str = "deal") -> list[Key]:
        """The records that a person may restore there now."""
        locked = node.locked()
        return sorted(
            k
            for k, t in node.things.items()
            if k.model == model and type(t) is Marker and t.cl % 2 == 0 and not t.withheld and k not in locked
        )

    def pick(self, node: Node, i: int, model: str = "deal") -> Key | None:
        """One of them."""
        keys = self.alive(node, model)
        return keys[i % len(keys)] if keys and node.is_open else None

    def _fact(self, node: Node, tx: Tx, key: Key, row: Row, names) -> None:
        for name in names:
            cell = row.cells[name]
            tx.facts.append(Write(node.number, key, name, cell.value, cell.stamp, row.cl))

    def create(self, at: int, same_code: bool = False) -> Tx | None:
        """Someone makes a deal."""
        node = self.nodes[at]
        if not node.is_open:
            return None
        self.count += 1
        key = Key("deal", f"d{self.count:04d}")
        code = "same" if same_code else self.token("c")
        values = {"name": self.token(), "code": code, "state": "open"}
        if at != C:
            values["ssn"] = self.token("s")
        tx = node.begin()
        row = node.create(tx, key, values, self.now)
        self._fact(node, tx, key, row, values)
        return tx

    def edit(self, at: int, i: int, name: str, j: int = 0) -> Tx | None:
        """Someone changes a field that this site may hold."""
        node = self.nodes[at]
        key = self.pick(node, i)
        if key is None or name not in node.manifest.open("deal", node.clearance):
            return None
        row = node.things[key]
        if name == "state":
            steps = STEPS.get(row.cells["state"].value, ()) if "state" in row.cells else ()
            if not steps:
                return None
            value = steps[j % len(steps)]
        elif name == "parent":
            others = self.alive(node)
            value = others[j % len(others)].id
        else:
            value = self.token("s" if name == "ssn" else "v")
        values = {name: value}
        if name == "amount" and (j % 2 == 0 or "currency" not in row.cells):
            values["currency"] = self.token("u")
        tx = node.begin()
        after = node.write(tx, key, values, self.now)
        for n in values:
            seen = row.cells.get(n)
            hold(
                seen is None or after.cells[n].stamp > seen.stamp,
                "I7",
                at,
                "overwrote",
                key,
                ".",
                n,
                "with an older stamp",
            )
        self._fact(node, tx, key, after, values)
        return tx

    def edit_two(self, at: int, i: int) -> Tx | None:
        """One transaction changes two records."""
        node = self.nodes[at]
        keys = self.alive(node)
        if len(keys) < 2 or not node.is_open:
            return None
        tx = node.begin()
        for key in (keys[i % len(keys)], keys[(i + 1) % len(keys)]):
            row = node.write(tx, key, {"note": self.token()}, self.now)
            self._fact(node, tx, key, row, ["note"])
        return tx

    def move(self, at: int, i: int, qty: int = 2) -> Tx | None:
        """Someone books a move for a deal."""
        node = self.nodes[at]
        parent = self.pick(node, i)
        if parent is None:
            return None
        self.count += 1
        key = Key("move", f"m{self.count:04d}")
        values = {"deal": parent.id, "qty": qty}
        if at != C:
            values["memo"] = self.token("s")
        tx = node.begin()
        row = node.create(tx, key, values, self.now)
        self._fact(node, tx, key, row, values)
        return tx

    def owned(self, at: int, i: int, rogue: bool = False) -> Tx | None:
        """The premises set a tariff, the cloud a visit; a rogue writes what is not its own, past its gate."""
        node = self.nodes[at]
        model, name = ("tariff", "price") if (at == P) != rogue else ("visit", "text")
        if not node.is_open or at == L:
            return None
        key, dead = self.pick(node, i, model), self.dead(node, model)
        tx = node.begin()
        if key is not None and i % 11 == 5:
            death = Death(key, node.delete(tx, key, self.now).cl)
            tx.facts += [] if rogue else [death]
            return tx
        values = {name: self.token("r" if rogue else "v")}
        if dead and i % 11 in (6, 8):
            key = dead[i % len(dead)]
            row = node.restore(tx, key, values, self.now)
        elif key is None or i % 3 == 0:
            self.count += 1
            key = Key(model, f"{model[0]}{self.count:04d}")
            row = node.create(tx, key, values, self.now)
        else:
            row = node.write(tx, key, values, self.now)
        if not rogue:
            self._fact(node, tx, key, row, [name])
        return tx

    def delete(self, at: int, i: int) -> Tx | None:
        """Someone deletes a deal."""
        node = self.nodes[at]
        key = self.pick(node, i)
        if key is None:
            return None
        tx = node.begin()
        tx.facts.append(Death(key, node.delete(tx, key, self.now).cl))
        return tx

    def undelete(self, at: int, i: int) -> Tx | None:
        """Someone restores a deleted deal."""
        node = self.nodes[at]
        dead = self.dead(node)
        if not dead or not node.is_open:
            return None
        key = dead[i % len(dead)]
        tx = node.begin()
        values = {"name": self.token(), "code": self.token("c"), "state": "open"}
        row = node.restore(tx, key, values, self.now)
        self._fact(node, tx, key, row, values)
        return tx

    def relabel(self, i: int, level: int) -> Tx | None:
        """Someone on the premises marks a deal and its moves as confidential, or opens them."""
        node = self.nodes[P]
        key = self.pick(node, i)
        if key is None or (node.things[key].level > OPEN) == (level > OPEN):
            return None
        moves = [
            k
            for k, t in node.things.items()
            if type(t) is Row and "deal" in t.cells and t.cells["deal"].value == key.id
        ]
        if any(k in node.locked() for k in moves):
            return None
        tx = node.begin()
        for k in (key, *moves):
            if (node.things[k].level > OPEN) != (level > OPEN):
                node.relabel(tx, k, level)
        return tx

    def end(self, at: int, tx: Tx | None, commit: bool = True) -> None:
        """Commit (with what it means to the oracles) or roll back; ids are burnt then."""
        if tx is None or tx.number not in self.nodes[at].open_txs:
            return
        node = self.nodes[at]
        before = {k: node.things.get(k) for k in tx.puts}
        node.end(tx, commit)
        if not commit:
            return
        for key, thing in tx.puts.items():
            for name, cell in thing.cells.items() if isinstance(thing, Row) else ():
                known = key, name, cell.value
                self.said[known] = max(self.said.get(known, ZERO), cell.stamp)
        for fact in tx.facts:
            if isinstance(fact, Death):
                self.deaths.append(fact)
                continue
            self.ledger.append(fact)
            if fact.key.model == "move" and fact.field == "qty":
                self.moves[fact.key] = fact.value
            self._classify(node, fact)
        rogued = {key for key in tx.puts if OWNED.get(key.model, at) != at}
        if rogued:
            self.rogued |= rogued
            self.ledger = [w for w in self.ledger if w.key not in rogued or self._at_its_authority(w)]
            self.deaths = [d for d in self.deaths if d.key not in rogued or self._buried_somewhere(d)]
        if len({f.key for f in tx.facts if isinstance(f, Write)}) == 2:
            self.pairs.append(tuple(f for f in tx.facts if f.field == "note"))
        if at == P:
            for key, thing in tx.puts.items():
                if isinstance(thing, Row):
                    self._legal(before[key], thing, direct=True)
                    if before[key] is not None and before[key].level > OPEN == thing.level:
                        self._opened(key, thing)
                        self.withdrawn = {(k, ver) for k, ver in self.withdrawn if k != key}

    def _classify(self, node: Node, fact: Write) -> None:
        """What is written while it may not leave is secret until it is current and open."""
        if node.number == C or fact.field not in TOKENS:
            return
        premises = self.nodes[P]
        there, here = premises.things.get(fact.key), node.things.get(fact.key)
        closed = fact.field not in premises.manifest.open(fact.key.model, OPEN)
        if closed or any(t is not None and t.level > OPEN for t in (there, here)):
            self.secret.add(fact.value)

    def _opened(self, key: Key, row: Row) -> None:
        if row.level == OPEN:
            passing = self.nodes[P].manifest.open(key.model, OPEN)
            self.secret -= {c.value for n, c in row.cells.items() if n in passing}

    def _legal(self, before, after: Row, direct: bool) -> None:
        if isinstance(before, Row) and "state" in before.cells and "state" in after.cells and before.cl == after.cl:
            old, new = before.cells["state"].value, after.cells["state"].value
            way = path(STEPS, old, new)
            hold(way is not None and (not direct or len(way) <= 1), "I8", "a step from", old, "to", new)

    def policy(self, email_open: bool) -> None:
        """The tenant opens or closes a field; the premises obey at once, the others when they hear of it."""
        node = self.nodes[P]
        before = {peer: node.link(peer).manifest for peer in node.links}
        node.manifest = EMAIL_OPEN if email_open else EMAIL_LOCAL
        for peer, state in node.links.items():
            node.backfill(state, before[peer], node.link(peer).manifest)
        if email_open:
            for key, thing in node.things.items():
                if isinstance(thing, Row):
                    self._opened(key, thing)

    def adopt(self, at: int) -> None:
        """A site hears of the policy, from a site above that it has met: from a restored one not before it knows so.

        Only then does it know what it owes to it, and what it therefore may not let go of when the policy closes it.
        """
        node, manifest = self.nodes[at], self.nodes[P].manifest
        met = all(state.inbound.epoch == self.nodes[peer].epoch for peer, state in node.links.items())
        if node.manifest is not manifest and not node.open_txs and met:
            node.adopt(manifest)

    # network

    def send(self, at: int, to: int, most: int = 4, pipelined: bool = False) -> None:
        """One exchange's worth of envelopes leaves."""
        node = self.nodes[at]
        if to not in node.links:
            return
        spoken = node.control(to, self.now)
        for envelope in filter(None, (spoken, node.batch(to, self.now, most, pipelined))):
            self._watch_wire(node, to, envelope)
            self.net.append(Message(to, envelope))

    def _watch_wire(self, node: Node, to: int, envelope: Envelope) -> None:
        if to != C:
            return
        for op in envelope.ops:
            thing = node.things.get(op.key)
            told = isinstance(op, Fields | Snap | Delete)
            hold(
                not told or (thing is not None and thing.level == OPEN), "I4", "b:", op, "of a record that is local now"
            )
            hold(
                not isinstance(op, Fields | Snap) or all(op.key != key for key, _ver in self.withdrawn),
                "I5",
                "a restored backup tells again:",
                op,
            )
        if envelope.ops and self.secret:
            found = self._secrets(encode(envelope).decode("utf-8", "replace"))
            hold(not found, "I4", "a:", found, "on the wire")

    def _secrets(self, text: str) -> set[str]:
        return {word for word in self.secret if word in text}

    def network(self, i: int, act: str, bit: int = 0) -> None:
        """Something happens to one of the messages on their way."""
        if not self.net:
            return
        message = self.net[i % len(self.net)]
        if act == "drop":
            self.net.remove(message)
        elif act in ("truncate", "corrupt"):
            sealed = encode(message.envelope)
            at = bit % len(sealed)
            rest = b"" if act == "truncate" else bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
            damaged = self.nodes[message.to].unsealed(sealed[:at] + rest)
            hold(damaged is None, "I10", "a damaged envelope was taken")
            self.net.remove(message)
        elif act == "delay":
            self.net.remove(message)
            self.net.append(message)
        else:
            result = self._deliver(message, crash=act == "crash")
            if result is not None and act != "dup":
                self.net.remove(message)

    def _deliver(self, message: Message, crash: bool = False):
        node = self.nodes[message.to]
        before = {n: (s.inbound, s.outbound) for n, s in node.links.items()}
        things, parked = node.things.copy() if node.number == P else None, list(node.parked)
        self.delivered += 1
        envelope = message.envelope
        if self.delivered % SEALED_EVERY == 0:
            envelope = node.unsealed(encode(envelope))
            hold(envelope == message.envelope, "I10", "sealed and unsealed, it says something else:", envelope)
        result = node.receive(envelope, self.now, crash)
        if result == Verdict.APPLY:
            self._after(node, things, parked, message)
        for n, (inbound, outbound) in before.items():
            state = node.links[n]
            if state.inbound.epoch == inbound.epoch and state.inbound.own == inbound.own:
                hold((state.inbound.applied or 0) >= (inbound.applied or 0), "I6", "applied went back")
                if state.outbound.own == outbound.own:
                    hold(state.outbound.acked >= outbound.acked, "I6", "acked went back")
        return result

    def _after(self, node: Node, things, parked: list, message: Message) -> None:
        self._merged(node, things, parked)
        envelope = message.envelope
        if envelope.lane == DATA:
            link = node.number, envelope.sender
            self.told[link] = max(self.told.get(link, 0), envelope.high_water)
            if node.links[envelope.sender].inbound.applied >= self.told[link]:
                self._whole_transactions(node, envelope.sender)

    def _merged(self, node: Node, things, parked: list) -> None:
        if things is not None:
            for key, thing in node.things.items():
                was = things.get(key)
                if was is not thing and isinstance(thing, Row):
                    self._legal(was, thing, direct=False)
                    self._opened(key, thing)
        if node.number == C:
            self.check_cloud()
        self._closed_cases()
        self._waiting(node, things, parked)

    def _waiting(self, node: Node, things, before: list) -> None:
        """I9: one operation waits for a record and a peer, and the owner parks nothing of a record that lives there."""
        waiting = [p for p in node.parked if p.reason != LINGERING]
        hold(len({(p.key, p.peer) for p in waiting}) == len(waiting), "I9", "two wait for one record:", waiting)
        for parked in waiting if things is not None else ():
            alive = isinstance(things.get(parked.key), Row) and isinstance(node.things.get(parked.key), Row)
            mine = alive and parked.key.model not in OWNED and not any(p is parked for p in before)
            hold(not mine or parked.reason == ABSENT, "I9", "the owner does not decide:", parked)

    def _closed_cases(self) -> None:
        """I5: a purge that was receipted is complete, for good; not only at rest."""
        premises, cloud = self.nodes[P], self.nodes[C]
        ships = premises.links[C].ships
        if not (premises.is_open and cloud.is_open):
            return
        for key, thing in premises.things.items():
            ship = ships.get(key)
            if thing.level > OPEN and ship is not None and not ship.held and ship.label_ver >= thing.label_ver:
                hold(type(cloud.things.get(key)) is not Row, "I5", key, "came back after its purge was receipted")

    def retry(self, at: int) -> None:
        """What a site had parked is tried again.

        It counts as a delivery: a value that becomes current in an open record of the premises is open from then on,
        as it is when it arrives a little later over the wire.
        """
        node = self.nodes[at]
        things, parked = node.things.copy() if at == P else None, list(node.parked)
        node.retry(self.now)
        self._merged(node, things, parked)

    def check_cloud(self) -> None:
        """I4 at rest: nothing that may not be there."""
        node = self.nodes[C]
        if not node.is_open:
            return
        for key, thing in node.things.items():
            for name, cell in thing.cells.items() if isinstance(thing, Row) else ():
                hold(name in EMAIL_OPEN.open(key.model, OPEN), "I4", "a: the field", key, ".", name, "in the cloud")
                hold(cell.value not in self.secret, "I4", "a:", cell.value, "of", key, ".", name, "in the cloud")
        kept = [c.value for x in node.conflicts for c in (x.kept, x.lost) if c is not None]
        kept += [c.value for p in node.parked for c in getattr(p.op, "cells", {}).values()]
        hold(not self.secret.intersection(v for v in kept if isinstance(v, str)), "I4", "a: among conflicts or parked")

    def _whole_transactions(self, node: Node, sender: int) -> None:
        """A site that has caught up shows transactions as a whole; while it catches up, part by part, it may not."""
        for pair in self.pairs[-6:]:
            if pair[0].site != sender:
                continue
            found = [node.things.get(w.key) for w in pair]
            source = [self.nodes[w.site].things.get(w.key) for w in pair]
            if any(p.key == w.key for p in node.parked for w in pair):
                continue
            if not all(isinstance(t, Row) and t.label_ver == 0 and t.cl == 1 for t in (*found, *source)):
                continue
            shown = [t.cells["note"].stamp if "note" in t.cells else ZERO for t in found]
            if any(stamp > w.stamp for stamp, w in zip(shown, pair, strict=True)):
                continue  # somebody wrote later
            here = [stamp == w.stamp for stamp, w in zip(shown, pair, strict=True)]
            hold(all(here) or not any(here), "I7", "site", node.number, "shows half a transaction:", pair)

    # faults

    def clock(self, at: int, ms: int) -> None:
        """A clock is set wrong."""
        self.nodes[at].skew = ms

    def poison(self, at: int, i: int) -> None:
        """The database of a site will refuse this record."""
        everywhere = sorted({k for n in self.nodes.values() for k in n.things if k.model == "deal"})
        if everywhere:
            self.nodes[at].poison.add(everywhere[i % len(everywhere)])

    def cure(self, at: int, i: int) -> None:
        """The reason why a record was refused is gone, or is not: the site tries again what is parked."""
        ill = sorted(self.nodes[at].poison)
        if ill and i % 3:
            self.nodes[at].poison.discard(ill[i % len(ill)])
        self.retry(at)

    def backup(self, at: int) -> None:
        """A backup is taken."""
        self.backups[at] = self.nodes[at].backup()

    def restore(self, at: int) -> None:
        """The site is lost and comes back from its backup, as a new incarnation.

        What nobody else has is lost with it, and what is on its way may take more: an order to purge, and the
        acknowledgement with which a site lets go of what it owed, are good although their sender forgot the content.
        """
        if at not in self.backups or self.nodes[at].open_txs:
            return
        old, new = self.nodes[at], self.backups[at].backup()
        new.manifest, new.skew = old.manifest, old.skew
        for peer, state in new.links.items():
            state.peer_manifest = old.links[peer].peer_manifest
        self.nodes[at] = new
        self.restores += 1
        self.reborn(new, old.epoch)
        self.pairs, self.told = [], {}
        self.ledger = [w for w in self.ledger if any(self._keeps(n, w, at) for n in self.nodes.values())]
        self.deaths = [d for d in self.deaths if self._buried_somewhere(d)]
        if at == P:
            self.withdrawn |= {(k, t.label_ver) for k, t in old.things.items() if t.level > OPEN}
        self.withdrawn = {(k, ver) for k, ver in self.withdrawn if self._known_closed(k, ver)}
        written = {w.key for w in self.ledger if w.field == "qty"}
        self.moves = {k: q for k, q in self.moves.items() if k in written}

    def reborn(self, node: Node, previous: int) -> None:
        """A restored copy says that it is one."""
        node.reborn(previous, self.restores)

    def collect_graves(self, at: int) -> None:
        """A site forgets the dead that everybody knows of."""
        self.nodes[at].collect_graves()

    # heal, then check

    def heal(self) -> None:
        """All faults end; all say what they have; then everything must hold."""
        for number, node in self.nodes.items():
            for tx in list(node.open_txs.values()):
                self.end(number, tx)
            node.skew = 0
            node.poison.clear()
        self.now += 3 * HOUR
        while self.net:
            self.network(0, "ok")
        idle = 0
        for _round in range(60):
            for number, node in self.nodes.items():
                self.retry(number)
                self.adopt(number)
                for peer in node.links:
                    self.send(number, peer, 200)
            while self.net:
                self.network(0, "ok")
            idle = idle + 1 if self._quiet() else 0
            if idle == 2:
                break
        else:
            raise Broken(f"I9: no rest: {self._unrest()}")
        self.check()

    def _quiet(self) -> bool:
        return not self._unrest()

    def _unrest(self) -> list:
        found = []
        for n, node in self.nodes.items():
            node.number_outbox()
            if node.retired or node.manifest is not self.nodes[P].manifest:
                found.append((n, "retired" if node.retired else "manifest"))
            found += [(n, "stash", k) for k in node.stashes]
            found += [(n, "parked", p.key) for p in node.parked if p.reason != LINGERING]
            for peer, state in node.links.items():
                if state.outbound.acked < node.seq or not state.inbound.whole:
                    found.append((n, peer, state.outbound.acked, node.seq))
                if node.owed(peer):
                    found.append((n, peer, "control"))
        return found

    def accounted(self, node: Node, w: Write) -> bool:
        """Whether a write is at a site: there, superseded, under a delete, in a conflict, parked or owed."""
        thing = node.things.get(w.key)
        if isinstance(thing, Row):
            cell = thing.cells.get(w.field)
            by_right = w.key.model not in OWNED or cell is None or cell.stamp.site == w.site
            by_right = by_right and (cell is None or self._somebody_wrote(w, cell) or self._told(node, w))
            if thing.cl > w.cl or (thing.cl == w.cl and cell is not None and cell.stamp >= w.stamp and by_right):
                return True
        elif thing is not None and not thing.withheld and thing.cl > w.cl:
            if w.key.model not in OWNED or thing.stamp.site == w.site:
                return True
        stash = node.stashes.get(w.key)
        if stash is not None and w.field in stash.cells and stash.cells[w.field].stamp >= w.stamp:
            return True
        for parked in node.parked:
            cells = getattr(parked.op, "cells", {})
            if parked.key == w.key and w.field in cells and cells[w.field].stamp >= w.stamp:
                return True
        if OWNED.get(w.key.model) == w.site:
            return False  # the authority loses to nobody
        return any(c.key == w.key and c.lost is not None and c.lost.stamp == w.stamp for c in node.conflicts)

    def _somebody_wrote(self, w: Write, cell) -> bool:
        """A person's later word supersedes; the stamp with which the owner keeps its own value does not."""
        return self.said.get((w.key, w.field, cell.value), ZERO) >= w.stamp

    @staticmethod
    def _told(node: Node, w: Write) -> bool:
        """Whether this or a later word for the field is a conflict."""
        lost = [c.lost.stamp for c in node.conflicts if (c.key, c.field) == (w.key, w.field) and c.lost is not None]
        return any(stamp >= w.stamp for stamp in lost)

    def _at_its_authority(self, w: Write) -> bool:
        """Nobody else keeps for the authority, restored, what somebody without authority writes over, and passes on."""
        return self.accounted(self.nodes[OWNED[w.key.model]], w)

    def _buried_somewhere(self, death: Death) -> bool:
        if death.key in self.rogued:
            return self.buried(self.nodes[OWNED[death.key.model]], death)
        return any(self.buried(node, death) for node in self.nodes.values())

    def _keeps(self, node: Node, w: Write, lost: int) -> bool:
        """Whether a site has a write, and will have it when all has arrived that a lost site still said."""
        said = [m.envelope for m in self.net if m.to == node.number and m.envelope.sender == lost]
        if said and (
            w.key in node.stashes or any(isinstance(op, Purge) and op.key == w.key for m in said for op in m.ops)
        ):
            return False
        if w.key in self.rogued and node.number != OWNED[w.key.model]:
            return False
        return self.accounted(node, w)

    @staticmethod
    def buried(node: Node, death: Death) -> bool:
        """Whether a site knows of a death, or has collected the grave."""
        thing = node.things.get(death.key)
        return (thing is not None and thing.cl >= death.cl) or death.key in node.collected

    def _known_closed(self, key: Key, ver: int) -> bool:
        """Whether somebody who tells the restored premises so knows the last label of a record, which closed it."""
        below = [node.things.get(key) for number, node in self.nodes.items() if number != P]
        return any(t is not None and t.level > OPEN and t.label_ver >= ver for t in below)

    def projection(self, number: int, ceiling: int, manifest: Manifest) -> dict[Key, tuple]:
        """What a site holds that both sides of a link with this ceiling hold."""
        found = {}
        for key, thing in self.nodes[number].things.items():
            if equality.shared(key, thing, ceiling):
                fields = manifest.open(key.model, ceiling)
                cells = {n: (c.value, c.stamp) for n, c in sorted(thing.cells.items()) if n in fields}
                found[key] = (thing.cl, thing.level, cells)
        return found

    def check(self) -> None:
        """The oracles at rest."""
        premises = self.nodes[P]
        all_parked = {p.key for node in self.nodes.values() for p in node.parked}
        for peer, state in premises.links.items():
            link, parked = premises.link(peer), all_parked
            ours = {k: v for k, v in self.projection(P, state.ceiling, link.manifest).items() if k not in parked}
            theirs = {k: v for k, v in self.projection(peer, 9, self.nodes[peer].manifest).items() if k not in parked}
            differ = {
                k: (ours.get(k), theirs.get(k)) for k in ours.keys() | theirs.keys() if ours.get(k) != theirs.get(k)
            }
            hold(not differ, "I1", "premises and", peer, "differ:", differ)
            self._roots(peer, state.ceiling, link.manifest, parked)
        lingering = {p.key for node in self.nodes.values() for p in node.parked if p.reason == LINGERING}
        for w in self.ledger:
            if w.key in lingering:
                continue  # shown to people
            if w.key not in premises.things and any(d.key == w.key for d in self.deaths):
                continue
            hold(self.accounted(premises, w), "I2", w, "is lost:", premises.things.get(w.key))
        for d in self.deaths:
            buried = any(getattr(node.things.get(d.key), "cl", 0) >= d.cl for node in self.nodes.values())
            for n, node in self.nodes.items():
                thing = node.things.get(d.key)
                alive = isinstance(thing, Row) and thing.cl < d.cl and d.key not in all_parked
                forgiven = node.restored and not buried  # it lost the death with all else, and nobody keeps the grave
                hold(not alive or forgiven, "I2", d, "is forgotten by", n)
        for n, node in self.nodes.items():
            for key, thing in node.things.items():
                if key.model == "move" and isinstance(thing, Row):
                    hold(self.moves.get(key, thing.cells["qty"].value) == thing.cells["qty"].value, "I3", key, "at", n)
        for key in self.moves:
            hold(key in premises.things or key in all_parked, "I3", key, "is missing")
        for node in self.nodes.values():
            for key, thing in node.things.items():
                owned = isinstance(thing, Row) and key.model in OWNED and key not in all_parked
                for cell in thing.cells.values() if owned else ():
                    hold(cell.stamp.site == OWNED[key.model], "I8", key, "was written by", cell.stamp.site)
        self.check_cloud()
        for node in self.nodes.values():
            for key, thing in node.things.items():
                if isinstance(thing, Row) and "amount" in thing.cells:
                    pair = thing.cells["amount"].stamp, thing.cells["currency"].stamp
                    hold(pair[0] == pair[1], "I7", key, "has an amount and a currency of two writers")
        cloud = self.nodes[C]
        for key, thing in premises.things.items():
            part = key.model == "move" and isinstance(thing, Row)
            whole = premises.things.get(Key("deal", thing.cells["deal"].value)) if part else None
            hold(whole is None or whole.level <= thing.level, "I4", key, "is open, and part of a closed record")
            if thing.level > OPEN:
                hold(
                    not isinstance(cloud.things.get(key), Row) and key not in cloud.stashes,
                    "I5",
                    key,
                    "is still there",
                )
                hold(all(c.key != key for c in cloud.conflicts), "I5", "a conflict of", key, "is still there")

    def _roots(self, peer: int, ceiling: int, manifest: Manifest, parked) -> None:
        roots = []
        for number in (P, peer):
            leaves = {
                k: equality.leaf(k, t, manifest.open(k.model, ceiling), b"link")
                for k, t in self.nodes[number].things.items()
                if k not in parked and equality.shared(k, t, ceiling)
            }
            roots.append(equality.root(leaves.values()))
        hold(roots[0] == roots[1], "I1", "the roots differ")
