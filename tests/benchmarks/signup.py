"""Sign-up, measured over HTTP: from pressing the button until the first page of the company's own tenant is there.

``uv run python tests/benchmarks/signup.py [--times 15]`` prints one JSON line: with ready schemas in the pool (target: a
median under 1 s) and with an empty pool (under 3 s). ``pressed`` is the answer to the form alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import statistics
import time
from urllib.parse import urlencode, urlsplit

from served import Server, home, served

TARGETS = {"from_pool": 1000, "empty_pool": 3000}
PASSWORD = "Korzenie-7-drzewa"


class Browser:
    """Follows redirects from host to host, with the cookies of each, as a browser does."""

    def __init__(self, port: int):
        self.port = port
        self.cookies: dict[str, dict[str, str]] = {}

    def send(self, host: str, path: str, form: dict | None = None) -> tuple[int, str, str]:
        """One request: status, Location and body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kept = self.cookies.setdefault(host, {})
        headers = {"Host": f"{host}:{self.port}", "Cookie": "; ".join(f"{k}={v}" for k, v in kept.items())}
        if form is None:
            connection.request("GET", path, headers=headers)
        else:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": f"http://{host}:{self.port}"}
            connection.request("POST", path, urlencode(form), headers)
        answer = connection.getresponse()
        body = answer.read().decode()
        for cookie in answer.headers.get_all("Set-Cookie") or ():
            name, _sep, value = cookie.partition(";")[0].partition("=")
            kept[name] = value
        connection.close()
        return answer.status, answer.headers.get("Location", ""), body

    def follow(self, host: str, location: str) -> str:
        """Go where a redirect leads until a page is there; its body. Raises RuntimeError for anything else."""
        for _hop in range(6):
            parts = urlsplit(location)
            host = parts.hostname or host
            status, location, body = self.send(host, parts.path or "/")
            if status == 200:
                return body
            if status != 302:
                raise RuntimeError(f"{host}{parts.path} answers {status}.")
        raise RuntimeError("The redirects do not end.")


def company(chance: random.Random) -> dict:
    """A company that is not to be mistaken for another."""
    word = "".join(chance.choice("bcdfghjkmnprstwz") + chance.choice("aeou") for _n in range(6))
    blueprint = chance.choice(["general", "wholesale", "manufacturing", "services"])
    return {
        "company": f"{word.capitalize()} Ltd", "slug": word, "email": f"owner@{word}.example", "password": PASSWORD,
        "blueprint": blueprint, "language": chance.choice(["en", "pl"]), "website": "",
    }  # fmt: skip


def sign_up(server: Server, chance: random.Random) -> tuple[float, float]:
    """Milliseconds until the form was answered, and until the first page was there."""
    browser, form = Browser(server.port), company(chance)
    _status, _location, page = browser.send("localhost", "/")
    form["csrfmiddlewaretoken"] = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
    start = time.perf_counter()
    status, location, body = browser.send("localhost", "/", form)
    pressed = time.perf_counter()
    if status != 302 or "/welcome/" not in location:
        raise RuntimeError(f"The sign-up was answered with {status} {location}: {body[-2000:]}")
    inside = browser.follow("localhost", location)
    done = time.perf_counter()
    if form["company"] not in inside:
        raise RuntimeError("The first page does not show the company.")
    return (pressed - start) * 1000, (done - start) * 1000


def line(took: list[tuple[float, float]], target: int) -> dict:
    """Medians and the slowest."""
    usable = [u for _p, u in took]
    median = statistics.median(usable)
    return {
        "pressed_ms": round(statistics.median(p for p, _u in took)), "usable_ms": round(median), "slowest_ms": round(max(usable)),
        "times": len(took), "target_ms": target, "ok": median < target,
    }  # fmt: skip


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=15)
    options = parser.parse_args()
    os.environ["OSTOJA_HOME"] = str(home())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")
    chance = random.Random()
    with served() as server:
        from ostoja.cli.opening import opened

        with opened():
            from django.db import connections

            from ostoja.tenancy import locks, pool
            from ostoja.tenancy.context import platform_context
            from ostoja.tenancy.models import ReadySchema

            sign_up(server, chance)
            pool.refill(options.times + 1)
            from_pool = [sign_up(server, chance) for _n in range(options.times)]
            with platform_context(), locks.held(connections["owner"], locks.POOL):  # nobody fills it meanwhile
                for ready in ReadySchema.objects.using("owner").all():
                    pool.drop(ready.schema_name)
                empty_pool = [sign_up(server, chance) for _n in range(max(3, options.times // 3))]
    found = {"from_pool": from_pool, "empty_pool": empty_pool}
    print(json.dumps({"benchmark": "signup", **{name: line(took, TARGETS[name]) for name, took in found.items()}}))


if __name__ == "__main__":
    main()
