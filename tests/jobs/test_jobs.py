"""A job is a row first: it runs once, survives its worker, shows progress, and what keeps failing is parked."""

import os
import signal
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from celery.exceptions import Reject
from django.db import connection, transaction
from django.utils import timezone

from ostoja.jobs import queue, runner
from ostoja.jobs.celery import run_job
from ostoja.jobs.jobs import sweep
from ostoja.jobs.models import Job
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context

RAN = []


@pytest.fixture(autouse=True)
def kinds(monkeypatch):
    """Kinds of jobs for the tests, and messages kept instead of sent."""
    RAN.clear()
    sent = []
    monkeypatch.setattr(queue, "send", lambda schema, job: sent.append((schema, job)))
    monkeypatch.setattr("ostoja.jobs.jobs.send", lambda schema, job: sent.append((schema, job)))

    def count(run):
        for n in range(1, 4):
            run.progress(n, 3, f"{n} of 3", cursor={"at": n})
        run.result(counted=3)
        RAN.append(run.actor.key)

    def poison(run):
        RAN.append("poison")
        raise ValueError("it always fails")

    def advice(run):
        raise Refused("The file has no rows.")

    for kind, function in {"test.count": count, "test.poison": poison, "test.advice": advice}.items():
        monkeypatch.setitem(queue.HANDLERS, kind, function)
    return sent


def test_a_job_runs_with_progress_result_and_its_actor(tenant, actor, kinds):
    job = queue.queue(actor, "test.count", "Counting")
    assert kinds == [(tenant.schema_name, str(job.pk))]
    assert runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.done, job.total, job.percent, job.result, job.cursor) == (
        "done",
        3,
        3,
        100,
        {"counted": 3},
        {"at": 3},
    )
    assert RAN == [f"job:{job.pk}"] and job.finished_at


def test_a_rolled_back_transaction_queues_nothing(tenant, actor, kinds):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        queue.queue(actor, "test.count")
        raise ZeroDivisionError
    assert not Job.objects.exists() and kinds == []


def test_an_unknown_kind_is_refused_when_it_is_queued(tenant, actor):
    with pytest.raises(KeyError):
        queue.queue(actor, "test.nobody")


def test_two_workers_never_run_the_same_job(tenant, actor):
    job = queue.queue(actor, "test.count")
    results = []

    def work():
        results.append(runner.execute(tenant, job.pk))
        connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [False, False, False, True] and len(RAN) == 1


def test_advice_ends_a_job_and_is_shown(tenant, actor):
    job = queue.queue(actor, "test.advice")
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", "The file has no rows.")


def test_poison_is_parked_after_three_attempts_and_the_rest_goes_on(tenant, actor):
    bad, good = queue.queue(actor, "test.poison"), queue.queue(actor, "test.count")
    for _ in range(5):
        Job.objects.update(run_after=timezone.now() - timedelta(seconds=1))
        runner.execute(tenant, bad.pk)
    runner.execute(tenant, good.pk)
    bad.refresh_from_db()
    good.refresh_from_db()
    assert (bad.state, bad.attempts, RAN.count("poison"), good.state) == ("parked", 3, 3, "done")
    assert "it always fails" in bad.error
    queue.retry(bad)
    bad.refresh_from_db()
    assert (bad.state, bad.attempts) == ("queued", 0)


def test_a_waiting_job_can_be_cancelled(tenant, actor):
    job = queue.queue(actor, "test.count")
    queue.cancel(job)
    assert not runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled" and RAN == []


def test_a_running_job_stops_at_its_next_safe_point(tenant, actor, monkeypatch):
    def long(run):
        run.progress(1, 10)
        queue.cancel(run.job)
        run.progress(2)
        RAN.append("went on")

    monkeypatch.setitem(queue.HANDLERS, "test.count", long)
    job = queue.queue(actor, "test.count")
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert job.state == "cancelled" and RAN == []


@pytest.mark.parametrize("schema", ["", "t_" + "a" * 26, "public"])
def test_a_message_without_a_tenant_is_refused(lender, schema):
    with pytest.raises(Reject):
        run_job.run(schema, "01990000-0000-7000-8000-000000000000")


def test_the_sweep_finds_what_the_broker_lost(tenant, other_tenant, actor, kinds):
    job = queue.queue(actor, "test.count")
    with tenant_context(other_tenant):
        queue.queue(actor, "test.count")
        Job.objects.update(state="done")
    Job.objects.update(run_after=timezone.now() - timedelta(minutes=1))
    kinds.clear()
    assert sweep() == 1 and kinds == [(tenant.schema_name, str(job.pk))]


def test_what_is_done_elsewhere_is_left_alone_by_workers_and_by_the_sweep(tenant, actor, kinds, monkeypatch):
    monkeypatch.setattr(queue, "ELSEWHERE", queue.ELSEWHERE | {"test.count"})
    monkeypatch.setattr(runner, "ELSEWHERE", queue.ELSEWHERE)
    monkeypatch.setattr("ostoja.jobs.jobs.ELSEWHERE", queue.ELSEWHERE)
    job = queue.queue(actor, "test.count")
    Job.objects.update(run_after=timezone.now() - timedelta(minutes=1))
    assert kinds == [] and sweep() == 0
    runner.execute(tenant, job.pk)
    job.refresh_from_db()
    assert (job.state, job.attempts, RAN) == ("queued", 0, [])
    assert runner.execute(tenant, job.pk, elsewhere=True)
    job.refresh_from_db()
    assert job.state == "done"


WORKER = """
import sys, time
import django
django.setup()
from ostoja.jobs import queue, runner
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import Tenant
import uuid

def slow(run):
    start = run.cursor.get("at", 0)
    for n in range(start, 6):
        run.progress(n + 1, 6, cursor={"at": n + 1})
        print(n + 1, flush=True)
        time.sleep(float(sys.argv[3]))

queue.HANDLERS["test.slow"] = slow
with platform_context():
    tenant = Tenant.objects.get(schema_name=sys.argv[1])
print("ran", runner.execute(tenant, uuid.UUID(sys.argv[2])), flush=True)
"""


def test_a_job_whose_worker_is_killed_goes_on_where_it_was(tenant, actor, monkeypatch):
    monkeypatch.setitem(queue.HANDLERS, "test.slow", lambda run: None)
    job = queue.queue(actor, "test.slow")
    command = [sys.executable, "-c", WORKER, tenant.schema_name, str(job.pk)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "ostoja.settings"}
    first = subprocess.Popen([*command, "60"], stdout=subprocess.PIPE, text=True, env=environment)
    assert first.stdout.readline() == "1\n"
    rival = subprocess.run([*command, "0"], capture_output=True, text=True, env=environment, check=True)
    assert rival.stdout == "ran False\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    first.stdout.close()
    for _ in range(50):
        second = subprocess.run([*command, "0"], capture_output=True, text=True, env=environment, check=True)
        if second.stdout != "ran False\n":
            break
        time.sleep(0.1)
    assert second.stdout.split() == ["2", "3", "4", "5", "6", "ran", "True"]
    job.refresh_from_db()
    assert (job.state, job.done, job.attempts) == ("done", 6, 1)  # it got further, so the attempts count anew
