"""`ostoja up` as a person uses it: everything comes up, survives, is refused twice, and goes away without a trace."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from ostoja.operations.embedded.postgres import EmbeddedPostgres


@pytest.fixture
def port():
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def up(home, port, environment_of):
    """``up()`` starts `ostoja up` in the home and waits until it says that it is up."""
    started = []

    def start() -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-m", "ostoja", "up", "--port", str(port)],
            env=environment_of(home),
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("  Stop"):
                return process
        raise AssertionError("".join(said))

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def get(port: int, path: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as reply:
        return reply.status


def left_over(home: Path) -> list[str]:
    """The command lines of all processes that belong to this home."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes()
            ours = f"OSTOJA_HOME={home}\0".encode() in (process / "environ").read_bytes() or os.fsencode(home) in words
        except OSError:
            continue
        if ours and int(process.name) != os.getpid():
            found.append(words.replace(b"\0", b" ").decode(errors="replace"))
    return found


def wait_until(condition, seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.1)
    return bool(condition())


def answers(port: int) -> bool:
    try:
        return get(port, "/readyz") == 200
    except OSError:
        return False


def test_up_and_down_and_up_again(up, home, port, run):
    process = up()
    assert get(port, "/healthz") == get(port, "/readyz") == get(port, "/") == 200

    beside = run(home, "tenant", "list", "--json")
    assert (beside.returncode, beside.stdout) == (0, "[]\n")
    twice = run(home, "up", "--port", str(port + 1))
    assert (twice.returncode, len(twice.stderr.splitlines())) == (1, 1)
    assert f"Ostoja is up in {home} already (process {process.pid})" in twice.stderr
    assert run(home, "manage", "check").returncode == 0
    findings = run(home, "doctor", "--check", "worker", "--check", "schedule")
    assert findings.returncode == 0 and findings.stdout.count("✓") == 2, findings.stdout

    postmaster = int((EmbeddedPostgres(home).data / "postmaster.pid").read_text().split()[0])
    os.kill(postmaster, signal.SIGKILL)
    assert process.stdout.readline() == "PostgreSQL has ended; it is started again.\n"
    assert wait_until(lambda: answers(port))

    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    assert left_over(home) == []

    again = up()
    assert get(port, "/readyz") == 200
    again.kill()
    assert wait_until(lambda: left_over(home) == []), left_over(home)
