"""Activities: what was said is done, what is to be done is open, and the time of doing is the database's word."""

from datetime import timedelta

import pytest
from django.db import IntegrityError
from django.utils import timezone

from ostoja import gate
from ostoja.access.policy import visible
from ostoja.crm.sales.models import Deal, Pipeline, Stage
from ostoja.journal.context import changing
from ostoja.kernel.errors import NotFound, Refused
from ostoja.party.models import Party
from ostoja.planning.models import Activity


@pytest.fixture
def activity(tenant, actor):
    """``activity("call")`` -> an activity."""
    return lambda kind, **data: gate.perform(actor, Activity, "add", {"kind": kind, "subject": "Prices", **data})


def soon():
    return timezone.now() + timedelta(days=1)


@pytest.mark.parametrize(
    ("kind", "later", "state"),
    [
        ("note", False, "done"), ("call", False, "done"), ("call", True, "open"), ("meeting", True, "open"),
        ("task", False, "open"), ("task", True, "open"),
    ],
)  # fmt: skip
def test_what_has_happened_is_done_and_what_is_to_come_is_open(activity, kind, later, state):
    made = activity(kind, at=soon()) if later else activity(kind)
    assert made.state == state and (made.done_at is not None) == (state == "done")


def test_done_cancelled_and_open_again(activity, actor):
    made = activity("task")
    for verb, state in (("complete", "done"), ("reopen", "open"), ("cancel", "cancelled"), ("reopen", "open")):
        made = gate.perform(actor, made, verb)
        assert made.state == state and (made.done_at is not None) == (state == "done")
    with pytest.raises(Refused, match="Not possible while it is “To do”"):
        gate.perform(actor, made, "reopen")


def test_the_time_of_doing_can_not_lie(activity, actor):
    made = activity("task")
    with changing(actor, "attack"):
        Activity.objects.filter(pk=made.pk).update(done_at=timezone.now())
        Activity.objects.filter(pk=made.pk).update(state="done", done_at=None)
    assert Activity.objects.get(pk=made.pk).done_at is not None
    with pytest.raises(IntegrityError), changing(actor, "attack"):
        Activity.objects.filter(pk=made.pk).update(state="cancelled")


def test_bulk_knows_when_it_was_done(tenant, actor):
    rows = [{"kind": "note", "body": f"Said {n}\nand more"} for n in range(3)]
    outcomes = gate.Many(actor, Activity).add(rows)
    assert [(o.record.subject, o.record.state) for o in outcomes] == [(f"Said {n}", "done") for n in range(3)]
    assert all(o.record.done_at for o in outcomes)


def test_it_says_something_and_ends_after_it_begins(activity):
    with pytest.raises(Refused, match="a subject or a text"):
        activity("note", subject="", body=" ")
    with pytest.raises(Refused) as refused:
        activity("meeting", at=soon(), ends_at=timezone.now())
    assert set(refused.value.fields) == {"ends_at"}


def test_the_customer_of_a_deal_is_the_activitys(activity, actor):
    pipeline = gate.perform(actor, Pipeline, "add", {"name": "Sales"})
    gate.perform(actor, Stage, "add", {"pipeline": pipeline, "name": "New"})
    acme = gate.perform(actor, Party, "add", {"name": "Acme"})
    deal = gate.perform(actor, Deal, "add", {"party": acme})
    assert activity("call", deal=deal).party == acme


def test_own_and_team_are_told_apart(activity, actor, as_role, owner):
    mine = activity("task")
    seller = as_role({"planning.activity": {"view": "own", "add": "own", "complete": "own"}})
    own = gate.perform(seller, Activity, "add", {"kind": "task", "subject": "Call back"})
    assert own.owner_id == seller.user_id and list(visible(seller, Activity)) == [own]
    with pytest.raises(NotFound):
        gate.perform(seller, mine, "complete")
