"""Histories that once broke an invariant, shrunk to what matters and told in words; they must hold for ever."""

from ostoja.hybrid.core.wire import Marker

from .harness.scene import Scene
from .harness.world import C, L, P


def test_a_restored_authority_takes_its_later_words_back_from_the_peer():
    """I2: the cloud is restored from a backup and told the premises its old word, which they took for its newest."""
    scene = Scene()
    visit = scene.does(C, scene.owned(C, 0))
    scene.backup(C)
    scene.does(C, scene.owned(C, 1))
    scene.meet()
    newest = scene.value(P, visit, "text")
    scene.restore(C)
    scene.heal()
    assert scene.everywhere(visit, "text") == {newest}


def test_a_restored_authority_learns_again_of_a_death_it_forgot():
    """I2: the same, when what it forgot is that it deleted the record."""
    scene = Scene()
    visit = scene.does(C, scene.owned(C, 0))
    scene.meet()
    scene.backup(C)
    scene.does(C, scene.owned(C, 5))
    scene.meet()
    scene.restore(C)
    scene.heal()
    assert isinstance(scene.thing(P, visit), Marker)
    assert isinstance(scene.thing(C, visit), Marker)


def test_a_third_site_gives_both_restored_sites_the_authority_s_words_back():
    """I2: cloud and premises come back from backups; only the laptop, that owns nothing, still knows the cloud's word."""
    scene = Scene(3)
    visit = scene.does(C, scene.owned(C, 0))
    scene.meet()
    scene.backup(C)
    scene.backup(P)
    scene.does(C, scene.owned(C, 1))
    scene.meet()
    newest = scene.value(L, visit, "text")
    assert newest != scene.backups[P].things[visit].cells["text"].value
    scene.restore(P)
    scene.restore(C)
    scene.heal()
    assert scene.everywhere(visit, "text") == {newest}


def test_who_may_not_restore_a_dead_record_is_told_that_it_is_dead():
    """I1: a site without authority restored what the authority had deleted; its longer life outweighed the answer."""
    scene = Scene()
    visit = scene.does(C, scene.owned(C, 0))
    scene.meet()
    scene.does(C, scene.owned(C, 5))
    scene.meet()
    assert scene.does(P, scene.owned(P, 6, rogue=True)) == visit
    scene.heal()
    assert isinstance(scene.thing(P, visit), Marker)
    assert isinstance(scene.thing(C, visit), Marker)


def test_what_the_premises_refuse_of_a_closed_record_does_not_leave_when_it_is_opened():
    """I4: a laptop's change of a closed record met a database that refuses it; the record is opened afterwards.

    It used to wait at the premises as parked, and the oracle did not open what a second try made current.
    """
    scene = Scene(3)
    deal = scene.makes(P)
    scene.hides(deal)
    scene.meet()
    scene.nodes[P].poison.add(deal)
    note = scene.sets(L, deal)
    scene.tells(L, P)
    assert not scene.nodes[P].parked
    scene.shows(deal)
    scene.heal()
    assert scene.everywhere(deal) == {None}
    assert note in scene.secret
    assert scene.lost_to(P, "refused") == [note]


def test_of_two_records_that_a_laptop_changed_one_is_refused_and_the_other_is_not():
    """I4: the same as two records of one transaction, one of which the database refuses."""
    scene = Scene(3)
    hidden, other = scene.makes(P), scene.makes(L)
    scene.hides(hidden)
    scene.meet()
    scene.nodes[P].poison.add(hidden)
    scene.does(L, scene.edit_two(L, scene.place(L, hidden)))
    note = scene.value(L, other)
    scene.tells(L, P)
    scene.shows(hidden)
    scene.heal()
    assert scene.everywhere(hidden) == {None}
    assert scene.everywhere(other) == {note}


