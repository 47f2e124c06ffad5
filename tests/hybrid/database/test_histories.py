"""Random histories on real PostgreSQL: people, faults, kills, restores and open transactions at two and three sites, with the oracles.

``HYBRID_DB_RUNS`` sets how many histories are played (12), ``HYBRID_DB_SEED`` where the seeds begin;
each that breaks something is written to the folder ``HYBRID_DB_STORIES``, if one is named.
"""

import os
import traceback
from pathlib import Path

import pytest

from .program import Story

RUNS = int(os.environ.get("HYBRID_DB_RUNS", "12"))
FIRST = int(os.environ.get("HYBRID_DB_SEED", "0"))
STORIES = os.environ.get("HYBRID_DB_STORIES", "")
STEPS = int(os.environ.get("HYBRID_DB_STEPS", "25"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + RUNS))
def test_random_histories(request, seed):
    world = request.getfixturevalue("wide_world" if seed % 4 == 3 else "world")
    story = Story(world, seed, STEPS)
    try:
        story.go()
    except BaseException as error:
        told = "\n  ".join([f"seed {seed}:", *story.told, str(error)])
        print(told)
        if STORIES:
            (Path(STORIES) / f"{seed}.txt").write_text(f"{told}\n{traceback.format_exc()}")
        raise
