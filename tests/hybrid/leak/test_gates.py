"""Each gate holds alone: with any one of them open nothing leaks, and with all of them open the scan finds what leaked.

The first four hold what the sync tells, one behind the other. The fifth, the closed way out, holds what other code would send past
the sync; behind it stands that what is logged has no values. Code that reads a value and sends it itself is held by it alone.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

import orjson
import pytest
from django.db import connection, connections, transaction
from test_database import fill
from two_sites import SYSTEM, Pair, do

from ostoja.crm.sales.models import Deal
from ostoja.hybrid import labels, withdrawing
from ostoja.hybrid.core import apply as applying
from ostoja.hybrid.core.terms import NEVER
from ostoja.hybrid.core.wire import Cell
from ostoja.hybrid.exchange import Message
from ostoja.hybrid.install import egress_role, install, view_of
from ostoja.hybrid.sending import Sender
from ostoja.hybrid.sites import here
from ostoja.party.models import Party
from ostoja.tenancy.context import current_tenant, schema_context, tenant_context
from ostoja.testing.canaries import Canaries

WAYS = ("crash_shipper", "update_check", "support_bundle", "metrics", "look_up")
CLOSED = {"a closed field", "a closed amount", "a marked record", "a value of the time when it was marked"}


class Watched(Pair):
    """A pair that keeps every byte that goes to the cloud."""

    def __init__(self, cloud, premises):
        self.down: list[bytes] = []
        super().__init__(cloud, premises)

    def carry(self, packed: bytes) -> Message:
        if current_tenant() == self.cloud:
            self.down.append(packed)
        return super().carry(packed)


@pytest.fixture
def scene(lender, listen, hosts, web):
    """Both sites, the cloud has let go of what is closed; three canaries and a signal are about to be written."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    pair = Watched(cloud, premises)
    pair.load()
    pair.talk()
    with tenant_context(cloud):
        withdrawing.withdraw()
    pair.talk()
    return SimpleNamespace(
        pair=pair,
        party=party,
        canaries=Canaries(),
        signals=Canaries(),
        log=listen(cloud),
        hosts=hosts,
        web=web,
        way_out=False,
    )


def work(scene) -> None:
    """What people do on the premises: closed values, a marked record, a record that was marked for a while."""
    canaries, pair = scene.canaries, scene.pair
    premises = pair.premises
    secret = {"notes": canaries.text("a closed field"), "annual_revenue": str(canaries.number("a closed amount", 12))}
    do(premises, scene.party, data={"name": scene.signals.text("an open field"), **secret})
    do(premises, scene.party, data={"name": scene.signals.text("an open field")})
    marked = do(premises, Party, "add", {"kind": "org", "name": canaries.text("a marked record")})
    once = do(premises, Party, "add", {"kind": "org", "name": "Before"})
    with tenant_context(premises):
        labels.close(SYSTEM, marked)
        labels.close(SYSTEM, once)
    do(premises, once, data={"name": canaries.text("a value of the time when it was marked")})
    do(premises, once, data={"name": "Afterwards"})
    with tenant_context(premises):
        labels.reopen(SYSTEM, Party.objects.get(pk=once.pk))
    do(premises, Deal, "add", {"title": "Chairs", "party": scene.party.pk, "amount": "5"})


def strangers(scene, path: str = "/careless", ways=WAYS) -> dict[str, str]:
    """What code that is none of ours does in the web process of the premises; what came of it."""
    asked = {"schema": scene.pair.premises.schema_name, "party": str(scene.party.pk)}
    places = [host.place for host in scene.hosts]
    if path == "/log":
        return scene.web(open=scene.way_out).ask(path, **asked, to=places[0])
    return scene.web(open=scene.way_out).ask(path, **asked, to=",".join(places), ways=",".join(ways))


# gates that are opened


def values_in_the_outbox(scene, monkeypatch) -> None:
    """G1: what is told is what the journal has noted, old values too."""
    rows = Sender._rows

    def and_history(self, table, keys, state):
        rows(self, table, keys, state)
        if not self.here.is_owner:
            return
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT record::text, old FROM journal_change WHERE record = ANY(%s::uuid[]) AND old IS NOT NULL ORDER BY id",
                [[key.id for key in keys]],
            )
            for id, old in cursor.fetchall():
                for key, thing in state.things.items():
                    if key.id != id:
                        continue
                    for column, value in orjson.loads(old).items():
                        name = table.by_column.get(column)
                        if name in thing.cells and value and isinstance(value, str):
                            thing.cells[name] = Cell(value, thing.cells[name].stamp)

    monkeypatch.setattr(Sender, "_rows", and_history)


def a_role_that_reads_all(scene, monkeypatch) -> None:
    """G2: the sender may read every table, and the views show every column of every row."""
    with tenant_context(scene.pair.premises):
        tables = here().tables
    schema = scene.pair.premises.schema_name
    role = egress_role(schema)
    with schema_context(schema), transaction.atomic(using="owner"), connections["owner"].cursor() as cursor:
        for table in tables:
            columns = "".join(f', t."{c.column}"::text AS "{name}"' for name, c in table.columns.items())
            cursor.execute(f'DROP VIEW IF EXISTS "{view_of(table)}"')
            cursor.execute(f'CREATE VIEW "{view_of(table)}" AS SELECT t.id{columns} FROM "{table.name}" t')
        cursor.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA "{schema}" TO "{role}"')