def test_an_order_to_purge_that_outlives_its_sender_takes_the_last_copy():
    """I2: no protocol saves this; the oracle must not ask for it.

    The premises are lost while their order is on its way, and the backup knows neither the record nor that it was hidden.
    """
    scene = Scene()
    scene.backup(P)
    deal = scene.makes(C)
    scene.meet()
    scene.hides(deal)
    scene.sends(P, C)
    assert any(w.key == deal for w in scene.ledger)
    scene.restore(P)
    assert not any(w.key == deal for w in scene.ledger)
    scene.heal()
    assert scene.thing(P, deal).withheld
    assert scene.thing(C, deal).withheld


def test_an_acknowledgement_that_outlives_its_sender_lets_go_of_what_was_owed():
    """I2: the same for a change that was kept for the premises only until they had it."""
    scene = Scene()
    deal = scene.makes(C)
    scene.meet()
    scene.backup(P)
    scene.sets(C, deal, "email")
    scene.hides(deal)
    scene.tells(P, C)
    assert "email" in scene.nodes[C].stashes[deal].cells
    scene.tells(C, P)
    scene.sends(P, C)
    scene.restore(P)
    scene.heal()
    assert scene.value(P, deal, "email") is None


def test_a_change_that_is_still_owed_outlives_the_loss_of_the_premises():
    """I2: with no such word on its way, what a site owed of a withheld record reaches the restored premises."""
    scene = Scene()
    deal = scene.makes(C)
    scene.meet()
    scene.backup(P)
    email = scene.sets(C, deal, "email")
    scene.hides(deal)
    scene.tells(P, C)
    scene.restore(P)
    scene.heal()
    assert scene.value(P, deal, "email") == email
    assert scene.value(C, deal, "email") is None


def test_a_field_that_closes_is_kept_until_the_restored_premises_have_it():
    """I2: a policy closes a field while the premises, restored, have yet to hear of what they forgot of it."""
    scene = Scene()
    scene.backup(P)
    deal = scene.makes(P)
    email = scene.sets(P, deal, "email")
    scene.meet()
    scene.restore(P)
    scene.policy(email_open=False)
    scene.adopt(C)
    assert scene.value(C, deal, "email") == email
    scene.heal()
    assert scene.value(P, deal, "email") == email
    assert scene.value(C, deal, "email") is None


def test_premises_that_forgot_a_closed_record_do_not_open_it_when_somebody_tells_of_it():
    """I5: the cloud tells the restored premises that it holds a marker, and then what it still owed of the record."""
    scene = Scene()
    scene.backup(P)
    deal = scene.makes(P)
    scene.meet()
    note = scene.sets(C, deal)
    scene.hides(deal)
    scene.tells(P, C)
    scene.restore(P)
    scene.heal()
    assert scene.value(P, deal) == note
    assert scene.thing(P, deal).level > 0
    assert scene.value(C, deal) is None


def test_premises_that_forgot_a_closed_record_do_not_open_it_when_a_laptop_thinks_it_is_open():
    """I5: the same, when the one who tells of it had not heard that it was closed."""
    scene = Scene(3)
    scene.backup(P)
    deal = scene.makes(P)
    scene.meet()
    scene.hides(deal)
    scene.tells(P, C)
    scene.restore(P)
    scene.tells(C, P)
    scene.tells(P, C)
    scene.tells(C, P)
    assert scene.thing(P, deal).withheld
    scene.heal()
    assert scene.thing(P, deal).level > 0
    assert scene.value(L, deal, "name")
    assert scene.value(C, deal, "name") is None


def test_the_parts_of_a_record_that_closes_again_close_with_it():
    """I4: the restored premises hear from the cloud that a deal was closed; its move was never told to anybody."""
    scene = Scene()
    deal = scene.makes(P)
    scene.meet()
    part = scene.books(P, deal)
    scene.backup(P)
    scene.hides(deal)
    scene.tells(P, C)
    scene.restore(P)
    scene.heal()
    assert scene.thing(P, part).level > 0
    assert scene.thing(C, part) is None


