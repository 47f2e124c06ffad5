"""A clock that was an hour, or years, ahead holds nothing up once it is right: what it stamped is stamped anew, in its order."""

from __future__ import annotations

import time

import pytest
from django.db import connections
from test_database import fill
from two_sites import Pair, do, value

from ostoja.crm.sales.models import Deal
from ostoja.hybrid import clocks, restamping, verifying
from ostoja.hybrid.exchange import Message
from ostoja.hybrid.receiving import LinkSuspect
from ostoja.tenancy.context import schema_context, tenant_context

YEAR = 365 * 24 * 3600 * 1000


@pytest.fixture
def pair(lender):
    """A cloud with a deal, and premises that have loaded it."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.deal = deal
    made.load()
    made.talk()
    return made


def of(tenant, record) -> clocks.Clock:
    """The clock of a record."""
    with tenant_context(tenant):
        return clocks.read([str(record.pk)])[str(record.pk)]


def stamped(tenant, record, field: str, ahead_ms: int) -> None:
    """The field's stamp, as a clock that far ahead would have made it."""
    at = int(time.time() * 1000) + ahead_ms << 16
    schema = tenant.schema_name
    with schema_context(schema), connections["owner"].cursor() as cursor:
        cursor.execute(
            f"""UPDATE "{schema}".hybrid_clock SET top = %s, stamps = jsonb_set(stamps, ARRAY[%s, '0'], to_jsonb(%s::bigint)) WHERE id = %s""",
            [at, field, at, record.pk],
        )


def test_what_was_stamped_years_ahead_travels_when_it_is_stamped_anew(pair):
    do(pair.premises, pair.deal, data={"title": "From the future"})
    stamped(pair.premises, pair.deal, "title", YEAR)
    with pytest.raises(LinkSuspect):
        pair.talk()
    with tenant_context(pair.premises):
        assert restamping.put_right() == 1
        assert restamping.put_right() == 0
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "From the future"
    assert of(pair.cloud, pair.deal).stamps["title"][:2] == of(pair.premises, pair.deal).stamps["title"][:2]
    do(pair.cloud, pair.deal, data={"title": "Later, in the cloud"})
    pair.talk()
    assert value(pair.premises, pair.deal, "title") == "Later, in the cloud"

    def ask(question):
        with tenant_context(pair.cloud):
            return verifying.answer(pair.exchange(pair.cloud), question)

    with tenant_context(pair.premises):
        assert verifying.compare(pair.exchange(pair.premises), ask) == []


def test_the_cloud_stamps_anew_when_the_premises_say_that_they_refused(pair):
    do(pair.cloud, pair.deal, data={"title": "From the future"})
    stamped(pair.cloud, pair.deal, "title", YEAR)
    with pytest.raises(LinkSuspect):
        pair.talk()
    with tenant_context(pair.premises):
        message = pair.exchange(pair.premises).outgoing(silent=True)
        message.refused = LinkSuspect.code
    with tenant_context(pair.cloud):
        pair.exchange(pair.cloud).incoming(Message.unpack(message.pack()))
    pair.talk()
    assert value(pair.premises, pair.deal, "title") == "From the future"


def test_what_was_later_stays_later_and_the_others_stamps_stay(pair):
    do(pair.premises, pair.deal, data={"title": "First"})
    stamped(pair.premises, pair.deal, "title", YEAR)
    do(pair.premises, pair.deal, data={"source": "Second"})
    before = of(pair.premises, pair.deal)
    assert before.stamps["source"][0] > before.stamps["title"][0]
    with tenant_context(pair.premises):
        restamping.put_right()
    after = of(pair.premises, pair.deal)
    assert after.top == after.stamps["source"][0] > after.stamps["title"][0] > after.whole.hlc == before.whole.hlc
    assert after.top >> 16 <= int(time.time() * 1000) + 1


def test_stamps_that_another_site_may_have_taken_are_left_alone(pair):
    do(pair.premises, pair.deal, data={"title": "Ten minutes ahead"})
    stamped(pair.premises, pair.deal, "title", 10 * 60 * 1000)
    before = of(pair.premises, pair.deal)
    with tenant_context(pair.premises):
        assert restamping.put_right() == 0
    assert of(pair.premises, pair.deal) == before
