"""Random histories on real PostgreSQL: people, faults, kills, restores and open transactions at two and three sites, with the oracles.

``HYBRID_DB_RUNS`` sets how many histories are played (12 in a plain run, 40 in CI), ``HYBRID_DB_SEED`` where the seeds begin.
"""

import os

import pytest

from .oracles import Broken
from .program import Story

RUNS = int(os.environ.get("HYBRID_DB_RUNS", "40" if os.environ.get("CI") else "12"))
FIRST = int(os.environ.get("HYBRID_DB_SEED", "0"))
STEPS = int(os.environ.get("HYBRID_DB_STEPS", "25"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
def test_random_histories(request, seed):
    world = request.getfixturevalue("wide_world" if seed % 4 == 3 else "world")
    story = Story(world, seed, STEPS)
    try:
        story.go()
    except BaseException:
        print(f"seed {seed}:", *story.told, sep="\n  ")
        raise
