"""A history from a seed: people, messages, faults and restores in an order that the seed decides; then healing, and the oracles."""

from __future__ import annotations

import random

from ostoja.hybrid import burying
from ostoja.tenancy.context import tenant_context

from . import oracles
from .backups import Backup
from .network import Network
from .world import World

PEOPLE = {
    "add_party": 5, "add_deal": 6, "add_line": 6, "add_consent": 3, "add_closed": 3, "edit_party": 10, "edit_deal": 9, "edit_line": 5,
    "step": 7, "win_and_edit": 2, "delete": 5, "bring_back": 2, "bulk": 2, "begin": 4, "end": 4,
}  # fmt: skip
PREMISES = {"mark": 4, "unmark": 4, "rename_stage": 1}
MESSAGES = {"send": 8, "ahead": 3, "network": 10, "both": 7}
TROUBLE = {
    "rogue": ("rogue", 1), "poison": ("poison", 2), "clock": ("clock", 1), "restore": ("restore", 3), "policy": ("policy", 1),
    "kill": ("kill", 2), "graves": ("graves", 2),
}  # fmt: skip
HOWS = ("ok", "ok", "ok", "ok", "dup", "drop", "late", "corrupt", "truncate", "lost answer", "kill")
SKEWS = (3_600_000, -3_600_000, 200_000, -200_000)


class Story:
    """One history over a world."""

    def __init__(self, world: World, seed: int, steps: int = 25):
        self.random = random.Random(seed)
        self.world, self.steps, self.told = world, steps, []
        world.again(seed)
        self.network = Network(world)
        self.backups: dict[str, Backup] = {}
        self.table = [(n, "p") for n, w in PEOPLE.items() for _ in range(w)] + [
            (n, "m") for n, w in MESSAGES.items() for _ in range(w)
        ]
        if self.random.random() < 0.7:
            self.table += [(n, "o") for n, w in PREMISES.items() for _ in range(w)]
        for name, (_what, weight) in TROUBLE.items():
            if self.random.random() < (0.08 if name == "policy" else 0.3):
                self.table += [(name, "t")] * weight
        if ("restore", "t") in self.table:
            self.table = [one for one in self.table if one[0] != "policy"]

    def go(self) -> None:
        """Play it, heal, look. Raises Broken."""
        try:
            for _step in range(3):
                self._person("premises", self.random.choice(["add_party", "add_deal"]))
            self._both()
            for _step in range(self.steps):
                self._step(*self.random.choice(self.table))
            self.say("heal")
            self.network.heal()
            oracles.check(self.network)
        finally:
            while self.world.open:
                self.world.end(commit=False)
            for backup in self.backups.values():
                backup.drop()

    def say(self, *words) -> None:
        """Note what happens."""
        self.told.append(" ".join(map(str, words)))

    def site(self) -> str:
        """Where it happens."""
        names = ["premises", "cloud", "premises", "cloud"]
        return self.random.choice([*names, "laptop"] if "laptop" in self.world.sites else names)

    def _step(self, name: str, kind: str) -> None:
        if kind == "p":
            self._person(self.site(), name)
        elif kind == "o":
            self.say("premises", name)
            self.world.act("premises", getattr(self.world, name))
        else:
            getattr(self, f"_{name}")()

    def _person(self, site: str, name: str) -> None:
        if name == "begin":
            what = self.random.choice(["add_deal", "edit_party", "edit_deal", "add_line", "step", "delete"])
            if len(self.world.open) < 2:
                self.say(site, "begins", what)
                self.world.begin(site, getattr(self.world, what))
        elif name == "end":
            commit = self.random.random() < 0.8
            self.say("end", commit)
            self.world.end(commit)
        else:
            before = len(self.world.refusals)
            self.world.act(site, getattr(self.world, name))
            refused = self.world.refusals[before:]
            self.say(site, name, *(f"refused: {r}" for r in refused))

    def _direction(self):
        line = self.random.choice(self.world.lines)
        return line, self.random.choice(self.network.sides(line))

    def _send(self) -> None:
        line, source = self._direction()
        self.say(source, "sends")
        self.network.send(line, source)

    def _ahead(self) -> None:
        line, source = self._direction()
        self.say(source, "sends ahead")
        self.network.send(line, source, ahead=True)

    def _network(self) -> None:
        if not self.network.net:
            return
        at = min(self.random.randrange(len(self.network.net)), self.random.randrange(len(self.network.net)))
        how = self.random.choice(HOWS)
        if how == "kill" and ("kill", "t") not in self.table:
            how = "ok"
        packet = self.network.net[at]
        before = len(self.network.faults)
        if how == "late":
            self.network.net.append(self.network.net.pop(at))
        elif how == "drop":
            self.network.net.pop(at)
        else:
            if how != "dup":
                self.network.net.pop(at)
            self.network.deliver(packet, how, self.random.randrange(1 << 16))
        self.say(packet.source, ">", packet.target, how, *self.network.faults[before:])

    def _both(self) -> None:
        line = self.random.choice(self.world.lines)
        before = len(self.network.faults)
        self.network.both(line)
        self.say("both", *self.network.sides(line), *self.network.faults[before:])

    def _kill(self) -> None:
        line, source = self._direction()
        packet = self.network.send(line, source)
        if packet is not None:
            before = len(self.network.faults)
            self.network.net.remove(packet)
            self.network.deliver(packet, "kill", self.random.randrange(60))
            self.say(packet.target, "is killed while it applies", *self.network.faults[before:])

    def _rogue(self) -> None:
        self.say("rogue")
        self.world.act("cloud", self.world.rogue)

    def _poison(self) -> None:
        site = self.site()
        self.say(site, "poison")
        self.world.poison(site)

    def _clock(self) -> None:
        site, ms = self.site(), self.random.choice(SKEWS)
        self.say(site, "clock", ms)
        self.world.turn_clock(site, ms)

    def _graves(self) -> None:
        site = self.site()
        self.say(site, "graves")
        with tenant_context(self.world.sites[site]):
            burying.collect(age_days=-1)

    def _policy(self) -> None:
        self.say("policy")
        self.world.decide_policy()

    def _restore(self) -> None:
        site = self.site()
        if site not in self.backups:
            self.say(site, "backup")
            self.backups[site] = Backup(self.world.superuser, self.world.sites[site])
            return
        while self.world.open:
            self.world.end(commit=False)
        self.say(site, "restore")
        self.network.cursors = {k: v for k, v in self.network.cursors.items() if k[0] != site}
        self.world.restore(site, self.backups[site])
