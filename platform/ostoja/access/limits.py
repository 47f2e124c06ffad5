"""Limits on how often something may be tried: counted in the cache, per tenant; where it guards a door, no cache means no entry."""

from __future__ import annotations

import hashlib
import ipaddress
import logging
from dataclasses import dataclass

from django.core.cache import cache
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ostoja.kernel.errors import OstojaError

log = logging.getLogger(__name__)


class TooMany(OstojaError):
    """It was tried too often; ``retry_after`` are the seconds to wait."""

    code = "too_many"
    status = 429

    def __init__(self, message: object, *, retry_after: int):
        super().__init__(message)
        self.retry_after = retry_after


class NotNow(OstojaError):
    """The counters can't be reached, and without them this door stays shut."""

    code = "not_now"
    status = 503
    retry_after = 30


@dataclass(frozen=True)
class Limit:
    """At most ``number`` tries in ``seconds`` for each key. ``closed``: when the cache is away, nobody may try."""

    name: str
    number: int
    seconds: int
    closed: bool = True

    def take(self, key: object = "") -> None:
        """Count one try. Raises TooMany beyond the number, NotNow without the cache (unless open)."""
        name = self._key(key)
        try:
            cache.add(name, 0, self.seconds)
            tries = cache.incr(name)
        except ValueError:  # it ran out between the two
            return
        except Exception as error:  # the cache may be away in any way
            log.error("The counters of “%s” can't be reached: %s", self.name, error)
            if self.closed:
                raise NotNow(_("This is not possible at the moment. Please try again in a minute.")) from error
            return
        if tries > self.number:
            raise TooMany(self._sentence(), retry_after=self.seconds)

    def forget(self, key: object = "") -> None:
        """Begin again for this key: the try was a good one."""
        try:
            cache.delete(self._key(key))
        except Exception as error:  # what is not forgotten runs out by itself
            log.warning("A counter of “%s” could not be reset: %s", self.name, error)

    def _key(self, key: object) -> str:
        return f"limit:{self.name}:{hashlib.sha256(str(key).encode()).hexdigest()[:32]}"

    def _sentence(self) -> str:
        minutes = max(1, -(-self.seconds // 60))
        return ngettext(
            "Too many tries. Please wait {minutes} minute and try again.",
            "Too many tries. Please wait {minutes} minutes and try again.",
            minutes,
        ).format(minutes=minutes)


def address_of(request) -> str:
    """Where a request comes from: the peer, or what the proxy on this very machine says of its own peer."""
    peer = request.META.get("REMOTE_ADDR") or ""
    if peer in ("", "127.0.0.1", "::1"):
        last = request.META.get("HTTP_X_FORWARDED_FOR", "").rpartition(",")[2].strip()
        try:
            return str(ipaddress.ip_address(last))
        except ValueError:
            return peer
    return peer


def network_of(address: str) -> str:
    """What counts as one place: an IPv4 address, or the /64 that one IPv6 customer has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
