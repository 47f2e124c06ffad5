"""The way out of every process is closed but for what it needs; the agent alone reaches other sites, and nothing else."""

from __future__ import annotations

import http.server
import json
import os
import re
import socket
import socketserver
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from ostoja.hybrid import agent, joining
from ostoja.hybrid.dialling import Line, Unreachable, place_of, places_of
from ostoja.kernel import outbound
from ostoja.settings.declaration import load
from ostoja.settings.places import reachable

LEAVING = Path(__file__).with_name("leaving.py")
REFUSED = re.compile(r"WayClosed: This process may not connect to (\S+): .*outbound\.hosts")


@pytest.fixture
def port():
    """Somebody listens there, on every address of this machine."""
    with socket.create_server(("0.0.0.0", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def leave():
    """``leave(*tries, begin=…, services=…)`` -> what came of each (way, host, port) in a program with such a list."""

    def run(*tries, begin=None, services=(), mail=(), named=(), reach=()) -> list[str]:
        orders = {"begin": begin, "services": services, "mail": mail, "named": named, "reach": reach, "tries": tries}
        done = subprocess.run(
            [sys.executable, str(LEAVING), json.dumps(orders)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        closed, *told = json.loads(done.stdout)
        assert closed
        return told

    return run


def refused(outcome: str) -> str:
    """The place that was refused."""
    found = REFUSED.match(outcome)
    assert found, outcome
    return found[1]


def test_what_nobody_named_is_refused_in_every_way(leave, port):
    here = ("127.0.0.1", port)
    ways = ["connect", "raw", "datagram", "take_away"]
    assert [refused(one) for one in leave(*((way, *here) for way in ways))] == [f"127.0.0.1:{port}"] * 4
    for host in ("0.0.0.0", "127.1", "::ffff:127.0.0.1"):
        (said,) = leave(("raw", host, port))
        assert refused(said)


@pytest.mark.parametrize(
    "way", ["in_a_thread", "in_a_loop", "in_a_fork", "as_a_tuple", "as_a_text", "as_a_path", "by_a_proxy"]
)
def test_what_is_disguised_or_done_elsewhere_in_the_program_is_refused(leave, port, way):
    named = [("127.0.0.3", None), ("127.0.0.3", 1)]
    assert refused(leave((way, "127.0.0.1", port), named=named)[0]) == f"127.0.0.1:{port}"


@pytest.mark.parametrize(("way", "family"), [("packets", "AF_PACKET"), ("another_family", "AF_VSOCK")])
def test_no_socket_is_made_that_is_neither_of_the_internet_nor_of_this_machine(leave, way, family):
    assert refused(leave((way, "", 0))[0]) == family


def test_a_host_that_is_named_leads_to_no_other(leave, port):
    class Leads(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.2:{port}/")
            self.end_headers()

        def log_message(self, *_said):
            """Says nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Leads) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (said,) = leave(("redirected", *server.server_address), named=[server.server_address])
        server.shutdown()
    assert refused(said) == f"127.0.0.2:{port}"


@pytest.mark.parametrize("way", ["look_up", "look_up_as_before"])
def test_a_name_that_nobody_named_is_not_even_looked_up(leave, way):
    name = "cloud.example"
    assert refused(leave((way, name, 443))[0]) == name  # by the gate, which is told before the resolver is asked
    value = "wholesalecustomerofours"
    assert value not in leave((way, f"{value}.{name}", 443))[0]


def test_the_agent_says_of_a_name_that_nobody_knows_that_it_is_not_known(leave, port):
    names = [["site.invalid", 443], ["localhost", port]]
    unknown, deaf = leave(("site", "site.invalid", 443), ("site", "localhost", port), named=names)
    assert unknown.startswith("unknown_name: The name in https://site.invalid:443 is not known")
    assert deaf.startswith("unreachable: ")


def test_an_address_that_nobody_named_is_not_looked_back(leave):
    assert refused(leave(("look_back", "192.0.2.7", 443))[0]) == "192.0.2.7"


def test_host_and_port_are_judged(leave, port):
    with socket.create_server(("127.0.0.1", 0)) as other:
        beside = other.getsockname()[1]
        first, second = leave(
            ("connect", "127.0.0.1", port), ("connect", "127.0.0.1", beside), named=[("127.0.0.1", port)]
        )
    assert first == "done" and refused(second) == f"127.0.0.1:{beside}"
    assert leave(("connect", "127.0.0.1", beside := port), named=[("127.0.0.1", None)]) == ["done"], beside


def test_a_host_that_is_named_is_reached_by_its_name_and_by_the_addresses_of_that_name(leave, port):
    named = [("LocalHost.", port)]
    assert leave(("connect", "localhost", port), ("connect", "127.0.0.1", port), named=named) == ["done", "done"]
    assert (
        refused(leave(("connect", "127.0.0.1", port), named=named)[0]) == f"127.0.0.1:{port}"
    )  # nobody asked for the name


def test_what_is_on_this_machine_without_a_port_is_no_way_out(leave, tmp_path):
    place = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(place))
        server.listen()
        assert leave(("path", str(place), 0), ("own_name", "", 0)) == ["done", "done"]


@pytest.mark.parametrize("way", ["other_program", "by_ctypes"])
def test_other_programs_and_libraries_in_c_are_not_held_that_is_for_the_firewall(leave, port, way):
    assert leave((way, "127.0.0.1", port)) == ["done"]


@pytest.mark.parametrize(
    ("begin", "reaches"),
    [
        (None, {"services", "mail", "named"}),
        ([outbound.NAMED], {"services", "named"}),
        ([outbound.GIVEN], {"services", "reach"}),
    ],
    ids=["a worker or a command", "web and schedule", "the agent"],
)
def test_each_kind_of_program_reaches_what_it_needs(leave, begin, reaches):
    servers = {
        part: socket.create_server(("127.0.0.1", 0)) for part in ("services", "mail", "named", "reach", "nothing")
    }
    places = {part: ("127.0.0.1", server.getsockname()[1]) for part, server in servers.items()}
    told = leave(
        *(("connect", *place) for place in places.values()), begin=begin, services=[places["services"]],
        mail=[places["mail"]], named=[places["named"]], reach=[[places["reach"]], [places["nothing"]]],
    )  # fmt: skip
    for server in servers.values():
        server.close()
    assert {part for part, outcome in zip(places, told, strict=True) if outcome == "done"} == reaches


# what the declaration says, and who says what he needs


def test_the_places_follow_from_the_declaration(tmp_path):
    toml = """
        [database]
        url = "postgresql://app@db.lan:5433/crm"
        owner_url = "postgresql://owner@db2.lan/crm"
        [broker]
        url = "rediss://:word@broker.lan/2"
        [mail]
        url = "smtp://me:word@mail.lan"
        [outbound]
        hosts = ["Sentry.LAN:443", "[fd00::5]:9000", "10.0.0.7:*"]
    """
    (tmp_path / "ostoja.toml").write_text(toml)
    declared = load({"OSTOJA_HOME": str(tmp_path), "OSTOJA_CONFIG": str(tmp_path / "ostoja.toml")})
    from ostoja.settings.databases import databases

    assert reachable(declared, databases(declared)) == {
        "services": {("db.lan", 5433), ("db2.lan", 5432), ("broker.lan", 6379)},
        "mail": {("mail.lan", 587)},
        "named": {("sentry.lan", 443), ("fd00::5", 9000), ("10.0.0.7", None)},
    }


def test_with_embedded_services_nothing_is_reached(tmp_path):
    from ostoja.settings.databases import databases

    declared = load({"OSTOJA_HOME": str(tmp_path), "OSTOJA_CONFIG": os.devnull})
    assert set(reachable(declared, databases(declared)).values()) == {frozenset()}


STARTS = {
    "web": "import ostoja.web.wsgi",
    "worker": "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'ostoja.settings'; from ostoja.jobs.celery import app; app.conf.broker_url",
    "schedule": "import ostoja.jobs.schedule as s, signal; s.tick = lambda: signal.raise_signal(signal.SIGTERM) or 0; s._is_leader = lambda: True; s.main()",
    "agent": "import ostoja.hybrid.agent as a, signal; a.Agent.look = lambda self: signal.raise_signal(signal.SIGTERM) or True; a.main()",
}


@pytest.mark.parametrize(
    ("program", "reaches"), [("web", "named"), ("worker", "mail named"), ("schedule", "named"), ("agent", "")]
)
def test_each_program_says_what_it_needs_before_its_way_is_closed(tmp_path, port, program, reaches):
    places = {"mail": ("127.0.0.3", port), "named": ("127.0.0.4", port)}
    tries = "\nimport socket\nfor place in %r:\n    try: socket.create_connection(place, 5); print('done')\n    except PermissionError: print('refused')"
    code = STARTS[program] + tries % (list(places.values()),)
    said = run_closed(
        tmp_path, code, OSTOJA_MAIL_URL=f"smtp://127.0.0.3:{port}", OSTOJA_OUTBOUND_HOSTS=f"127.0.0.4:{port}"
    )
    assert {part for part, said in zip(places, said.split(), strict=True) if said == "done"} == set(reaches.split())


class Post(socketserver.StreamRequestHandler):
    """A mail server that takes everything; ``letters`` is what came."""

    letters: list[bytes]

    def handle(self):
        """Talk SMTP with one client."""
        self.wfile.write(b"220 here\r\n")
        for line in self.rfile:
            if line.upper().startswith(b"DATA"):
                self.wfile.write(b"354 go on\r\n")
                self.letters.append(b"".join(iter(self.rfile.readline, b".\r\n")))
            self.wfile.write(b"221 bye\r\n" if line.upper().startswith(b"QUIT") else b"250 fine\r\n")


def run_closed(home: Path, code: str, **variables: str) -> str:
    """Some code in a program of an installation of its own; what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OSTOJA_")}
    environment |= {
        "OSTOJA_HOME": str(home),
        "OSTOJA_CONFIG": os.devnull,
        "DJANGO_SETTINGS_MODULE": "ostoja.settings",
    } | variables
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_mail_goes_out_to_the_mail_server_by_its_name(tmp_path):
    handler = type("Handler", (Post,), {"letters": []})
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = "import django; django.setup()\nfrom django.core.mail import send_mail\nsend_mail('Hello', 'Text', 'a@b.example', ['c@d.example'])"
        run_closed(tmp_path, code, OSTOJA_MAIL_URL=f"smtp+plain://localhost:{server.server_address[1]}")
        server.shutdown()
    assert [b"Subject: Hello" in letter for letter in handler.letters] == [True]


def test_a_broker_on_another_machine_is_reached_by_its_name(tmp_path):
    from ostoja.operations.embedded.broker import EmbeddedBroker

    with socket.create_server(("127.0.0.1", 0)) as probe:
        number = probe.getsockname()[1]
    command = [
        str(EmbeddedBroker._programs() / "valkey-server"),
        "--port",
        str(number),
        "--bind",
        "127.0.0.1",
        "--save",
        "",
    ]
    broker = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=tmp_path)
    try:
        code = """if True:
            import time
            from django.conf import settings
            from ostoja.operations.installation import reach_broker
            from ostoja.jobs.celery import app, run_job
            for left in range(50):
                try:
                    reach_broker(settings.CELERY_BROKER_URL)
                    break
                except Exception:
                    time.sleep(0.1)
            run_job.apply_async(args=["t_none", "none"], retry=False)
            with app.connection_for_read() as line:
                print(line.default_channel.client.llen("celery"))
        """
        assert run_closed(tmp_path, code, OSTOJA_BROKER_URL=f"redis://localhost:{number}") == "1\n"
    finally:
        broker.terminate()
        broker.wait(10)


# the agent


def test_the_place_of_an_address_is_where_its_line_connects():
    for url in (
        "https://crm.example.com",
        "https://crm.example.com:8443",
        "http://demo.localhost:8000",
        "http://localhost",
    ):
        line = Line(url)
        assert place_of(url) == (line.pool.host, line.pool.port)
    assert places_of(["https://a.example", "http://not-encrypted.example", "nothing"]) == {("a.example", 443)}


@pytest.fixture
def given(monkeypatch):
    """What the agent gave as its places."""
    places = []
    monkeypatch.setattr(outbound, "reach", lambda more: places.append(set(more)))
    return places


class Still:
    """A lane that says nothing."""

    def __init__(self, tenant, link, lane, stopping, heard):
        self.alive = True

    def start(self):
        """Begins."""

    def is_alive(self):
        return self.alive


def test_the_agent_reaches_the_sites_of_its_links_and_begins_anew_when_they_are_others(monkeypatch, given):
    links = []
    monkeypatch.setattr(agent, "Lane", Still)
    monkeypatch.setattr(agent, "links_to_dial", lambda: links)
    one = agent.Agent(None)
    assert one.look() and given == []
    links[:] = [("tenant", "first", "https://a.example"), ("tenant", "second", "https://a.example")]
    assert one.look() and one.look() and given == [{("a.example", 443)}] and len(one.lanes) == 6
    links.append(("tenant", "third", "https://b.example"))
    assert not one.look() and len(one.lanes) == 6
    assert given == [{("a.example", 443)}]


def test_the_agent_lets_a_closed_link_say_goodbye_and_then_forgets_its_place(monkeypatch, given):
    links = [("tenant", "first", "https://a.example"), ("tenant", "second", "https://b.example")]
    monkeypatch.setattr(agent, "Lane", Still)
    monkeypatch.setattr(agent, "links_to_dial", lambda: links)
    one = agent.Agent(None)
    assert one.look()
    del links[1]
    assert one.look()
    for (link, _lane), lane in one.lanes.items():
        lane.alive = link == "first"
    assert not one.look()


def test_a_refusal_on_the_line_is_told_as_what_it_is(monkeypatch, port):
    line = Line(f"http://demo.localhost:{port}")
    closed = outbound.WayClosed("closed")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: (_ for _ in ()).throw(closed))
    with pytest.raises(outbound.WayClosed):
        line.post("/sync/v1/enrol", b"", {})
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_a, **_o: (_ for _ in ()).throw(OSError("away")))
    with pytest.raises(Unreachable):
        line.post("/sync/v1/enrol", b"", {})


def test_no_other_room_dials():
    """A worker, a page or a command that dialled would be refused at its customers': it is found here before."""
    root = Path(joining.__file__).parents[1]
    dials = re.compile(
        r"\b(import urllib3|import socket|http\.client|urllib\.request|import smtplib|import requests|import httpx)\b"
    )
    found = {
        str(p.relative_to(root))
        for p in root.rglob("*.py")
        if "node_modules" not in p.parts and dials.search(p.read_text())
    }
    assert found == {
        "cli/site.py",  # the machine's own name
        "hybrid/dialling.py",
        "kernel/outbound.py",
        "operations/doctor.py",
        "operations/embedded/broker.py",
        "operations/supervisor.py",
    }
    calls = re.compile(r"\bCaller\(|dialling\.enrol\(")
    callers = {str(p.relative_to(root)) for p in root.rglob("*.py") if calls.search(p.read_text())}
    assert callers == {"hybrid/agent.py", "hybrid/joining.py"}
