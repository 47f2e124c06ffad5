"""The oracles: what must hold in every world (I1 to I10), looked at from outside, with all sites in view."""

from __future__ import annotations

from typing import NamedTuple

from ostoja.hybrid.core import equality
from ostoja.hybrid.core.apply import ABSENT, LINGERING
from ostoja.hybrid.core.merge import path
from ostoja.hybrid.core.terms import LOCAL, OPEN, Authority, FieldTerms, Manifest, Merge, Mode, ModelTerms, Unique
from ostoja.hybrid.core.wire import ZERO, Delete, Envelope, Fields, Key, Purge, Row, Snap, encode

from .node import Node

P, C, L = 1, 2, 3
STEPS = {"open": ("won", "lost"), "won": ("open",), "lost": ()}


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
DIGEST = 32  # bytes before the body of an envelope; chance may spell a short secret in them
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


class Oracles:
    """What a world knows of the truth, and asks of its sites: at every step, and at rest."""

    def __init__(self):
        self.nodes: dict[int, Node] = {}
        self.net: list = []
        self.secret: set[str] = set()
        self.ledger: list[Write] = []
        self.deaths: list[Death] = []
        self.moves: dict[Key, int] = {}
        self.pairs: list[tuple[Write, Write]] = []
        self.told: dict[tuple[int, int], int] = {}
        self.withdrawn: set[tuple[Key, int]] = set()
        self.rogued: set[Key] = set()
        self.said: dict[tuple, object] = {}
        self.conflicted: dict[tuple, object] = {}

    def _classify(self, node: Node, fact: Write) -> None:
        """What is written while it may not leave is secret until it is current and open."""
        if node.number == C or fact.field not in TOKENS:
            return
        premises = self.nodes[P]
        there, here = premises.things.get(fact.key), node.things.get(fact.key)
        closed = fact.field not in premises.manifest.open(fact.key.model, OPEN)
        if closed or any(t is not None and t.level > OPEN for t in (there, here)):
            self.secret.add(fact.value)

    def _secrets(self, text: str) -> set[str]:
        return {word for word in self.secret if word in text}

    def _opened(self, key: Key, row: Row) -> None:
        if row.level == OPEN:
            passing = self.nodes[P].manifest.open(key.model, OPEN)
            self.secret -= {c.value for n, c in row.cells.items() if n in passing}

    def _legal(self, before, after: Row, direct: bool) -> None:
        if isinstance(before, Row) and "state" in before.cells and "state" in after.cells and before.cl == after.cl:
            old, new = before.cells["state"].value, after.cells["state"].value
            way = path(STEPS, old, new)
            hold(way is not None and (not direct or len(way) <= 1), "I8", "a step from", old, "to", new)

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
            found = self._secrets(encode(envelope)[DIGEST:].decode())
            hold(not found, "I4", "a:", found, "on the wire")

    def _merged(self, node: Node, things, parked: list) -> None:
        if things is not None:
            for key, thing in node.things.items():
                was = things.get(key)
                if was is not thing and isinstance(thing, Row):
                    self._legal(was, thing, direct=False)
                    self._opened(key, thing)
        if node.number == C:
            self.check_cloud()
        for conflict in node.conflicts:
            if conflict.lost is not None:
                about = conflict.key, conflict.field
                self.conflicted[about] = max(self.conflicted.get(about, ZERO), conflict.lost.stamp)
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
        """I5: a purge that was receipted is complete, for good; not only at rest.

        Under a later label it may be there again: of premises that have since been restored, and will purge it again.
        """
        premises, cloud = self.nodes[P], self.nodes[C]
        ships = premises.links[C].ships
        if not (premises.is_open and cloud.is_open):
            return
        for key, thing in premises.things.items():
            ship = ships.get(key)
            if thing.level > OPEN and ship is not None and not ship.held and ship.label_ver >= thing.label_ver:
                there = cloud.things.get(key)
                back = isinstance(there, Row) and there.label_ver <= ship.label_ver
                hold(not back, "I5", key, "came back after its purge was receipted")

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

    def accounted(self, node: Node, w: Write) -> bool:
        """Whether a write is at a site: there, superseded, under a delete, in a conflict, parked or owed."""
        thing = node.things.get(w.key)
        if isinstance(thing, Row):
            cell = thing.cells.get(w.field)
            by_right = w.key.model not in OWNED or cell is None or cell.stamp.site == w.site
            by_right = by_right and (cell is None or self._somebody_wrote(w, cell) or self._told(w))
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

    def _told(self, w: Write) -> bool:
        """Whether this or a later word for the field became a conflict, wherever the two met."""
        return self.conflicted.get((w.key, w.field), ZERO) >= w.stamp

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
                forgiven = not buried and d.key not in node.collected  # nobody keeps the grave whom it could have asked
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
