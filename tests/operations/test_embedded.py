"""The embedded services: real servers that are started, shared, killed and started again."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
import redis

from ostoja.operations.database import APP, DATABASE, OWNER, SUPERUSER
from ostoja.operations.embedded import account as accounts
from ostoja.operations.embedded import service as services
from ostoja.operations.embedded.account import Account, CannotStart, can_reach, namespaces_work
from ostoja.operations.embedded.broker import EmbeddedBroker
from ostoja.operations.embedded.postgres import EmbeddedPostgres

ROOT = os.geteuid() == 0
as_root = pytest.mark.skipif(not ROOT, reason="only root can become somebody else")

HOLD = """
import sys, time
from ostoja.operations.embedded.postgres import EmbeddedPostgres
from ostoja.operations.embedded.broker import EmbeddedBroker
service = {"postgres": EmbeddedPostgres, "broker": EmbeddedBroker}[sys.argv[1]](sys.argv[2])
service.start()
print(service._keeper.pid if service._keeper else 0, flush=True)
time.sleep(60)
"""


@pytest.fixture(scope="module")
def home():
    """A home that everybody may pass through, as /var/lib is."""
    directory = Path(tempfile.mkdtemp(prefix="ostoja-h-", dir="/tmp"))
    directory.chmod(0o755)
    yield directory / "home"
    shutil.rmtree(directory)


@pytest.fixture
def postgres(home):
    service = EmbeddedPostgres(home)
    yield service
    service.stop()
    assert not service.running()


@pytest.fixture
def broker(home):
    service = EmbeddedBroker(home)
    yield service
    service.stop()
    assert not service.running()


@pytest.fixture
def holders():
    """Other processes that hold a service: ``holders(name, home)`` -> (process, the keeper's pid)."""
    started = []

    def hold(name: str, home: Path) -> tuple[subprocess.Popen, int]:
        process = subprocess.Popen([sys.executable, "-c", HOLD, name, str(home)], stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process, int(process.stdout.readline())

    yield hold
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def ask(service: EmbeddedPostgres, sql: str, role: str = OWNER, database: str = DATABASE):
    """The first value of a query, in a connection of its own."""
    with (
        closing(psycopg2.connect(service.dsn(role, database))) as connection,
        connection,
        connection.cursor() as cursor,
    ):
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


def gone(service, seconds: float = 5) -> bool:
    """Whether the service has ended within so many seconds."""
    until = time.monotonic() + seconds
    while service.running() and time.monotonic() < until:
        time.sleep(0.02)
    return not service.running()


def postmaster(service: EmbeddedPostgres) -> int:
    return int((service.data / "postmaster.pid").read_text().splitlines()[0])


def test_a_cold_start_is_quick_and_a_warm_one_has_the_same_data(home):
    service = EmbeddedPostgres(home)
    began = time.monotonic()
    service.start()
    assert time.monotonic() - began < 20  # half a second on a machine that does nothing else
    ask(service, "create table kept (word text); insert into kept values ('zażółć')")
    service.stop()
    assert not service.running()
    began = time.monotonic()
    service.start()
    assert time.monotonic() - began < 10  # a tenth of a second
    assert ask(service, "select upper(word) from kept") == "ZAŻÓŁĆ"
    service.stop()


def test_the_application_logs_in_but_owns_nothing(postgres):
    postgres.start()
    assert ask(postgres, "select current_user", APP) == APP
    assert not ask(
        postgres,
        "select rolsuper or rolinherit or rolcreaterole or rolcreatedb from pg_roles where rolname = current_user",
        APP,
    )
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(postgres, "create table public.mine (id int)", APP)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(postgres, "create temporary table mine (id int)", APP)
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        ask(postgres, "select pg_read_file('/etc/passwd')", OWNER)
    assert ask(postgres, "select similarity('ala', 'ala') = 1 and public.unaccent('ż') = 'z'", APP)


def test_nobody_gets_in_without_the_password_or_over_the_network(postgres):
    postgres.start()
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        psycopg2.connect(**{**postgres.connection(SUPERUSER), "password": "postgres"})
    assert ask(postgres, "show listen_addresses") == ""
    assert (postgres.home / "secrets" / APP).stat().st_mode & 0o077 == 0


def test_two_share_one_server_and_the_last_one_stops_it(home, postgres):
    postgres.start()
    second = EmbeddedPostgres(home)
    second.start()
    assert postmaster(second) == postmaster(postgres)
    postgres.stop()
    assert ask(second, "select 1") == 1
    second.stop()
    assert not second.running()


def test_two_that_start_at_the_same_moment_share_one_server(home, postgres, holders):
    _first, one = holders("postgres", home)
    _second, two = holders("postgres", home)
    assert sorted(bool(pid) for pid in (one, two)) == [False, True]
    postgres.start()
    assert ask(postgres, "select 1") == 1


@pytest.mark.parametrize("name", ["postgres", "broker"])
def test_it_ends_with_a_user_that_is_killed(name, home, holders):
    service = {"postgres": EmbeddedPostgres, "broker": EmbeddedBroker}[name](home)
    process, _keeper = holders(name, home)
    assert service.running()
    process.kill()
    assert gone(service)


def test_it_ends_with_its_keeper_and_starts_again(home, postgres, holders):
    _process, keeper = holders("postgres", home)
    os.kill(keeper, signal.SIGKILL)
    assert gone(postgres)
    postgres.start()
    assert ask(postgres, "select 1") == 1


def test_what_was_committed_survives_the_death_of_the_server(postgres):
    postgres.start()
    ask(postgres, "create table acknowledged (id int); insert into acknowledged values (42)")
    os.kill(postmaster(postgres), signal.SIGKILL)
    assert gone(postgres)
    assert (postgres.data / "postmaster.pid").exists()
    postgres.start()
    assert ask(postgres, "select id from acknowledged") == 42


def test_a_lock_file_with_the_number_of_another_process_is_forgotten(postgres):
    postgres.start()
    lock_file = postgres.data / "postmaster.pid"
    words = lock_file.read_text().splitlines()
    postgres.stop()
    owner = postgres.data.stat()
    with subprocess.Popen(["sleep", "30"], **({"user": owner.st_uid, "group": owner.st_gid} if ROOT else {})) as other:
        lock_file.write_text("\n".join([str(other.pid), *words[1:]]) + "\n")
        os.chown(lock_file, owner.st_uid, owner.st_gid)
        postgres.start()
        assert ask(postgres, "select 1") == 1
        other.kill()


def test_data_of_another_version_is_refused_in_a_sentence(postgres):
    postgres.start()
    postgres.stop()
    version = postgres.data / "PG_VERSION"
    ours = version.read_text()
    version.write_text("14\n")
    try:
        with pytest.raises(CannotStart, match="was made by PostgreSQL 14 and this Ostoja brings PostgreSQL 18"):
            postgres.start()
    finally:
        version.write_text(ours)
    postgres.start()


def test_a_directory_that_holds_something_else_is_left_alone(tmp_path):
    service = EmbeddedPostgres(tmp_path / "home")
    service.data.mkdir(parents=True)
    (service.data / "diary.txt").write_text("dear diary")
    with pytest.raises(CannotStart, match="holds no PostgreSQL data"):
        service.start()
    assert (service.data / "diary.txt").exists()


def test_a_full_disk_is_refused_in_a_sentence(home, monkeypatch):
    monkeypatch.setattr(
        services.shutil, "disk_usage", lambda _path: shutil._ntuple_diskusage(10**10, 10**10, 123_000_000)
    )
    with pytest.raises(CannotStart, match="Only 123 MB are free .* set OSTOJA_HOME to another disk"):
        EmbeddedPostgres(home).start()


def test_a_bad_parameter_is_told_with_the_servers_own_words(home):
    service = EmbeddedPostgres(home, {"shared_buffers": "plenty"})
    with pytest.raises(CannotStart, match='invalid value for parameter "shared_buffers": "plenty"'):
        service.start()
    assert not service.running()


def test_a_home_with_a_long_path(tmp_path):
    service = EmbeddedPostgres(tmp_path / ("long-" * 20))
    service.start()
    try:
        assert ask(service, "select 1") == 1
        assert service.socket_directory().parent == Path("/tmp")
        assert service.socket_directory().stat().st_mode & 0o077 == 0
    finally:
        service.stop()
        shutil.rmtree(service.socket_directory())


def test_a_socket_directory_of_somebody_else_is_refused(tmp_path):
    service = EmbeddedBroker(tmp_path / ("long-" * 20))
    directory = service.socket_directory()
    directory.mkdir(mode=0o777)
    try:
        with pytest.raises(CannotStart, match="is not ours alone"):
            service.start()
    finally:
        directory.rmdir()


def test_the_broker_keeps_its_messages_when_it_is_killed(broker):
    broker.start()
    client = redis.from_url(broker.redis_url)
    client.lpush("queue", "message")
    time.sleep(1.2)  # it writes to the disk every second
    os.kill(client.info()["process_id"], signal.SIGKILL)
    assert gone(broker)
    broker.start()
    assert redis.from_url(broker.redis_url).lrange("queue", 0, -1) == [b"message"]


def test_celery_and_redis_find_the_same_broker(broker):
    from kombu import Connection

    broker.start()
    with Connection(broker.url) as connection:
        connection.SimpleQueue("post").put("a letter")
    assert redis.from_url(broker.redis_url).llen("post") == 1


@as_root
def test_root_leaves_its_privileges_behind(home, postgres):
    postgres.start()
    status = Path(f"/proc/{postmaster(postgres)}/status").read_text()
    uid = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1]
    assert int(uid) == accounts._nobody().pw_uid
    assert (postgres.home / "secrets").stat().st_uid == 0


@as_root
@pytest.mark.skipif(not namespaces_work(), reason="this machine allows no user namespaces")
def test_root_uses_a_namespace_where_nobody_could_not_reach_the_home(tmp_path):
    tmp_path.chmod(0o700)
    service = EmbeddedPostgres(tmp_path / "home")
    with service:
        assert ask(service, "select 1") == 1
        assert service.data.stat().st_uid == 0


@as_root
def test_root_is_told_what_to_do_where_neither_works(tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    monkeypatch.setattr(accounts, "namespaces_work", lambda: False)
    with pytest.raises(CannotStart, match="set OSTOJA_HOME to a directory such as /var/lib/ostoja"):
        Account.choose(tmp_path / "home", tmp_path / "home" / "postgres")


@as_root
def test_programs_that_nobody_can_reach_are_copied(tmp_path, home):
    hidden = tmp_path / "private" / "bin"
    hidden.mkdir(parents=True)
    hidden.parent.chmod(0o700)
    (hidden / "program").write_text("#!/bin/sh\n")
    nobody = accounts._nobody()
    account = Account(nobody.pw_uid, nobody.pw_gid, switch=True)
    home.mkdir(mode=0o711, exist_ok=True)
    copy = account.reachable_copy(hidden, home, "some-programs")
    assert copy == home / "programs" / "some-programs"
    assert (copy / "program").read_text() == "#!/bin/sh\n"
    assert can_reach(copy, nobody.pw_uid, nobody.pw_gid)


@as_root
def test_an_ordinary_user_runs_it_too_and_may_not_touch_roots(home):
    python = shutil.which("python3", path="/usr/bin:/usr/local/bin")
    same = python and subprocess.run(
        [python, "-c", f"import sys; sys.exit(sys.version_info[:2] != {sys.version_info[:2]!r})"], check=False
    )
    if not same or same.returncode:
        pytest.skip(
            "no Python of this version outside of the virtual environment, which another user may not be able to reach"
        )
    nobody = accounts._nobody()
    theirs = home.parent / "theirs"
    theirs.mkdir()
    os.chown(theirs, nobody.pw_uid, nobody.pw_gid)
    script = """
import os, sys
from ostoja.operations.embedded.account import CannotStart
from ostoja.operations.embedded.postgres import EmbeddedPostgres
with EmbeddedPostgres(sys.argv[1]) as service:
    print(os.geteuid(), service.ready(), service.data.stat().st_uid)
for other in sys.argv[2:]:
    try:
        EmbeddedPostgres(other).start()
    except CannotStart as refusal:
        print(refusal.message)
"""
    roots = home.parent / "roots"
    (roots / "postgres").mkdir(parents=True)
    EmbeddedPostgres(home.parent / "closed")._make_home()
    for directory in ("run", "logs"):
        (roots / directory).mkdir(mode=0o777)
        (roots / directory).chmod(0o777)
    done = subprocess.run(
        [python, "-c", script, str(theirs / "home"), str(roots), str(home.parent / "closed")],
        capture_output=True,
        text=True,
        check=False,
        user=nobody.pw_uid,
        group=nobody.pw_gid,
        extra_groups=[],
        cwd="/",
        env={"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert done.stderr == ""
    first, second, third = done.stdout.splitlines()
    assert first == f"{nobody.pw_uid} True {nobody.pw_uid}"
    assert "belongs to root and you are nobody" in second and "belongs to root and you are nobody" in third
