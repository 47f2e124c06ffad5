"""An embedded service is a server of this machine that is shared by all ``ostoja`` processes of one home and ends with the last."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from ostoja.operations.embedded import keeper
from ostoja.operations.embedded.account import Account, CannotStart, name_of

LEAST_FREE_BYTES = 500_000_000
LONGEST_SOCKET_DIRECTORY = 85


class EmbeddedService:
    """Start, share and stop one server. Subclasses say what to run (``command``) and when it is ready (``ready``).

    ``start()`` of the second process finds the server of the first and shares it; the server stops when the last process
    has called ``stop()`` or has died, however it died.
    """

    name = ""
    title = ""
    stop_signals = (signal.SIGTERM, signal.SIGQUIT)

    def __init__(self, home: Path | str):
        self.home = Path(home).absolute()
        self.run = self.home / "run"
        self.data = self.home / self.name
        self.log = self.home / "logs" / f"{self.name}.log"
        self._share: int | None = None
        self._keeper: subprocess.Popen | None = None

    # what a subclass says

    def build(self, account: Account) -> None:
        """Make the data directory if it is not there, and check it if it is. Raises CannotStart."""
        raise TypeError(f"{type(self).__name__} does not say how to build its data directory.")

    def command(self, account: Account) -> list[str]:
        """The program and its arguments."""
        raise TypeError(f"{type(self).__name__} does not say its command.")

    def ready(self) -> bool:
        """Whether the server answers."""
        raise TypeError(f"{type(self).__name__} does not say when it is ready.")

    def on_started(self) -> None:
        """Called under the start lock, by the process that started the server, once it answers."""

    # life

    def start(self, timeout: float = 60) -> None:
        """Start the server, or share the one that runs; returns when it answers.

        ``timeout`` is in seconds; a database that recovers from a crash may need many. Raises CannotStart.
        """
        if self._share is not None and self.running():
            return
        self._make_home()
        starting = keeper.lock(str(self.run / f"{self.name}.starting"), fcntl.LOCK_EX | fcntl.LOCK_NB, patience=timeout)
        if starting is None:
            raise CannotStart(
                f"Another ostoja has been starting {self.title} for {timeout:.0f} seconds: look into {self.log}."
            )
        try:
            if self._share is None:
                self._share = keeper.lock(
                    str(self.run / f"{self.name}.users"), fcntl.LOCK_SH | fcntl.LOCK_NB, patience=timeout
                )
            if self._share is None:
                raise CannotStart(f"{self.title} has not stopped within {timeout:.0f} seconds: look into {self.log}.")
            try:
                self._start(time.monotonic() + timeout)
            except BaseException:
                self._release()
                raise
        finally:
            os.close(starting)

    def stop(self) -> None:
        """Leave the server; the last one to leave stops it and waits until it is gone."""
        if self._share is None:
            return
        self._release()
        users = str(self.run / f"{self.name}.users")
        until = time.monotonic() + 60
        while self.running() and time.monotonic() < until:
            # Nobody holds it: the keeper is about to take it. Only sharing works: others use the server. Neither: it stops.
            nobody = keeper.lock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if nobody is not None:
                os.close(nobody)
            elif (others := keeper.lock(users, fcntl.LOCK_SH | fcntl.LOCK_NB)) is not None:
                os.close(others)
                break
            time.sleep(0.01)
        if self._keeper is not None and not self.running():
            self._keeper.wait(10)
            self._keeper = None

    def running(self) -> bool:
        """Whether the server, or any part of it, is running: started by whatever process."""
        path = self.run / f"{self.name}.alive"
        if not path.exists():
            return False
        free = keeper.lock(str(path), fcntl.LOCK_SH | fcntl.LOCK_NB)
        if free is not None:
            os.close(free)
        return free is None

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    # inside

    def _make_home(self) -> None:
        try:
            self.home.mkdir(mode=0o711, parents=True, exist_ok=True)
            for directory, mode in ((self.run, 0o711), (self.log.parent, 0o700)):
                directory.mkdir(mode=mode, exist_ok=True)
            free = shutil.disk_usage(self.home).free
        except OSError as error:
            raise CannotStart(f"{self.home} can't be used as OSTOJA_HOME: {error.strerror}.") from error
        if not os.access(self.run, os.R_OK | os.W_OK | os.X_OK):
            raise CannotStart(
                f"{self.home} belongs to {name_of(self.run.stat().st_uid)} and you are {name_of(os.geteuid())}: "
                f"run ostoja as {name_of(self.run.stat().st_uid)}, or choose another OSTOJA_HOME."
            )
        if free < LEAST_FREE_BYTES and not self.running():
            raise CannotStart(
                f"Only {free // 1_000_000} MB are free on the disk of {self.home} and {self.title} needs "
                f"{LEAST_FREE_BYTES // 1_000_000} MB: make room, or set OSTOJA_HOME to another disk."
            )

    def _start(self, until: float) -> None:
        began = self.log.stat().st_size if self.log.exists() else 0
        ours = False
        while True:
            if self.running():
                if self.ready():
                    break
            elif ours and self._keeper is not None and self._keeper.poll() is not None:
                raise CannotStart(
                    f"{self.title} did not start: {self._complaint(began)} The whole story is in {self.log}."
                )
            elif not ours:
                ours = True
                account = Account.choose(self.home, self.data)
                self.build(account)
                self._spawn(account)
            if time.monotonic() > until:
                raise CannotStart(
                    f"{self.title} does not answer yet: {self._complaint(began)} Look into {self.log}, then try again."
                )
            time.sleep(0.01)
        if ours:
            self.on_started()

    def _spawn(self, account: Account) -> None:
        orders = {
            "command": self.command(account),
            "environment": self.environment(),
            "account": account.as_dict(),
            "log": str(self.log),
            "users": str(self.run / f"{self.name}.users"),
            "alive": str(self.run / f"{self.name}.alive"),
            "stop_signals": [int(number) for number in self.stop_signals],
            "patience": 30,
        }
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", keeper.__file__, json.dumps(orders)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            cwd="/",
        )

    def _release(self) -> None:
        if self._share is not None:
            os.close(self._share)
            self._share = None

    def _complaint(self, began: int) -> str:
        """The last thing that the server said in this start, as a sentence."""
        try:
            with self.log.open("rb") as file:
                file.seek(began)
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except OSError:
            lines = []
        worst = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "rror", "Can't"))] or lines
        return worst[-1].rstrip(".") + "." if worst else "it said nothing."

    @staticmethod
    def environment() -> dict[str, str]:
        """A clean environment: nothing of the user's (``PGPORT``, ``LANG``) reaches the server."""
        return {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}

    def socket_directory(self, account: Account | None = None) -> Path:
        """Where the server's socket is: in the home, or in the temporary directory if that path is too long for a socket.

        With ``account``, the directory is made for it. Raises CannotStart if somebody else holds the name.
        """
        directory = self.run / self.name
        if len(os.fsencode(directory)) > LONGEST_SOCKET_DIRECTORY:
            mark = hashlib.sha256(os.fsencode(self.home)).hexdigest()[:16]
            directory = Path("/tmp") / f"ostoja-{mark}-{self.name}"
        if account is not None:
            account.directory(directory)
            status = directory.lstat()
            wanted = account.uid if account.switch else os.geteuid()
            if directory.is_symlink() or status.st_uid != wanted or status.st_mode & 0o077:
                raise CannotStart(f"{directory} is not ours alone: remove it, or set OSTOJA_HOME to a shorter path.")
        return directory
