"""Two sites on real PostgreSQL: what one changes the other has; conflicts are told; what is closed does not leave."""

from __future__ import annotations

from itertools import groupby

import pytest
from by_http import caller, connect, send
from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from two_sites import SYSTEM, Pair, do, value

from ostoja.access.actor_of import actor_of
from ostoja.access.models import User
from ostoja.access.policy import may
from ostoja.crm.sales.models import Deal, DealLine, Pipeline, Stage
from ostoja.documents.models import ProductFile
from ostoja.gate import perform
from ostoja.hybrid import exchange, sending
from ostoja.hybrid.enrolment import invite
from ostoja.hybrid.exchange import Message
from ostoja.hybrid.models import Absent, Conflict, Link, Parked
from ostoja.hybrid.sites import head
from ostoja.journal.context import changing
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.party.models import Party
from ostoja.tenancy.context import schema_context, tenant_context
from ostoja.testing.clients import Browser
from ostoja.testing.people import make_user


def fill(tenant):
    """A pipeline and a customer."""
    pipeline = do(tenant, Pipeline, "add", {"name": "Sales", "position": 0})
    for position, (name, kind, percent) in enumerate([("Talk", "open", 10), ("Won", "won", 100), ("Lost", "lost", 0)]):
        do(
            tenant,
            Stage,
            "add",
            {"pipeline": pipeline.pk, "name": name, "kind": kind, "position": position, "probability": percent},
        )
    party = do(tenant, Party, "add", {"kind": "org", "name": "Acme", "is_customer": True})
    return party