def terms_without_levels(scene, monkeypatch) -> None:
    """G3: the sender's terms say that everything is open, fields and records."""
    begin = Sender.__init__

    def all_open(self, *arguments, **options):
        begin(self, *arguments, **options)
        if self.here.is_owner:
            self.terms = self.terms._replace(ceiling=NEVER - 1)

    monkeypatch.setattr(Sender, "__init__", all_open)


def an_open_door(scene, monkeypatch) -> None:
    """G4: the cloud takes whatever comes, and its database keeps it."""
    monkeypatch.setattr(applying, "_admit", lambda *_: None)
    with tenant_context(scene.pair.cloud):
        ours = here()
    install(scene.pair.cloud, ours.tables, ours.number, in_cloud=True, owner=False, closed=False)


def a_way_out(scene, monkeypatch) -> None:
    """G5: programs of the premises connect wherever they like."""
    scene.way_out = True


GATES = [values_in_the_outbox, a_role_that_reads_all, terms_without_levels, an_open_door, a_way_out]


def leaked(scene, sinks) -> tuple[set[str], dict[str, set[str]]]:
    """(what was on a wire, what lies where in the cloud) after everything was told, or could not be."""
    outside = [sent for host in scene.hosts for sent in host.kept]
    told = set().union(*(scene.canaries.found(packed) for packed in [*scene.pair.down, *outside]))
    there = sinks(scene.pair.cloud, scene.log)
    return told, {name: found for name, content in there.items() if (found := scene.canaries.found(content))}


def talk(scene) -> bool:
    """Let both exchange; whether they came to rest."""
    try:
        scene.pair.talk()
    except Exception:
        return False
    return True


def test_with_all_gates_closed_nothing_leaks_and_open_values_arrive(scene, sinks):
    work(scene)
    assert talk(scene)
    strangers(scene)
    assert leaked(scene, sinks) == (set(), {})
    assert any(scene.signals.found(packed) for packed in scene.pair.down)
    found = {n for n, content in sinks(scene.pair.cloud, scene.log).items() if scene.signals.found(content)}
    assert "table party_party" in found


@pytest.mark.parametrize("gate", GATES, ids=lambda g: g.__name__)
def test_with_one_gate_open_nothing_leaks(scene, sinks, monkeypatch, gate):
    gate(scene, monkeypatch)
    work(scene)
    talk(scene)
    strangers(scene, "/log" if gate is a_way_out else "/careless")
    assert leaked(scene, sinks) == (set(), {})
    assert bool(scene.hosts[0].kept) == (gate is a_way_out)


def test_what_strangers_send_past_the_sync_is_refused_by_the_closed_way_alone(scene, sinks, monkeypatch):
    for gate in GATES[:4]:
        gate(scene, monkeypatch)
    work(scene)
    outcomes = strangers(scene)
    assert len(outcomes) == len(WAYS) * len(scene.hosts)
    for way, outcome in outcomes.items():
        place = "cloud.example" if way.startswith("look_up") else way.partition(" ")[2]
        assert outcome.startswith("WayClosed: ") or "may not connect" in outcome, (way, outcome)
        assert place in outcome and "outbound.hosts" in outcome
        assert not scene.canaries.found(outcome)
    assert [sent for host in scene.hosts for sent in host.kept] == []
    log = scene.web().log.read_text()
    assert all(host.place in log for host in scene.hosts) and not scene.canaries.found(log)


def test_what_the_premises_log_of_an_error_has_no_value(scene):
    scene.way_out = True
    work(scene)
    strangers(scene, "/log")
    shipped = b"".join(scene.hosts[0].kept)
    assert b"party_counter" in shipped and b"ValueError" in shipped and shipped.count(b"Job 1") == 2
    assert scene.canaries.found(shipped) == scene.canaries.found(scene.web(open=True).log.read_bytes()) == set()


def test_what_comes_to_a_closed_door_is_neither_kept_nor_logged(scene, sinks, monkeypatch):
    for gate in GATES[:3]:
        gate(scene, monkeypatch)
    work(scene)
    assert not talk(scene)
    told, there = leaked(scene, sinks)
    assert told and there == {}


def test_with_all_gates_open_the_scan_finds_what_leaked(scene, sinks, monkeypatch):
    for gate in GATES:
        gate(scene, monkeypatch)
    work(scene)
    talk(scene)
    told, there = leaked(scene, sinks)
    assert told == CLOSED
    outcomes = strangers(scene, ways=WAYS[:4])
    assert set(outcomes.values()) == {"sent"}
    until = time.monotonic() + 60
    while len(scene.hosts[1].kept) < 10 and time.monotonic() < until:
        time.sleep(0.02)
    for host in scene.hosts:
        assert [scene.canaries.found(sent) for sent in host.kept].count({"a closed field"}) == 4
    assert there.keys() >= {"table party_party"}
    assert set().union(*there.values()) >= CLOSED - {"a value of the time when it was marked"}
