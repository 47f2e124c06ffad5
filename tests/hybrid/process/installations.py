"""Two whole installations on this machine, a cloud and its premises, that tests start, kill, fill, set back and copy."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
from proxy import Proxy

from ostoja.operations.database import DATABASE, SUPERUSER
from ostoja.operations.embedded.postgres import EmbeddedPostgres

LINKED = "The premises are up and linked."
UP = "Ostoja is up."
OWNER = "owner@demo.example"
PATIENCE = 400  # seconds for a first start of both on a busy machine
SIDES = {"c": "cloud", "p": "premises"}
PARTS = {
    "agent": "ostoja.hybrid.agent",
    "web": "granian --interface",
    "worker": "celery --app",
    "schedule": "ostoja.jobs.schedule",
}
STATE = ("postgres", "files", "secrets")
MOVED = Path(__file__).with_name("clocks.py")


def free_ports() -> int:
    """A port that is free together with the next one."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except (OSError, OverflowError):
                continue
            return port


def lay(source: Path, target: Path) -> None:
    """Put the state of one home into another; nothing runs on either."""
    for name in STATE:
        shutil.rmtree(target / name, ignore_errors=True)
        if (source / name).exists():
            subprocess.run(["cp", "-a", str(source / name), str(target / name)], check=True)


def until(true: Callable[[], Any], seconds: float, told: Callable[[], Any] = lambda: "") -> Any:
    """Wait until this is true and answer it; an AssertionError says after so many seconds what ``told`` answers."""
    end = time.monotonic() + seconds
    while True:
        if found := true():
            return found
        assert time.monotonic() < end, told()
        time.sleep(0.1)


def at_rest(sides: Collection[Installation], seconds: float = 60) -> None:
    """Wait until none of these has anything left to say, or to take, over a link that is not revoked."""
    query = (
        "SELECT (SELECT count(*) FROM journal_change WHERE seq > p.acked OR seq IS NULL) + greatest(0, p.peer_high - p.applied) "
        "+ (SELECT count(*) FROM hybrid_reply), l.state = 'open' FROM hybrid_progress p JOIN hybrid_link l ON l.id = p.link_id "
        "WHERE l.state <> 'revoked'"
    )

    def quiet() -> bool:
        return all(set(side.rows(query)) == {(0, True)} for side in sides)

    def twice() -> bool:
        if not quiet():
            return False
        time.sleep(0.4)
        return quiet()

    until(twice, seconds, lambda: [side.links() for side in sides])


class Refused(Exception):
    """A request was answered with a refusal, or (status 0) with nothing at all: nobody knows whether it counted."""

    def __init__(self, status: int, said: str):
        super().__init__(f"{status}: {said}")
        self.status, self.said = status, said

    @property
    def unknown(self) -> bool:
        """Whether it may have counted."""
        return self.status == 0 or self.status >= 500


