"""The database is killed under load, again and again: nothing that was acknowledged is lost, nothing is there twice."""

import http.client
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from ostoja.operations.embedded.postgres import EmbeddedPostgres

WRITERS = 4
KILLS = 3


@pytest.fixture
def running(home, environment_of, run):
    """An installation with one tenant that is up; yields (port, token)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "ostoja", "up", "--port", str(port)],
        env=environment_of(home), cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("  Stop"):
                break
        made = run(home, "tenant", "create", "kill9", "--name", "Kill 9", "--owner", "olga@example.com", "--json")
        assert made.returncode == 0, made.stderr + "".join(said)
        token = run(
            home, "token", "create", "--tenant", "kill9", "--user", "olga@example.com", "--scope", "*", "--json"
        )
        assert token.returncode == 0, token.stderr
        answer = json.loads(token.stdout)
        yield port, next(v for v in answer.values() if str(v).startswith("ost_"))
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20)
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


class Client:
    """A program that writes and repeats what was not answered, under the same idempotency key."""

    def __init__(self, port: int, token: str):
        self.port, self.headers = (
            port,
            {"Host": "kill9.localhost", "Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )

    def ask(self, method: str, path: str, body=None, **headers) -> tuple[int, dict]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            content = None if body is None else json.dumps(body)
            connection.request(method, f"/api/v1/{path}", content, self.headers | headers)
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read() or b"{}")
        finally:
            connection.close()


def test_acknowledged_is_kept_and_repeated_is_one(running, home, run):
    port, token = running
    acknowledged: dict[str, str] = {}
    odd: list = []
    stop = threading.Event()

    def write(writer: int) -> None:
        client = Client(port, token)
        for number in itertools.count():
            name = f"W{writer}-{number}"
            while True:  # the same request again until it is answered
                try:
                    status, answer = client.ask("POST", "parties", {"name": name}, **{"Idempotency-Key": name})
                except (OSError, http.client.HTTPException):
                    status, answer = 0, {}
                if status == 201:
                    acknowledged[name] = answer["id"]
                    break
                if status not in (0, 503, 429, 409):
                    odd.append((status, answer))
                if stop.is_set():
                    return
                time.sleep(0.05)
            if stop.is_set():
                return

    threads = [threading.Thread(target=write, args=(n,)) for n in range(WRITERS)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(KILLS):
            before = len(acknowledged)
            wait_for(lambda least=before + 20: len(acknowledged) >= least)
            os.kill(int((EmbeddedPostgres(home).data / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)
        last = len(acknowledged)
        wait_for(lambda: len(acknowledged) >= last + 20)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)
    assert odd == []

    present: dict[str, list[str]] = {}
    client, cursor = Client(port, token), ""
    while cursor is not None:
        status, page = client.ask(
            "GET", f"parties?search=W&limit=500&fields=id,name{'&cursor=' + cursor if cursor else ''}"
        )
        assert status == 200, page
        for row in page["items"]:
            present.setdefault(row["name"], []).append(row["id"])
        cursor = page.get("next_cursor") or page.get("next")
    assert {name: present.get(name) for name in acknowledged} == {name: [key] for name, key in acknowledged.items()}
    assert all(len(ids) == 1 for ids in present.values())
    assert len(present) - len(acknowledged) <= WRITERS, "Only what was under way at the end may be unacknowledged."
    checked = run(home, "doctor", "--tenant", "kill9")
    assert "journal" in checked.stdout.lower() and checked.returncode == 0, checked.stdout


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "It did not come back in a minute."
        time.sleep(0.05)
