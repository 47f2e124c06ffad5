"""What programs of an installation may connect to, as its declaration says: its services, its mail server, hosts that are named."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from ostoja.kernel.outbound import Place

POSTGRES, REDIS = 5432, 6379


def reachable(declared, databases: Mapping[str, Mapping]) -> dict[str, frozenset[Place]]:
    """``services``, ``mail`` and ``named``, as the way out takes them; what is on a socket of this machine is no way out."""
    services = [
        (host, int(port))
        for one in databases.values()
        for host in one["HOST"].split(",")
        for port in (one["PORT"] or str(POSTGRES)).split(",")
        if host and not host.startswith("/")
    ]
    if not declared.broker.embedded:
        broker = urlsplit(declared.broker.url)
        services.append((broker.hostname or "localhost", broker.port or REDIS))
    mail = [] if declared.mail.development else [(declared.mail.host, declared.mail.port)]
    return {
        "services": frozenset(services),
        "mail": frozenset(mail),
        "named": declared.outbound.places,
    }
