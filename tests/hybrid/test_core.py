"""The pure core under random histories: people, faults, restores and relabels at two and three sites, with the oracles I1 to I10.

``HYBRID_RUNS`` sets how many histories are played (4,000 in a plain run, 15 s; 20,000 in CI) and ``HYBRID_SEED`` where the
seeds begin; a failing seed is named, and plays the same history again.
"""

import os
import random

import pytest

from .harness.node import Node
from .harness.program import HEAD, WIDTH, Run
from .harness.world import Broken

RUNS = int(os.environ.get("HYBRID_RUNS", "20000" if os.environ.get("CI") else "4000"))
FIRST = int(os.environ.get("HYBRID_SEED", "0"))
STEPS = 40
PARTS = 4


def program(seed: int, steps: int = STEPS) -> bytes:
    """The history that a seed stands for."""
    return random.Random(seed).randbytes(HEAD + WIDTH * steps)


def first_broken(seeds, node_class: type[Node] | None = None) -> tuple[int, str] | None:
    """The first seed whose history breaks an invariant, and which."""
    for seed in seeds:
        try:
            Run(program(seed), node_class).go()
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


class LosesHalf(Node):
    """Loses every second change on the way out."""

    def select(self, state, base, most):
        return super().select(state, base, most)[::2]


class RestoresAsIfNothing(Node):
    """Goes on after a restored backup under the same epoch."""

    def reborn(self, previous, chance):
        pass


class NeverResyncs(Node):
    """Meets a new epoch of its peer and does not tell it everything again."""

    def resync(self, state, greeting):
        pass


class ForgetsGravesAtOnce(Node):
    """Collects tombstones without asking whether every peer has seen them."""

    def collectable(self, thing, seq, settled, key):
        return True


class KeepsStashes(Node):
    """Never lets go of what it stashed for a peer."""

    def release(self, state):
        pass


SABOTAGED = [LosesHalf, RestoresAsIfNothing, NeverResyncs, ForgetsGravesAtOnce, KeepsStashes]


@pytest.mark.parametrize("node_class", SABOTAGED, ids=lambda c: c.__name__)
def test_a_sabotaged_site_is_caught(node_class):
    caught = first_broken(range(500), node_class)
    assert caught is not None, f"{node_class.__doc__} Nobody noticed."
