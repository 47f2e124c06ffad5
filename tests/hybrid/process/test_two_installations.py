"""Two whole installations by `ostoja up --hybrid`: they converge after faults, and the cloud's files hold nothing that is closed."""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

LINKED = "The premises are up and linked."
PATIENCE = 240  # seconds for the first start of both
CHUNK = 1 << 22


def free_ports() -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


class Running:
    """A cloud and its premises, running."""

    def __init__(self, home: Path):
        self.home = home
        self.port = free_ports()
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OSTOJA_")}
        config = home / "ostoja.toml"
        config.touch()
        self.environment = {
            "c": {**clean, "OSTOJA_HOME": str(home), "OSTOJA_CONFIG": str(config)},
            "p": {
                **clean,
                "OSTOJA_HOME": str(home / "premises"),
                "OSTOJA_CONFIG": str(home / "premises" / "ostoja.toml"),
            },
        }
        self.log = home / "up.log"
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "ostoja", "up", "--hybrid", "--port", str(self.port), "--workers", "1", "--job-workers", "1"],
                env=self.environment["c"], cwd=home, stdout=out, stderr=out, stdin=subprocess.DEVNULL,
            )  # fmt: skip
        until = time.monotonic() + PATIENCE
        while LINKED not in self.log.read_text():
            assert self.process.poll() is None and time.monotonic() < until, self.log.read_text()
            time.sleep(0.5)
        self.tokens = {
            side: self.command(side, "token", "create", "--tenant", "demo", "--user", "owner@demo.example")
            for side in "cp"
        }

    def command(self, side: str, *arguments: str) -> str:
        """One `ostoja` command at one side; answers what it printed."""
        done = subprocess.run(
            [sys.executable, "-m", "ostoja", *arguments],
            env=self.environment[side],
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def call(self, side: str, method: str, path: str, data: dict | None = None) -> dict:
        """One request to the API of one side."""
        host, port = ("demo.localhost", self.port) if side == "c" else ("demo.premises.localhost", self.port + 1)
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/v1{path}", method=method, data=None if data is None else json.dumps(data).encode(),
            headers={"Host": f"{host}:{port}", "Authorization": f"Bearer {self.tokens[side]}", "Content-Type": "application/json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read() or b"{}")

    def at_rest(self, seconds: float = 30) -> None:
        """Wait until neither side has anything left to say."""
        until = time.monotonic() + seconds
        while True:
            lines = [json.loads(self.command(side, "site", "status", "--json"))[0] for side in "pc"]
            if not any(line["to_send"] for line in lines):
                return
            assert time.monotonic() < until, lines

    def processes(self, words: str, home: Path) -> list[int]:
        """The ids of the processes of one home whose command says these words."""
        found = []
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdigit() and words in (place / "cmdline").read_text().replace("\0", " "):
                    if f"OSTOJA_HOME={home}\0" in (place / "environ").read_text() + "\0":
                        found.append(int(place.name))
            except (OSError, UnicodeDecodeError):
                continue
        return found

    def stop(self) -> None:
        """Ctrl-C, and wait."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=60)


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """Both installations, for all tests of the module."""
    home = tmp_path_factory.mktemp("hybrid")
    for place in (home, *home.parents):
        if place.name.startswith("pytest-"):
            place.chmod(0o711)  # the embedded database runs as another user
    both = Running(home)
    yield both
    both.stop()


def test_a_change_is_on_the_other_side_within_a_second(running):
    deal = running.call("c", "GET", "/deals?limit=1&state=open")["items"][0]
    for here, there in ("pc", "cp"):
        word = secrets.token_hex(4)
        running.call(here, "PATCH", f"/deals/{deal['id']}", {"source": word})
        began = time.monotonic()
        while running.call(there, "GET", f"/deals/{deal['id']}")["source"] != word:
            assert time.monotonic() - began < 1.0
            time.sleep(0.03)


def test_both_converge_after_the_agent_was_killed_in_the_middle_of_work(running):
    deals = [d["id"] for d in running.call("c", "GET", "/deals?limit=30&state=open")["items"]]
    for number, key in enumerate(deals):
        running.call("p", "PATCH", f"/deals/{key}", {"source": f"premises {number}"})
        running.call("c", "PATCH", f"/deals/{key}", {"source" if number % 3 == 0 else "title": f"cloud {number}"})
        if number % 10 == 5:
            for process in running.processes("ostoja.hybrid.agent", running.home / "premises"):
                os.kill(process, signal.SIGKILL)
    time.sleep(6)
    running.at_rest()
    assert running.command("p", "site", "verify") == "equal"
    for key in deals:
        here, there = running.call("p", "GET", f"/deals/{key}"), running.call("c", "GET", f"/deals/{key}")
        assert (here["source"], here["title"]) == (there["source"], there["title"])


def test_the_cloud_takes_nothing_closed_once_the_premises_have_everything(running):
    party = running.call("c", "GET", "/parties?limit=1")["items"][0]
    with pytest.raises(urllib.error.HTTPError) as refused:
        running.call("c", "PATCH", f"/parties/{party['id']}", {"notes": "entered in the cloud"})
    assert refused.value.code == 422


def test_no_file_of_the_cloud_holds_what_is_closed(running):
    closed, opened = f"canary{secrets.token_hex(12)}", f"signal{secrets.token_hex(12)}"
    party = running.call("p", "POST", "/parties", {"kind": "org", "name": opened, "notes": closed})
    running.call("p", "PATCH", f"/parties/{party['id']}", {"notes": f"{closed} again", "city": "Gdynia"})
    running.call(
        "p", "POST", "/contact-points", {"party": party["id"], "type": "email", "value": f"{closed}@example.com"}
    )
    running.call("p", "POST", "/activities", {"kind": "note", "subject": closed, "body": closed, "party": party["id"]})
    deal = running.call("p", "POST", "/deals", {"title": "Quiet", "party": party["id"], "amount": "1", "notes": closed})
    running.call("p", "DELETE", f"/deals/{deal['id']}")
    running.at_rest()
    assert running.call("c", "GET", f"/parties/{party['id']}")["name"] == opened
    assert running.command("p", "site", "verify") == "equal"
    running.stop()
    assert hits(running.home, opened), "The scan does not find what is there."
    assert hits(running.home, closed) == []


def encodings(word: str) -> list[bytes]:
    """A word as it may lie in a file."""
    raw = word.encode()
    inner = [base64.b64encode(b"x" * shift + raw)[4:-4] for shift in range(3)]
    return [
        raw,
        raw.upper(),
        raw[::-1],
        raw.hex().encode(),
        word.encode("utf-16-le"),
        word.encode("utf-16-be"),
        raw[:14],
        *inner,
    ]


def hits(home: Path, word: str) -> list[str]:
    """The files of the cloud in which the word is, in any encoding; those of the premises are not the cloud's."""
    looked_for = encodings(word)
    found = []
    for path in sorted(home.rglob("*")):
        if (home / "premises") in path.parents or not path.is_file() or path.is_symlink():
            continue
        tail = b""
        with path.open("rb") as file:
            while chunk := file.read(CHUNK):
                if any(one in tail + chunk for one in looked_for):
                    found.append(str(path.relative_to(home)))
                    break
                tail = chunk[-200:]
    return found
