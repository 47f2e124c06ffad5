"""What must hold on real PostgreSQL, one by one (I1 to I10): the situations in which it is hardest, and the state that they come to."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from two_sites import SYSTEM, Line

from ostoja.crm.sales.models import Deal, DealLine, Stage
from ostoja.gate import perform
from ostoja.hybrid import burying, clocks, labels
from ostoja.hybrid.core.apply import LINGERING
from ostoja.hybrid.core.wire import DATA, Purge
from ostoja.hybrid.exchange import OLDER, Message
from ostoja.hybrid.models import Absent, Conflict, Parked, Progress, PurgeCase, Site, Stash
from ostoja.hybrid.sending import as_sender
from ostoja.journal.context import changing
from ostoja.kernel.errors import Refused
from ostoja.party.models import Consent, Party
from ostoja.tenancy.context import tenant_context

from . import oracles
from .backups import Backup
from .network import Network

WON = "A won deal can't be changed. Reopen it first."


class Scene:
    """A world at its beginning with a customer and a deal that both sites know."""

    def __init__(self, world):
        world.again(90000)
        self.world, self.net = world, Network(world)
        self.line: Line = world.lines[0]
        self.party = self.act("premises", world.add_party)
        self.deal = self.act("premises", world.add_deal)
        self.net.both(self.line)
        self.net.both(self.line)

    def act(self, site, action, *args):
        """Somebody does something; it is not refused."""
        before = len(self.world.refusals)
        done = self.world.act(site, action, *args)
        assert self.world.refusals[before:] == []
        return done

    def change(self, site, record, **values):
        """Somebody changes a record as a person does."""
        return self.act(site, lambda: perform(SYSTEM, type(record).objects.get(pk=record.pk), "change", values))

    def do(self, site, record, verb):
        """Somebody uses a verb."""
        return self.act(site, lambda: perform(SYSTEM, type(record).objects.get(pk=record.pk), verb))

    def add(self, site, model, **values):
        """Somebody adds a record."""
        return self.act(site, lambda: self.world._new(perform(SYSTEM, model, "add", values)))

    def mark(self, record):
        """The premises mark a record as sensitive."""
        self.act("premises", lambda: labels.close(SYSTEM, type(record).objects.get(pk=record.pk)))
        self.world.secret |= {t for t, where in self.world.tokens.items() if where.id == str(record.pk)}

    def value(self, site, record, name):
        """A value as a site has it; None when it has no such record."""
        with tenant_context(self.world.sites[site]):
            return type(record).objects.filter(pk=record.pk).values_list(name, flat=True).first()

    def open(self, site):
        """A site is open."""
        return tenant_context(self.world.sites[site])

    def rest(self):
        """Nothing goes wrong any more, and all that must hold holds."""
        self.net.heal()
        oracles.check(self.net)


@pytest.fixture
def scene(world):
    """The beginning."""
    return Scene(world)


# --- I1 convergence -------------------------------------------------------------------------------------------------------


def test_I1_two_references_that_would_close_a_circle_do_not_both_stand(scene):
    one = scene.add("cloud", Party, kind="org", name="One", is_customer=True)
    other = scene.add("cloud", Party, kind="org", name="Other", is_customer=True)
    scene.rest()
    scene.change("cloud", one, parent=other.pk)
    scene.change("premises", other, parent=one.pk)
    scene.rest()
    assert scene.value("cloud", one, "parent_id") is None
    assert scene.value("cloud", other, "parent_id") == one.pk


def test_I1_two_numbers_that_clash_get_the_same_mark_at_both_sites(scene):
    one = scene.add("premises", Deal, title="One", amount="1", number="2027/1")
    other = scene.add("cloud", Deal, title="Other", amount="2", number="2027/1")
    scene.rest()
    numbers = [(scene.value(site, d, "number")) for d in (one, other) for site in ("premises", "cloud")]
    assert numbers[0] == numbers[1] == "2027/1" and numbers[2] == numbers[3] == f"2027/1-{other.pk.hex[-6:]}"


def test_I1_what_was_won_at_one_site_and_lost_at_the_other_is_what_the_premises_say(scene):
    scene.do("premises", scene.deal, "win")
    reason = scene.world.reason.pk
    scene.act("cloud", lambda: perform(SYSTEM, Deal.objects.get(pk=scene.deal.pk), "lose", {"lost_reason": reason}))
    scene.rest()
    assert scene.value("cloud", scene.deal, "state") == "won"


def test_I1_a_line_that_a_won_deal_would_refuse_below_is_there_all_the_same(scene):
    line = scene.add("premises", DealLine, deal=scene.deal.pk, description="L", quantity="2", price="3")
    scene.do("cloud", scene.deal, "win")
    scene.rest()
    assert scene.value("cloud", line, "net") == scene.value("premises", line, "net")


# --- I2 nothing is lost ---------------------------------------------------------------------------------------------------


def test_I2_a_change_that_the_premises_refuse_is_kept_for_people_and_taken_back_in_the_cloud(scene):
    scene.change("cloud", scene.deal, title="Typed in the cloud")
    title = scene.value("premises", scene.deal, "title")
    scene.do("premises", scene.deal, "win")
    scene.rest()
    assert scene.value("cloud", scene.deal, "title") == scene.value("premises", scene.deal, "title") == title
    with scene.open("premises"):
        conflict = Conflict.objects.get(record=scene.deal.pk, field="title")
    assert (conflict.ours, conflict.theirs, conflict.reason) == (title, "Typed in the cloud", WON)


def test_I2_a_line_that_was_on_its_way_when_its_deal_was_called_back_reaches_the_premises(scene):
    line = scene.add("cloud", DealLine, deal=scene.deal.pk, description="On its way", quantity="2", price="3")
    scene.mark(scene.deal)
    scene.net.deliver(scene.net.send(scene.line, "premises"))
    with scene.open("cloud"):
        assert not DealLine.objects.exists() and Stash.objects.filter(pk=line.pk).exists()
    scene.rest()
    assert scene.value("premises", line, "description") == "On its way"
    assert scene.value("cloud", line, "description") is None


def test_I2_a_line_of_a_deal_that_was_closed_and_opened_meanwhile_is_at_both_sites(scene):
    line = scene.add("cloud", DealLine, deal=scene.deal.pk, description="Meanwhile", quantity="2", price="3")
    scene.mark(scene.deal)
    packet = scene.net.send(scene.line, "premises")
    scene.act("premises", lambda: labels.reopen(SYSTEM, Deal.objects.get(pk=scene.deal.pk)))
    scene.net.deliver(packet)
    assert scene.value("cloud", line, "description") is None
    scene.rest()
    assert scene.value("cloud", line, "description") == scene.value("premises", line, "description") == "Meanwhile"


def test_I2_an_edit_of_what_was_deleted_meanwhile_is_kept_for_people(scene):
    scene.change("cloud", scene.deal, title="Still wanted")
    scene.do("premises", scene.deal, "delete")
    scene.rest()
    with scene.open("cloud"):
        assert Conflict.objects.get(record=scene.deal.pk, rule="deleted").ours["title"] == "Still wanted"


def test_I2_what_a_restored_site_wrote_and_forgot_comes_back_from_the_other(scene):
    for site in ("premises", "cloud"):
        backup = Backup(scene.world.superuser, scene.world.sites[site])
        scene.change(site, scene.deal, title=f"After the backup of {site}")
        scene.net.both(scene.line)
        scene.world.restore(site, backup)
        backup.drop()
        scene.rest()
        assert scene.value(site, scene.deal, "title") == f"After the backup of {site}"


@pytest.mark.parametrize("commit_late", [True, False])
def test_I2_whoever_began_first_and_commits_last_is_told_as_well(scene, commit_late):
    world = scene.world
    world.begin("premises", world.add_party)
    scene.change("premises", scene.deal, title="Later")
    scene.net.both(scene.line)
    assert scene.value("cloud", scene.deal, "title") == "Later"
    world.end(commit=commit_late)
    scene.rest()
    with scene.open("cloud"):
        assert Party.objects.filter(name__startswith="zq").count() == (2 if commit_late else 1)


def test_I2_who_works_on_a_record_while_it_arrives_loses_nothing(scene):
    world = scene.world
    scene.change("premises", scene.deal, title="From the premises")
    world.begin(
        "cloud", lambda: perform(SYSTEM, Deal.objects.get(pk=scene.deal.pk), "change", {"source": "From the cloud"})
    )
    packet = scene.net.send(scene.line, "premises")
    assert not scene.net.deliver(packet) and "Busy" in scene.net.faults[-1]
    world.end()
    scene.rest()
    assert scene.value("cloud", scene.deal, "title") == "From the premises"
    assert scene.value("premises", scene.deal, "source") == "From the cloud"


# --- I3 nothing twice -----------------------------------------------------------------------------------------------------


def test_I3_a_message_that_comes_three_times_adds_once(scene):
    said = {"party": scene.party.pk, "state": "given", "source": "by phone", "channel": "email", "purpose": "marketing"}
    scene.add("cloud", Consent, **said)
    scene.add("cloud", DealLine, deal=scene.deal.pk, description="L", quantity="2", price="3")
    packet = scene.net.send(scene.line, "cloud")
    for _time in range(3):
        scene.net.deliver(packet, "dup")
    scene.rest()
    scene.net.deliver(packet, "dup")
    scene.rest()
    with scene.open("premises"):
        assert Consent.objects.count() == 1 and str(Deal.objects.get(pk=scene.deal.pk).amount) == "6.00"


def test_I3_sites_never_give_one_number_twice(scene):
    made = [scene.add(site, Deal, title=f"{site} {n}", amount="1") for n in range(3) for site in ("premises", "cloud")]
    scene.rest()
    assert len({scene.value("cloud", deal, "number") for deal in made}) == 6
    with scene.open("premises"):
        assert not Conflict.objects.filter(rule="unique").exists()


# --- I4 no leak, I5 purges ------------------------------------------------------------------------------------------------


def test_I4_of_a_record_that_is_closed_when_it_is_sent_nothing_leaves_but_the_order_to_remove_it(scene):
    scene.change("premises", scene.party, name="Canary before", notes="canary notes")
    scene.mark(scene.party)
    scene.change("premises", scene.party, name="Canary after")
    packet = scene.net.send(scene.line, "premises")
    ops = [op for e in packet.message.envelopes if e.lane == DATA for op in e.ops if op.key.id == str(scene.party.pk)]
    assert ops and all(isinstance(op, Purge) for op in ops)
    assert "anary" not in str(packet.message.envelopes)
    scene.rest()


def test_I4_the_role_that_sends_reads_no_closed_value_whoever_asks(scene):
    scene.change("premises", scene.party, notes="canary notes")
    scene.mark(scene.deal)
    with scene.open("premises"), as_sender(0), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM egress_sales_deal WHERE id = %s", [scene.deal.pk])
        assert cursor.fetchone()[0] == 0
        for question in (
            "SELECT notes FROM egress_party_party",
            "SELECT * FROM party_party",
            "SELECT old FROM egress_journal",
        ):
            with pytest.raises(DatabaseError), transaction.atomic():
                cursor.execute(question)


def test_I4_who_refers_to_a_closed_record_without_knowing_it_is_told_an_alias(scene):
    scene.mark(scene.party)
    deal = scene.add("cloud", Deal, title="For a closed customer", amount="1", party=scene.party.pk)
    scene.rest()
    assert scene.value("premises", deal, "party_id") == scene.party.pk
    with scene.open("cloud"):
        kept = Absent.objects.get(record=deal.pk, field="party")
        assert kept.alias and kept.target != scene.party.pk


def test_I5_a_cloud_that_is_restored_gives_up_again_what_was_called_back(scene):
    backup = Backup(scene.world.superuser, scene.world.sites["cloud"])
    scene.mark(scene.party)
    scene.rest()
    with scene.open("premises"):
        assert PurgeCase.objects.get(record=scene.party.pk).gone_at
    scene.world.restore("cloud", backup)
    backup.drop()
    assert scene.value("cloud", scene.party, "name")
    scene.rest()
    assert scene.value("cloud", scene.party, "name") is None


def test_I5_premises_that_are_restored_and_forgot_a_mark_keep_the_record_closed(scene):
    backup = Backup(scene.world.superuser, scene.world.sites["premises"])
    scene.mark(scene.party)
    scene.rest()
    scene.world.restore("premises", backup)
    backup.drop()
    scene.rest()
    assert scene.value("cloud", scene.party, "name") is None
    with scene.open("premises"):
        assert clocks.levels([str(scene.party.pk)]) == {str(scene.party.pk): 1}


# --- I6 cursors -----------------------------------------------------------------------------------------------------------


def test_I6_whatever_is_killed_in_the_middle_is_as_if_it_had_not_begun(scene):
    killed = 0
    for statement in range(2, 60, 9):
        scene.change("premises", scene.deal, title=f"Whole or not at all {statement}")
        scene.add("premises", DealLine, deal=scene.deal.pk, description=f"L{statement}", quantity="2", price="3")
        packet = scene.net.send(scene.line, "premises")
        before = len(scene.net.faults)
        scene.net.deliver(packet, "kill", statement)
        killed += len(scene.net.faults) > before
        with scene.open("cloud"):
            seen = {
                Deal.objects.get(pk=scene.deal.pk).title == f"Whole or not at all {statement}",
                DealLine.objects.filter(description=f"L{statement}").exists(),
                Progress.objects.get().applied >= packet.message.envelopes[-1].seq_to,
            }
        assert len(seen) == 1
    assert killed > 3
    scene.rest()


def test_I6_what_comes_before_what_it_follows_waits(scene):
    scene.change("premises", scene.deal, title="First")
    first = scene.net.send(scene.line, "premises")
    scene.change("premises", scene.deal, title="Second")
    second = scene.net.send(scene.line, "premises", ahead=True)
    scene.net.deliver(second)
    assert scene.value("cloud", scene.deal, "title") not in ("First", "Second")
    scene.net.deliver(first)
    scene.net.deliver(second)
    assert scene.value("cloud", scene.deal, "title") == "Second"
    scene.net.deliver(first)
    assert scene.value("cloud", scene.deal, "title") == "Second"
    scene.rest()


@pytest.mark.parametrize("how", ["corrupt", "truncate"])
def test_I6_a_damaged_message_changes_nothing(scene, how):
    scene.change("premises", scene.deal, title="Undamaged")
    packet = scene.net.send(scene.line, "premises")
    for at in range(3, len(packet.packed), 97):
        assert not scene.net.deliver(packet, how, at)
    assert scene.value("cloud", scene.deal, "title") != "Undamaged"
    scene.rest()


def test_I6_of_two_copies_of_one_site_one_is_told_to_stop(scene):
    premises = scene.world.sites["premises"]
    clone = Backup(scene.world.superuser, premises)
    scene.change("premises", scene.deal, title="The original goes on")
    scene.net.both(scene.line)
    original = Backup(scene.world.superuser, premises)
    clone.lay_back()
    scene.net.cursors.clear()
    scene.net.both(scene.line)
    with tenant_context(premises):
        assert Site.objects.get(here=True).retired and Progress.objects.get().problem == OLDER
    assert scene.net.send(scene.line, "premises") is None
    original.lay_back()
    scene.net.cursors.clear()
    scene.rest()
    assert scene.value("cloud", scene.deal, "title") == "The original goes on"
    clone.drop()
    original.drop()


# --- I7 causality ---------------------------------------------------------------------------------------------------------


def test_I7_whoever_saw_a_value_and_replaces_it_wins_though_their_clock_is_an_hour_late(scene):
    scene.change("premises", scene.deal, title="Read in the cloud")
    scene.net.both(scene.line)
    scene.world.turn_clock("cloud", -290_000)
    scene.change("cloud", scene.deal, title="Written after reading")
    scene.rest()
    assert scene.value("premises", scene.deal, "title") == "Written after reading"


def test_I7_a_clock_an_hour_ahead_stops_the_link_and_loses_nothing(scene):
    scene.world.turn_clock("cloud", 3_600_000)
    scene.change("cloud", scene.deal, title="From the future")
    scene.net.both(scene.line)
    assert any("LinkSuspect" in fault for fault in scene.net.faults)
    assert scene.value("premises", scene.deal, "title") != "From the future"
    scene.rest()
    assert scene.value("premises", scene.deal, "title") == "From the future"


# --- I8 authority ---------------------------------------------------------------------------------------------------------


def test_I8_what_belongs_to_the_premises_is_not_changed_in_the_cloud_by_whatever_way(scene):
    ways = [
        lambda: perform(SYSTEM, Stage.objects.first(), "change", {"name": "rogue"}),
        lambda: Stage.objects.update(name="rogue"),
        lambda: Stage.objects.all()[0].delete(),
        lambda: connection.cursor().execute("UPDATE sales_stage SET name = 'rogue'"),
        lambda: connection.cursor().execute("INSERT INTO sales_pipeline (id, version, created_at, updated_at, name, position) VALUES (gen_random_uuid(), 1, now(), now(), 'rogue', 0)"),
    ]  # fmt: skip
    for way in ways:
        with scene.open("cloud"), pytest.raises((DatabaseError, Refused)), changing(SYSTEM, "attack"):
            way()
    scene.rest()


def test_I8_numbers_of_the_premises_have_no_gaps_though_transactions_are_rolled_back(scene):
    world = scene.world
    for n in range(4):
        world.begin("premises", lambda: world._new(perform(SYSTEM, Deal, "add", {"title": "D", "amount": "1"})))
        world.end(commit=n % 2 == 0)
    scene.rest()
    with scene.open("premises"):
        numbers = sorted(Deal.objects.filter(number__startswith="D-2-").values_list("number", flat=True))
    assert [int(n.rsplit("-", 1)[1]) for n in numbers] == list(range(1, len(numbers) + 1))


# --- I9 rest --------------------------------------------------------------------------------------------------------------


def test_I9_a_row_that_is_refused_blocks_nothing_else_and_comes_when_the_reason_is_gone(scene):
    refused = scene.add("cloud", Party, kind="org", name="Refused", is_customer=True)
    with scene.open("premises"), connection.cursor() as cursor:
        cursor.execute("INSERT INTO test_poison VALUES (%s)", [refused.pk])
    other = scene.add("cloud", Party, kind="org", name="Other", is_customer=True)
    deal = scene.add("cloud", Deal, title="For the refused one", amount="1", party=refused.pk)
    scene.net.both(scene.line)
    assert (scene.value("premises", refused, "name"), scene.value("premises", other, "name")) == (None, "Other")
    assert scene.value("premises", deal, "title") == "For the refused one"
    with scene.open("premises"):
        assert "This row is refused." in Parked.objects.get().reason
    scene.rest()
    assert scene.value("premises", refused, "name") == "Refused"
    assert scene.value("premises", deal, "party_id") == refused.pk


def test_I9_a_site_that_was_away_longer_than_graves_are_kept_shows_what_it_still_holds(scene):
    backup = Backup(scene.world.superuser, scene.world.sites["cloud"])
    scene.do("premises", scene.deal, "delete")
    scene.rest()
    with scene.open("premises"):
        assert burying.collect(age_days=-1) >= 1
        assert not clocks.read([str(scene.deal.pk)])
    scene.world.restore("cloud", backup)
    backup.drop()
    scene.net.heal()
    with scene.open("premises"):
        assert not Deal.objects.filter(pk=scene.deal.pk).exists()
        assert Parked.objects.get(record=scene.deal.pk).reason == LINGERING


# --- I10 a failure ships less ---------------------------------------------------------------------------------------------


def test_I10_a_site_whose_manifest_is_not_known_is_told_nothing(scene):
    with scene.open("premises"):
        Progress.objects.update(peer_manifest=b"")
    scene.change("premises", scene.deal, title="Not yet")
    packet = scene.net.send(scene.line, "premises")
    assert not any(e.ops for e in packet.message.envelopes)
    with scene.open("premises"):
        Progress.objects.update(peer_manifest=Site.objects.get(here=True).adopted.encode())


def test_I10_a_sender_that_does_not_get_its_role_sends_nothing(scene, monkeypatch):
    scene.change("premises", scene.deal, title="Not as the owner")
    monkeypatch.setattr("ostoja.hybrid.sending.egress_role", lambda name, ceiling=0: f"r_{name}_unknown")
    with pytest.raises(Exception, match="role"):
        scene.net.send(scene.line, "premises")
    monkeypatch.undo()
    scene.rest()


def test_I10_a_view_that_lost_a_column_ships_nothing_of_its_table(scene):
    scene.change("premises", scene.deal, title="Not without its view")
    schema = scene.world.sites["premises"].schema_name
    with scene.world.superuser.cursor() as cursor:
        cursor.execute(f'ALTER VIEW "{schema}".egress_sales_deal RENAME TO hidden_view')
        try:
            with pytest.raises(DatabaseError):
                scene.net.send(scene.line, "premises")
        finally:
            cursor.execute(f'ALTER VIEW "{schema}".hidden_view RENAME TO egress_sales_deal')
    scene.rest()


def test_I10_what_a_site_may_not_send_is_not_taken(scene):
    scene.change("cloud", scene.deal, title="Honest")
    packet = scene.net.send(scene.line, "cloud")
    message = Message.unpack(packet.packed)
    data = message.envelopes[-1]
    forged = [
        op._replace(cells={**op.cells, "password": next(iter(op.cells.values()))})
        for op in data.ops
        if hasattr(op, "cells")
    ]
    message.envelopes[-1] = data._replace(ops=tuple(forged))
    assert not scene.net.deliver(packet._replace(message=message, packed=message.pack()))
    assert "NotOpen" in scene.net.faults[-1]
    assert scene.value("premises", scene.deal, "title") != "Honest"
    scene.rest()
