"""A run is a string of bytes, four for each step: what happens, and three small numbers that say to whom and how."""

from __future__ import annotations

from .node import Node
from .world import C, L, P, World

HEAD = 2
WIDTH = 4
FIELDS = ("note", "note", "name", "ssn", "email", "amount", "parent", "state", "state")
SHIP = ("no", "no", "send", "deliver", "deliver", "both")
ACTS = ("ok", "ok", "ok", "ok", "dup", "drop", "crash", "delay", "corrupt", "truncate")
SKEWS = (0, 0, 0, -500, 700, -3_600_000, 3_600_000, 240_000)

# what happens, with its weight
WEIGHTS = {
    "create": 5,
    "edit": 12,
    "edit_two": 2,
    "move": 4,
    "owned": 2,
    "rogue": 1,
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
    "poison": 1,
    "backup": 2,
    "restore": 2,
    "graves": 3,
}
# a run plays with a subset of these; the rest is always there
OPTIONAL = (
    ("clock",),
    ("policy", "adopt"),
    ("poison",),
    ("backup", "restore"),
    ("graves",),
    ("undelete",),
    ("owned", "rogue"),
    ("hide", "show"),
)
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

    def backup(self, x: int, y: int, z: int) -> None:
        self.world.backup(self.site(x))

    def restore(self, x: int, y: int, z: int) -> None:
        self.world.restore(self.site(x))

    def graves(self, x: int, y: int, z: int) -> None:
        for number in self.world.nodes:
            self.world.collect_graves(number)


def _person_of(what: str):
    def step(self, x: int, y: int, z: int) -> None:
        self._person(what, x, y, z)

    step.__name__ = what
    return step


for _what in PEOPLE:
    setattr(Run, _what, _person_of(_what))
