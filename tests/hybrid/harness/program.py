"""A run is a string of bytes, four for each step: what happens, and three small numbers that say to whom and how."""

from __future__ import annotations

from .node import Node
from .world import C, L, P, World

HEAD = 2
WIDTH = 4
FIELDS = ("note", "note", "name", "ssn", "email", "amount", "amount", "parent", "state", "state")
SHIP = ("no", "no", "send", "deliver", "deliver", "both")
ACTS = ("ok", "ok", "ok", "ok", "dup", "drop", "crash", "delay", "corrupt", "truncate")
SKEWS = (0, 0, 0, -500, 700, -3_600_000, 3_600_000, 240_000)

# what happens, with its weight
WEIGHTS = {
    "create": 5,
    "edit": 12,
    "edit_two": 2,
    "move": 4,
    "owned": 3,
    "rogue": 2,
    "delete": 4,
    "undelete": 2,
    "hide": 4,
    "show": 4,
    "begin": 5,
    "end": 5,
    "send": 9,
    "pipeline": 4,
    "network": 9,
    "exchange": 6,
    "clock": 1,
    "wait": 2,
    "policy": 1,
    "adopt": 2,
    "poison": 3,
    "cure": 2,
    "backup": 2,
    "restore": 2,
    "graves": 3,
    "clash": 3,
    "race": 2,
    "overtake": 2,
    "burst": 2,
    "bury": 2,
    "exhume": 2,
    "amnesia": 3,
    "relapse": 2,
}
# a run plays with a subset of these; the rest is always there
OPTIONAL = (
    ("clock",),
    ("policy", "adopt"),
    ("poison", "cure"),
    ("backup", "restore", "amnesia"),
    ("graves", "bury", "exhume"),
    ("undelete",),
    ("owned", "rogue", "relapse"),
    ("hide", "show", "race", "overtake"),
)
AMNESIA = ("edit", "edit", "hide", "hide", "show", "delete", "undelete", "create", "move", "owned", "owned", "owned")
PEOPLE = ("create", "edit", "edit_two", "move", "owned", "rogue", "delete", "undelete", "hide", "show")


