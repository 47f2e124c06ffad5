"""The schedule: one process per installation that does what is due: sweeps queues, and whatever the modules register."""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from ostoja.kernel import outbound

log = logging.getLogger(__name__)


@dataclass
class Periodic:
    """A function that is called every so many seconds."""

    function: Callable[[], None]
    seconds: float
    due: float = 0.0


PERIODIC: list[Periodic] = []
LEADER_LOCK = (0x0570, 0x0001)


def every(seconds: float):
    """Register a function of no arguments to be called every so many seconds, by one process of the installation."""

    def register(function):
        PERIODIC.append(Periodic(function, seconds))
        return function

    return register


def tick(now: float | None = None) -> float:
    """Call what is due; returns the seconds until something is due next. One that fails never stops the others."""
    now = time.monotonic() if now is None else now
    for periodic in PERIODIC:
        if periodic.due <= now:
            periodic.due = now + periodic.seconds
            try:
                periodic.function()
            except Exception:
                log.exception(
                    "The scheduled %s failed; it is tried again in %s s.",
                    periodic.function.__qualname__,
                    periodic.seconds,
                )
                _fresh_connections()
    return max(0.05, min(p.due for p in PERIODIC) - time.monotonic()) if PERIODIC else 1.0


def _fresh_connections() -> None:
    from django.db import connections

    for connection in connections.all(initialized_only=True):
        connection.close()


def _is_leader() -> bool:
    from django.db import connections

    from ostoja.tenancy.context import platform_context

    with platform_context(), connections["default"].cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", LEADER_LOCK)
        return cursor.fetchone()[0]


def main() -> None:
    """Run until told to stop; a second schedule waits as a stand-by."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    outbound.begin(outbound.NAMED)
    import django

    django.setup()
    stopping = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.append(True))
    while not stopping:
        try:
            pause = tick() if _is_leader() else 2.0
        except Exception:
            log.exception("The schedule can't reach the database; it tries again.")
            _fresh_connections()
            pause = 2.0
        until = time.monotonic() + pause
        while not stopping and time.monotonic() < until:
            time.sleep(min(0.2, pause))


if __name__ == "__main__":
    from ostoja.jobs import schedule

    schedule.main()
