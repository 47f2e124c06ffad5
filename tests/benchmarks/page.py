"""The HTML list of 100,000 deals, measured: its first page, one far behind, sorted by amount, filtered, and its board.

``uv run python tests/benchmarks/page.py [--seconds 5] [--deals 100000]`` prints one JSON line. ``p50_ms`` is what a browser
waits at one client on loopback, ``cpu_ms`` the processor time of server and database; the target is the server's time of a
list page: under 60 ms.
"""

from __future__ import annotations

import argparse
import html
import json
import os
import random
import re
import time

from served import OWNER, TENANT, Client, Server, home, load, served, settle

TARGET = 60  # milliseconds
DEEP = 40  # pages


def fill(server: Server, deals: int) -> None:
    """Bring the tenant to so many deals, by bulk additions."""
    there, chance = server.call("GET", "/deals/?count=exact&limit=1")["count"], random.Random(7)
    for first in range(there, deals, 500):
        rows = [
            {
                "verb": "add",
                "data": {
                    "title": f"Deal {n}",
                    "amount": f"{chance.randrange(10**6)}.{chance.randrange(100):02}",
                    "closes_on": f"2026-{1 + n % 12:02}-{1 + n % 28:02}",
                },
            }
            for n in range(first, min(first + 500, deals))
        ]
        result = server.call("POST", "/deals/bulk", rows)
        if result["failed"]:
            raise SystemExit(f"Not all went in: {next(r for r in result['results'] if r['status'] >= 400)}")


def cookie() -> str:
    """A session of the tenant's owner, as a browser sends it."""
    os.environ["OSTOJA_HOME"] = str(home())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    from ostoja.cli.opening import opened

    with opened():
        from django.conf import settings

        from ostoja.access.models import User
        from ostoja.tenancy.context import tenant_context
        from ostoja.tenancy.provisioning import find
        from ostoja.testing.clients import Browser

        tenant = find(TENANT)
        with tenant_context(tenant):
            owner = User.objects.get(email=OWNER)
        session = Browser(tenant).sign_in(owner).cookies[settings.SESSION_COOKIE_NAME]
        return f"{settings.SESSION_COOKIE_NAME}={session.value}"


def request(server: Server, path: str, session: str) -> bytes:
    """The bytes of a browser's request."""
    lines = [f"GET {path} HTTP/1.1", f"Host: {server.host}:{server.port}", f"Cookie: {session}", "Accept: text/html"]
    return "\r\n".join([*lines, "", ""]).encode()


def behind(server: Server, session: str) -> str:
    """The address of a page that is far behind the first one: what “Next” leads to again and again."""
    path = "/deals"
    with Client(server.port) as client:
        for _page in range(DEEP):
            _status, body = client.send(request(server, path, session))
            path = html.unescape(re.search(r'rel="next" href="([^"]+)"', body.decode())[1])
    return path


def pages(server: Server, session: str) -> dict[str, str]:
    """What is measured: name -> address."""
    return {
        "first": "/deals",
        "behind": behind(server, session),
        "sorted": "/deals?sort=-amount",
        "filtered": "/deals?f.state=open&f.amount.from=500000",
        "searched": "/deals?q=deal+777",
        "board": "/deals/board",
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--deals", type=int, default=100_000)
    options = parser.parse_args()
    with served() as server:
        began = time.perf_counter()
        fill(server, options.deals)
        if time.perf_counter() - began > 5:
            settle()
        session = cookie()
        line: dict = {"benchmark": "page", "deals": options.deals, "target_ms": TARGET}
        for name, path in pages(server, session).items():
            bytes_ = request(server, path, session)
            load(server, lambda n, bytes_=bytes_: bytes_, 1, min(1, options.seconds))
            line[name] = load(server, lambda n, bytes_=bytes_: bytes_, 1, options.seconds).line()
        lists = [v for n, v in line.items() if isinstance(v, dict) and n != "board"]
        line["ok"] = all(one["p50_ms"] < TARGET and not one["refused"] for one in lists)
        print(json.dumps(line))


if __name__ == "__main__":
    main()
