"""Each invariant of hybrid as a short story that anybody can read: what people did, what went wrong, what holds at the end."""

import pytest

from ostoja.hybrid.core.apply import ABSENT
from ostoja.hybrid.core.sequence import Verdict
from ostoja.hybrid.core.wire import Fields, Marker, Purge, Snap, encode

from .harness.node import REFUSED
from .harness.scene import Scene
from .harness.world import HOUR, C, L, P


@pytest.fixture
def scene() -> Scene:
    """Premises and cloud, who have met."""
    return Scene()


@pytest.fixture
def three() -> Scene:
    """Premises, cloud and a laptop at the premises, who have met."""
    return Scene(3)


def purges(messages) -> list:
    """The orders to purge among messages."""
    return [op for m in messages for op in m.envelope.ops if isinstance(op, Purge)]


# I1


def test_I1_three_sites_converge_on_the_later_of_two_words(three):
    deal = three.makes(P)
    three.meet()
    three.sets(L, deal)
    three.now += 5
    later = three.sets(C, deal)
    three.heal()
    assert three.everywhere(deal) == {later}


def test_I1_hidden_and_shown_again_while_the_cloud_changed_it(scene):
    deal = scene.makes(P)
    scene.meet()
    note = scene.sets(C, deal)
    scene.hides(deal)
    scene.tells(P, C)
    assert scene.value(C, deal, "name") is None
    scene.shows(deal)
    scene.heal()
    assert scene.everywhere(deal) == {note}


