"""What the leak tests share: a pair of tenants of which everything on the side of the cloud can be looked through."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import connection

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Jobs are executed by the tests, not sent to a broker."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


class Listening(logging.Handler):
    """What is logged while one tenant is open."""

    def __init__(self, tenant):
        super().__init__(logging.DEBUG)
        self.tenant, self.lines = tenant, []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, with its traceback."""
        from ostoja.kernel.errors import OstojaError
        from ostoja.tenancy.context import current_tenant

        try:
            if current_tenant() == self.tenant:
                self.lines.append(self.format(record))
        except OstojaError:
            return


def sinks_of(tenant, log: list[str]) -> dict[str, str]:
    """{name: content} of every place where something of a tenant may lie: each table, its statistics, its files, the cache,
    letters and the log."""
    from django.core import mail

    from ostoja.tenancy.context import tenant_context

    out = {"log": "\n".join(log)}
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (name,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{name}" t')
            out[f"table {name}"] = "\n".join(row[0] for row in cursor.fetchall())
        cursor.execute("SELECT s::text FROM pg_stats s WHERE schemaname = current_schema()")
        out["statistics"] = "\n".join(row[0] for row in cursor.fetchall())
    for path in sorted(Path(default_storage.path(tenant.schema_name)).rglob("*")):
        if path.is_file():
            out[f"file {path.name}"] = path.read_bytes().decode("latin-1")
    out["mail"] = "\n".join(str(letter.message()) for letter in mail.outbox)
    return out


@pytest.fixture
def listen():
    """``listen(tenant)`` -> the lines that are logged while it is open."""
    handlers = []

    def start(tenant) -> list[str]:
        handler = Listening(tenant)
        logging.getLogger().addHandler(handler)
        handlers.append(handler)
        return handler.lines

    yield start
    for handler in handlers:
        logging.getLogger().removeHandler(handler)


@pytest.fixture
def sinks():
    """``sinks(tenant, log)`` -> {name: content} of every place where something of the tenant may lie."""
    return sinks_of


@pytest.fixture
def hosts():
    """The cloud's host, and another one, outside of the premises."""
    from outside import Host

    made = [Host(), Host("127.0.0.2")]
    yield made
    for host in made:
        host.close()


@pytest.fixture(scope="module")
def web(installation, tmp_path_factory):
    """``web(open=False)``: a web process of the premises with strangers in it, its way out closed or not."""
    from outside import Web

    made = {}

    def serve(*, open: bool = False) -> Web:
        if open not in made:
            made[open] = Web(tmp_path_factory.mktemp("web") / "web.log", open=open)
        return made[open]

    yield serve
    for one in made.values():
        one.close()
