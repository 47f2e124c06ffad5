"""Which programs make up a running installation, and the lock that lets only one supervisor run them."""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ostoja.operations.embedded import keeper
from ostoja.operations.supervisor import CannotRun, Program


def programs(host: str, port: int, web_processes: int, worker_processes: int) -> list[Program]:
    """The web server, the worker and the schedule."""
    python = [sys.executable, "-m"]
    environment = {"DJANGO_SETTINGS_MODULE": "ostoja.settings", "PYTHONUNBUFFERED": "1"}
    return [
        Program("web", [
            *python, "granian", "--interface", "wsgi", "--host", host, "--port", str(port), "--workers", str(web_processes),
            "--blocking-threads", "4", "--no-ws", "--respawn-failed-workers", "--respawn-interval", "0.5",
            "--workers-kill-timeout", "4s", "--workers-max-rss", "1500", "ostoja.web.wsgi:application",
        ], environment),
        Program("worker", [
            *python, "celery", "--app", "ostoja.jobs.celery:app", "worker", "--concurrency", str(worker_processes),
            "--loglevel", "INFO", "--hostname", "worker@%h", "--without-gossip", "--without-mingle",
            "--max-memory-per-child", "1500000",
        ], environment),
        Program("schedule", [*python, "ostoja.jobs.schedule"], environment),
    ]


@contextmanager
def only_one(home: Path) -> Iterator[None]:
    """Hold the home for the block. Raises CannotRun if another ``ostoja up`` holds it."""
    run = home / "run"
    try:
        run.mkdir(mode=0o711, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotRun(f"{home} can't be used as OSTOJA_HOME: {error.strerror}.") from error
    path = run / "up.lock"
    descriptor = keeper.lock(str(path), fcntl.LOCK_EX | fcntl.LOCK_NB)
    if descriptor is None:
        pid = path.read_text().strip()
        raise CannotRun(
            f"Ostoja is up in {home} already (process {pid}): stop it there with Ctrl-C, or give another directory with --home."
        )
    try:
        os.truncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)