def test_I1_a_step_that_may_not_follow_is_taken_back_everywhere(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.steps(C, deal, "won")
    scene.steps(P, deal, "lost")
    scene.heal()
    assert scene.everywhere(deal, "state") == {"lost"}
    assert scene.lost_to(P, "transition") == ["won"]


def test_I1_the_owner_s_values_stand_where_its_database_refuses_an_update(three):
    deal = three.makes(P)
    three.meet()
    three.nodes[P].poison.add(deal)
    three.now += 5
    name = three.value(P, deal, "name")
    three.sets(C, deal, "name")
    three.meet()
    assert three.everywhere(deal, "name") == {name}
    three.heal()
    assert three.everywhere(deal, "name") == {name}


# I2


def test_I2_no_write_vanishes_when_a_delete_meets_an_edit(scene):
    deal = scene.makes(P)
    scene.meet()
    note = scene.sets(C, deal)
    scene.erases(P, deal)
    scene.heal()
    assert isinstance(scene.thing(P, deal), Marker)
    assert note in scene.lost_to(P, "deleted") + scene.lost_to(C, "deleted")


@pytest.mark.parametrize("lost", [P, C])
def test_I2_a_site_restored_from_a_backup_gets_back_what_others_have(scene, lost):
    deal = scene.makes(P)
    scene.meet()
    scene.backup(lost)
    note, name = scene.sets(P, deal), scene.sets(C, deal, "name")
    scene.meet()
    scene.restore(lost)
    assert not scene.nodes[lost].is_open
    scene.heal()
    assert scene.nodes[lost].is_open
    assert scene.everywhere(deal) == {note}
    assert scene.everywhere(deal, "name") == {name}


def test_I2_a_restored_laptop_gets_back_what_the_premises_have(three):
    deal = three.makes(L)
    three.meet()
    three.backup(L)
    ssn = three.sets(L, deal, "ssn")
    three.meet()
    three.restore(L)
    three.heal()
    assert three.value(L, deal, "ssn") == three.value(P, deal, "ssn") == ssn
    assert three.value(C, deal, "ssn") is None


def test_I2_what_the_owner_s_database_refuses_is_kept_as_a_conflict_with_its_reason(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.nodes[P].poison.add(deal)
    amount = scene.sets(C, deal, "amount", 1)
    scene.meet()
    conflicts = [c for c in scene.nodes[P].conflicts if c.rule == "refused"]
    assert {c.field for c in conflicts} == {"amount", "currency"}
    assert [c.lost.value for c in conflicts if c.field == "amount"] == [amount]
    assert {c.reason for c in conflicts} == {REFUSED}
    assert not scene.nodes[P].parked
    scene.heal()


def test_I2_a_refused_new_record_waits_and_comes_with_all_that_was_written_since(scene):
    scene.meet()
    deal = scene.makes(C)
    scene.nodes[P].poison.add(deal)
    scene.meet()
    note = scene.sets(C, deal)
    scene.meet()
    name = scene.sets(C, deal, "name")
    scene.meet()
    assert [(p.key, p.reason) for p in scene.nodes[P].parked] == [(deal, REFUSED)]
    scene.nodes[P].poison.clear()
    scene.retry(P)
    assert scene.value(P, deal) == note
    assert scene.value(P, deal, "name") == name
    scene.heal()


def test_I2_a_refused_new_record_is_tried_again_with_the_next_word_of_it(scene):
    deal = scene.makes(C)
    scene.nodes[P].poison.add(deal)
    scene.meet()
    scene.nodes[P].poison.clear()
    note = scene.sets(C, deal)
    scene.tells(C, P)
    assert scene.value(P, deal) == note
    assert scene.value(P, deal, "name")
    assert not scene.nodes[P].parked
    scene.heal()


# I3


def test_I3_a_move_that_arrives_five_times_is_one_move(scene):
    deal = scene.makes(P)
    scene.meet()
    part = scene.books(C, deal, qty=7)
    sent = scene.sends(C, P)
    for _time in range(4):
        scene.arrive(sent[-1:], "dup")
    scene.heal()
    moves = [key for key in scene.nodes[P].things if key.model == "move"]
    assert moves == [part]
    assert scene.value(P, part, "qty") == 7


# I4


def test_I4_a_value_written_while_closed_leaves_only_if_it_is_still_there_when_opened(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.hides(deal)
    first, second = scene.sets(P, deal), scene.sets(P, deal)
    scene.meet()
    scene.shows(deal)
    sent = scene.sends(P, C)
    said = b"".join(encode(m.envelope) for m in sent).decode("utf-8", "replace")
    assert second in said
    assert first not in said
    scene.heal()


def test_I4_a_field_that_the_policy_closes_leaves_the_cloud_and_comes_back_when_it_opens(scene):
    deal = scene.makes(P)
    email = scene.sets(P, deal, "email")
    scene.meet()
    assert scene.value(C, deal, "email") == email
    scene.policy(email_open=False)
    later = scene.sets(P, deal, "email")
    scene.adopt(C)
    scene.meet()
    assert scene.value(C, deal, "email") is None
    scene.policy(email_open=True)
    scene.heal()
    assert scene.value(C, deal, "email") == later


def test_I4_local_fields_reach_the_laptop_and_never_the_cloud(three):
    deal = three.makes(L)
    ssn = three.sets(L, deal, "ssn")
    three.heal()
    assert three.value(P, deal, "ssn") == ssn
    assert three.value(C, deal, "name") is not None
    assert "ssn" not in three.thing(C, deal).cells


# I5


def test_I5_a_purge_is_ordered_until_it_is_receipted(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.hides(deal)
    for _time in range(3):
        lost = scene.sends(P, C)
        assert purges(lost)
        scene.arrive(lost, "drop")
    scene.meet()
    assert scene.thing(C, deal) == scene.thing(C, deal)._replace(withheld=True)
    assert not purges(scene.sends(P, C))
    scene.heal()


def test_I5_a_cloud_restored_from_a_backup_with_purged_content_loses_it_before_it_opens(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.backup(C)
    scene.hides(deal)
    scene.meet()
    scene.restore(C)
    assert scene.value(C, deal, "name") is not None
    assert not scene.nodes[C].is_open
    scene.heal()
    assert scene.nodes[C].is_open
    assert scene.thing(C, deal).withheld


def test_I5_premises_restored_from_a_backup_do_not_open_what_they_had_closed(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.backup(P)
    scene.hides(deal)
    scene.meet()
    scene.restore(P)
    assert scene.thing(P, deal).level == 0
    scene.heal()
    assert scene.thing(P, deal).level > 0
    assert scene.thing(C, deal).withheld


# I6


def test_I6_a_gap_is_refused_and_sent_again(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.sets(P, deal)
    first = scene.sends(P, C)
    scene.sets(P, deal, "name")
    scene.send(P, C, 200, pipelined=True)
    second = scene.net[-1]
    applied = scene.nodes[C].links[P].inbound.applied
    assert scene.nodes[C].receive(second.envelope, scene.now) == Verdict.GAP
    assert scene.nodes[C].links[P].inbound.applied == applied
    scene.arrive(first, "drop")
    scene.heal()
    assert scene.everywhere(deal) == {scene.value(P, deal)}


def test_I6_a_cloned_site_and_its_original_are_told_apart(scene):
    deal = scene.makes(P)
    scene.meet()
    original, clone = scene.nodes[C], scene.nodes[C].backup()
    clone.reborn(original.epoch, 7)
    scene.nodes[C] = clone
    scene.meet()
    late = scene.nodes[P].batch(C, scene.now)
    assert original.receive(late, scene.now) == "retired"
    assert not original.is_open
    assert not original.batch(P, scene.now).ops
    note = scene.sets(P, deal)
    scene.heal()
    assert scene.value(C, deal) == note


# I7


def test_I7_a_write_after_reading_is_later_whatever_the_clock_says(scene):
    deal = scene.makes(P)
    scene.clock(P, 240_000)
    scene.sets(P, deal)
    scene.meet()
    scene.clock(C, -HOUR)
    note = scene.sets(C, deal)
    scene.heal()
    assert scene.everywhere(deal) == {note}


def test_I7_a_clock_an_hour_ahead_is_put_in_quarantine_and_loses_nothing(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.clock(C, HOUR)
    note = scene.sets(C, deal)
    scene.meet()
    assert scene.value(P, deal) is None
    assert Verdict.CLOCK in scene.nodes[P].alarms
    scene.clock(C, 0)
    scene.now += 2 * HOUR
    scene.heal()
    assert scene.everywhere(deal) == {note}


# I8


def test_I8_nobody_changes_what_he_does_not_own(three):
    tariff = three.does(P, three.owned(P, 0))
    three.meet()
    price = three.value(P, tariff, "price")
    three.does(C, three.owned(C, 1, rogue=True))
    assert three.value(C, tariff, "price") != price
    three.heal()
    assert three.everywhere(tariff, "price") == {price}


def test_I8_two_steps_that_fit_the_table_one_by_one_do_not_become_one_that_does_not(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.steps(P, deal, "lost")
    scene.now += 5
    scene.steps(C, deal, "won")
    scene.heal()
    assert scene.everywhere(deal, "state") == {"lost"}


# I9


def test_I9_a_change_that_is_refused_waits_and_the_rest_goes_on(scene):
    bad, good = scene.makes(C), scene.makes(C)
    scene.nodes[P].poison.add(bad)
    scene.meet()
    assert scene.value(P, bad, "name") is None
    assert scene.value(P, good, "name") == scene.value(C, good, "name")
    note = scene.sets(C, good)
    scene.meet()
    assert scene.value(P, good) == note
    assert scene.nodes[P].links[C].inbound.applied == scene.nodes[C].seq


def test_I9_what_a_site_below_refuses_waits_as_one_until_it_fits(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.nodes[C].poison.add(deal)
    note = scene.sets(P, deal)
    scene.meet()
    name = scene.sets(P, deal, "name")
    scene.meet()
    waiting = scene.nodes[C].parked
    assert [p.reason for p in waiting] == [REFUSED]
    assert {n: c.value for n, c in waiting[0].op.cells.items()} == {"note": note, "name": name}
    scene.nodes[C].poison.clear()
    state = scene.steps(P, deal, "won")
    scene.meet()
    assert not scene.nodes[C].parked
    assert [scene.value(C, deal, n) for n in ("note", "name", "state")] == [note, name, state]
    scene.heal()


def test_I9_fields_of_an_unknown_record_are_asked_for_as_a_whole(scene):
    deal = scene.makes(P)
    scene.meet()
    del scene.nodes[C].things[deal]
    note = scene.sets(P, deal)
    scene.tells(P, C)
    assert [p.reason for p in scene.nodes[C].parked] == [ABSENT]
    scene.meet()
    assert not scene.nodes[C].parked
    assert scene.value(C, deal) == note
    scene.heal()


# I10


@pytest.mark.parametrize("at", [0, 40, 200])
def test_I10_a_damaged_envelope_changes_nothing(scene, at):
    deal = scene.makes(P)
    scene.sends(P, C)
    before = dict(scene.nodes[C].things)
    scene.network(len(scene.net) - 1, "corrupt", at)
    assert scene.nodes[C].things == before
    scene.heal()
    assert scene.value(C, deal, "name")


def test_I10_a_site_that_does_not_know_the_new_policy_gets_less_not_more(scene):
    deal = scene.makes(P)
    scene.meet()
    scene.policy(email_open=False)
    email = scene.sets(P, deal, "email")
    sent = scene.sends(P, C)
    told = [op for m in sent for op in m.envelope.ops if isinstance(op, Fields | Snap)]
    assert all("email" not in op.cells for op in told)
    scene.arrive(sent)
    assert scene.value(C, deal, "email") is None
    assert Verdict.MANIFEST in scene.nodes[C].alarms
    scene.heal()
    assert scene.value(P, deal, "email") == email
    assert scene.value(C, deal, "email") is None


def test_I10_a_crash_before_the_commit_leaves_nothing_behind(scene):
    deal = scene.makes(P)
    sent = scene.sends(P, C)
    applied = scene.nodes[C].links[P].inbound.applied
    scene.arrive(sent, "crash")
    assert scene.thing(C, deal) is None
    assert scene.nodes[C].links[P].inbound.applied == applied
    scene.heal()
    assert scene.value(C, deal, "name")
