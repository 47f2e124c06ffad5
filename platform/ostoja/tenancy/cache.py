"""The cache, walled: every key carries its tenant, and so does every value; a value that is not the tenant's is a miss."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, TypeVar

from django.core.cache import cache

from ostoja.kernel.errors import NoTenant

from .context import PLATFORM, opening

log = logging.getLogger(__name__)
T = TypeVar("T")


def owner_of_keys() -> str:
    """``t:<26 characters>`` while a tenant is open, ``p`` for the platform. Raises NoTenant without either."""
    now = opening()
    if now is None:
        raise NoTenant("No tenant is open: this cache key would not know whose it is.")
    return "p" if now.schema == PLATFORM else f"t:{now.schema.removeprefix('t_')}"


def make_key(key: str, key_prefix: str, version: int) -> str:
    """Django's ``KEY_FUNCTION``. Raises NoTenant when nothing is open."""
    return f"{owner_of_keys()}:{key_prefix}:{version}:{key}"


def put(key: str, value: Any, seconds: int | None = 300) -> None:
    """Keep a value for the open tenant."""
    cache.set(key, (owner_of_keys(), value), seconds)


def get(key: str, default: T = None) -> Any | T:
    """The open tenant's value, or ``default``. One that was put by another tenant is a miss, and an alarm in the log."""
    kept = cache.get(key)
    if kept is None:
        return default
    owner, value = kept
    if owner != owner_of_keys():
        log.critical("The cache answered %s with a value of %s; it was not used. Key: %s", owner_of_keys(), owner, key)
        return default
    return value


def cached(key: str, make: Callable[[], T], seconds: int | None = 300) -> T:
    """The open tenant's value, made and kept when there is none."""
    missing = object()
    value = get(key, missing)
    if value is missing:
        value = make()
        put(key, value, seconds)
    return value