class Installation:
    """One installation with a home of its own. ``tenant`` demo answers at ``port`` under ``domain``."""

    def __init__(self, home: Path, port: int, domain: str):
        self.home, self.port, self.domain = home, port, domain
        self.process: subprocess.Popen | None = None
        self.log = home / "up.log"
        self.token = ""
        clean = {k: v for k, v in os.environ.items() if not k.startswith("OSTOJA_")}
        self.environment = {**clean, "OSTOJA_HOME": str(home), "OSTOJA_CONFIG": str(home / "ostoja.toml")}

    def start(self, *arguments: str, clock: Path | None = None, wait: bool = True) -> None:
        """``ostoja up``; with ``clock``, a file that says by how many seconds all its programs are ahead."""
        command = [sys.executable, "-m", "ostoja"] if clock is None else [sys.executable, str(MOVED), str(clock)]
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(
                [*command, "up", "--port", str(self.port), "--workers", "1", "--job-workers", "1", *arguments],
                env=self.environment, cwd=self.home, stdout=out, stderr=out, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        if wait:
            self.says(UP)

    def says(self, sentence: str, seconds: float = PATIENCE) -> None:
        """Wait until ``ostoja up`` has said this."""
        until(lambda: sentence in self.log.read_text() or self._has_ended(), seconds, self.log.read_text)
        assert sentence in self.log.read_text(), self.log.read_text()

    def _has_ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def stop(self) -> None:
        """Ctrl-C, and wait."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(timeout=120)
        self.process = None

    def command(self, *arguments: str, refused: bool = False) -> str:
        """One ``ostoja`` command; answers what it printed. ``refused``: it has to end with a sentence, which is answered."""
        done = subprocess.run(
            [sys.executable, "-m", "ostoja", *arguments],
            env=self.environment,
            cwd=self.home,
            capture_output=True,
            text=True,
        )
        assert (done.returncode != 0) == refused, done.stdout + done.stderr
        return (done.stderr if refused else done.stdout).strip()

    def links(self) -> list[dict]:
        """How all links are that are not revoked, as the command says."""
        return [one for one in json.loads(self.command("site", "status", "--json")) if one["state"] != "revoked"]

    def status(self) -> dict:
        """How the link is, the oldest of several."""
        return self.links()[0]

    def call(self, method: str, path: str, data: dict | None = None, *, key: str = "", timeout: float = 30) -> dict:
        """One request to the API. Raises Refused."""
        headers = {
            "Host": f"demo.{self.domain}:{self.port}", "Authorization": f"Bearer {self.token}", "Content-Type": "application/json",
            **({"Idempotency-Key": key} if key else {}),
        }  # fmt: skip
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/v1{path}", method=method, headers=headers,
            data=None if data is None else json.dumps(data).encode(),
        )  # fmt: skip
        try:
            with urllib.request.urlopen(request, timeout=timeout) as answer:
                return json.loads(answer.read() or b"{}")
        except urllib.error.HTTPError as error:
            raise Refused(error.code, error.read().decode(errors="replace")[:500]) from None
        except (OSError, ValueError) as error:
            raise Refused(0, str(error)) from None
        except Exception as error:  # http.client's own, which are no OSErrors
            raise Refused(0, repr(error)) from None

    def get(self, path: str) -> dict | None:
        """What is there, or None when it is not."""
        try:
            return self.call("GET", path)
        except Refused as error:
            if error.status == 404:
                return None
            raise

    def answers(self) -> bool:
        """Whether the tenant can be worked with."""
        try:
            self.call("GET", "/deals?limit=1", timeout=5)
        except Refused:
            return False
        return True

    def has(self, path: str, name: str, value: Any) -> bool:
        """Whether a record has this value by now; not while programs that were killed are starting again."""
        try:
            return (self.get(path) or {}).get(name) == value
        except Refused as error:
            if error.unknown:
                return False
            raise

    # processes

    def processes(self, part: str) -> list[int]:
        """The ids of the processes of one part, the oldest first; ``postgres``: its postmaster."""
        if part == "postgres":
            place = self.home / "postgres" / "postmaster.pid"
            return [int(place.read_text().split()[0])] if place.exists() else []
        found = []
        for place in Path("/proc").iterdir():
            try:
                if place.name.isdigit() and PARTS[part] in (place / "cmdline").read_text().replace("\0", " "):
                    if f"OSTOJA_HOME={self.home}\0" in (place / "environ").read_text() + "\0":
                        found.append(int(place.name))
            except (OSError, UnicodeDecodeError):
                continue
        return sorted(found)

    def switch_off(self) -> None:
        """``kill -9`` of all its programs at once, the database and the supervisor among them: the machine is off."""
        killed = self._all()
        for process in killed:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait(timeout=30)
        self.process = None
        until(lambda: not any(Path(f"/proc/{one}").exists() for one in killed), 30, lambda: killed)

    def _all(self) -> list[int]:
        """The supervisor and all that it started, and what that started in its turn."""
        parents = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                parents[int(place.name)] = int((place / "stat").read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        found = {self.process.pid}
        while more := {one for one, parent in parents.items() if parent in found} - found:
            found |= more
        return sorted(found)

    def kill(self, part: str, *, newest: bool = False) -> int:
        """``kill -9`` of all processes of a part, or of the one that began last; answers how many were killed."""
        found = self.processes(part)[-1:] if newest else self.processes(part)
        killed = 0
        for process in found:
            try:
                os.kill(process, signal.SIGKILL)
                killed += 1
            except ProcessLookupError:
                continue
        return killed

    # its database, from outside of the product

    def connect(self):
        """A connection of the superuser to the database, with the demo tenant's tables in sight."""
        place = EmbeddedPostgres(self.home).connection(SUPERUSER, DATABASE)
        connection = psycopg2.connect(connect_timeout=10, **place)
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT schema_name FROM public.tenancy_tenant WHERE slug = 'demo'")
            cursor.execute(f'SET search_path = "{cursor.fetchone()[0]}", public')
        return connection

    def rows(self, sql: str, *parameters: Any) -> list[tuple]:
        """The rows of one query; none while the database is away."""
        try:
            with closing(self.connect()) as connection, connection.cursor() as cursor:
                cursor.execute(sql, parameters)
                return cursor.fetchall()
        except psycopg2.OperationalError:
            return []

    @contextmanager
    def locked(self, table: str, key: str) -> Iterator[Callable[[], bool]]:
        """Hold a row locked, so that whoever applies a change to it stands in the middle; gives whether somebody waits."""
        with closing(self.connect()) as connection, connection.cursor() as cursor:
            connection.autocommit = False
            cursor.execute(f"SELECT pg_backend_pid() FROM {table} WHERE id = %s FOR UPDATE", [key])
            process = cursor.fetchone()[0]
            waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid)) LIMIT 1"
            yield lambda: bool(self.rows(waiting, process))
            try:
                connection.rollback()
            except psycopg2.Error:
                return


