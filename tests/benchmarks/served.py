"""A served installation for benchmarks: ``ostoja up`` on a home and a port of its own, a tenant with a token, and clients.

The home is kept between runs (``BENCH_HOME``, default in the temporary directory), so that only the first one fills it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TENANT, OWNER = "bench", "owner@bench.example"
TICKS = os.sysconf("SC_CLK_TCK")


def home() -> Path:
    """Where the benchmarks' installation lives."""
    return Path(os.environ.get("BENCH_HOME") or Path(tempfile.gettempdir()) / f"ostoja-bench-{os.getuid()}")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@dataclass
class Server:
    """A running installation and the token of its tenant's owner."""

    port: int
    token: str
    process: subprocess.Popen
    host: str = f"{TENANT}.localhost"

    def request(self, method: str, path: str, body: object = None, **headers: str) -> bytes:
        """The bytes of one HTTP/1.1 request, for a socket."""
        payload = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /api/v1{path} HTTP/1.1", f"Host: {self.host}", f"Authorization: Bearer {self.token}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines += ["Content-Type: application/json", f"Content-Length: {len(payload)}"]
        return "\r\n".join([*lines, "", ""]).encode() + payload

    def call(self, method: str, path: str, body: object = None) -> dict:
        """One request, its JSON. Raises RuntimeError for a refusal."""
        with Client(self.port) as client:
            status, answer = client.send(self.request(method, path, body))
        if status >= 400:
            raise RuntimeError(f"{method} {path}: {status} {answer[:500].decode()}")
        return json.loads(answer) if answer else {}

    def cpu_seconds(self) -> float:
        """Processor time of this server's processes and its database so far."""
        mine, times, parents = set(), {}, {}
        for directory in Path("/proc").iterdir():
            if directory.name.isdigit():
                try:
                    fields = (directory / "stat").read_text().rpartition(")")[2].split()
                    command = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                except OSError:
                    continue
                number = int(directory.name)
                times[number], parents[number] = int(fields[11]) + int(fields[12]), int(fields[1])
                if number == self.process.pid or f"-D {home()}/postgres" in command:
                    mine.add(number)
        while more := {n for n, parent in parents.items() if parent in mine} - mine:
            mine |= more
        return sum(times[n] for n in mine) / TICKS


class Client:
    """One kept-alive connection, as thin as can be, so that what is measured is the server."""

    def __init__(self, port: int):
        self.port = port
        self._connect()

    def _connect(self) -> None:
        self.socket = socket.create_connection(("127.0.0.1", self.port), 60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, request: bytes) -> tuple[int, bytes]:
        """Send a request; its status and body."""
        self.socket.sendall(request)
        found = self.rest
        while (end := found.find(b"\r\n\r\n")) < 0:
            found += self._more()
        head, body = found[:end].lower(), found[end + 4 :]
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        while len(body) < length:
            body += self._more()
        self.rest = body[length:]
        return int(head[9:12]), body[:length]

    def _more(self) -> bytes:
        got = self.socket.recv(262144)
        if not got:
            raise ConnectionError("The server closed the connection.")
        return got


@dataclass
class Load:
    """What a load found: milliseconds of every request, refusals, the wall time and the server's processor time."""

    took: list[float] = field(default_factory=list)
    refused: int = 0
    seconds: float = 0.0
    cpu: float = 0.0

    def line(self) -> dict:
        """Requests a second, the middle and the slowest hundredth, processor milliseconds a request."""
        ordered = sorted(self.took)
        return {
            "rps": round(len(ordered) / self.seconds, 1),
            "p50_ms": round(statistics.median(ordered), 2),
            "p99_ms": round(ordered[int(len(ordered) * 0.99) - 1], 2),
            "cpu_ms": round(self.cpu * 1000 / len(ordered), 2),
            "requests": len(ordered),
            "refused": self.refused,
        }


def load(server: Server, make: Callable[[int], bytes], clients: int, seconds: float) -> Load:
    """Keep ``clients`` connections busy for so long; ``make(n)`` makes the n-th request."""
    found, numbers, lock = Load(), iter(range(10**9)), threading.Lock()
    start, cpu = time.perf_counter(), server.cpu_seconds()
    until = start + seconds

    def work() -> None:
        took, refused = [], 0
        with Client(server.port) as client:
            while (began := time.perf_counter()) < until:
                with lock:
                    number = next(numbers)
                status, _body = client.send(make(number))
                took.append((time.perf_counter() - began) * 1000)
                refused += status >= 400
        with lock:
            found.took += took
            found.refused += refused

    threads = [threading.Thread(target=work) for _n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found.seconds = time.perf_counter() - start
    found.cpu = server.cpu_seconds() - cpu
    return found


def settle() -> None:
    """Let the database tidy up after a great import, as it does by itself within a minute or two."""
    import psycopg2

    from ostoja.operations.database import OWNER
    from ostoja.operations.embedded.postgres import EmbeddedPostgres

    connection = psycopg2.connect(**EmbeddedPostgres(home()).connection(OWNER))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    connection.close()


@contextmanager
def served(workers: int = 2) -> Iterator[Server]:
    """``ostoja up`` with a tenant ``bench``; stopped at the end."""
    port, environment = free_port(), {**os.environ, "OSTOJA_HOME": str(home())}
    home().mkdir(mode=0o711, parents=True, exist_ok=True)
    ostoja = [str(Path(sys.executable).parent / "ostoja")]
    log = (home() / "bench.log").open("w")
    process = subprocess.Popen(
        [*ostoja, "up", "--port", str(port), "--workers", str(workers)], env=environment, stdout=log, stderr=log
    )
    try:
        _wait(port, process, Path(log.name))
        token = _token(ostoja, environment)
        yield Server(port, token, process)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def _wait(port: int, process: subprocess.Popen, log: Path) -> None:
    until = time.monotonic() + 180
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"ostoja up ended with {process.returncode}: {log.read_text()[-2000:]}")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise SystemExit("ostoja up did not answer within three minutes.")


def _token(ostoja: list[str], environment: dict) -> str:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run([*ostoja, *arguments, "--json"], env=environment, capture_output=True, text=True)

    made = run("token", "create", "--tenant", TENANT, "--user", OWNER, "--scope", "*:*")
    if made.returncode:
        created = run("tenant", "create", TENANT, "--owner", OWNER, "--name", "Bench")
        if created.returncode:
            raise SystemExit(f"No tenant: {created.stderr}")
        made = run("token", "create", "--tenant", TENANT, "--user", OWNER, "--scope", "*:*")
    if made.returncode:
        raise SystemExit(f"No token: {made.stderr}")
    answer = json.loads(made.stdout)
    return next(v for v in answer.values() if isinstance(v, str) and v.startswith("ost_") and len(v) > 20)
