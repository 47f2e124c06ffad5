"""Which programs make up a running installation, and the lock that lets only one supervisor run them."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ostoja.operations.embedded import keeper
from ostoja.operations.supervisor import CannotRun, Program

LOCK = "up.lock"


def home_of(environment: Mapping[str, str]) -> Path:
    """The directory in which all state of an installation lives: ``$OSTOJA_HOME``, else ``.ostoja`` where we are."""
    return Path(environment.get("OSTOJA_HOME") or ".ostoja").expanduser().absolute()


def programs(host: str, port: int, web_processes: int, worker_processes: int, *, dials: bool = False) -> list[Program]:
    """The web server, the worker and the schedule; and, where this installation dials others, the agent of its links."""
    python = [sys.executable, "-m"]
    environment = {"DJANGO_SETTINGS_MODULE": "ostoja.settings", "PYTHONUNBUFFERED": "1", "OSTOJA_UP_PORT": str(port)}
    return [
        Program(
            "web",
            [
                *python,
                "granian",
                "--interface",
                "wsgi",
                "--host",
                host,
                "--port",
                str(port),
                "--workers",
                str(web_processes),
                "--blocking-threads",
                "4",
                "--no-ws",
                "--respawn-failed-workers",
                "--respawn-interval",
                "0.5",
                "--workers-kill-timeout",
                "4s",
                "--workers-max-rss",
                "1500",
                "ostoja.web.wsgi:application",
            ],
            environment,
        ),
        Program(
            "worker",
            [
                *python,
                "celery",
                "--app",
                "ostoja.jobs.celery:app",
                "worker",
                "--concurrency",
                str(worker_processes),
                "--loglevel",
                "INFO",
                "--hostname",
                "worker@%h",
                "--without-gossip",
                "--without-mingle",
                "--max-memory-per-child",
                "1500000",
            ],
            environment,
        ),
        Program("schedule", [*python, "ostoja.jobs.schedule"], environment),
        *([Program("agent", [*python, "ostoja.hybrid.agent"], environment)] if dials else []),
    ]


def reach_broker(url: str) -> None:
    """See that somebody else's broker lets us in. Raises CannotRun."""
    import redis

    try:
        redis.from_url(url, socket_connect_timeout=5, socket_timeout=5).ping()
    except (redis.RedisError, OSError) as error:
        raise CannotRun(f"The broker does not let us in ({' '.join(str(error).split())}): mend broker.url.") from error


@contextmanager
def only_one(home: Path, port: int) -> Iterator[None]:
    """Hold the home for the block, for a web server on that port. Raises CannotRun if another ``ostoja up`` holds it."""
    path = home / "run" / LOCK
    try:
        path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{home} can't be used as OSTOJA_HOME: {error.strerror}.") from error
    descriptor = keeper.lock(str(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
    if descriptor is None:
        raise CannotRun(
            f"Ostoja is up in {home} already (process {path.read_text().split()[0]}): stop it there with Ctrl-C, "
            "or give another directory with --home."
        )
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {port}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)


def port_of(home: Path) -> int | None:
    """The port of the web server that is up in this home, or None."""
    path = home / "run" / LOCK
    if not path.exists():
        return None
    free = keeper.lock(str(path), fcntl.LOCK_SH | fcntl.LOCK_NB)
    if free is not None:
        os.close(free)
        return None
    words = path.read_text().split()
    return int(words[1]) if len(words) == 2 else None
