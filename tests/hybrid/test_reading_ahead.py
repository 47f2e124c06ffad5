"""What comes behind a message of a long queue is read while that message is on its way; it leaves only while it may."""

from __future__ import annotations

import pytest
from by_http import caller, connect
from two_sites import SYSTEM, Pair, do, value

from ostoja.access.actor_of import actor_of
from ostoja.hybrid import exchange, labels, policing, sending
from ostoja.hybrid.exchange import Message
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
