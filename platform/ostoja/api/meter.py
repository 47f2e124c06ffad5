"""The meter counts requests of a token, or of a stranger's address, and says when there are too many in a minute.

Each process counts by itself and tells the shared counter a few times a second, so that metering costs no round trip on
most requests. A cache that is away leaves each process with its own count: readers are not shut out.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from ostoja.access.limits import address_of, network_of
from ostoja.tenancy.cache import owner_of_keys

from .problems import TooMany

log = logging.getLogger(__name__)

WINDOW = 60
TELL_EVERY = 0.25
PATIENCE = 5.0
MOST = 20_000
A_MINUTE = 120_000
A_MINUTE_FOR_STRANGERS = 6_000


@dataclass
class Count:
    """What this process knows of one key in the present window."""

    window: int
    everywhere: int = 0
    untold: int = 0
    told_at: float = 0.0


_counts: dict[str, Count] = {}
_away_until = [0.0]


def limits() -> tuple[int, int]:
    """Requests a minute: of one token or person, and of one address that is nobody."""
    return getattr(settings, "API_REQUESTS_A_MINUTE", (A_MINUTE, A_MINUTE_FOR_STRANGERS))


def take(request: HttpRequest) -> None:
    """Count this request. Raises TooMany with the seconds until the next window."""
    known, strangers = limits()
    actor = request.actor
    if actor is not None:
        name, most = f"{owner_of_keys()}:{actor.key}", known
    else:
        name, most = f"{owner_of_keys()}:{network_of(address_of(request))}", strangers
    now = time.time()
    window = int(now) // WINDOW
    count = _counts.get(name)
    if count is None or count.window != window:
        if len(_counts) >= MOST:
            _counts.clear()
        count = _counts[name] = Count(window)
    count.untold += 1
    if now - count.told_at >= TELL_EVERY:
        _tell(name, count, now)
    if count.everywhere + count.untold > most:
        raise TooMany(WINDOW - int(now) % WINDOW)


def _tell(name: str, count: Count, now: float) -> None:
    count.told_at = now
    if now < _away_until[0]:
        return
    told, key = count.untold, f"api:{name}:{count.window}"
    try:
        cache.add(key, 0, 2 * WINDOW)
        count.everywhere = cache.incr(key, told)
    except ValueError:  # it ran out between the two
        return
    except Exception as error:  # the cache may be away in any way
        _away_until[0] = now + PATIENCE
        log.warning("The API's counters can't be reached: %s", error)
        return
    count.untold -= told
