"""The installation that tests run in: one cluster and broker per checkout, kept between sessions, and one database per process."""

from __future__ import annotations

import atexit
import hashlib
import os
import re
from functools import cached_property
from pathlib import Path

from ostoja.operations.database import APP, OWNER, SUPERUSER, connect, prepare_cluster
from ostoja.operations.embedded.broker import EmbeddedBroker
from ostoja.operations.embedded.postgres import EmbeddedPostgres
from ostoja.operations.secrets import secret

PREFIX = "ostoja_test_"
BASES_KEPT = 3
BASE_LOCK = 0x05700010


class TestInstallation:
    """Where the tests live. ``declare()`` comes before Django's settings, ``start()`` before the first query.

    A finished database (shared tables, template of this release) is kept as a *base* under the fingerprint of all that
    it is made by; a session's database is a copy of it.
    """

    __test__ = False

    def __init__(self, home: Path):
        self.home = home
        self.database = f"{PREFIX}{os.getpid()}"
        self.postgres = EmbeddedPostgres(home, durable=False)
        self.broker = EmbeddedBroker(home)
        self.started = False
        self.lender = None

    def declare(self) -> None:
        """Make the declaration that the settings will read; nothing of the developer's own is read, no test leaves this machine.

        ``OSTOJA_TEST_EXTENSIONS`` names extensions that are loaded for this session.
        """
        named = [name for name in os.environ.get("OSTOJA_TEST_EXTENSIONS", "").split(",") if name]
        extensions = ",".join(str(Path(name).absolute()) if "/" in name else name for name in named)
        self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
        for name in [n for n in os.environ if n.startswith("OSTOJA_")]:
            del os.environ[name]
        config = self.home / "ostoja.toml"
        config.touch()
        os.environ |= {
            "OSTOJA_HOME": str(self.home),
            "OSTOJA_CONFIG": str(config),
            "OSTOJA_DATABASE_URL": self.postgres.dsn(APP, self.database),
            "OSTOJA_DATABASE_OWNER_URL": self.postgres.dsn(OWNER, self.database),
            "OSTOJA_INSTALLATION_DEVELOPMENT": "true",
            "OSTOJA_OUTBOUND_HOSTS": "127.0.0.1:*,[::1]:*,localhost:*",
            "OSTOJA_EXTENSIONS": extensions,
            "DJANGO_SETTINGS_MODULE": "ostoja.settings",
        }

    def start(self) -> None:
        """Start the services and make this process's database. Quick when the base is there."""
        if self.started:
            return
        self.postgres.start()
        self.broker.start()
        atexit.register(self.stop)
        cursor = self._cluster.cursor()
        cursor.execute("SELECT pg_advisory_lock(%s)", [BASE_LOCK])
        try:
            self._sweep(cursor)
            self.started = True
            base = self._base_name()
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [base])
            if cursor.fetchone():
                cursor.execute(f'CREATE DATABASE "{self.database}" TEMPLATE "{base}" OWNER "{OWNER}"')
                self._grant()
            else:
                self._make_base(cursor, base)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [BASE_LOCK])

    def stop(self) -> None:
        """Drop this process's database and its tenants' roles, and leave the services."""
        if not self.started:
            return
        self.started = False
        from django.db import connections

        for connection in connections.all(initialized_only=True):
            connection.close()
        with self._cluster.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s)", [BASE_LOCK])
            _drop(cursor, self.database)
            _drop_orphaned_roles(cursor)
        self._cluster.close()
        self.broker.stop()
        self.postgres.stop()

    def superuser(self):
        """A connection of its own to this process's database, as the superuser, in autocommit."""
        return connect(self.postgres.connection(SUPERUSER, self.database))

    @cached_property
    def _cluster(self):
        """Held open for the whole session: its name tells others that the database is in use."""
        return connect({**self.postgres.connection(SUPERUSER, "postgres"), "application_name": self.database})

    def _base_name(self) -> str:
        from django.apps import apps

        from ostoja.tenancy import release

        mark = hashlib.sha256(release.fingerprint(int(self.postgres.major)).encode())
        for label in release.labels(public=True):
            for file in release.migration_files(apps.get_app_config(label)):
                mark.update(f"{label}.{file.stem}\n".encode() + file.read_bytes())
        return f"ostoja_base_{mark.hexdigest()[:16]}"

    def _make_base(self, cursor, base: str) -> None:
        from django.db import connections

        from ostoja.tenancy.install import prepare

        self._prepare_database()
        prepare(report=lambda _line: None, ready=0)
        for connection in connections.all(initialized_only=True):
            connection.close()
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'ostoja_base_%%' ORDER BY oid DESC")
        for (old,) in cursor.fetchall()[BASES_KEPT - 1 :]:
            _drop(cursor, old)
        cursor.execute(f'CREATE DATABASE "{base}" TEMPLATE "{self.database}" OWNER "{OWNER}"')

    def _prepare_database(self) -> None:
        prepare_cluster(
            self.postgres.connection(SUPERUSER, "postgres"),
            self.postgres.connection(SUPERUSER, self.database),
            {role: secret(self.home, role) for role in (OWNER, APP)},
        )

    def _grant(self) -> None:
        """A copied database has its tables' rights; its own are not copied."""
        with self._cluster.cursor() as cursor:
            cursor.execute(f'REVOKE ALL ON DATABASE "{self.database}" FROM PUBLIC')
            cursor.execute(f'GRANT CONNECT ON DATABASE "{self.database}" TO "{APP}"')

    def _sweep(self, cursor) -> None:
        """Drop the databases of sessions that were killed."""
        cursor.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE %s AND datname NOT IN "
            "(SELECT application_name FROM pg_stat_activity WHERE datname = 'postgres')",
            [f"{PREFIX}%"],
        )
        for (left_over,) in cursor.fetchall():
            _drop(cursor, left_over)
        _drop(cursor, self.database)
        _drop_orphaned_roles(cursor)


def home_of(root: Path) -> Path:
    """The home of a checkout's tests."""
    return Path(os.environ.get("OSTOJA_TEST_HOME", root / ".ostoja-test")).absolute()


def _drop(cursor, database: str) -> None:
    if not re.fullmatch(r"[a-z0-9_]+", database):
        raise ValueError(f"{database} is none of our databases.")
    cursor.execute(f'DROP DATABASE IF EXISTS "{database}" WITH (FORCE)')


def _drop_orphaned_roles(cursor) -> None:
    """Drop tenants' roles that no database knows any more."""
    cursor.execute(
        "SELECT rolname FROM pg_roles r WHERE rolname ~ '^[a-z]_t_' AND NOT EXISTS (SELECT FROM pg_shdepend d "
        "WHERE d.refobjid = r.oid AND d.refclassid = 'pg_authid'::regclass AND d.dbid <> 0)"
    )
    for (role,) in cursor.fetchall():
        cursor.execute(f'DROP ROLE IF EXISTS "{role}"')