@pytest.fixture
def pair(lender):
    """A cloud with a customer and a deal, and premises that have loaded it."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.party, made.deal = party, deal
    made.load()
    made.talk()
    return made


@pytest.fixture
def owner_there(pair):
    """A person of the premises who works in the cloud."""
    with tenant_context(pair.premises):
        user = make_user("Olga Owner", owner=True, email="olga@example.com")
    pair.talk()
    with tenant_context(pair.cloud):
        return actor_of(User.objects.get(pk=user.pk))


def test_the_first_load_brings_everything(pair):
    assert value(pair.premises, pair.deal, "title") == "Hundred chairs"
    assert value(pair.premises, pair.deal, "party_id") == pair.party.pk
    with tenant_context(pair.premises):
        assert not Parked.objects.exists() and not Conflict.objects.exists()


def test_what_the_premises_keep_is_refused_in_the_cloud_in_the_readers_words(pair):
    with pytest.raises(Refused) as refused, translation.override("pl"):
        do(pair.cloud, Pipeline, "add", {"name": "Inny", "position": 2})
    assert (refused.value.code, refused.value.message) == ("hybrid_owned", "Prowadzi to siedziba firmy: zmień to tam.")


def test_what_the_premises_decide_is_not_offered_in_the_cloud(pair, owner_there):
    user = owner_there.user
    for tenant, offered in ((pair.cloud, False), (pair.premises, True)):
        with tenant_context(tenant):
            actor = actor_of(User.objects.get(pk=user.pk))
            for verb in ("add", "change", "delete", "import"):
                assert may(actor, Pipeline, verb) == offered, verb
            assert may(actor, ProductFile, "add") == offered  # a part is decided where the whole is
            assert may(actor, Pipeline, "view") and may(actor, Party, "add")
            page = Browser(tenant, raise_request_exception=False).sign_in(user).get("/products")
            assert ("/products/new" in page.content.decode()) == offered
            assert ("This is kept on the premises: change it there." in page.content.decode()) != offered
    with tenant_context(pair.cloud):
        answer = Browser(pair.cloud, raise_request_exception=False).sign_in(user).get("/products/new")
        assert (
            answer.status_code == 403
            and "Not from here" in answer.content.decode()
            and "kept on the premises: change it there" in answer.content.decode()
        )
        with pytest.raises(NotAllowed, match="kept on the premises"):
            perform(actor_of(User.objects.get(pk=user.pk)), Pipeline, "add", {"name": "Other", "position": 2})
        with pytest.raises(NotAllowed, match="kept on the premises") as refused:
            perform(actor_of(User.objects.get(pk=user.pk)), Pipeline.objects.get(), "change", {"name": "Other"})
        assert refused.value.code == "decided_elsewhere"


def test_the_cloud_decides_until_premises_have_joined_and_when_they_were_revoked(lender):
    cloud, premises = lender.lend(), lender.lend()
    fill(cloud)
    with tenant_context(cloud):
        owner = make_user("Olga Owner", owner=True, email="olga@example.com")
        invite(SYSTEM)

    def decides() -> bool:
        with tenant_context(cloud):
            offered = may(actor_of(owner), Pipeline, "add")
            try:
                with transaction.atomic():
                    perform(SYSTEM, Pipeline, "add", {"name": "Another", "position": 2})
                    transaction.set_rollback(True)
            except Refused as error:
                assert error.code == "hybrid_owned" and not offered
                return False
        assert offered
        return True

    assert decides()
    pair = Pair(cloud, premises)
    assert not decides()
    pair.load()
    pair.talk()
    assert not decides()
    with tenant_context(cloud):
        perform(SYSTEM, Link.objects.get(), "revoke")
    assert decides()


def test_a_change_here_is_there(pair):
    do(pair.premises, pair.deal, data={"title": "Two hundred chairs"})
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "Two hundred chairs"
    do(pair.cloud, pair.deal, data={"amount": "210.50"})
    pair.talk()
    assert str(value(pair.premises, pair.deal, "amount")) == "210.50"


def test_fields_of_one_record_merge(pair):
    do(pair.premises, pair.deal, data={"title": "From the premises"})
    do(pair.cloud, pair.deal, data={"amount": "7"})
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert value(side, pair.deal, "title") == "From the premises"
        assert str(value(side, pair.deal, "amount")) == "7.00"
        with tenant_context(side):
            assert not Conflict.objects.exists()


def test_the_same_field_on_both_sides_is_a_conflict_with_both_values(pair):
    do(pair.premises, pair.deal, data={"title": "Earlier"})
    do(pair.cloud, pair.deal, data={"title": "Later"})
    pair.talk()
    assert value(pair.premises, pair.deal, "title") == value(pair.cloud, pair.deal, "title") == "Later"
    with tenant_context(pair.premises):
        conflict = Conflict.objects.get()
    assert (conflict.field, conflict.ours, conflict.theirs) == ("title", "Earlier", "Later")
    do(pair.premises, conflict, "keep_ours")
    pair.talk()
    assert value(pair.premises, pair.deal, "title") == value(pair.cloud, pair.deal, "title") == "Earlier"


def test_a_closed_field_stays_on_the_premises(pair):
    do(pair.premises, pair.party, data={"name": "Acme Ltd", "notes": "canary-7f3a"})
    pair.talk()
    assert value(pair.cloud, pair.party, "name") == "Acme Ltd"
    assert value(pair.cloud, pair.party, "notes") == ""
    with tenant_context(pair.cloud), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM party_party p WHERE p::text LIKE '%%canary%%'")
        assert cursor.fetchone()[0] == 0


def test_what_is_deleted_here_is_deleted_there(pair):
    do(pair.cloud, pair.deal, "delete")
    pair.talk()
    with pytest.raises(Deal.DoesNotExist):
        value(pair.premises, pair.deal, "title")


def test_deleted_there_and_edited_here_is_a_conflict(pair):
    do(pair.cloud, pair.deal, "delete")
    do(pair.premises, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    with tenant_context(pair.premises):
        conflict = Conflict.objects.get()
    assert conflict.rule == "deleted" and conflict.ours["title"] == "Still wanted"
    do(pair.premises, conflict, "keep_ours")
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "Still wanted"


def test_a_reference_to_what_was_deleted_meanwhile_is_kept_aside(pair):
    lonely = do(pair.premises, Party, "add", {"kind": "org", "name": "Short-lived", "is_customer": True})
    pair.talk()
    do(pair.premises, lonely, "delete")
    deal = do(pair.cloud, Deal, "add", {"title": "For nobody", "party": lonely.pk, "amount": "1"})
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert value(side, deal, "party_id") is None
        with tenant_context(side):
            assert Absent.objects.get(record=deal.pk).target == lonely.pk


def test_two_new_records_with_one_number_are_both_kept(pair):
    typed = {
        "party": pair.party.pk,
        "number": "2026/17",
    }  # a series of its own at each site never gives one number twice
    one = do(pair.premises, Deal, "add", {"title": "One", "amount": "1", **typed})
    other = do(pair.cloud, Deal, "add", {"title": "Other", "amount": "2", **typed})
    pair.talk()
    numbers = {
        (value(side, d, "title"), value(side, d, "number"))
        for side in (pair.premises, pair.cloud)
        for d in (one, other)
    }
    assert len(numbers) == 2 and len({n for _t, n in numbers}) == 2
    with tenant_context(pair.premises):
        premises = Conflict.objects.filter(rule="unique").count()
    with tenant_context(pair.cloud):
        assert premises + Conflict.objects.filter(rule="unique").count() >= 1


def test_what_belongs_to_the_premises_is_refused_in_the_cloud(pair):
    with tenant_context(pair.cloud):
        pipeline = Pipeline.objects.get()
    with pytest.raises(Refused):
        do(pair.cloud, pipeline, data={"name": "Renamed in the cloud"})
    do(pair.premises, pipeline, data={"name": "Renamed on the premises"})
    pair.talk()
    assert value(pair.cloud, pipeline, "name") == "Renamed on the premises"


def test_a_lost_message_is_sent_again_and_a_doubled_one_does_nothing(pair):
    do(pair.premises, pair.deal, data={"title": "Once"})
    with tenant_context(pair.premises):
        message = pair.exchange(pair.premises).outgoing()
    packed = message.pack()
    do(pair.premises, pair.deal, data={"amount": "9"})
    for _time in range(3):
        with tenant_context(pair.cloud):
            pair.exchange(pair.cloud).incoming(pair.carry(packed))
    pair.talk()
    assert (value(pair.cloud, pair.deal, "title"), str(value(pair.cloud, pair.deal, "amount"))) == ("Once", "9.00")


def test_the_sender_sees_nothing_else(pair):
    schema = pair.premises.schema_name
    for question in (
        "SELECT name FROM party_party",
        "SELECT notes FROM egress_party_party",
        "SELECT old FROM journal_change",
        "SELECT old FROM egress_journal",
        "SELECT name FROM whole_party_party",
    ):
        from django.db import ProgrammingError

        with schema_context(schema, role=f"e_{schema}"), connection.cursor() as cursor, pytest.raises(ProgrammingError):
            cursor.execute(question)
    with schema_context(schema, role=f"e_{schema}"), connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM egress_party_party")
        assert cursor.fetchone()[0] == 1


def test_over_http_with_signatures(pair, monkeypatch):
    connect(pair, monkeypatch)
    do(pair.premises, pair.deal, data={"title": "Over the line"})
    with tenant_context(pair.premises):
        assert caller("push").push()
    assert value(pair.cloud, pair.deal, "title") == "Over the line"
    do(pair.cloud, pair.deal, data={"amount": "55"})
    with tenant_context(pair.premises):
        assert caller("pull").pull() == 1
    assert str(value(pair.premises, pair.deal, "amount")) == "55.00"

    path, body, headers = pair.heard[0]
    again = send(pair, path, body, headers)
    assert (again.status_code, again.json()["code"]) == (403, "replayed")
    forged = send(pair, path, body + b"x", headers)
    assert (forged.status_code, forged.json()["code"]) == (403, "link_closed")


def test_both_sides_are_compared_down_to_the_record(pair):
    from ostoja.hybrid import verifying

    def ask(question):
        with tenant_context(pair.cloud):
            return verifying.answer(pair.exchange(pair.cloud), question)

    def differing():
        with tenant_context(pair.premises):
            return verifying.compare(pair.exchange(pair.premises), ask)

    assert differing() == []
    do(pair.premises, pair.deal, data={"title": "Not yet there"})
    assert [(d["record"], d["why"]) for d in differing()] == [(str(pair.deal.pk), "different")]
    pair.talk()
    assert differing() == []
    do(pair.premises, pair.party, data={"notes": "Only here, and rightly so"})
    assert differing() == []


def line(tenant, deal, price):
    return do(tenant, DealLine, "add", {"deal": deal.pk, "description": "Chair", "quantity": "1", "price": price})


def test_lines_that_both_sites_added_all_count_and_nobody_is_asked(pair):
    line(pair.premises, pair.deal, "10")
    line(pair.cloud, pair.deal, "5")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert str(value(side, pair.deal, "amount")) == "15.00"
        with tenant_context(side):
            assert not Conflict.objects.exists() and not Parked.objects.exists()


def test_a_deal_that_is_won_here_and_moved_there_stands_in_a_stage_of_its_state(pair):
    with tenant_context(pair.cloud):
        talk = Stage.objects.get(name="Talk")
    other = do(
        pair.premises, Stage, "add", {"pipeline": talk.pipeline_id, "name": "Offer", "kind": "open", "position": 9}
    )
    pair.talk()
    do(pair.premises, pair.deal, "win")
    do(pair.cloud, pair.deal, data={"stage": other.pk})
    pair.talk()
    states = {
        (value(side, pair.deal, "state"), value(side, pair.deal, "stage_id")) for side in (pair.premises, pair.cloud)
    }
    assert len(states) == 1
    with tenant_context(pair.premises):
        state, stage = states.pop()
        assert Stage.objects.get(pk=stage).kind == state
        assert not Parked.objects.exists()


def test_a_deal_won_in_the_cloud_takes_an_edit_that_the_premises_made_before(pair):
    do(pair.premises, pair.deal, data={"title": "Edited on the premises"})
    do(pair.cloud, pair.deal, "win")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert (value(side, pair.deal, "state"), value(side, pair.deal, "title")) == ("won", "Edited on the premises")
        with tenant_context(side):
            assert not Parked.objects.exists()


def test_a_deal_reopened_and_changed_in_the_cloud_is_reopened_and_changed_on_the_premises(pair):
    line(pair.cloud, pair.deal, "7")
    do(pair.cloud, pair.deal, "win")
    pair.talk()
    do(pair.cloud, pair.deal, "reopen", {"reopened_because": "Forgot a chair"})
    line(pair.cloud, pair.deal, "3")
    do(pair.cloud, pair.deal, data={"title": "With one more chair"})
    do(pair.cloud, pair.deal, "win")
    pair.talk()
    assert value(pair.premises, pair.deal, "title") == "With one more chair"
    assert (str(value(pair.premises, pair.deal, "amount")), value(pair.premises, pair.deal, "state")) == (
        "10.00",
        "won",
    )
    with tenant_context(pair.premises):
        assert not Parked.objects.exists() and not Conflict.objects.exists()


def test_a_conflict_says_who_wrote_there_and_when(pair, owner_there):
    do(pair.premises, pair.deal, data={"title": "On the premises"})
    with tenant_context(pair.cloud):
        deal = Deal.objects.get(pk=pair.deal.pk)
        perform(owner_there, deal, "change", {"title": "By the owner, in the cloud"})
    pair.talk()
    with tenant_context(pair.premises):
        conflict = Conflict.objects.get()
    assert conflict.theirs_by == owner_there.key
    assert conflict.theirs_at is not None and conflict.theirs_at <= conflict.created_at


def test_a_long_queue_tells_every_record_once_and_a_lost_batch_again(pair, monkeypatch):
    monkeypatch.setattr(sending, "FAR", 4)
    monkeypatch.setattr(sending, "MOST_ENTRIES", 3)
    monkeypatch.setattr(exchange, "MOST_ENTRIES", 3)
    deals = [
        do(pair.premises, Deal, "add", {"title": f"Deal {n}", "party": pair.party.pk, "amount": "1"}) for n in range(8)
    ]
    for turn in range(4):
        for deal in deals:
            do(pair.premises, deal, data={"title": f"Title {turn}", "source" if turn % 2 else "amount": "3"})
    do(pair.premises, deals[3], "delete")
    with tenant_context(pair.premises):
        pair.exchange(pair.premises).outgoing()  # lost on the way
    told = 0
    while told is not None:
        told = pair.send(pair.premises, pair.cloud) or None
        pair.send(pair.cloud, pair.premises)
    pair.talk(rounds=40)
    sent = [op for packed in pair.wire for e in Message.unpack(packed).envelopes for op in e.ops]
    ours = [op.key.id for op in sent if op.key.id in {str(d.pk) for d in deals}]
    assert len(ours) <= 3 * len(deals)
    for deal in deals[:3] + deals[4:]:
        assert value(pair.cloud, deal, "title") == "Title 3" and value(pair.cloud, deal, "source") == "3"
    with pytest.raises(Deal.DoesNotExist):
        value(pair.cloud, deals[3], "title")


def test_a_long_queue_loses_nothing_of_a_transaction_at_the_end_of_what_it_looks_through(pair, monkeypatch):
    monkeypatch.setattr(sending, "FAR", 4)
    monkeypatch.setattr(exchange, "MOST_ENTRIES", 2)
    parties = [do(pair.premises, Party, "add", {"kind": "org", "name": f"Party {n}"}) for n in range(6)]
    pair.talk(rounds=40)
    for turn in range(18):  # one record; a look goes ten times as far as a batch has records
        do(pair.premises, pair.deal, data={"title": f"Title {turn}"})
    with tenant_context(pair.premises), changing(SYSTEM, "change"):
        Party.objects.filter(pk__in=[p.pk for p in parties]).update(city="Gdynia")
    for turn in range(8):
        do(pair.premises, pair.deal, data={"title": f"Later {turn}"})
    pair.talk(rounds=40)
    assert {value(pair.cloud, party, "city") for party in parties} == {"Gdynia"}
    assert value(pair.cloud, pair.deal, "title") == "Later 7"


def test_of_two_batches_of_a_long_queue_the_one_that_arrives_counts(pair, monkeypatch):
    monkeypatch.setattr(sending, "FAR", 1)
    monkeypatch.setattr(exchange, "MOST_ENTRIES", 2)
    other = do(pair.premises, Deal, "add", {"title": "Other", "party": pair.party.pk, "amount": "1"})
    pair.talk(rounds=40)
    for turn in range(6):
        do(pair.premises, pair.deal, data={"title": f"First {turn}"})
        do(pair.premises, other, data={"title": f"Other {turn}"})
    with tenant_context(pair.premises):
        arrives = pair.exchange(pair.premises).outgoing().pack()
    do(pair.premises, pair.deal, data={"title": "Last"})
    with tenant_context(pair.premises):
        pair.exchange(pair.premises).outgoing()  # made before the first was acknowledged, and comes too late
    with tenant_context(pair.cloud):
        pair.exchange(pair.cloud).incoming(pair.carry(arrives))
    pair.talk(rounds=40)
    assert value(pair.cloud, pair.deal, "title") == "Last"
    assert value(pair.cloud, other, "title") == "Other 5"


def test_a_text_of_any_kind_arrives_as_it_was_written(pair):
    titles = [
        'Say "hundred"',
        "C:\\chairs\\{1,2}",
        "NULL",
        "null",
        "",
        " a\tb\nc ",
        "łóżko; DROP TABLE x --",
        "{}",
        "%s %(a)s",
    ]
    deals = [do(pair.premises, Deal, "add", {"title": f"No. {n}", "party": pair.party.pk}) for n in range(len(titles))]
    pair.talk()
    for deal, text in zip(deals, titles, strict=True):
        with tenant_context(pair.premises), changing(SYSTEM, "change"):
            Deal.objects.filter(pk=deal.pk).update(source=text[:60])
    pair.talk()
    assert [value(pair.cloud, deal, "source") for deal in deals] == [
        value(pair.premises, deal, "source") for deal in deals
    ]
    with tenant_context(pair.premises):
        assert set(Deal.objects.filter(pk__in=[d.pk for d in deals]).values_list("source", flat=True)) == set(titles)


def test_everything_is_told_again_with_each_record_before_its_parts(pair):
    deals = [do(pair.cloud, Deal, "add", {"title": f"No. {n}", "party": pair.party.pk}) for n in range(3)]
    for deal in [*deals, *reversed(deals)]:
        do(pair.cloud, DealLine, "add", {"deal": deal.pk, "description": "Chairs", "quantity": "1", "price": "2.00"})
    with tenant_context(pair.cloud), changing(SYSTEM, "resend"):
        count = sending.send_everything(pair.exchange(pair.cloud).tables)
        told = list(
            Change.objects.filter(op="R", verb="resend").order_by("-id").values_list("model", "record", "cause")[:count]
        )[::-1]
        assert count == len(told) == len({record for _model, record, _cause in told})
        ours = [(m, r, c) for m, r, c in told if m in ("sales.deal", "sales.dealline")]
        lines = dict(DealLine.objects.values_list("pk", "deal_id"))
    families = [list(some) for _root, some in groupby(ours, key=lambda row: row[2])]
    assert len(families) == 1 + len(deals)
    for (model, record, cause), *parts in families:
        assert model == "sales.deal" and record == cause
        assert {lines[part] for _model, part, _cause in parts} <= {record} and all(c == record for _m, _r, c in parts)
    assert sum(len(parts) for _whole, *parts in families) == 2 * len(deals)


def test_what_came_from_the_other_site_is_not_read_again_to_be_told_back(pair):
    for n in range(5):
        do(pair.premises, pair.deal, data={"title": f"Title {n}"})
    pair.send(pair.premises, pair.cloud)
    with tenant_context(pair.cloud):
        exchange = pair.exchange(pair.cloud)
        with CaptureQueriesContext(connection) as queries:
            message = exchange.outgoing()
        read = [q["sql"] for q in queries if "whole_" in q["sql"]]
        assert read and not any("whole_sales_deal" in sql or "whole_label" in sql for sql in read)
        assert not any(envelope.ops for envelope in message.envelopes)
        assert message.envelopes[-1].seq_to == head()
