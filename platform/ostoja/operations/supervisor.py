"""The supervisor keeps the programs of an installation running: it starts them, restarts what ends, and stops all of them."""

from __future__ import annotations

import contextlib
import os
import re
import select
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ostoja.kernel.errors import OstojaError
from ostoja.operations.embedded import keeper
from ostoja.operations.embedded.service import LEAST_FREE_BYTES

PAUSES = (0.5, 1, 2, 5, 10, 30)
STEADY_SECONDS = 60
LOG_BYTES = 20_000_000
GRACE_SECONDS = 6
SAME_SIGNAL_SECONDS = 0.4
COMPLAINT = re.compile(r"^(\[?(ERROR|CRITICAL)\b|[\w.]*(Error|Exception|Unfit|Refused)\b:)")


class CannotRun(OstojaError):
    """The installation could not be brought up; the message says why and what helps."""

    code = "cannot_run"
    status = 503


class Service(Protocol):
    """What the programs need and the supervisor looks after as well: the embedded database and broker."""

    title: str

    def start(self) -> None: ...

    def stop(self) -> None: ...

    def running(self) -> bool: ...


@dataclass
class Program:
    """One long-running program: its name, command and environment; and how it fared."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    process: subprocess.Popen | None = None
    began: float = 0.0
    due: float = 0.0
    crashes: int = 0

    def start(self, log: Path) -> None:
        """Start it in a session of its own, so that Ctrl-C reaches the supervisor only; its output goes to ``log``."""
        parent = os.getpid()
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                list(self.command),
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                preexec_fn=lambda: keeper.die_with_parent(signal.SIGTERM, parent),
            )
        self.began = time.monotonic()

    def signal(self, number: int, *, everybody: bool = False) -> None:
        """Send a signal to the program, or to ``everybody`` in its session."""
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, number) if everybody else self.process.send_signal(number)
        except ProcessLookupError:
            return


class Supervisor:
    """Runs ``programs`` on top of ``services`` until a signal comes; ``say`` gets a sentence for a person."""

    def __init__(
        self, home: Path, services: Sequence[Service], programs: Sequence[Program], say: Callable[[str], None]
    ):
        self.logs = home / "logs"
        self.services = list(services)
        self.programs = list(programs)
        self.say = say
        self.stopping = 0
        self._asked = 0.0
        self._service_pauses: dict[int, tuple[int, float]] = {}
        self._logs_checked = 0.0
        self._is_full = False

    def run(self, ready: Callable[[], bool], announce: Callable[[], None], patience: float = 60) -> None:
        """Start the programs, ``announce`` when ``ready`` says so, and keep them running until SIGINT or SIGTERM.

        The services run already; they are stopped with the rest, the programs first. Raises CannotRun when it is not
        ready within ``patience`` seconds, or when a program ends three times before.
        """
        self.logs.mkdir(mode=0o700, parents=True, exist_ok=True)
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        os.set_blocking(reader, False)
        earlier = {
            number: signal.getsignal(number)
            for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
        }
        earlier_wakeup = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._asked_to_stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        try:
            self._watch(reader, ready, announce, time.monotonic() + patience)
        finally:
            self._stop(reader)
            signal.set_wakeup_fd(earlier_wakeup)
            for number, handler in earlier.items():
                signal.signal(number, handler)
            os.close(reader)
            os.close(writer)

    # inside

    def _asked_to_stop(self, *_: object) -> None:
        """Count the signals; one Ctrl-C may arrive twice, from the terminal and from a program like uv that passes it on."""
        now = time.monotonic()
        if not self.stopping or now - self._asked > SAME_SIGNAL_SECONDS:
            self.stopping += 1
        self._asked = now

    def _watch(self, reader: int, ready: Callable[[], bool], announce: Callable[[], None], until: float) -> None:
        announced = False
        while not self.stopping:
            self._look_after_services()
            self._look_after_programs()
            self._look_after_disk()
            self._look_after_logs()
            if not announced:
                if ready():
                    announced = True
                    announce()
                else:
                    self._give_up_if_hopeless(until)
            self._sleep(reader, 1.0 if announced else 0.1)

    def _sleep(self, reader: int, seconds: float) -> None:
        """Wait for a signal (a child that ended, Ctrl-C), at most so many seconds."""
        select.select([reader], [], [], seconds)
        try:
            os.read(reader, 4096)
        except BlockingIOError:
            return

    def _give_up_if_hopeless(self, until: float) -> None:
        for program in self.programs:
            if program.crashes >= 3:
                raise CannotRun(
                    f"“{program.name}” does not start: {self._last_words(program)} More is in {self._log(program)}."
                )
        if time.monotonic() > until:
            program = self.programs[0]
            raise CannotRun(
                f"“{program.name}” does not answer: {self._last_words(program)} More is in {self._log(program)}."
            )

    def _look_after_services(self) -> None:
        for service in self.services:
            failures, due = self._service_pauses.get(id(service), (0, 0.0))
            if service.running() or time.monotonic() < due:
                continue
            self.say(f"{service.title} has ended; it is started again.")
            try:
                service.start()
                failures = 0
            except OstojaError as error:
                self.say(error.message)
            self._service_pauses[id(service)] = (failures + 1, time.monotonic() + _pause(failures))

    def _look_after_programs(self) -> None:
        now = time.monotonic()
        for program in self.programs:
            if program.process is not None and program.process.poll() is not None:
                program.signal(signal.SIGKILL, everybody=True)
                if now - program.began > STEADY_SECONDS:
                    program.crashes = 0
                pause = _pause(program.crashes)
                program.crashes += 1
                program.due = now + pause
                self.say(
                    f"“{program.name}” has ended ({_how(program.process.returncode)}); it is started again in {pause:g} s. "
                    f"Its log is {self._log(program)}."
                )
                program.process = None
            if program.process is None and now >= program.due:
                program.start(self._log(program))

    def _look_after_disk(self) -> None:
        """Say when the disk fills up and when there is room again: on a full one nothing else can tell, no log can grow."""
        free = shutil.disk_usage(self.logs).free
        if (free < LEAST_FREE_BYTES) == self._is_full:
            return
        self._is_full = not self._is_full
        if self._is_full:
            self.say(
                f"Only {free // 1_000_000} MB are free on the disk of {self.logs.parent}: make room, or nothing can be saved."
            )
        else:
            self.say(f"There is room again on the disk of {self.logs.parent}.")

    def _look_after_logs(self) -> None:
        """Keep each log under LOG_BYTES, and one older one. All are open for appending, so they can be cut in place."""
        if self._logs_checked and time.monotonic() < self._logs_checked + 60:
            return
        self._logs_checked = time.monotonic()
        for log in self.logs.glob("*.log"):
            if log.stat().st_size > LOG_BYTES:
                with contextlib.suppress(OSError):  # there may be no room for the older one
                    shutil.copyfile(log, log.with_suffix(".log.1"))
                os.truncate(log, 0)

    def _stop(self, reader: int) -> None:
        """Stop the programs, then the services in the reverse order; a second signal shortens the grace to nothing."""
        asked = self.stopping
        for program in self.programs:
            program.signal(signal.SIGTERM)
        until = time.monotonic() + GRACE_SECONDS
        while any(p.process is not None and p.process.poll() is None for p in self.programs):
            if time.monotonic() > until or self.stopping > max(asked, 1):
                break
            self._sleep(reader, 0.1)
        for program in self.programs:
            program.signal(signal.SIGKILL, everybody=True)
            if program.process is not None:
                program.process.wait()
                program.process = None
        for service in reversed(self.services):
            service.stop()

    def _log(self, program: Program) -> Path:
        return self.logs / f"{program.name}.log"

    def _last_words(self, program: Program) -> str:
        try:
            with self._log(program).open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 8192))
                lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
        except FileNotFoundError:
            lines = []
        worst = [line for line in lines if COMPLAINT.match(line)] or lines
        return f"{worst[-1].rstrip('.')}." if worst else "it said nothing."


def free_port(host: str, port: int) -> None:
    """See that nobody listens on the port yet. Raises CannotRun with the way out."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except socket.gaierror:
        raise CannotRun(f"“{host}” is no address of this machine: give another --host.") from None
    except PermissionError:
        raise CannotRun(
            f"Port {port} needs more rights than you have: give one above 1023, such as --port 8000."
        ) from None
    except OverflowError:
        raise CannotRun(f"{port} is no port: give --port a number from 1 to 65535.") from None
    except OSError as error:
        raise CannotRun(
            f"Port {port} on {host} can't be used ({error.strerror}): give another with --port, such as --port {port + 1}."
        ) from None


def answering(host: str) -> str:
    """Where a server that listens on this address can be asked from this machine."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)


def answers(host: str, port: int) -> bool:
    """Whether a web server on that port gives a whole HTTP answer to ``GET /healthz``."""
    try:
        with socket.create_connection((answering(host), port), timeout=2) as line:
            line.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return line.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200"))
    except OSError:
        return False


def _pause(crashes: int) -> float:
    return PAUSES[min(crashes, len(PAUSES) - 1)]


def _how(status: int) -> str:
    return f"signal {-status}" if status < 0 else f"status {status}"
