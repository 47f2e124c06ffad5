"""What one person owns becomes another's: all of it, once, with the reason for what stays, and undisturbed by a crash."""

import pytest

from ostoja import handover
from ostoja.access.actor_of import actor_of
from ostoja.access.people import transfer_ownership
from ostoja.gate import perform
from ostoja.jobs import runner
from ostoja.jobs.models import Job
from ostoja.journal.models import Change
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.party.models import Party
from ostoja.testing.people import PASSWORD, make_user


@pytest.fixture(autouse=True)
def no_messages(monkeypatch):
    """Jobs are run by the tests."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


@pytest.fixture
def people(actor):
    """Somebody who goes, with three customers, and somebody who stays, with one."""
    goes, stays = make_user("Goes"), make_user("Stays")
    for number in range(3):
        perform(actor, Party, "add", {"name": f"Customer {number}", "owner": goes.pk})
    perform(actor, Party, "add", {"name": "Other", "owner": stays.pk})
    return goes, stays


def test_everything_moves_through_the_gate_with_the_job_as_cause(tenant, actor, people):
    goes, stays = people
    assert handover.owned(actor, goes) == {"party.party": 3}
    job = handover.start(actor, goes, stays)
    assert runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.done, job.total) == ("done", 3, 3), job.error
    assert job.result == {"moved": 3, "kept": [], "kept_count": 0}
    assert Party.objects.filter(owner=stays).count() == 4 and handover.owned(actor, goes) == {}
    changes = Change.objects.filter(cause=job.pk)
    assert changes.count() == 3 and {c.actor for c in changes} == {f"job:{job.pk}"}


def test_who_is_switched_off_can_be_handed_over_from_but_not_to(tenant, actor, people):
    goes, stays = people
    perform(actor, goes, "deactivate")
    with pytest.raises(Refused) as error:
        handover.start(actor, stays, goes)
    assert list(error.value.fields) == ["to"]
    with pytest.raises(Refused):
        handover.start(actor, goes, goes)
    runner.execute(tenant, handover.start(actor, goes, stays).pk)
    assert Party.objects.filter(owner=stays).count() == 4


def test_only_what_the_actor_may_change_moves(tenant, as_role, people):
    goes, stays = people
    clerk = as_role({"access.user": {"view": "all"}, "party.party": {"view": "all", "change": "own"}})
    assert handover.owned(clerk, goes) == {}
    runner.execute(tenant, handover.start(clerk, goes, stays).pk)
    assert Party.objects.filter(owner=goes).count() == 3
    reader = as_role({"access.user": {"view": "all"}, "party.party": {"view": "all"}})
    with pytest.raises(NotAllowed):
        handover.start(reader, goes, stays)
    with pytest.raises(NotFound):
        handover.start(as_role({"party.party": {"change": "all"}}), goes, stays)


def test_a_record_that_a_rule_keeps_is_told_and_stops_no_other(tenant, actor, people, monkeypatch):
    goes, stays = people
    kept = Party.objects.filter(owner=goes).order_by("pk")[1]
    real = handover.perform

    def refusing(who, record, *args, **kwargs):
        if record.pk == kept.pk:
            raise Refused("It is frozen.")
        return real(who, record, *args, **kwargs)

    monkeypatch.setattr(handover, "perform", refusing)
    job = handover.start(actor, goes, stays)
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.done, job.total, job.result["moved"]) == ("done", 3, 3, 2)
    assert [(k["id"], k["why"]) for k in job.result["kept"]] == [(str(kept.pk), "It is frozen.")]


def test_after_a_crash_it_goes_on_where_it_was(tenant, actor, people, monkeypatch):
    goes, stays = people
    monkeypatch.setattr(handover, "CHUNK", 1)
    real, calls = handover.perform, []

    def dying(who, record, *args, **kwargs):
        calls.append(record.pk)
        if len(calls) == 2:
            raise RuntimeError("the worker dies")
        return real(who, record, *args, **kwargs)

    monkeypatch.setattr(handover, "perform", dying)
    job = handover.start(actor, goes, stays)
    runner.execute(tenant, job.pk)
    assert Party.objects.filter(owner=goes).count() == 2
    Job.objects.filter(pk=job.pk).update(run_after=job.created_at)
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.result["moved"], job.total) == ("done", 3, 3) and len(calls) == 4
    assert Change.objects.filter(cause=job.pk).count() == 3


def test_the_job_has_the_rights_that_its_person_has_when_it_runs(tenant, actor, people):
    goes, stays = people
    boss = make_user("Boss", owner=True)
    job = handover.start(actor_of(boss), goes, stays)
    heir = make_user("Heir")
    transfer_ownership(actor_of(boss), heir, PASSWORD)
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert job.state == "failed" and Party.objects.filter(owner=goes).count() == 3
