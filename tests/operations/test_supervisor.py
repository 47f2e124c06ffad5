"""The supervisor: real programs that crash, hang, are stopped and are killed."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ostoja.operations.installation import only_one, port_of, programs, reach_broker
from ostoja.operations.supervisor import CannotRun, answers, free_port

SERVER = """
import http.server, sys
class Fine(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Fine).serve_forever()
"""
DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(600)"
BROKEN = "raise ImportError('no module named harmony')"
WITH_CHILD = (
    "import subprocess, sys, time; c = subprocess.Popen(['sleep', '60']); print(c.pid, flush=True); time.sleep(60)"
)

RUN = """
import sys
from pathlib import Path
from ostoja.kernel.errors import OstojaError
from ostoja.operations.embedded.broker import EmbeddedBroker
from ostoja.operations import supervisor
from ostoja.operations.supervisor import Program, Supervisor, answers

supervisor.GRACE_SECONDS = 600  # nothing here may need it
supervisor.SAME_SIGNAL_SECONDS = 2
home, port, server, other = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
broker = EmbeddedBroker(home)
broker.start()
say = lambda sentence: print(sentence, flush=True)
parts = [Program("web", [sys.executable, "-c", server, str(port)]), Program("worker", [sys.executable, "-c", other])]
try:
    Supervisor(home, [broker], parts, say).run(lambda: answers("127.0.0.1", port), lambda: say("UP"))
    say("DOWN")
except OstojaError as error:
    say(error.message)
"""


@pytest.fixture
def port():
    """A port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture
def supervised(tmp_path, port):
    """``supervised(server, other)`` runs a supervisor with these two programs in a process of its own."""
    started = []

    def run(server: str = SERVER, other: str = WITH_CHILD) -> subprocess.Popen:
        command = [sys.executable, "-c", RUN, str(tmp_path), str(port), server, other]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield run
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def alive(pid: int) -> bool:
    """Whether a process runs (one that is dead and waits to be reaped does not)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, seconds: float = 30):
    """Wait until the condition is true, and answer it."""
    until = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < until:
        time.sleep(0.02)
    return found


def words_in(log: Path) -> list[str]:
    return log.read_text().split() if log.exists() else []


def test_everything_stops_on_a_signal_without_the_grace(supervised, tmp_path, port):
    process = supervised()
    assert process.stdout.readline() == "UP\n"
    (child,) = wait_for(lambda: words_in(tmp_path / "logs" / "worker.log"))
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "DOWN\n"
    assert process.wait(60) == 0
    assert not answers("127.0.0.1", port)
    assert not alive(int(child))
    free_port("127.0.0.1", port)


def test_a_program_that_ends_is_started_again_without_its_left_overs(supervised, tmp_path):
    process = supervised()
    process.stdout.readline()
    (child,) = wait_for(lambda: words_in(tmp_path / "logs" / "worker.log"))
    parent = int(Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    assert process.stdout.readline().startswith("“worker” has ended (signal 9); it is started again in 0.5 s.")
    assert wait_for(lambda: len(words_in(tmp_path / "logs" / "worker.log")) == 2)
    assert not alive(int(child))


def test_nothing_is_left_when_the_supervisor_is_killed(supervised, tmp_path, port):
    process = supervised(other="import time; print(__import__('os').getpid(), flush=True); time.sleep(60)")
    process.stdout.readline()
    (worker,) = wait_for(lambda: words_in(tmp_path / "logs" / "worker.log"))
    process.kill()
    assert wait_for(lambda: not alive(int(worker)))
    assert wait_for(lambda: not answers("127.0.0.1", port))


def test_a_second_signal_does_not_wait_for_the_deaf(supervised, tmp_path):
    process = supervised(other=DEAF)
    process.stdout.readline()
    assert wait_for(lambda: words_in(tmp_path / "logs" / "worker.log"))
    process.send_signal(signal.SIGTERM)
    time.sleep(0.1)
    process.send_signal(signal.SIGTERM)  # the same one, passed on by a wrapper
    time.sleep(2.5)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    process.wait(60)


def test_a_web_that_never_starts_is_told_with_its_last_words(supervised):
    process = supervised(server=BROKEN)
    lines = process.stdout.read().splitlines()
    assert lines[-1].startswith("“web” does not start: ImportError: no module named harmony. More is in ")


def test_a_service_that_dies_is_started_again(supervised, tmp_path):
    import redis

    from ostoja.operations.embedded.broker import EmbeddedBroker

    process = supervised()
    process.stdout.readline()
    broker = EmbeddedBroker(tmp_path)
    os.kill(redis.from_url(broker.redis_url).info()["process_id"], signal.SIGKILL)
    assert process.stdout.readline() == "The broker has ended; it is started again.\n"
    assert wait_for(broker.ready)


def test_a_busy_port_names_the_way_out(port):
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        with pytest.raises(CannotRun, match=f"Port {port} on 127.0.0.1 can't be used .* --port {port + 1}"):
            free_port("127.0.0.1", port)
    free_port("127.0.0.1", port)


def test_an_address_of_no_machine_is_refused(monkeypatch):
    def unknown(*_, **_kind):
        raise socket.gaierror("no such name")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(CannotRun, match="is no address of this machine"):
        free_port("no-such-host.invalid", 8000)


def test_two_supervisors_in_one_home_are_refused(tmp_path):
    with (
        only_one(tmp_path, 8000),
        pytest.raises(CannotRun, match=f"already \\(process {os.getpid()}\\)"),
        only_one(tmp_path, 8001),
    ):
        pass
    with only_one(tmp_path, 8000):
        pass


def test_the_port_is_known_while_it_is_up(tmp_path):
    assert port_of(tmp_path) is None
    with only_one(tmp_path, 8123):
        assert port_of(tmp_path) == 8123
    assert port_of(tmp_path) is None


def test_an_installation_has_a_web_a_worker_and_a_schedule():
    assert [program.name for program in programs("127.0.0.1", 8000, 2, 2)] == ["web", "worker", "schedule"]


def test_large_logs_are_cut_and_one_older_is_kept(tmp_path, monkeypatch):
    from ostoja.operations import supervisor

    monkeypatch.setattr(supervisor, "LOG_BYTES", 10)
    log = tmp_path / "logs" / "web.log"
    log.parent.mkdir()
    with log.open("ab", buffering=0) as writer:
        writer.write(b"a long line\n")
        supervisor.Supervisor(tmp_path, [], [], print)._look_after_logs()
        writer.write(b"next\n")
    assert log.read_bytes() == b"next\n"
    assert log.with_suffix(".log.1").read_bytes() == b"a long line\n"


def test_a_broker_of_somebody_else_that_is_away_is_one_sentence(port):
    with pytest.raises(CannotRun, match="mend broker.url") as refusal:
        reach_broker(f"redis://:word@127.0.0.1:{port}/0")
    assert "word" not in refusal.value.message and "\n" not in refusal.value.message
