"""The installation's advisory locks, by number: held by a session, gone with it."""

from __future__ import annotations

from contextlib import contextmanager

OURS = 0x0570
SCHEDULE, INSTALL, POOL, FLEET = 1, 2, 3, 4


@contextmanager
def held(connection, number: int):
    """Wait for the lock and hold it during the block."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s, %s)", [OURS, number])
    try:
        yield
    finally:
        _release(connection, number)


@contextmanager
def tried(connection, number: int):
    """Hold the lock during the block if it is free; yields whether it was."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", [OURS, number])
        ours = cursor.fetchone()[0]
    try:
        yield ours
    finally:
        if ours:
            _release(connection, number)


def _release(connection, number: int) -> None:
    if connection.connection is None or connection.needs_rollback:
        return  # the lock ends with the session
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_unlock(%s, %s)", [OURS, number])
