"""A home for a module's commands, and the command itself, in this process or in another."""

import functools
import io
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from ostoja.cli.command import run as run_command


@pytest.fixture(scope="session")
def environment_of():
    """``environment_of(home)``: what a command in that home sees; nothing of the caller's own configuration."""

    def environment(home: Path) -> dict[str, str]:
        ours = {key: value for key, value in os.environ.items() if not key.startswith("OSTOJA_")}
        return ours | {"OSTOJA_HOME": str(home), "NO_COLOR": "1", "COLUMNS": "200"}

    return environment


@pytest.fixture(scope="session")
def run(environment_of):
    """``run(home, *words, OSTOJA_…=…)`` runs the command to its end."""

    def run_in(home: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "ostoja", *words],
            env=environment_of(home) | variables,
            cwd="/",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run_in


@pytest.fixture
def ostoja(tmp_path, run):
    """``ostoja(*words, OSTOJA_…=…)`` runs the command in an empty home of this test."""
    return functools.partial(run, tmp_path / "home")


@pytest.fixture(scope="module")
def home():
    """A home that a module's tests share."""
    directory = Path(tempfile.mkdtemp(prefix="ostoja-h-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory / "home"
    shutil.rmtree(directory)


@dataclass(frozen=True)
class Done:
    """A command that has ended, like ``subprocess.CompletedProcess``."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def command(lender, capsys, monkeypatch):
    """``command(*words, typed="")`` runs the command in this process, in the tests' installation."""

    def run_here(*words: str, typed: str = "") -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        status = run_command(list(words))
        return Done(status, *capsys.readouterr())

    return run_here
