"""A record that is marked as sensitive leaves the cloud with all that is known of it, and comes back when it is opened."""

from __future__ import annotations

import threading

import pytest
from django.db import connection, connections, transaction
from test_database import fill
from two_sites import SYSTEM, Pair, do, value

from ostoja.crm.sales.models import Deal, DealLine
from ostoja.hybrid import labels, marking, verifying
from ostoja.hybrid.core.terms import SEALED
from ostoja.hybrid.exchange import Message
from ostoja.hybrid.models import Absent, Clock, PurgeCase, Site
from ostoja.journal.context import changing
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context


@pytest.fixture
def pair(lender):
    """A cloud with a customer and a won deal, and premises that have loaded it."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    deal = do(cloud, deal, "win")
    made = Pair(cloud, premises)
    made.party, made.deal = party, deal
    made.load()
    made.talk()
    return made


def text_of_everything(tenant) -> str:
    """Every row of every table of a tenant as text."""
    out = []
    with tenant_context(tenant), connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()")
        for (name,) in cursor.fetchall():
            cursor.execute(f'SELECT t::text FROM "{name}" t')
            out += [row[0] for row in cursor.fetchall()]
    return "\n".join(out)


def differing(pair):
    def ask(question):
        with tenant_context(pair.cloud):
            return verifying.answer(pair.exchange(pair.cloud), question)

    with tenant_context(pair.premises):
        return verifying.compare(pair.exchange(pair.premises), ask)


def label(pair, record, action):
    with tenant_context(pair.premises):
        return action(SYSTEM, type(record).objects.get(pk=record.pk))


def test_a_marked_record_leaves_the_cloud_also_from_its_history(pair):
    do(pair.cloud, pair.party, data={"name": "Canary Ltd"})
    do(pair.cloud, pair.party, data={"name": "Canary and Sons"})
    pair.talk()
    assert "Canary" in text_of_everything(pair.cloud)
    label(pair, pair.party, labels.close)
    pair.talk()
    assert "Canary" not in text_of_everything(pair.cloud)
    assert value(pair.premises, pair.party, "name") == "Canary and Sons"
    with tenant_context(pair.cloud):
        assert Clock.objects.get(pk=pair.party.pk).withheld
    with tenant_context(pair.premises):
        case = PurgeCase.objects.get(record=pair.party.pk)
        assert case.gone_at and case.backups_until
    assert differing(pair) == []


def test_what_refers_to_it_knows_an_alias_only_and_gets_the_key_back(pair):
    label(pair, pair.party, labels.close)
    pair.talk()
    assert value(pair.cloud, pair.deal, "party_id") is None
    with tenant_context(pair.cloud):
        kept = Absent.objects.get(record=pair.deal.pk, field="party")
        assert kept.alias and kept.target != pair.party.pk
    label(pair, pair.party, labels.reopen)
    pair.talk()
    assert value(pair.cloud, pair.party, "name") == "Acme"
    assert value(pair.cloud, pair.deal, "party_id") == pair.party.pk
    assert differing(pair) == []


def test_what_is_written_while_it_is_marked_leaves_only_as_it_is_in_the_end(pair):
    label(pair, pair.party, labels.close)
    do(pair.premises, pair.party, data={"name": "Canary in between"})
    pair.talk()
    do(pair.premises, pair.party, data={"name": "Acme again"})
    label(pair, pair.party, labels.reopen)
    pair.talk()
    assert value(pair.cloud, pair.party, "name") == "Acme again"
    assert "Canary" not in text_of_everything(pair.cloud)
    assert not any("Canary" in str(Message.unpack(packed).envelopes) for packed in pair.wire)


def test_an_edit_in_the_cloud_that_was_on_its_way_is_not_lost(pair):
    label(pair, pair.party, labels.close)
    do(pair.cloud, pair.party, data={"city": "Gdynia"})
    pair.talk()
    assert value(pair.premises, pair.party, "city") == "Gdynia"
    with tenant_context(pair.cloud):
        assert not Party.objects.filter(pk=pair.party.pk).exists()
    assert differing(pair) == []


def test_the_preview_is_exactly_what_arrives(pair):
    new = do(pair.premises, Party, "add", {"kind": "org", "name": "New", "notes": "canary"})
    label(pair, new, labels.close)
    pair.talk()
    with tenant_context(pair.premises):
        seen = labels.preview(new)
    assert [(model, key) for model, key, _v in seen] == [("party.party", new.pk)]
    assert seen[0][2]["name"] == "New" and "notes" not in seen[0][2]
    with tenant_context(pair.cloud):
        assert not Party.objects.filter(pk=new.pk).exists()


def test_what_may_not_be_in_the_cloud_leaves_it_once_the_premises_have_it(lender):
    from ostoja.hybrid import withdrawing
    from ostoja.journal.chain import verify
    from ostoja.kernel.errors import Refused
    from ostoja.party.models import ContactPoint
    from ostoja.planning.models import Activity

    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    do(cloud, party, data={"notes": "canary one"})
    do(cloud, party, data={"notes": "canary two"})
    point = do(cloud, ContactPoint, "add", {"party": party.pk, "type": "email", "value": "canary@example.com"})
    do(cloud, Activity, "add", {"kind": "note", "subject": "canary call", "party": party.pk})
    deal = do(cloud, Deal, "add", {"title": "D", "party": party.pk, "amount": "5", "notes": "canary deal"})
    do(cloud, deal, "win")
    pair = Pair(cloud, premises)
    pair.load()
    pair.talk()
    with tenant_context(cloud):
        withdrawing.withdraw()
    assert "canary" not in text_of_everything(cloud)
    assert value(premises, party, "notes") == "canary two"
    assert value(premises, point, "value") == "canary@example.com"
    assert value(premises, deal, "notes") == "canary deal"
    assert verify(cloud)
    pair.talk()
    assert differing(pair) == []
    assert value(premises, party, "notes") == "canary two"
    with pytest.raises(Refused):
        do(cloud, party, data={"notes": "canary three"})
    do(cloud, party, data={"city": "Gdynia"})
    do(premises, party, data={"notes": "canary four", "name": "Acme Two"})
    pair.talk()
    assert (value(premises, party, "city"), value(cloud, party, "name")) == ("Gdynia", "Acme Two")
    assert "canary" not in text_of_everything(cloud)


def test_a_line_that_is_added_while_its_deal_is_being_marked_is_marked_as_well(pair):
    deal = do(pair.premises, Deal, "add", {"title": "Quiet", "party": pair.party.pk, "amount": "1"})
    pair.talk()
    done = threading.Event()

    def add():
        try:
            do(
                pair.premises,
                DealLine,
                "add",
                {"deal": deal.pk, "description": "canary", "quantity": "1", "price": "2"},
            )
        finally:
            done.set()
            connections.close_all()

    with tenant_context(pair.premises), transaction.atomic():
        labels.close(SYSTEM, Deal.objects.get(pk=deal.pk))
        other = threading.Thread(target=add)
        other.start()
        assert not done.wait(0.5), "The line did not wait for the mark."
    other.join()
    pair.talk()
    assert "canary" not in text_of_everything(pair.cloud)
    assert not any(b"canary" in str(Message.unpack(packed).envelopes).encode() for packed in pair.wire)
    label(pair, deal, labels.reopen)
    pair.talk()
    with tenant_context(pair.cloud):
        assert DealLine.objects.get(deal=deal).description == "canary"


def test_a_line_that_moves_to_a_marked_deal_is_marked_as_well(pair):
    shown = do(pair.premises, Deal, "add", {"title": "Shown", "party": pair.party.pk, "amount": "1"})
    quiet = do(pair.premises, Deal, "add", {"title": "Quiet", "party": pair.party.pk, "amount": "1"})
    line = do(pair.premises, DealLine, "add", {"deal": shown.pk, "description": "Moves", "quantity": "1", "price": "2"})
    pair.talk()
    label(pair, quiet, labels.close)
    with tenant_context(pair.premises), changing(SYSTEM, "change"):
        DealLine.objects.filter(pk=line.pk).update(deal=quiet.pk)
    pair.talk()
    with tenant_context(pair.cloud):
        assert not DealLine.objects.filter(pk=line.pk).exists()
    assert differing(pair) == []


def test_that_a_laptop_let_go_of_what_is_sealed_is_not_taken_for_the_cloud(pair, lender):
    laptop = lender.lend()
    line = pair.join(pair.premises, laptop, Site.Kind.DESKTOP, "Laptop")
    for _round in range(6):
        pair.send(laptop, pair.premises, line)
        pair.send(pair.premises, laptop, line)
    with tenant_context(laptop):
        assert Deal.objects.filter(pk=pair.deal.pk).exists()
    label(pair, pair.deal, lambda actor, deal: labels.close(actor, deal, SEALED))
    for _round in range(3):
        pair.send(pair.premises, laptop, line)
        pair.send(laptop, pair.premises, line)
    with tenant_context(laptop):
        assert not Deal.objects.filter(pk=pair.deal.pk).exists()
    with tenant_context(pair.premises):
        deal = Deal.objects.get(pk=pair.deal.pk)
        assert PurgeCase.objects.filter(record=deal.pk, link=line.key, gone_at__isnull=False).exists()
        stands = marking.standing_of(deal)
        assert (stands.state, stands.told_at, stands.gone_at) == (marking.SEALED_HERE, None, None)
    first = pair.lines[0]
    for _round in range(3):
        pair.send(pair.premises, pair.cloud, first)
        pair.send(pair.cloud, pair.premises, first)
    with tenant_context(pair.premises):
        stands = marking.standing_of(deal)
        assert stands.told_at is not None and stands.gone_at is not None
