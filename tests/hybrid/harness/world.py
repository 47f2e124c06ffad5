"""The world: sites, people, a faulty network, restores and clocks; the oracles watch what must hold (I1 to I10)."""

from __future__ import annotations

from typing import NamedTuple

from ostoja.hybrid.core.apply import LINGERING
from ostoja.hybrid.core.sequence import Verdict
from ostoja.hybrid.core.terms import LOCAL, OPEN, Authority
from ostoja.hybrid.core.wire import DATA, ZERO, Envelope, Key, Marker, Row, encode

from .node import LinkState, Node, Tx, known_manifests
from .oracles import EMAIL_LOCAL, EMAIL_OPEN, OWNED, STEPS, Broken, C, Death, L, Oracles, P, Write, hold

known_manifests(EMAIL_OPEN, EMAIL_LOCAL)
START_MS = 1_700_000_000_000
HOUR = 3_600_000
SEALED_EVERY = 4  # of so many envelopes one travels as bytes, as all of them do between processes; it is slow


class Message(NamedTuple):
    """Bytes on their way."""

    to: int
    envelope: Envelope


class World(Oracles):
    """Two sites (premises, cloud) or three (and a laptop at the premises). Every method is one thing that may happen."""

    node_class: type[Node] = Node

    def __init__(self, sites: int = 2, node_class: type[Node] | None = None):
        super().__init__()
        node_class = node_class or self.node_class
        self.now = START_MS
        self.nodes = {P: node_class(P, EMAIL_OPEN, owner=True), C: node_class(C, EMAIL_OPEN)}
        self._join(P, C, OPEN, {Authority.CLOUD}, {Authority.PREMISES})
        if sites == 3:
            self.nodes[L] = node_class(L, EMAIL_OPEN)
            self._join(P, L, LOCAL, set(), {Authority.PREMISES, Authority.CLOUD})
        self.backups: dict[int, Node] = {}
        self.count = self.delivered = 0
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
        labelled = {op.key: node.things[op.key].label_ver for op in envelope.ops if op.key in node.things}
        result = node.receive(envelope, self.now, crash)
        for key, ver in labelled.items():
            hold(node.things[key].label_ver >= ver, "I7", "the label of", key, "goes back at", node.number)
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

    def retry(self, at: int) -> None:
        """What a site had parked is tried again.

        It counts as a delivery: a value that becomes current in an open record of the premises is open from then on,
        as it is when it arrives a little later over the wire.
        """
        node = self.nodes[at]
        things, parked = node.things.copy() if at == P else None, list(node.parked)
        node.retry(self.now)
        self._merged(node, things, parked)

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
