"""What comes behind a message of a long queue is read while that message is on its way; it leaves only while it may.

Who pulls asks for it while it takes what came before.
"""

from __future__ import annotations

import pytest
from by_http import caller, connect
from two_sites import SYSTEM, Pair, do, value

from ostoja.access.actor_of import actor_of
from ostoja.gate import perform
from ostoja.hybrid import exchange, labels, policing, sending, verifying
from ostoja.hybrid.dialling import Unreachable
from ostoja.hybrid.exchange import Busy, Message
from ostoja.hybrid.models import Link
from ostoja.hybrid.receiving import Counts
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_user

PARTIES = 12


@pytest.fixture
def pair(lender, monkeypatch):
    """Two sites with customers that all have changed on the premises: a long queue, as batches are small."""
    for module in (sending, exchange):
        monkeypatch.setattr(module, "MOST_ENTRIES", 3)
        monkeypatch.setattr(module, "FAR", 4)
    made = Pair(lender.lend(), lender.lend())
    made.parties = [
        do(made.premises, Party, "add", {"kind": "org", "name": f"Party {n}", "city": "Gdynia"}) for n in range(PARTIES)
    ]
    made.load()
    made.talk(rounds=40)
    for number, party in enumerate(made.parties):
        do(made.premises, party, data={"city": f"Town {number}"})
    return made


def first(pair) -> tuple[Message, exchange.Ahead]:
    """The first message of the queue, which has arrived, and what was read behind it meanwhile."""
    with tenant_context(pair.premises):
        there = pair.exchange(pair.premises)
        message = there.outgoing()
        assert there.is_far(message)
        ahead = there.ahead(message)
    with tenant_context(pair.cloud):
        here = pair.exchange(pair.cloud)
        here.incoming(Message.unpack(message.pack()))
        answer = here.outgoing(silent=True)
    with tenant_context(pair.premises):
        pair.exchange(pair.premises).incoming(answer)
    return message, ahead


def then(pair, ahead) -> Message:
    """The message that leaves next."""
    with tenant_context(pair.premises):
        return pair.exchange(pair.premises).outgoing(ahead=ahead)


def told(message: Message) -> set[str]:
    """The values that a message holds."""
    return {cell.value for e in message.envelopes for op in e.ops for cell in getattr(op, "cells", {}).values()}


def test_it_leaves_as_it_was_read(pair):
    before, ahead = first(pair)
    message = then(pair, ahead)
    assert message.envelopes[-1].ops == ahead.batch.ops
    assert {"Town 3", "Town 4", "Town 5"} <= told(message) and not told(message) & told(before)


def test_what_was_marked_meanwhile_does_not_leave(pair):
    _before, ahead = first(pair)
    marked = pair.parties[4]
    assert "Town 4" in {cell.value for op in ahead.batch.ops for cell in op.cells.values()}
    with tenant_context(pair.premises):
        labels.close(SYSTEM, Party.objects.get(pk=marked.pk))
    assert "Town 4" not in told(then(pair, ahead))
    pair.talk(rounds=40)
    with pytest.raises(Party.DoesNotExist):
        value(pair.cloud, marked, "city")


def test_what_was_marked_and_opened_again_meanwhile_leaves_as_it_is_now(pair):
    _before, ahead = first(pair)
    with tenant_context(pair.premises):
        labels.close(SYSTEM, Party.objects.get(pk=pair.parties[4].pk))
    do(pair.premises, pair.parties[4], data={"city": "Quietly"})
    do(pair.premises, pair.parties[4], data={"city": "Loudly"})
    with tenant_context(pair.premises):
        labels.reopen(SYSTEM, Party.objects.get(pk=pair.parties[4].pk))
    assert "Town 4" not in told(then(pair, ahead))
    pair.talk(rounds=40)
    assert value(pair.cloud, pair.parties[4], "city") == "Loudly"


def test_a_field_that_was_closed_meanwhile_does_not_leave(pair):
    _before, ahead = first(pair)
    with tenant_context(pair.premises):
        owner = actor_of(make_user("Olga Owner", owner=True, email="olga@example.com"))
        assert policing.propose(owner, "field", "party.party.city", 1).state == "force"
    assert not {v for v in told(then(pair, ahead)) if str(v).startswith("Town")}


def test_behind_a_message_that_was_lost_it_is_read_again(pair):
    with tenant_context(pair.premises):
        there = pair.exchange(pair.premises)
        lost = there.outgoing()
        ahead = there.ahead(lost)
    message = then(pair, ahead)
    assert message.envelopes[-1].seq_from == lost.envelopes[-1].seq_from
    assert told(lost) <= told(message)
    pair.talk(rounds=40)
    assert [value(pair.cloud, party, "city") for party in pair.parties] == [f"Town {n}" for n in range(PARTIES)]


def test_what_changed_meanwhile_comes_after_it(pair):
    _before, ahead = first(pair)
    do(pair.premises, pair.parties[4], data={"city": "Later"})
    do(pair.premises, pair.parties[5], "delete")
    message = then(pair, ahead)
    assert "Town 4" in told(message)
    with tenant_context(pair.cloud):
        pair.exchange(pair.cloud).incoming(Message.unpack(message.pack()))
    pair.talk(rounds=40)
    assert value(pair.cloud, pair.parties[4], "city") == "Later"
    with pytest.raises(Party.DoesNotExist):
        value(pair.cloud, pair.parties[5], "city")


