"""The API, measured against its peers: a list of 50 of 20,000 parties, one read, a search, an addition, bulk and a pivot.

``uv run python tests/benchmarks/api.py [--seconds 10] [--parties 20000] [--only list]`` prints one JSON line per measure.
The targets are requests a second at 1 and at 8 clients on two cores: five times Odoo's list, three times its others.
"""

from __future__ import annotations

import argparse
import json
import random
import time
import uuid

from served import Server, load, served, settle

TARGETS = {"list": (280, 535), "read": (354, 550), "search": (111, 180), "create": (105, 132)}
FIELDS = "name,state,industry,city,country,owner,employees,annual_revenue"
WORDS = (
    "Amber Baltic Cedar Delta Elder Falcon Granite Harbour Iris Juniper Kestrel Linden Maple Nordic Opal Pine".split()
)
ENDS = "Works Trading Logistics Foods Systems Partners Metals Paper Textiles Energy".split()
CITIES = ["Warszawa", "Gdańsk", "Kraków", "Wrocław", "Poznań", "Łódź", "Szczecin", "Lublin"]


def party(number: int, chance: random.Random) -> dict:
    """One company like many others."""
    return {
        "name": f"{chance.choice(WORDS)} {chance.choice(WORDS)} {chance.choice(ENDS)} {number}",
        "industry": chance.choice(["retail", "software", "medical", "finance", "services"]),
        "city": chance.choice(CITIES),
        "country": "Poland",
        "employees": chance.randrange(1, 5000),
        "annual_revenue": f"{chance.randrange(10**4, 10**9)}.{chance.randrange(100):02}",
        "website": f"https://company{number}.example",
    }


def fill(server: Server, parties: int) -> float | None:
    """Bring the tenant to so many parties, by bulk additions; how many a second went in, or None."""
    there = server.call("GET", "/parties/?count=exact&limit=1")["count"]
    missing, chance = parties - there, random.Random(7)
    start = time.perf_counter()
    for first in range(there, parties, 500):
        rows = [{"verb": "add", "data": party(n, chance)} for n in range(first, min(first + 500, parties))]
        result = server.call("POST", "/parties/bulk", rows)
        if result["failed"]:
            raise SystemExit(f"Not all went in: {next(r for r in result['results'] if r['status'] >= 400)}")
    return missing / (time.perf_counter() - start) if missing > 0 else None


def measures(server: Server) -> dict:
    """The requests of every measure."""
    page = server.call("GET", f"/parties/?fields={FIELDS}&limit=500")["items"]
    ids = [item["id"] for item in page]
    mark = uuid.uuid4().hex[:8]
    listing = server.request("GET", f"/parties/?fields={FIELDS}&limit=50")
    terms = [str(n) for n in range(1000, 9999, 7)] + [w[1:5] for w in WORDS + ENDS]
    random.Random(7).shuffle(terms)
    return {
        "list": lambda n: listing,
        "read": lambda n: server.request("GET", f"/parties/{ids[n % len(ids)]}/"),
        "search": lambda n: server.request("GET", f"/parties/?fields={FIELDS}&limit=50&search={terms[n % len(terms)]}"),
        "create": lambda n: server.request("POST", "/parties/", {"name": f"Created {mark} {n}", "city": "Warszawa"}),
    }


def main() -> None:
    """Measure, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--parties", type=int, default=20_000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    with served() as server:
        rate = fill(server, options.parties)
        if rate is not None:
            print(json.dumps({"benchmark": "api.bulk", "rows_per_second": round(rate, 1)}), flush=True)
            settle()
        for name, make in measures(server).items():
            if options.only and name not in options.only.split(","):
                continue
            line = {"benchmark": f"api.{name}"}
            for clients, target in zip((1, 8), TARGETS[name], strict=True):
                load(server, make, clients, min(2, options.seconds))
                found = load(server, make, clients, options.seconds).line()
                line[f"clients_{clients}"] = {**found, "target_rps": target, "ok": found["rps"] >= target}
            print(json.dumps(line), flush=True)
        if not options.only or "pivot" in options.only:
            pivot(server, options.seconds)


def pivot(server: Server, seconds: float) -> None:
    """Groups of three dimensions over all parties."""
    path = "/parties/aggregate?group_by=state,industry,created_at:month&measure=count,sum:annual_revenue"
    found = load(server, lambda n: server.request("GET", path), 1, min(seconds, 5)).line()
    print(json.dumps({"benchmark": "api.pivot", "clients_1": found}), flush=True)


if __name__ == "__main__":
    main()
