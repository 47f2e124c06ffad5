"""The benchmarks with small numbers, in this process: what they measure is done, and nothing is refused."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler

from ostoja.testing.clients import Program, host_of

HERE = str(Path(__file__).parent)


class Quiet(WSGIRequestHandler):
    """Says nothing of requests."""

    def log_message(self, *_args):
        """Nothing."""


@pytest.fixture
def server(tenant, owner, monkeypatch):
    """The application behind a real socket, with a tenant."""
    from django.core.wsgi import get_wsgi_application

    monkeypatch.syspath_prepend(HERE)
    import served

    listening = ThreadedWSGIServer(("127.0.0.1", 0), Quiet, connections_override=None)
    listening.set_app(get_wsgi_application())
    thread = threading.Thread(target=listening.serve_forever)
    thread.start()
    yield served.Server(listening.server_port, Program.of(tenant, owner).token, None, host_of(tenant))
    listening.shutdown()
    thread.join()
    listening.server_close()
    sys.modules.pop("served", None)


def test_every_measure_is_answered(server, monkeypatch):
    import served

    import api

    monkeypatch.setattr(served.Server, "cpu_seconds", lambda self: 0.0)
    assert api.fill(server, 60) > 0
    for name, make in api.measures(server).items():
        found = served.load(server, make, 2, 0.3).line()
        assert found["requests"] > 2 and found["refused"] == 0, (name, found)
    assert set(api.TARGETS) == set(api.measures(server))


def test_the_link_is_measured(lender, monkeypatch):
    monkeypatch.syspath_prepend(HERE)
    import bench_hybrid

    sizes = {"ROWS": 60, "QUEUED": 50, "VERIFIED": 80, "SINGLE": 20, "PROBES": 3, "ROUNDS": 1, "AT_ONCE": 40}
    for name, number in sizes.items():
        monkeypatch.setattr(bench_hybrid, name, number)
    found = bench_hybrid.measured(lender)
    rates = ("first_load_per_second", "applied_per_second", "planned_per_second", "bytes_per_change", "one_change_ms")
    assert all(found[rate] > 0 for rate in rates), found
    behind = bench_hybrid.measured_far_behind(lender)
    assert behind["queued"] == 50 and behind["verified_rows"] == 80 and behind["caught_up_bytes"] > 0
