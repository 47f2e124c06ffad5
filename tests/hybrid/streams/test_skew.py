"""Two versions on one link: what one of them does not know is told in words, stays where it is, and harms nothing."""

from __future__ import annotations

import pytest
import recording
from two_sites import Pair, do, value

from ostoja.hybrid import using
from ostoja.hybrid.core.wire import PROTO
from ostoja.hybrid.exchange import BadMessage, Message
from ostoja.hybrid.health import health_of, sentences
from ostoja.hybrid.models import Link
from ostoja.hybrid.receiving import NotOpen
from ostoja.hybrid.rotating import use_of
from ostoja.kernel.errors import OstojaError
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context


@pytest.fixture
def pair(lender):
    """A cloud and premises that are linked, with a customer."""
    cloud, premises = lender.lend(), lender.lend()
    pair = Pair(cloud, premises)
    pair.party = do(premises, Party, "add", {"kind": "org", "name": "Acme"})
    pair.load()
    pair.talk()
    return pair


def changed(pair, change) -> bytes:
    """What the premises say of a change of the customer, after another version has changed it as plain data."""
    do(pair.premises, pair.party, data={"name": "Acme and Sons"})
    with tenant_context(pair.premises):
        packed = pair.exchange(pair.premises).outgoing().pack()
    head, envelopes = recording.opened(packed)
    change(head, envelopes)
    return recording.closed(head, envelopes)


def refused(pair, packed: bytes, kind: type[OstojaError]) -> tuple[OstojaError, str]:
    """The error with which the cloud refuses it, and the words that people read there."""
    with tenant_context(pair.cloud):
        exchange = pair.exchange(pair.cloud)
        with pytest.raises(kind) as error:
            exchange.incoming(Message.unpack(packed))
        use_of(exchange.link)
        using.trouble(exchange.link.pk, error.value)
        link = Link.objects.select_related("site", "progress").get()
        words = " ".join(sentences(health_of(link)))
    assert value(pair.cloud, pair.party, "name") == "Acme"
    return error.value, words


def goes_on(pair) -> None:
    """The same change arrives when it is said as both understand it."""
    pair.talk()
    assert value(pair.cloud, pair.party, "name") == "Acme and Sons"


def data(envelopes: list) -> list:
    return next(e for e in envelopes if e[recording.LANE] == "data")


def test_a_model_that_this_version_does_not_know_is_not_taken(pair):
    def newer(head, envelopes):
        op = list(data(envelopes)[recording.OPS][0])
        data(envelopes)[recording.OPS].append(["S", "sales.campaign", op[2], 1, 0, 0, {"name": ["Spring", 1, 2]}])

    error, words = refused(pair, changed(pair, newer), NotOpen)
    assert "compare the manifests" in error.message and "same version" in words
    goes_on(pair)


def test_a_field_that_this_version_does_not_know_is_not_taken(pair):
    def newer(head, envelopes):
        data(envelopes)[recording.OPS][0][-1]["mood"] = ["good", 1, 2]

    error, words = refused(pair, changed(pair, newer), NotOpen)
    assert "compare the manifests" in error.message and "same version" in words
    goes_on(pair)


def test_a_newer_protocol_is_told_by_its_number(pair):
    def newer(head, envelopes):
        for envelope in envelopes:
            envelope[0] = PROTO + 1

    error, words = refused(pair, changed(pair, newer), BadMessage)
    assert error.code == "other_protocol" and str(PROTO + 1) in error.message
    assert "Update the older" in words and "damaged" not in words
    goes_on(pair)


def test_an_operation_that_this_version_does_not_know_is_no_message(pair):
    def newer(head, envelopes):
        data(envelopes)[recording.OPS].append(["Z", "party.party", str(pair.party.pk)])

    error, words = refused(pair, changed(pair, newer), BadMessage)
    assert "damaged" in error.message and "same version" in words
    goes_on(pair)


def test_under_another_manifest_nothing_is_taken_until_both_know_the_same(pair):
    def other(head, envelopes):
        for envelope in envelopes:
            envelope[recording.MANIFEST] = "0" * 64
        head["knows"] = "0" * 64

    packed = changed(pair, other)
    with tenant_context(pair.cloud):
        exchange = pair.exchange(pair.cloud)
        counts = exchange.incoming(Message.unpack(packed))
        words = " ".join(sentences(health_of(Link.objects.select_related("site", "progress").get())))
        assert exchange.outgoing(silent=True).manifest == exchange.here.manifest.canonical
    assert counts.written == 0
    assert value(pair.cloud, pair.party, "name") == "Acme"
    assert "not agreed yet on what may travel" in words
    goes_on(pair)
