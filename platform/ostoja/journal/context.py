"""A change's context: one transaction with its actor, verb and cause, told to the database for the journal."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from contextvars import ContextVar

from django.db import connection, transaction

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoActor

_told: ContextVar[tuple[str, str, str] | None] = ContextVar("ostoja_change", default=None)
TELL = "SELECT set_config('ostoja.actor', %s, true), set_config('ostoja.verb', %s, true), set_config('ostoja.cause', %s, true)"


@contextmanager
def changing(actor: Actor, verb: str, cause: uuid.UUID | None = None):
    """Everything that changes in this block is one transaction by ``actor``, for ``verb``.

    Blocks nest: an inner one is a savepoint and inherits the cause. Raises NoActor without an actor.
    """
    if actor is None:
        raise NoActor("Nobody is acting. Every change has an actor.")
    outer = _told.get() if connection.in_atomic_block else None
    told = (actor.key, verb, str(cause or (outer[2] if outer else "") or ""))
    with transaction.atomic():
        _tell(told)
        token = _told.set(told)
        try:
            yield
        finally:
            _told.reset(token)
        if outer is not None:
            _tell(outer)


def _tell(told: tuple[str, str, str]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(TELL, told)
