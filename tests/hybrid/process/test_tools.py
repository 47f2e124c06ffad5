"""The tools of these tests do what they say: each toxic harms as it is described, and the judgement finds what is lost."""

from __future__ import annotations

import http.client
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from proxy import TOXICS, Proxy
from workload import Ledger, Lost, Work, Write

BODY = b"What the premises say." * 20
ANSWER = b"What the cloud answers." * 20


class Cloud(BaseHTTPRequestHandler):
    """Notes what arrives."""

    heard: list[tuple[str, bytes]]

    def do_POST(self):
        """Take the body, as far as it comes, and answer."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.heard.append((self.headers.get("X-Ostoja-Signature", ""), body))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ANSWER)))
        self.end_headers()
        self.wfile.write(ANSWER)

    def log_message(self, *_):
        """Says nothing."""


@pytest.fixture
def line():
    """A proxy before a cloud that only listens; ``heard`` is what arrived there."""
    handler = type("Handler", (Cloud,), {"heard": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    proxy = Proxy(server.server_address[1], seed=1)
    proxy.heard = handler.heard
    yield proxy
    proxy.close()
    server.shutdown()
    server.server_close()


def say(line: Proxy, lane: str = "push") -> bytes | None:
    """One request; its answer, or None when there was none, or half of one."""
    connection = http.client.HTTPConnection("127.0.0.1", line.port, timeout=5)
    try:
        connection.request("POST", "/sync", BODY, {"X-Ostoja-Lane": lane, "X-Ostoja-Signature": "Signed"})
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()


# toxic: (the answer that comes, what has arrived two seconds later)
HARM = {
    "latency": (ANSWER, [BODY]),
    "hold": (ANSWER, [BODY]),
    "swap": (ANSWER, [BODY]),
    "flip_head": (ANSWER, [BODY]),
    "double": (ANSWER, [BODY, BODY]),
    "again": (ANSWER, [BODY, BODY]),
    "truncate": (ANSWER, [BODY[: len(BODY) // 2]]),
    "truncate_answer": (ANSWER[: len(ANSWER) // 2], [BODY]),
    "cut_request": (None, [BODY[: len(BODY) // 2]]),
    "cut_answer": (None, [BODY]),
    "lose_answer": (None, [BODY]),
    "late": (None, [BODY]),
}


@pytest.mark.parametrize("toxic", sorted(HARM))
def test_a_toxic_harms_as_it_is_described(line, toxic):
    answer, arrives = HARM[toxic]
    with line.toxic(**{toxic: 1.0}) as inflicted:
        assert say(line) == answer
    until = time.monotonic() + 60
    while [body for _signature, body in line.heard] != arrives and time.monotonic() < until:
        time.sleep(0.05)
    assert [body for _signature, body in line.heard] == arrives
    assert inflicted == {toxic: 1}
    assert (line.heard[0][0] == "Signed") == (toxic != "flip_head")


@pytest.mark.parametrize("toxic", ["flip", "flip_answer"])
def test_a_flip_changes_one_bit(line, toxic):
    with line.toxic(**{toxic: 1.0}):
        answer = say(line)
    was, now = (BODY, line.heard[0][1]) if toxic == "flip" else (ANSWER, answer)
    assert sum((a ^ b).bit_count() for a, b in zip(was, now, strict=True)) == 1


def test_every_toxic_is_tried():
    assert {*HARM, "flip", "flip_answer"} == set(TOXICS)


def test_a_line_that_is_down_or_a_hole_passes_nothing_until_it_is_up(line):
    line.down()
    assert say(line) is None
    line.up()
    assert say(line) == ANSWER
    line.black_hole()
    threading.Timer(0.3, line.up).start()
    assert say(line) is None and len(line.heard) == 1


def wrote(value: str, began: float, *, known: bool = True, side: str = "c") -> Write:
    return Write(side, "deals", "one", "title", value, began, began + 1, known)


@pytest.mark.parametrize(
    ("value", "writes", "fine"),
    [
        ("a", [wrote("a", 1)], True),
        ("b", [wrote("a", 1), wrote("b", 5)], True),
        ("a", [wrote("a", 1), wrote("b", 1.5, side="p")], True),  # at once: either may win
        ("a", [wrote("a", 1), wrote("b", 5, known=False)], True),  # nobody knows whether the second counted
        ("a", [wrote("a", 1), wrote("b", 5)], False),
        ("a", [wrote("a", 1, side="p"), wrote("b", 5)], False),
        ("z", [wrote("a", 1)], False),
        ("z", [wrote("a", 1, known=False)], True),
    ],
)
def test_the_judgement_finds_an_acknowledged_write_that_was_lost(value, writes, fine):
    work = Work.__new__(Work)
    if fine:
        work._latest("a deal", value, writes)
    else:
        with pytest.raises(Lost):
            work._latest("a deal", value, writes)


def test_a_ledger_counts_what_was_acknowledged():
    ledger = Ledger()
    ledger.note(wrote("a", 1))
    ledger.note(wrote("b", 2, known=False))
    ledger.note(Write("c", "deals", "one", "", "", 3, 4, True))
    assert (ledger.known, len(ledger.writes), len(ledger.deletes)) == (2, 2, 1)
