"""What earlier releases said is understood today: a site of today takes either part in each recorded conversation."""

from __future__ import annotations

import base64

import pytest
import recording
import scenario
import skew

from ostoja.hybrid.exchange import Message


@pytest.fixture
def replayed(request, stream, lender, monkeypatch):
    """The conversation with a site of today in one part."""
    skew.watches(monkeypatch)
    made = recording.Replay(stream, request.param, lender.lend())
    made.run()
    yield made
    skew.move(made.tenant, 0)


def test_every_recorded_message_is_read_as_it_was_said(stream):
    read = 0
    for step in stream["steps"]:
        if "packed" not in step:
            continue
        packed = base64.b64decode(step["packed"])
        said, envelopes = recording.opened(packed)
        message = Message.unpack(packed)
        assert (message.manifest.decode(), message.knows) == (said["manifest"], said["knows"])
        for raw, envelope in zip(envelopes, message.envelopes, strict=True):
            assert [raw[recording.EPOCH], raw[recording.SEQ_TO]] == [envelope.epoch, envelope.seq_to]
            assert [op[2] for op in raw[recording.OPS]] == [op.key.id for op in envelope.ops]
            read += len(envelope.ops)
    assert read > 20


@pytest.mark.parametrize("replayed", recording.SITES, indirect=True)
def test_a_site_of_today_comes_to_the_same_as_the_one_of_then(stream, replayed):
    found, then = scenario.seen(replayed.tenant), stream["seen"][replayed.part]
    for model, rows in then.items():
        assert found[model].keys() == rows.keys()
        for number, row in rows.items():
            assert (number, found[model][number]) == (number, row)
    for (model, number, field), value in scenario.TOLD.items():
        assert found[model][str(scenario.key(number))][field] == value
    for model, number in scenario.GONE:
        assert str(scenario.key(number)) not in found[model]
    conflicts, parked = replayed.left()
    assert parked == 0
    # Our own first stamps are not to the millisecond those of then, so that more may seem to be written at once; never less.
    assert conflicts >= stream["conflicts"][replayed.part]


@pytest.mark.parametrize("replayed", ["premises"], indirect=True)
def test_what_today_s_premises_say_in_it_holds_nothing_closed(replayed):
    said = b"".join(bytes(str(recording.opened(packed)), "utf-8") for packed in replayed.wire)
    assert b"Made on the premises" in said
    for word in scenario.NEVER_LEAVES:
        assert word.encode() not in said
