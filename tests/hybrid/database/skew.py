"""Clocks that go wrong at one site only: what its database and its programs take for now is moved by so many milliseconds, or stands."""

from __future__ import annotations

import time

from django.db import connections

from ostoja.hybrid import exchange, install, receiving
from ostoja.tenancy.context import opening, schema_context

NOW = "clock_timestamp()"
OURS = "hybrid_test_now()"

_moved: dict[str, int] = {}
_stopped: dict[str, int] = {}


class Watch:
    """Stands where a module has ``time``."""

    def __getattr__(self, name):
        return getattr(time, name)

    @staticmethod
    def time() -> float:
        """Now, as the open site sees it."""
        schema = now.schema if (now := opening()) else ""
        if schema in _stopped:
            return _stopped[schema] / 1000
        return time.time() + _moved.get(schema, 0) / 1000


def watches(monkeypatch) -> None:
    """Let every site have a clock of its own; before the first site is enrolled."""
    watch = Watch()
    monkeypatch.setattr(exchange, "time", watch)
    monkeypatch.setattr(receiving, "time", watch)
    for name in ("STAMP", "DEATH"):
        monkeypatch.setattr(install, name, getattr(install, name).replace(NOW, OURS))


def move(tenant, ms: int) -> None:
    """From now on the clock of this site is so many milliseconds ahead."""
    _stopped.pop(tenant.schema_name, None)
    _moved[tenant.schema_name] = ms
    _now(tenant, f"clock_timestamp() + interval '{ms} milliseconds'")


def stop(tenant, at: int) -> None:
    """From now on the clock of this site stands at this moment, in milliseconds since 1970, however long something takes."""
    _stopped[tenant.schema_name] = at
    _now(tenant, f"to_timestamp({at} / 1000.0)")


def _now(tenant, expression: str) -> None:
    schema = tenant.schema_name
    with schema_context(schema), connections["owner"].cursor() as cursor:
        cursor.execute(
            f'CREATE OR REPLACE FUNCTION "{schema}".hybrid_test_now() RETURNS timestamptz LANGUAGE sql VOLATILE AS '
            f"$now$ SELECT {expression} $now$"
        )
        cursor.execute(f'GRANT EXECUTE ON FUNCTION "{schema}".hybrid_test_now() TO "r_{schema}"')


def moved(tenant) -> int:
    """How far ahead the clock of this site is."""
    return _moved.get(tenant.schema_name, 0)
