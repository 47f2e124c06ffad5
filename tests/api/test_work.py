"""Background jobs over HTTP: one's own are seen and stopped, others' do not exist."""

from ostoja.jobs.models import Job
from ostoja.testing.people import make_user

from .answers import at, items, problem


def _job(user, **fields) -> Job:
    return Job.objects.create(kind="test.job", title="Counting", user_id=user.pk, actor_label=user.name, **fields)


def test_progress_is_seen(api, owner):
    job = _job(owner, state="running", done=30, total=120)
    said = api.get(at("jobs", job.pk)).json()
    assert (said["state"], said["done"], said["total"], said["percent"]) == ("running", 30, 120, 25)
    assert "args" not in said and "cursor" not in said
    assert [j["id"] for j in items(api.get(at("jobs")))] == [str(job.pk)]
    assert items(api.get(at("jobs", state="done"))) == []


def test_a_job_is_stopped(api, owner):
    waiting, running = _job(owner), _job(owner, state="running")
    assert api.post(at("jobs", waiting.pk, "cancel")).json()["state"] == "cancelled"
    response = api.post(at("jobs", running.pk, "cancel"))
    assert response.status_code == 202 and response.json()["cancel_requested"] is True


def test_somebody_elses_job_does_not_exist(api, owner):
    other = make_user()
    job = _job(owner)
    stranger = api.as_user(other)
    problem(stranger.get(at("jobs", job.pk)), 404)
    problem(stranger.post(at("jobs", job.pk, "cancel")), 404)
    assert items(stranger.get(at("jobs"))) == []
    job.refresh_from_db()
    assert job.state == "queued"
    for key in ("1", "nobody", "01a20bae-7f87-7499-ab7e-534c13c8fc16"):
        problem(api.get(at("jobs", key)), 404)


def test_nonsense_is_named(api):
    problem(api.get(at("jobs", nonsense=1)), 400, "unknown_parameter")
    problem(api.get(at("jobs", limit=0)), 400)