def test_the_grave_of_a_closed_record_remembers_that_it_was_closed():
    """I10: it was closed and deleted, all graves could be collected, and a laptop restores it."""
    scene = Scene(3)
    deal = scene.makes(P)
    scene.meet()
    scene.hides(deal)
    scene.erases(P, deal)
    scene.meet()
    for at in scene.nodes:
        scene.collect_graves(at)
    assert scene.thing(P, deal).level > 0
    scene.nodes[L].things[deal] = scene.thing(L, deal) or scene.thing(P, deal)
    scene.revives(L, deal)
    scene.heal()
    assert scene.thing(P, deal).level > 0
    assert scene.value(L, deal, "name")
    assert scene.value(C, deal, "name") is None


def test_no_stamp_is_given_twice():
    """I7: with a slow clock, a value that was purged, acknowledged and let go of had the same stamp as the next one."""
    scene = Scene()
    deal = scene.makes(P)
    scene.meet()
    scene.clock(C, -500)
    scene.sets(C, deal)
    scene.hides(deal)
    scene.tells(P, C)
    scene.shows(deal)
    late = scene.sends(P, C)
    scene.tells(C, P)
    scene.send(P, C, 8, pipelined=True)
    scene.arrive([scene.net[-1]])
    scene.arrive(late)
    assert scene.value(C, deal) is None
    newest = scene.sets(C, deal)
    scene.heal()
    assert scene.everywhere(deal) == {newest}


def buried_and_collected(scene: Scene):
    """A deal that the premises deleted; all know, and all have collected its grave. The premises' backup knows it alive."""
    deal = scene.makes(P)
    scene.meet()
    scene.backup(P)
    scene.erases(P, deal)
    scene.meet()
    for at in scene.nodes:
        scene.collect_graves(at)
    assert scene.thing(C, deal) is None
    return deal


def test_a_site_that_is_restored_twice_still_does_not_bring_back_the_dead():
    """I2: its second life acknowledges where the stream of the first began, and seemed to know of deaths before that."""
    scene = Scene()
    deal = buried_and_collected(scene)
    scene.restore(P)
    scene.tells(P, C)
    scene.tells(C, P)
    scene.tells(P, C)
    scene.backup(P)
    scene.restore(P)
    scene.heal()
    assert scene.thing(C, deal) is None
    assert [p.key for p in scene.nodes[C].parked] == [deal]


def test_what_lingers_is_for_people_to_decide_however_often_it_is_told():
    """I2: what a restored site tells of the dead waits for people; a later change of it waits beside it."""
    scene = Scene()
    deal = buried_and_collected(scene)
    scene.restore(P)
    scene.meet()
    scene.sets(P, deal)
    scene.heal()
    assert scene.thing(C, deal) is None
    assert {p.key for p in scene.nodes[C].parked} == {deal}


def test_a_death_is_a_death_also_where_only_the_label_was_known():
    """I2: restored premises know of a record only that it is closed, and then hear from a laptop that it is dead."""
    scene = Scene(3)
    scene.backup(P)
    deal = scene.makes(P)
    scene.meet()
    scene.erases(L, deal)
    scene.hides(deal)
    scene.tells(P, C)
    scene.restore(P)
    scene.heal()
    assert not scene.thing(P, deal).withheld
    assert scene.thing(P, deal).cl == 2
    assert scene.thing(P, deal).level > 0


def test_an_order_to_purge_that_comes_late_does_not_take_a_grave_back_to_an_older_label():
    """I7: a doubled order overtook the opening and the death of the record; its grave was of the first label again."""
    scene = Scene()
    deal = scene.makes(P)
    scene.meet()
    scene.hides(deal)
    late = scene.sends(P, C)
    scene.meet()
    scene.shows(deal)
    scene.meet()
    scene.erases(P, deal)
    scene.meet()
    grave = scene.thing(C, deal)
    for message in late:
        scene.nodes[C].receive(message.envelope, scene.now)
    assert scene.thing(C, deal) == grave
    scene.heal()