def test_the_lane_reads_it_while_it_waits_for_the_answer(pair, monkeypatch):
    connect(pair, monkeypatch)
    read = []
    original = exchange.Exchange.ahead
    monkeypatch.setattr(
        exchange.Exchange, "ahead", lambda self, message: read.append(original(self, message)) or read[-1]
    )
    with tenant_context(pair.premises):
        lane = caller()
        while lane.push():
            pass
    assert read and [value(pair.cloud, party, "city") for party in pair.parties] == [
        f"Town {n}" for n in range(PARTIES)
    ]
    sent = [e for _path, body, _headers in pair.heard for e in Message.unpack(body).envelopes if e.ops]
    assert all(ahead.batch.ops in [e.ops for e in sent] for ahead in read)
    assert len({e.seq_from for e in sent}) == len(sent)


@pytest.fixture
def behind(pair, monkeypatch):
    """The same with the long queue in the cloud, from which the premises pull; gives the numbers behind which they asked."""
    pair.talk(rounds=40)
    for number, party in enumerate(pair.parties):
        do(pair.cloud, party, data={"city": f"City {number}"})
    connect(pair, monkeypatch)
    return lambda: [n for _path, body, _headers in pair.heard if (n := Message.unpack(body).behind)]


def pulled(pair, lane, rounds: int = 20) -> None:
    """All that the cloud has to say is taken."""
    for _round in range(rounds):
        lane.pull()
    assert [value(pair.premises, p, "city") for p in pair.parties] == [f"City {n}" for n in range(PARTIES)]


def test_who_pulls_asks_for_what_comes_behind_while_it_takes(pair, behind, monkeypatch):
    took, original = [], exchange.Exchange.incoming
    monkeypatch.setattr(
        exchange.Exchange, "incoming", lambda self, *m: took.append((self.here.number, m[0])) or original(self, *m)
    )
    with tenant_context(pair.premises):
        lane = caller("pull")
        here = lane.exchange.here.number
        pulled(pair, lane)
    told = [e for number, message in took if number == here for e in message.envelopes if e.ops]
    assert len(told) > 3 and len({e.seq_from for e in told}) == len(told)
    assert all(one.seq_to + 1 == other.seq_from for one, other in zip(told, told[1:], strict=False))
    assert behind() and set(behind()) <= {e.seq_to for e in told}


def test_what_came_behind_something_that_could_not_be_taken_is_asked_for_again(pair, behind, monkeypatch):
    original, busy = exchange.Exchange.incoming, [True]

    def incoming(self, message, size=0):
        if self.here.is_owner and behind() and busy and busy.pop():
            raise Busy("Somebody is working on the same records.")
        return original(self, message, size)

    monkeypatch.setattr(exchange.Exchange, "incoming", incoming)
    with tenant_context(pair.premises):
        lane = caller("pull")
        with pytest.raises(Busy):
            for _round in range(20):
                lane.pull()
        assert lane.next is None
        pulled(pair, lane)


def test_what_came_behind_something_that_was_not_taken_is_not_kept(pair, behind, monkeypatch):
    original, passed = exchange.Exchange.incoming, [True]

    def incoming(self, message, size=0):
        if self.here.is_owner and behind() and passed and passed.pop():
            return Counts()  # as of terms that both do not share any more
        return original(self, message, size)

    monkeypatch.setattr(exchange.Exchange, "incoming", incoming)
    with tenant_context(pair.premises):
        lane = caller("pull")
        while passed:
            lane.pull()
        assert lane.next is None
        pulled(pair, lane)


def test_what_came_over_a_link_that_is_revoked_meanwhile_is_not_taken(pair, behind):
    with tenant_context(pair.premises):
        lane = caller("pull")
        while lane.next is None:
            lane.pull()
        perform(SYSTEM, Link.objects.get(), "revoke")
        before = [value(pair.premises, p, "city") for p in pair.parties]
        with pytest.raises(Unreachable):
            lane.pull()
        assert [value(pair.premises, p, "city") for p in pair.parties] == before


def test_an_older_site_that_tells_the_same_again_is_not_asked_so_twice(pair, behind, monkeypatch):
    original = exchange.Exchange.outgoing
    monkeypatch.setattr(exchange.Exchange, "outgoing", lambda self, **o: original(self, **{**o, "behind": 0}))
    with tenant_context(pair.premises):
        lane = caller("pull")
        pulled(pair, lane)
    assert len(behind()) == 1


def test_what_is_marked_while_its_old_value_is_on_its_way_from_the_cloud_converges(pair, behind):
    with tenant_context(pair.premises):
        lane = caller("pull")
        while lane.next is None:
            lane.pull()
        for party in pair.parties[::2]:
            labels.close(SYSTEM, Party.objects.get(pk=party.pk))
        do(pair.premises, pair.parties[7], "delete")
        for _round in range(20):
            lane.pull()
    pair.talk(rounds=40)
    roots = []
    for tenant in (pair.premises, pair.cloud):
        with tenant_context(tenant):
            roots.append(verifying.root(verifying.roots(pair.exchange(tenant))))
    assert roots[0] == roots[1]
    for number, party in enumerate(pair.parties):
        if number != 7:
            assert value(pair.premises, party, "city") == f"City {number}"