class Run:
    """One world under one program."""

    def __init__(self, program: bytes, node_class: type[Node] | None = None, world_class: type[World] = World):
        head = program[:HEAD].ljust(HEAD, b"\0")
        self.world = world_class(3 if head[0] % 3 == 2 else 2, node_class)
        off = {name for bit, names in enumerate(OPTIONAL) if head[1] >> bit & 1 for name in names}
        self.table = [name for name, weight in WEIGHTS.items() if name not in off for _ in range(weight)]
        self.steps = [tuple(program[at : at + WIDTH]) for at in range(HEAD, len(program) - WIDTH + 1, WIDTH)]
        self.open: list = []

    def told(self) -> list[str]:
        """The program in words."""
        return [f"{self.table[a % len(self.table)]} {x} {y} {z}" for a, x, y, z in self.steps]

    def go(self) -> World:
        """Play it, heal, check. Raises Broken."""
        self.links()
        for a, x, y, z in self.steps:
            self.world.now += 1 + z % 40
            getattr(self, self.table[a % len(self.table)])(x, y, z)
        self.world.heal()
        return self.world

    def links(self) -> None:
        """The sites have met."""
        world = self.world
        for _round in range(3):
            self._everyone_sends()
            while world.net:
                world.network(0, "ok")

    def _everyone_sends(self) -> None:
        for number, node in self.world.nodes.items():
            for peer in node.links:
                self.world.send(number, peer)

    def site(self, x: int) -> int:
        """Which site; the premises and the cloud are the busiest."""
        return (P, C, P, C, L)[x % 5] if L in self.world.nodes else (P, C)[x % 2]

    def link(self, x: int) -> tuple[int, int]:
        """Which direction of which link."""
        return (
            ((P, C), (C, P), (P, C), (C, P), (P, L), (L, P))[x % 6]
            if L in self.world.nodes
            else ((P, C), (C, P))[x % 2]
        )

    def _act(self, what: str, at: int, y: int, z: int):
        world = self.world
        if what == "edit":
            return world.edit(at, y, FIELDS[z % len(FIELDS)], z // len(FIELDS))
        if what == "create":
            return world.create(at, same_code=z % 4 == 0)
        if what in ("owned", "rogue"):
            return world.owned(at, y, rogue=what == "rogue")
        if what in ("hide", "show"):
            return world.relabel(y, 1 if what == "hide" else 0)
        return getattr(world, what)(at, y)

    def _person(self, what: str, x: int, y: int, z: int) -> None:
        """A macro: one thing that a person does, usually committed, often shipped."""
        at = P if what in ("hide", "show") else self.site(x)
        tx = self._act(what, at, y, z)
        if tx is None:
            return
        if x >> 4 == 0:
            self.open.append((at, tx))
            return
        self.world.end(at, tx, commit=x >> 4 != 1)
        ship = SHIP[(x >> 3) % len(SHIP)]
        if ship == "no":
            return
        for peer in list(self.world.nodes[at].links):
            start = len(self.world.net)
            self.world.send(at, peer)
            if ship != "send":
                self._flush(start)
            if ship == "both":
                start = len(self.world.net)
                self.world.send(peer, at)
                self._flush(start)

    def _flush(self, start: int) -> None:
        for _message in self.world.net[start:]:
            waiting = len(self.world.net)
            self.world.network(start, "ok")
            start += len(self.world.net) == waiting

    def begin(self, x: int, y: int, z: int) -> None:
        what = PEOPLE[z % len(PEOPLE)]
        at = P if what in ("hide", "show") else self.site(x)
        tx = self._act(what, at, y, z)
        if tx is not None:
            self.open.append((at, tx))

    def end(self, x: int, y: int, z: int) -> None:
        if self.open:
            at, tx = self.open.pop(x % len(self.open))
            self.world.end(at, tx, commit=y % 5 != 0)

    def send(self, x: int, y: int, z: int) -> None:
        self.world.send(*self.link(x), 1 + y % 5)

    def pipeline(self, x: int, y: int, z: int) -> None:
        for _n in range(1 + z % 3):
            self.world.send(*self.link(x), 1 + y % 3, pipelined=True)

    def network(self, x: int, y: int, z: int) -> None:
        self.world.network(x, ACTS[y % len(ACTS)], z)

    def exchange(self, x: int, y: int, z: int) -> None:
        one, other = self.link(x)
        for at, to in ((one, other), (other, one)):
            start = len(self.world.net)
            self.world.send(at, to, 8)
            self._flush(start)

    def clock(self, x: int, y: int, z: int) -> None:
        self.world.clock(self.site(x), SKEWS[y % len(SKEWS)])

    def wait(self, x: int, y: int, z: int) -> None:
        self.world.now += (1000, 60_000, 3_600_000)[y % 3]

    def policy(self, x: int, y: int, z: int) -> None:
        self.world.policy(bool(y % 2))

    def adopt(self, x: int, y: int, z: int) -> None:
        for number in self.world.nodes:
            if number != P:
                self.world.adopt(number)

    def poison(self, x: int, y: int, z: int) -> None:
        self.world.poison(self.site(x), y)

    def cure(self, x: int, y: int, z: int) -> None:
        self.world.cure(self.site(x), y)

    def backup(self, x: int, y: int, z: int) -> None:
        self.world.backup(self.site(x))

    def restore(self, x: int, y: int, z: int) -> None:
        self.world.restore(self.site(x))

    def graves(self, x: int, y: int, z: int) -> None:
        for number in self.world.nodes:
            self.world.collect_graves(number)

    # macros: what rarely comes about step by step

    def _commits(self, at: int, tx) -> bool:
        if tx is not None:
            self.world.end(at, tx)
        return tx is not None

    def _tells(self, at: int, to: int, pipelined: bool = False) -> None:
        start = len(self.world.net)
        self.world.send(at, to, 8, pipelined)
        self._flush(start)

    def _both_ways(self, at: int) -> None:
        """A site and its neighbours tell each other everything, and that they have heard it."""
        for peer in 2 * list(self.world.nodes[at].links):
            self._tells(at, peer)
            self._tells(peer, at)

    def _both_hold(self, one: int, other: int, i: int):
        """A record that people at both sites may touch, and its place at each."""
        here, there = (self.world.alive(self.world.nodes[n]) for n in (one, other))
        both = [key for key in here if key in there]
        key = both[i % len(both)] if both else None
        return None if key is None else (here.index(key), there.index(key))

    def race(self, x: int, y: int, z: int) -> None:
        """A record is hidden and shown again while someone below changes it; the words of the premises change places."""
        world, below = self.world, max(self.link(x))
        places = self._both_hold(P, below, y)
        if places is None or not self._commits(below, world.edit(below, places[1], "note")):
            return
        if not self._commits(P, world.relabel(places[0], 1)):
            return
        self._tells(P, below)
        if not self._commits(P, world.relabel(places[0], 0)):
            return
        start = len(world.net)
        world.send(P, below, 8)
        waiting = len(world.net)
        world.send(below, P, 8)
        self._flush(waiting)
        world.send(P, below, 8, pipelined=True)
        self._backwards(start)

    def _backwards(self, start: int) -> None:
        for at in range(len(self.world.net) - 1, start - 1, -1):
            self.world.network(at, "ok")

    def overtake(self, x: int, y: int, z: int) -> None:
        """A record is purged, with receipt, while older content of it is still on the way."""
        world, below = self.world, max(self.link(x))
        if not self._commits(P, world.create(P)):
            return
        start = len(world.net)
        world.send(P, below, 8)
        late = len(world.net)
        if self._commits(P, world.relabel(-1, 1)):
            world.send(P, below, 8)
            self._flush(late)
            self._tells(below, P)
            self._flush(start)

    def clash(self, x: int, y: int, z: int) -> None:
        """Two people at two sites change the same field of the same record."""
        world, (one, other) = self.world, self.link(x)
        places = self._both_hold(one, other, y)
        if places is None:
            return
        name = FIELDS[z % len(FIELDS)]
        self._commits(one, world.edit(one, places[0], name, z))
        self._commits(other, world.edit(other, places[1], name, z // 2))

    def burst(self, x: int, y: int, z: int) -> None:
        """Three small envelopes one after the other, one of which is lost."""
        world, (at, to) = self.world, self.link(x)
        start = len(world.net)
        for n in range(3):
            self._commits(at, world.edit(at, y + n, "note"))
            world.send(at, to, 1, pipelined=True)
        if len(world.net) > start:
            world.network(start + z % (len(world.net) - start), "drop")
            self._flush(start)

    def bury(self, x: int, y: int, z: int) -> None:
        """A record dies, its death is acknowledged, and a change of it is still on the way when graves are collected."""
        world, (at, to) = self.world, self.link(x)
        if not self._commits(to, world.create(to)):
            return
        self._tells(to, at)
        places = self._both_hold(at, to, -1)
        if places is None or not self._commits(to, world.edit(to, places[1], "note")):
            return
        world.send(to, at, 8, pipelined=True)
        if self._commits(at, world.delete(at, places[0])):
            self._tells(at, to)
            self._tells(to, at, pipelined=True)
            self.graves(x, y, z)

    def exhume(self, x: int, y: int, z: int) -> None:
        """A closed record is deleted, everybody knows, and somebody restores it when its grave is collected."""
        world, at = self.world, max(self.world.nodes)
        places = self._both_hold(P, at, y)
        if places is None:
            return
        key = world.alive(world.nodes[P])[places[0]]
        self._commits(P, world.relabel(places[0], 1))
        if not self._commits(P, world.delete(P, places[0])):
            return
        self._both_ways(P)
        dead = world.dead(world.nodes[at])
        if key in dead:
            self._commits(at, world.undelete(at, dead.index(key)))
        self.graves(x, y, z)

    def relapse(self, x: int, y: int, z: int) -> None:
        """A site without authority goes on with a record that the authority has just changed or deleted."""
        world, at = self.world, (P, C)[x % 2]
        self._commits(at, world.owned(at, y))
        if self._commits(at, world.owned(at, 5 if z % 2 else 1)):
            self._tells(at, P + C - at)
            self._commits(P + C - at, world.owned(P + C - at, 6 if z % 2 else 1, rogue=True))

    def amnesia(self, x: int, y: int, z: int) -> None:
        """A site is restored from a backup that does not know what it did last and told everybody."""
        world, at = self.world, self.site(x)
        what = AMNESIA[z % len(AMNESIA)]
        if what in ("hide", "show"):
            at = P
        if world.nodes[at].open_txs:
            return
        if what == "owned" and self._commits(at, world.owned(at, 0)):
            self._both_ways(at)
        world.backup(at)
        if self._commits(at, self._act(what, at, y, z)):
            self._both_ways(at)
            if z % 2:
                self.graves(x, y, z)
            world.restore(at)


def _person_of(what: str):
    def step(self, x: int, y: int, z: int) -> None:
        self._person(what, x, y, z)

    step.__name__ = what
    return step


for _what in PEOPLE:
    setattr(Run, _what, _person_of(_what))
