"""Recordings of conversations, one for each release; ``--record-streams`` makes the one of today's."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson
import pytest

FOLDER = Path(__file__).parent
for place in (FOLDER, FOLDER.parent / "database"):
    if str(place) not in sys.path:
        sys.path.insert(0, str(place))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Only known when this folder is named on the command line."""
    parser.addoption("--record-streams", action="store_true", help="Record the conversation of this release anew.")


@pytest.fixture(scope="session", autouse=True)
def recorded(request):
    """Make today's recording first, when that is wanted."""
    if request.config.getoption("--record-streams", default=False):
        import recording

        lender = request.getfixturevalue("lender")
        recording.write(recording.Recorder(lender.lend(), lender.lend()).record())


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for a ``stream`` runs with each recording."""
    if "stream" in metafunc.fixturenames:
        metafunc.parametrize("stream", sorted(FOLDER.glob("*.json")), ids=lambda path: path.stem, indirect=True)


@pytest.fixture
def stream(request) -> dict:
    """A recording."""
    return orjson.loads(request.param.read_bytes())
