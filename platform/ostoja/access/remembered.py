"""Actors of API tokens, remembered for two seconds in this process; every change of rights made here forgets them all."""

from __future__ import annotations

import time

from django.db import transaction

from ostoja.kernel.actors import Actor

SECONDS = 2.0
MOST = 4096

_actors: dict[tuple[str, str], tuple[float, Actor]] = {}
_generation = [0]


def get(key: tuple[str, str]) -> Actor | None:
    """The actor remembered under (schema, digest of the token), if it is fresh enough."""
    kept = _actors.get(key)
    if kept is None or kept[0] < time.monotonic():
        return None
    return kept[1]


def generation() -> int:
    """Ask before the query, and give it to ``put``: what was read before a change of rights is not remembered after it."""
    return _generation[0]


def put(key: tuple[str, str], actor: Actor, asked_at: int, seconds: float | None = None) -> None:
    """Remember an actor for ``SECONDS``, or for ``seconds`` when that is less."""
    if asked_at != _generation[0]:
        return
    if len(_actors) >= MOST:
        _actors.clear()
    _actors[key] = (time.monotonic() + min(SECONDS, SECONDS if seconds is None else seconds), actor)


def forget() -> None:
    """Forget everybody: rights are being changed. Also when the present transaction commits, for nobody sees it earlier."""
    _forget()
    if transaction.get_connection().in_atomic_block:
        transaction.on_commit(_forget, robust=True)


def _forget() -> None:
    _generation[0] += 1
    _actors.clear()