class Pair:
    """A cloud and its premises, linked for the demo tenant; ``apart`` lets each be started alone, and the link be damaged."""

    def __init__(self, home: Path):
        self.home, self.proxy = home, None
        port = free_ports()
        self.cloud = Installation(home, port, "localhost")
        self.premises = Installation(home / "premises", port + 1, "premises.localhost")
        self.sides = {"c": self.cloud, "p": self.premises}
        self.disk = Disk(home / "premises", home.with_name(f"{home.name}.disk"))
        (home / "ostoja.toml").touch()
        try:
            self.cloud.start("--hybrid", wait=False)
            self.cloud.says(LINKED)
            for side in self.sides.values():
                side.token = side.command("token", "create", "--tenant", "demo", "--user", OWNER)
            self.lead(self.premises, port)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all that runs."""
        for side in (self.premises, self.cloud):
            side.stop()
        if self.proxy is not None:
            self.proxy.close()
        self.disk.release()

    def go_on(self) -> None:
        """Let both run if they were stopped."""
        if self.cloud.process is not None:
            return
        self.disk.mount()
        for side in (self.cloud, self.premises):
            side.start(wait=False)
        for side in (self.cloud, self.premises):
            side.says(UP)

    def separate(self, *, clock: Path | None = None, meanwhile: Callable[[], None] = lambda: None) -> Proxy:
        """Stop both, do something ``meanwhile``, and start each alone, with a proxy between them."""
        self.cloud.stop()
        meanwhile()
        self.proxy = Proxy(self.cloud.port)
        self.premises.start("--host", "127.0.0.1", clock=clock, wait=False)
        self.cloud.start(wait=False)
        for side in (self.cloud, self.premises):
            side.says(UP)
        self.lead(self.premises, self.proxy.port)
        return self.proxy

    def lead(self, side: Installation, port: int, *, kill: bool = True) -> None:
        """Let the link of the lower site go to this port of this machine, as if the cloud had moved; at once with ``kill``."""
        url = f"http://demo.localhost:{port}"
        with closing(side.connect()) as connection, connection.cursor() as cursor:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("UPDATE hybrid_link SET url = %s WHERE url <> %s RETURNING id", [url, url])
            moved = cursor.fetchall()
        if moved and kill:
            side.kill("agent")

    def at_rest(self, seconds: float = 60) -> None:
        """Wait until neither side has anything left to say, or to take."""
        at_rest(self.sides.values(), seconds)

    def trouble(self, side: str, *codes: str, seconds: float = 60) -> str:
        """Wait until one of these is wrong with the link at this side; answers what people read there then."""
        query = "SELECT trouble FROM hybrid_linkuse"
        at = self.sides[side]
        until(lambda: any(code in codes for (code,) in at.rows(query)), seconds, lambda: (at.rows(query), at.status()))
        return self.words(side)

    def words(self, side: str) -> str:
        """What is wrong with the link, as people of this side read it."""
        return " ".join(self.sides[side].status()["problems"])

    def equal(self) -> None:
        """Both sides hold the same, as the product says."""
        assert self.premises.command("site", "verify") == "equal"


class Disk:
    """A small disk of its own for one home, which can be full. Only root of a machine that mounts files has one."""

    SIZE = 3_000_000_000

    def __init__(self, place: Path, image: Path):
        self.place, self.image = place, image
        self.ballast = place / "ballast"
        self.mounted = False
        place.mkdir(mode=0o711, parents=True, exist_ok=True)
        self.mount()

    def mount(self) -> None:
        """Put the disk in, if this machine lets us."""
        if self.mounted or os.geteuid() != 0 or not shutil.which("mkfs.ext4"):
            return
        if not self.image.exists():
            with self.image.open("wb") as file:
                file.truncate(self.SIZE)
            subprocess.run(["mkfs.ext4", "-q", "-m", "0", str(self.image)], capture_output=True)
        done = subprocess.run(["mount", "-o", "loop", str(self.image), str(self.place)], capture_output=True)
        self.mounted = done.returncode == 0
        if self.mounted:
            self.place.chmod(0o711)
            shutil.rmtree(self.place / "lost+found", ignore_errors=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """The disk is full for the block: not one page more can be written."""
        with self.ballast.open("wb") as file:
            for size in (100_000_000, 1_000_000, 4096):
                while True:
                    try:
                        os.posix_fallocate(file.fileno(), os.fstat(file.fileno()).st_size, size)
                    except OSError:
                        break
        try:
            yield
        finally:
            self.ballast.unlink()

    def release(self) -> None:
        """Take the disk out; what is on it stays in the image."""
        if self.mounted:
            self.mounted = subprocess.run(["umount", str(self.place)], capture_output=True).returncode != 0


def sentence_in(log: Path, pattern: str) -> str:
    """The last line of a log that has this in it, or nothing."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if re.search(pattern, line)]
    return lines[-1] if lines else ""


def dump(at: Installation) -> bytes:
    """All schemas of an installation as SQL."""
    place = EmbeddedPostgres(at.home)
    done = subprocess.run(
        [str(place.program("pg_dump")), "--no-owner", place.dsn(SUPERUSER, DATABASE)], capture_output=True, check=True
    )
    return done.stdout
