"""The pure core under random histories: people, faults, restores and relabels at two and three sites, with the oracles I1 to I10.

``HYBRID_RUNS`` sets how many histories are played (4,000 in a plain run, 15 s; `.ci/run` asks for 20,000) and ``HYBRID_SEED`` where the
seeds begin; a failing seed is named, and plays the same history again.
"""

import os
import random

import pytest

from .harness import sabotage
from .harness.node import Node
from .harness.program import HEAD, WIDTH, Run
from .harness.world import Broken, World

RUNS = int(os.environ.get("HYBRID_RUNS", "4000"))
FIRST = int(os.environ.get("HYBRID_SEED", "0"))
STEPS = 40
PARTS = 4
CAUGHT_WITHIN = 1000


def program(seed: int, steps: int = STEPS) -> bytes:
    """The history that a seed stands for."""
    return random.Random(seed).randbytes(HEAD + WIDTH * steps)


def first_broken(seeds, node_class: type[Node] = Node, world_class: type[World] = World) -> tuple[int, str] | None:
    """The first seed whose history breaks an invariant, and which."""
    for seed in seeds:
        try:
            Run(program(seed), node_class, world_class).go()
        except Broken as error:
            return seed, str(error)
    return None


@pytest.mark.parametrize("part", range(PARTS))
def test_I1_to_I10_hold_after_every_history(part):
    print(f"seeds {FIRST + part} to {FIRST + RUNS}, every {PARTS}th")
    assert first_broken(s for s in range(FIRST + part, FIRST + RUNS, PARTS)) is None


def test_the_same_seed_plays_the_same_history():
    one, other = Run(program(7)), Run(program(7))
    assert one.told() == other.told()
    assert repr(one.go().ledger) == repr(other.go().ledger)


@pytest.mark.parametrize("name", sabotage.LIST)
def test_the_harness_catches(name, monkeypatch):
    caught = first_broken(range(CAUGHT_WITHIN), *sabotage.sites_of(name, monkeypatch))
    assert caught is not None, f"{sabotage.LIST[name].__doc__} Nobody noticed."
