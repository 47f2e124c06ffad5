"""The API's benchmarks with small numbers, against the application in this process: they measure answers and no refusals."""

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
