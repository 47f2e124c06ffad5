"""One pair of installations for all tests of this folder: as `ostoja up --hybrid` brings it up, then each alone with a bad line between.

A pair costs half a minute, so it is shared; each test leaves it running, at rest and with a good line. Where the suite runs
in several processes, each that meets these tests has a pair of its own. ``PAIR_HOME`` names the home of an earlier pair
to go on with, for whoever writes tests.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

FOLDER = Path(__file__).parent
ORDER = (
    "test_two_installations", "test_three_sites", "test_line", "test_kills", "test_clocks", "test_backups", "test_what_is_left",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """In the order in which the pair is in one state after the other; the last one stops it.

    They come before all others: where the suite runs in several processes, the first one takes them, and one pair is enough.
    """
    places = [n for n, item in enumerate(items) if item.path.parent == FOLDER and item.path.stem in ORDER]
    mine = sorted((items[n] for n in places), key=lambda item: ORDER.index(item.path.stem))
    taken = set(places)
    items[:] = [*mine, *(item for n, item in enumerate(items) if n not in taken)]


@pytest.fixture(scope="session")
def both(tmp_path_factory):
    """A cloud and its premises, linked."""
    from installations import Pair

    home = Path(os.environ["PAIR_HOME"]) if "PAIR_HOME" in os.environ else tmp_path_factory.mktemp("hybrid")
    reachable(home)
    made = Pair(home)
    yield made
    made.stop()
    if "PAIR_HOME" not in os.environ:
        made.disk.image.unlink(missing_ok=True)


@pytest.fixture
def pair(both):
    """The cloud and its premises, running, whatever the test before did to them."""
    from installations import until

    both.go_on()
    for side in both.sides.values():
        until(side.answers, 60, side.log.read_text)
    return both


@pytest.fixture(scope="session")
def clock(tmp_path_factory):
    """The file that moves the clock of the premises, or None where this machine has no compiler for what reads it."""
    import clocks

    place = tmp_path_factory.mktemp("clock")
    reachable(place)
    return clocks.made(place)


@pytest.fixture
def line(pair, clock):
    """The proxy between both, each of which is started alone; beside them lies a backup of the premises."""
    from installations import lay

    def back_up() -> None:
        backup = pair.home.with_name(f"{pair.home.name}.backup")
        backup.mkdir(mode=0o711, exist_ok=True)
        lay(pair.premises.home, backup)

    if pair.proxy is None:
        pair.separate(clock=clock, meanwhile=back_up)
    return pair.proxy


def reachable(place: Path) -> None:
    """Let the user that the embedded database runs as pass through pytest's directories."""
    for one in (place, *place.parents):
        if one == place or one.name.startswith("pytest-"):
            one.chmod(0o711)
