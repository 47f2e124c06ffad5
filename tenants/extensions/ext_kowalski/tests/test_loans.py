"""Sample loans behave like every other object: verbs, rules kept by the database, journal, lists, rights."""

from datetime import timedelta

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone
from ext_kowalski.models import SampleLoan

from ostoja import gate
from ostoja.access.policy import visible
from ostoja.journal.history import history
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, Refused

Party = registry.get("party.party").model


@pytest.fixture
def shop(actor):
    return gate.perform(actor, Party, "add", {"name": "Floors & More"})


@pytest.fixture
def loan(actor, shop):
    due = timezone.localdate() + timedelta(days=30)
    return gate.perform(actor, SampleLoan, "add", {"book": "Oak 2027", "party": shop.pk, "due_on": due, "value": "180"})


def test_a_book_is_lent_by_whoever_lends_it(loan, owner):
    assert (loan.state, loan.owner, loan.lent_on) == ("lent", owner, timezone.localdate())


def test_it_comes_back_once(actor, loan):
    back = gate.perform(actor, loan, "take_back")
    assert (back.state, back.back_on) == ("returned", timezone.localdate())
    with pytest.raises(Refused):
        gate.perform(actor, back, "take_back")


def test_it_is_written_off_with_a_reason_and_then_frozen(actor, loan):
    with pytest.raises(Refused):
        gate.perform(actor, loan, "write_off")
    gone = gate.perform(actor, loan, "write_off", {"reason": "The shop has closed."})
    with pytest.raises(Refused, match="written off"):
        gate.perform(actor, gone, "change", {"book": "Ash 2027"})


def test_the_database_keeps_the_rules_for_everyone(actor, loan):
    from ostoja.journal.context import changing

    for values in ({"due_on": loan.lent_on - timedelta(days=1)}, {"state": "returned"}, {"back_on": loan.due_on}):
        with pytest.raises(IntegrityError), changing(actor, "change"), transaction.atomic():
            SampleLoan.objects.filter(pk=loan.pk).update(**values)


def test_no_actor_no_change(loan):
    with pytest.raises(Exception, match="No actor, no change"), transaction.atomic():
        SampleLoan.objects.filter(pk=loan.pk).update(book="Ash 2027")


def test_every_change_is_in_the_journal(actor, loan):
    changed = gate.perform(actor, loan, "change", {"book": "Ash 2027"})
    events = history(changed, {"book"})
    assert [event.op for event in events] == ["U", "I"]
    assert events[0].fields == [("book", "Oak 2027", "Ash 2027")]


def test_roles_reach_it(as_role, loan):
    mine = as_role({"ext_kowalski.sampleloan": {"view": "own"}, "party.party": {"view": "all"}})
    assert not visible(mine, SampleLoan).exists()
    with pytest.raises(NotAllowed):
        gate.perform(mine, SampleLoan, "add", {"book": "x", "party": loan.party_id, "due_on": loan.due_on})


def test_it_has_its_pages_and_its_endpoint(signed_in, api, loan):
    assert "Oak 2027" in signed_in.get("/sample-loans").content.decode()
    read = api.get(f"/api/v1/sample-loans/{loan.pk}/")
    assert (read.status_code, read.json()["value"]) == (200, "180.00")
