"""A home for a module's commands, and the command itself as another process."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from ostoja.operations.embedded.broker import EmbeddedBroker
from ostoja.operations.embedded.postgres import EmbeddedPostgres


@pytest.fixture
def ostoja(tmp_path):
    """``ostoja(*words, OSTOJA_…=…)`` runs the command in an empty home of this test."""
    return lambda *words, **variables: run(tmp_path / "home", *words, **variables)


@pytest.fixture(scope="module")
def prepared():
    """``prepared(*words)`` runs the command in a home that a module's tests share, migrated already."""
    directory = Path(tempfile.mkdtemp(prefix="ostoja-h-", dir="/tmp"))
    directory.chmod(0o755)
    home = directory / "home"
    with EmbeddedPostgres(home), EmbeddedBroker(home):  # the commands share them, as beside `ostoja up`
        assert run(home, "fleet", "migrate", "--ready", "2").returncode == 0
        yield lambda *words, **variables: run(home, *words, **variables)
    shutil.rmtree(directory)


def run(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    """Run ``ostoja`` with nothing of the caller's own configuration."""
    return subprocess.run(
        [sys.executable, "-m", "ostoja", *words], env=environment(home) | variables, cwd="/", stdin=subprocess.DEVNULL,
        capture_output=True, text=True, timeout=120, check=False,
    )


def environment(home: Path) -> dict[str, str]:
    """The environment of a command in a home."""
    ours = {key: value for key, value in os.environ.items() if not key.startswith("OSTOJA_")}
    return ours | {"OSTOJA_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}
