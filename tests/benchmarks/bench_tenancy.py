"""Tenancy, measured: a claim from the pool and without one, and a fleet of 200 tenants checked and given a column.

Run it by name (``uv run pytest tests/benchmarks/bench_tenancy.py``); it prints one JSON line and fails beyond its targets.
"""

from __future__ import annotations

import json
import statistics
import time

from django.db import transaction

from ostoja.tenancy import fleet, pool, provisioning, template
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import ReadySchema, Tenant
from ostoja.testing.releases import next_release

TENANTS = 200
COLUMN = """
operations = [migrations.AddField("job", "place", models.CharField(max_length=20, default="here"))]
"""


def timed(work, times=1):
    """Seconds that each of some calls took."""
    took = []
    for _n in range(times):
        start = time.perf_counter()
        work()
        took.append(time.perf_counter() - start)
    return took


def make_fleet():
    """Tenants as the pool makes them."""
    made = template.current()
    mark = made.release
    for number in range(TENANTS):
        schema = pool.add(made)
        with platform_context(), transaction.atomic():
            ReadySchema.objects.filter(schema_name=schema).delete()
            Tenant.objects.create(
                name=f"T{number}", slug=f"fleet-{number}", schema_name=schema, state="open", release=mark
            )


def test_tenancy(lender, tmp_path, capsys):
    pool.refill(6)
    numbers = iter(range(100))
    from_pool = timed(lambda: provisioning.create("Bench", f"bench-{'abcdefghij'[next(numbers)]}-oak"), 5)
    pool.refill(0)
    with platform_context():
        for schema in ReadySchema.objects.values_list("schema_name", flat=True):
            pool.drop(schema)
    without = timed(lambda: provisioning.create("Bench", f"bench-{'abcdefghij'[next(numbers)]}-oak"), 3)
    per_tenant = timed(make_fleet)[0] / TENANTS
    tables = template.current().script.count("CREATE TABLE")
    assert not fleet.migrate(lambda _line: None).migrated
    (check,) = timed(lambda: fleet.migrate(lambda _line: None))
    (state,) = timed(fleet.status)
    with next_release(tmp_path, COLUMN):
        (column,) = timed(lambda: fleet.migrate(lambda _line: None))
        assert not [head for head in fleet.status() if head.behind]
    line = {
        "benchmark": "tenancy",
        "tenant_from_pool_ms": round(statistics.median(from_pool) * 1000, 1),
        "tenant_without_pool_ms": round(statistics.median(without) * 1000, 1),
        "ready_schema_ms": round(per_tenant * 1000, 1),
        "tenants": TENANTS,
        "tables": tables,
        "noop_check_ms": round(check * 1000, 1),
        "status_ms": round(state * 1000, 1),
        "column_over_fleet_s": round(column, 2),
    }
    with capsys.disabled():
        print("\n" + json.dumps(line))
    assert (
        check < 1 and state < 1 and column < 5 and statistics.median(from_pool) < 1 and statistics.median(without) < 3
    )
