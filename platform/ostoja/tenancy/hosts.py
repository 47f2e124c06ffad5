"""Which tenant a host name means: parsed strictly, looked up once in a few seconds per process."""

from __future__ import annotations

import copy
import ipaddress
import re
import time
from dataclasses import dataclass

from django.conf import settings

from .context import platform_context
from .models import Domain, Tenant

SECONDS = 2.0
MOST = 4096
HOST = re.compile(r"(?P<name>[a-zA-Z0-9-]{1,63}(?:\.[a-zA-Z0-9-]{1,63})*)\.?(?::(?P<port>[0-9]{1,5}))?", re.ASCII)
BRACKETED = re.compile(r"\[(?P<name>[0-9a-fA-F:.]{2,45})\](?::(?P<port>[0-9]{1,5}))?", re.ASCII)


@dataclass(frozen=True)
class Place:
    """What answers at a host: a tenant, or the platform itself when ``tenant`` is None."""

    tenant: Tenant | None = None


def parse(raw: str) -> str | None:
    """The host name of a Host header, in lower case, without port and trailing dot; None when it is no proper one."""
    if len(raw) > 260:
        return None
    if found := BRACKETED.fullmatch(raw):
        try:
            name = f"[{ipaddress.IPv6Address(found['name']).compressed}]"
        except ValueError:
            return None
    elif found := HOST.fullmatch(raw):
        name = found["name"].lower()
        if len(name) > 253 or any(label[0] == "-" or label[-1] == "-" for label in name.split(".")):
            return None
    else:
        return None
    if found["port"] and not 0 < int(found["port"]) < 65536:
        return None
    return name


def is_loopback(host: str) -> bool:
    """Whether a host is this machine by number."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_known: dict[str, tuple[float, Place | None]] = {}


def place_of(host: str) -> Place | None:
    """What answers at this host name (as ``parse`` answers it), or None. At most SECONDS old."""
    now = time.monotonic()
    known = _known.get(host)
    if known is None or known[0] < now:
        if len(_known) >= MOST:
            _known.clear()
        known = _known[host] = (now + SECONDS, _look_up(host))
    place = known[1]
    return Place(copy.copy(place.tenant)) if place and place.tenant else place


def forget() -> None:
    """Look everything up again; other processes do so within SECONDS."""
    _known.clear()


def _look_up(host: str) -> Place | None:
    with platform_context():
        if settings.INSTALLATION.kind == "private":
            return Place(Tenant.objects.exclude(state=Tenant.State.DELETED).order_by("created_at").first())
        if host == settings.BASE_DOMAIN or (settings.DEVELOPMENT and is_loopback(host)):
            return Place()
        domain = Domain.objects.select_related("tenant").filter(domain=host).first()
    if domain is None or domain.tenant.state == Tenant.State.DELETED:
        return None
    return Place(domain.tenant)
