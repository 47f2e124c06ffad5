"""A line between two sites that tests damage: a proxy for HTTP which drops, delays, doubles, reorders, truncates and corrupts."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

TOXICS = {
    "latency": "the request waits for up to 0.3 seconds",
    "cut_request": "the connection ends in the middle of the request's body",
    "cut_answer": "the other side takes the request, and the connection ends in the middle of its answer",
    "lose_answer": "the other side takes the request, and the connection ends before a word of its answer",
    "double": "the request arrives twice; the second answer counts",
    "again": "a copy of the request arrives a second later, when others have passed",
    "truncate": "a whole request arrives with half of its body",
    "truncate_answer": "a whole answer comes with half of its body",
    "flip": "one bit of the request's body is another",
    "flip_answer": "one bit of the answer's body is another",
    "flip_head": "one letter of the signature is another",
    "late": "the connection ends at once, and the request arrives a second later",
    "hold": "the answer is held for up to two seconds",
    "swap": "the request waits until one of the other lane has passed it, for at most two seconds",
}
PASSED = ("host", "content-type", "x-ostoja-")
LONGEST = 45  # seconds that an answer of the upper site may take


class Passed(NamedTuple):
    """One exchange that went through: its lane, what it asked, and both bodies as the sites sent them."""

    path: str
    lane: str
    body: bytes
    answer: bytes


class _Gone(Exception):
    """The connection to the lower site is to be closed without another word."""


class Proxy:
    """Listens on a port of its own and passes requests on to ``upstream`` (a port of this machine).

    ``toxics`` are chances between 0 and 1 by name, drawn from the seed; ``inflicted`` counts what was done.
    ``keep`` notes what passed on ``tape``.
    """

    def __init__(self, upstream: int, seed: int = 0, *, keep: bool = False):
        self.upstream, self.chance, self.keep = upstream, random.Random(seed), keep
        self.toxics: dict[str, float] = {}
        self.inflicted: Counter[str] = Counter()
        self.within: Counter[str] = Counter()
        self.passed: Counter[str] = Counter()
        self.tape: list[Passed] = []
        self.lock = threading.Lock()
        self.arrived = threading.Condition()
        self.open = threading.Event()
        self.open.set()
        self.hole = threading.Event()  # set: whoever comes in is heard and never answered
        self.connections: set[socket.socket] = set()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.05,), name="proxy", daemon=True).start()

    def close(self) -> None:
        """End the proxy and all its connections."""
        self.down()
        self.hole.clear()
        self.server.shutdown()
        self.server.server_close()

    # faults

    @contextmanager
    def toxic(self, **chances: float) -> Iterator[Counter[str]]:
        """These toxics for the block; gives the count of what was done since it began."""
        unknown = chances.keys() - TOXICS.keys()
        if unknown:
            raise ValueError(f"There is no toxic of the name {', '.join(sorted(unknown))}.")
        self.within = within = Counter()
        self.toxics = chances
        try:
            yield within
        finally:
            self.toxics = {}

    def down(self) -> None:
        """The line is cut: whoever comes in is turned away, and what is on its way is lost."""
        self.open.clear()
        with self.lock:
            for connection in list(self.connections):
                try:
                    connection.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def up(self) -> None:
        """The line is whole again."""
        self.hole.clear()
        self.open.set()

    def black_hole(self) -> None:
        """The line takes everything and gives nothing back, until it is up again."""
        self.hole.set()

    def draw(self, name: str) -> bool:
        """Whether this toxic is inflicted now."""
        with self.lock:
            hit = self.chance.random() < self.toxics.get(name, 0)
            if hit:
                self.inflicted[name] += 1
                self.within[name] += 1
        return hit

    def between(self, low: float, high: float) -> float:
        """A random number."""
        with self.lock:
            return self.chance.uniform(low, high)

    # what passes

    def carry(self, path: str, lane: str, headers: dict[str, str], body: bytes) -> tuple[int, dict, bytes]:
        """One request to the upper site and its answer. Raises OSError or HTTPException when there is none."""
        line = http.client.HTTPConnection("127.0.0.1", self.upstream, timeout=LONGEST)
        try:
            line.request("POST", path, body=body, headers=headers)
            answer = line.getresponse()
            told = answer.read()
            with self.arrived:
                self.passed[lane] += 1
                self.arrived.notify_all()
            return answer.status, dict(answer.getheaders()), told
        finally:
            line.close()

    def cut(self, path: str, headers: dict[str, str], body: bytes) -> None:
        """A request of which only the first half arrives, before the connection ends."""
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        raw = f"POST {path} HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body[: len(body) // 2]
        with socket.create_connection(("127.0.0.1", self.upstream), timeout=LONGEST) as line:
            line.sendall(raw)

    def wait_for_other(self, lane: str, seconds: float) -> None:
        """Wait until a request of another lane has passed."""
        others = [name for name in ("push", "pull") if name != lane]
        with self.arrived:
            before = sum(self.passed[name] for name in others)
            self.arrived.wait_for(lambda: sum(self.passed[name] for name in others) > before, seconds)

    def damaged(self, body: bytes) -> bytes:
        """The body with one other bit."""
        if not body:
            return body
        with self.lock:
            at, bit = self.chance.randrange(len(body)), self.chance.randrange(8)
        return body[:at] + bytes([body[at] ^ 1 << bit]) + body[at + 1 :]


class _Handler(BaseHTTPRequestHandler):
    """One connection of the lower site."""

    proxy: Proxy
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def setup(self) -> None:
        super().setup()
        with self.proxy.lock:
            self.proxy.connections.add(self.connection)

    def finish(self) -> None:
        with self.proxy.lock:
            self.proxy.connections.discard(self.connection)
        try:
            super().finish()
        except OSError:
            return

    def do_POST(self) -> None:
        """Take a request, do to it what is drawn, and pass on the answer."""
        try:
            self._pass()
        except (_Gone, OSError, http.client.HTTPException):
            self.close_connection = True
            try:
                self.connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def _pass(self) -> None:
        proxy = self.proxy
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if proxy.hole.is_set():
            proxy.inflicted["hole"] += 1
            while proxy.hole.is_set():
                time.sleep(0.05)
            raise _Gone
        if not proxy.open.is_set():
            raise _Gone
        lane = self.headers.get("X-Ostoja-Lane", "")
        headers = {k: v for k, v in self.headers.items() if k.lower().startswith(PASSED)}
        status, said, answer = self._arrives(lane, headers, body)
        if not proxy.open.is_set():
            raise _Gone
        if proxy.keep and status == 200:
            proxy.tape.append(Passed(self.path, lane, body, answer))
        if proxy.draw("lose_answer"):
            raise _Gone
        if proxy.draw("hold"):
            time.sleep(proxy.between(0.2, 2.0))
        if proxy.draw("flip_answer"):
            answer = proxy.damaged(answer)
        if proxy.draw("truncate_answer"):
            answer = answer[: len(answer) // 2]
        self._answers(status, said, answer, half=proxy.draw("cut_answer"))

    def _arrives(self, lane: str, headers: dict[str, str], body: bytes) -> tuple[int, dict, bytes]:
        """The request at the upper site, whatever became of it on its way."""
        proxy, path = self.proxy, self.path
        if proxy.draw("latency"):
            time.sleep(proxy.between(0.01, 0.3))
        if proxy.draw("swap"):
            proxy.wait_for_other(lane, 2.0)
        if proxy.draw("cut_request"):
            proxy.cut(path, headers, body)
            raise _Gone
        if proxy.draw("late"):
            self._later(path, lane, headers, body)
            raise _Gone
        sent, signed = body, headers
        if proxy.draw("truncate"):
            sent = body[: len(body) // 2]
        if proxy.draw("flip"):
            sent = proxy.damaged(sent)
        if proxy.draw("flip_head") and (name := next((n for n in headers if n.lower() == "x-ostoja-signature"), "")):
            was = headers[name]
            signed = headers | {name: ("A" if was[0] != "A" else "B") + was[1:]}
        if proxy.draw("again"):
            self._later(path, lane, headers, body)
        answered = proxy.carry(path, lane, signed, sent)
        if proxy.draw("double"):
            answered = proxy.carry(path, lane, signed, sent)
        return answered

    def _later(self, path: str, lane: str, headers: dict[str, str], body: bytes) -> None:
        def work() -> None:
            time.sleep(1.0)
            try:
                self.proxy.carry(path, lane, headers, body)
            except (OSError, http.client.HTTPException):
                return

        threading.Thread(target=work, name="later", daemon=True).start()

    def _answers(self, status: int, said: dict, answer: bytes, *, half: bool) -> None:
        self.send_response(status)
        for name, value in said.items():
            if name.lower() not in ("content-length", "connection", "date", "server", "transfer-encoding"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer[: len(answer) // 2] if half else answer)
        if half:
            raise _Gone
