"""Imports, measured: the demo's 8,800 deals with a line each, checked, brought in, brought in again unchanged, exported, undone.

Run it by name (``uv run pytest tests/benchmarks/bench_import.py``); it prints one JSON line and fails below 1,000 deals a
second, validated and journalled.
"""

from __future__ import annotations

import io
import json
import time

from ostoja.exchange import demo, export, runs
from ostoja.exchange.selecting import selected
from ostoja.jobs import runner
from ostoja.kernel import registry

TARGET = 1_000  # deals a second


def test_import(tenant, actor, capsys, monkeypatch):
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)
    steps = demo.steps()
    (deals,) = [s for s in steps if s.title == "Opportunities"]
    for step in steps[: steps.index(deals)]:
        demo._take(tenant, actor, step, lambda _line: None)

    def timed(work):
        start = time.perf_counter()
        run = work()
        if run is not None:
            run.refresh_from_db()
            assert runner.execute(tenant, run.job_id)
            run.refresh_from_db()
            assert not run.failed and "error" not in run.result, run.result
        return run, time.perf_counter() - start

    def again():
        return runs.start(actor, deals.object, deals.file.read_bytes(), "deals.csv", mapping=deals.mapping)

    first, started = again(), time.perf_counter()
    _run, check = timed(lambda: runs.check(actor, first))
    run, bring = timed(lambda: runs.go(actor, first))
    assert run.created == 8800
    same, unchanged = timed(lambda: runs.go(actor, again()))
    assert same.unchanged == 8800
    entry = registry.get(deals.object)
    names = export.column_names(actor, entry, None)
    rates = {}
    for format in ("csv", "xlsx"):
        start = time.perf_counter()
        export.write(io.BytesIO(), actor, entry, selected(actor, entry, {}), names, format)
        rates[format] = time.perf_counter() - start
    undone, undo = timed(lambda: runs.undo(actor, run))
    assert undone.result["undo"]["kept_count"] == 0 and not entry.model.objects.exists()
    line = {
        "benchmark": "import",
        "deals": run.created,
        "checked_per_second": round(run.rows / check),
        "imported_per_second": round(run.rows / bring),
        "unchanged_per_second": round(run.rows / unchanged),
        "exported_csv_per_second": round(run.rows / rates["csv"]),
        "exported_xlsx_per_second": round(run.rows / rates["xlsx"]),
        "undone_per_second": round(run.rows / undo),
        "seconds": round(time.perf_counter() - started, 1),
        "target_imported_per_second": TARGET,
    }
    with capsys.disabled():
        print("\n" + json.dumps(line))
    assert line["imported_per_second"] >= TARGET
