"""Hours of work on both sides of a bad line, with programs killed, disks filled and backups restored: ``soak.py --minutes 30 --seed 7``.

Prints a line for each round, and stops at the first that breaks what must hold, with its seed; ``--home`` goes on in an earlier
home. For hand runs on a machine with nothing else to do; the tests of this folder do a little of each.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import clocks
from installations import Installation, Pair, lay, until
from proxy import TOXICS
from workload import Work

PARTS = ("agent", "web", "worker", "postgres", "schedule")


class Soak:
    """Rounds over one pair; each has a seed of its own."""

    def __init__(self, home: Path, seed: int):
        self.chance, self.seed, self.done = random.Random(seed), seed, Counter()
        self.pair = Pair(home)
        self.backups = home.with_name(f"{home.name}.backups")
        shutil.rmtree(self.backups, ignore_errors=True)
        for name in ("cloud", "premises"):
            (self.backups / name).mkdir(mode=0o711, parents=True)
        self.clock = clocks.made(self.backups)
        self.pair.separate(clock=self.clock, meanwhile=lambda: self.back_up("cloud", "premises"))

    def round(self, number: int) -> dict:
        """People work while things happen, and then everything is judged."""
        chance = random.Random(f"{self.seed}-{number}")
        happens: list[Callable[[random.Random], None]] = [self.bad_line, self.bad_line, self.kill, self.kill, self.cut]
        if self.pair.disk.mounted:
            happens.append(self.fill)
        began, before = time.monotonic(), Counter(self.done)
        with Work(self.pair, f"{self.seed}-{number}", people=2) as work:
            for _one in range(chance.randint(3, 7)):
                chance.choice(happens)(chance)
        for side in self.pair.sides.values():
            until(side.answers, 180, side.log.read_text)
        work.judge(rest=240)
        told = {"round": number, "seconds": round(time.monotonic() - began), "acknowledged": work.ledger.known}
        self.done["acknowledged"] += work.ledger.known
        if number % 5 == 0:
            self.restore(chance.choice(("premises", "cloud")))
        return told | dict(self.done - before)

    # what happens

    def bad_line(self, chance: random.Random) -> None:
        """Some toxics for some seconds."""
        chosen = chance.sample(sorted(TOXICS), chance.randint(1, 6))
        with self.pair.proxy.toxic(**{name: chance.uniform(0.05, 0.5) for name in chosen}) as inflicted:
            time.sleep(chance.uniform(1, 6))
        self.done["toxics"] += inflicted.total()

    def kill(self, chance: random.Random) -> None:
        """One part of one side dies."""
        side, part = chance.choice(sorted(self.pair.sides)), chance.choice(PARTS)
        self.done[f"kills of {part}"] += self.pair.sides[side].kill(part) > 0
        time.sleep(chance.uniform(0.1, 5))

    def cut(self, chance: random.Random) -> None:
        """The line is cut, or swallows everything."""
        chance.choice((self.pair.proxy.down, self.pair.proxy.black_hole))()
        time.sleep(chance.uniform(0.5, 8))
        self.pair.proxy.up()
        self.done["cuts"] += 1

    def fill(self, chance: random.Random) -> None:
        """The disk of the premises is full for a while."""
        with self.pair.disk.full():
            time.sleep(chance.uniform(1, 8))
        self.done["full disks"] += 1

    # backups

    def back_up(self, *names: str) -> None:
        """Copy what these sides hold; they are stopped."""
        for name in names:
            lay(self.side(name).home, self.backups / name)

    def side(self, name: str) -> Installation:
        """A side by its name."""
        return getattr(self.pair, name)

    def restore(self, name: str) -> None:
        """One side goes back to its backup, begins anew and hears what it forgot; then it is backed up again."""
        side = self.side(name)
        side.stop()
        lay(self.backups / name, side.home)
        side.command("site", "renew")
        side.start(clock=self.clock if name == "premises" else None)
        if name == "premises":
            self.pair.lead(side, self.pair.proxy.port)
        until(side.answers, 240, lambda: (side.log.read_text(), self.pair.words("p"), self.pair.words("c")))
        self.pair.at_rest(240)
        self.pair.equal()
        self.done[f"restores of {name}"] += 1


def main() -> None:
    """Run for so many minutes."""
    asked = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    asked.add_argument("--minutes", type=float, default=30)
    asked.add_argument("--seed", type=int, default=int(time.time()))
    asked.add_argument("--home", type=Path, default=None)
    given = asked.parse_args()
    home = given.home or Path(tempfile.mkdtemp(prefix="soak-"))
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    home.chmod(0o711)
    print(json.dumps({"seed": given.seed, "home": str(home)}), flush=True)
    soak = Soak(home, given.seed)
    try:
        end, number = time.monotonic() + given.minutes * 60, 0
        while time.monotonic() < end:
            number += 1
            print(json.dumps(soak.round(number)), flush=True)
        print(json.dumps({"rounds": number, **soak.done}), flush=True)
    finally:
        soak.pair.stop()


if __name__ == "__main__":
    main()
