"""How long a committed change takes to be visible at the other site: two whole installations on this machine, idle and busy.

``uv run python tests/benchmarks/link.py [--probes 60] [--rate 50] [--seconds 20]`` prints one JSON line: milliseconds from the
answer of the API at one site to the row in the other site's database, in both directions, with nothing else going on and with
``rate`` other changes a second. Targets: 99 of 100 within 1 s idle and 2 s busy.
"""

from __future__ import annotations

import argparse
import json
import secrets
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "hybrid" / "process"))

from installations import Pair, Refused

PATIENCE = 30.0


def delay(pair: Pair, here: str, there: str, key: str) -> float:
    """Change one deal here; answers how many milliseconds later it is there, at most PATIENCE."""
    word = secrets.token_hex(6)
    with closing(pair.sides[there].connect()) as connection, connection.cursor() as cursor:
        pair.sides[here].call("PATCH", f"/deals/{key}", {"source": word})
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            cursor.execute("SELECT 1 FROM sales_deal WHERE id = %s AND source = %s", [key, word])
            if cursor.fetchone():
                break
            time.sleep(0.004)
        return (time.monotonic() - began) * 1000


def told(delays: list[float]) -> dict:
    """Median and 99th of 100."""
    ordered = sorted(delays)
    return {
        "p50_ms": round(ordered[len(ordered) // 2]),
        "p99_ms": round(ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]),
    }


class Work(threading.Thread):
    """So many changes a second at one site, until told to stop."""

    def __init__(self, pair: Pair, side: str, keys: list[str], rate: float):
        super().__init__(daemon=True)
        self.pair, self.side, self.keys, self.pause = pair, side, keys, 1 / rate
        self.stopping, self.done = threading.Event(), 0

    def run(self) -> None:
        """Change deals, one after the other."""
        due = time.monotonic()
        while not self.stopping.is_set():
            due += self.pause
            key = self.keys[self.done % len(self.keys)]
            try:
                self.pair.sides[self.side].call("PATCH", f"/deals/{key}", {"source": f"busy {self.done}"})
                self.done += 1
            except Refused:
                continue
            time.sleep(max(0.0, due - time.monotonic()))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--probes", type=int, default=60)
    parser.add_argument("--rate", type=float, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        home = Path(place)
        home.chmod(0o711)
        pair = Pair(home)
        try:
            pair.at_rest(300)
            deals = [d["id"] for d in pair.cloud.call("GET", "/deals?limit=60&state=open")["items"]]
            ways = [("p", "c"), ("c", "p")]
            idle = [delay(pair, *ways[n % 2], deals[n % 10]) for n in range(given.probes)]
            workers = [
                Work(pair, side, deals[start : start + 10], given.rate / 4)
                for side, start in (("p", 20), ("p", 30), ("c", 40), ("c", 50))
            ]
            for worker in workers:
                worker.start()
            began, busy = time.monotonic(), []
            while time.monotonic() - began < given.seconds:
                busy.append(delay(pair, *ways[len(busy) % 2], deals[len(busy) % 10]))
            passed = time.monotonic() - began
            for worker in workers:
                worker.stopping.set()
            for worker in workers:
                worker.join()
            rate = sum(w.done for w in workers) / passed
            print(
                json.dumps(
                    {"benchmark": "link", "idle": told(idle), "busy": told(busy), "changes_per_second": round(rate, 1)}
                )
            )
        finally:
            pair.stop()


if __name__ == "__main__":
    main()
