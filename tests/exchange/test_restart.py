"""A worker that is killed in the middle: the import and its undo go on from the last committed row, nothing twice, nothing missing."""

import os
import signal
import subprocess
import sys
import time

import pytest

from ostoja.exchange import runs
from ostoja.jobs.models import Job
from ostoja.journal.models import Change

WORKER = """
import sys, time, uuid
import django
django.setup()
from ostoja.exchange import jobs, undoing
from ostoja.jobs import runner
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import Tenant

jobs.CHUNK = undoing.CHUNK = 20
where, pause = sys.argv[3], float(sys.argv[4])

def slowly(name, function):
    def wrapped(*args, **kwargs):
        value = function(*args, **kwargs)
        print(name, flush=True)
        if where == name:
            time.sleep(pause)
        return value
    return wrapped

# Where a worker may die: in a chunk's transaction before and after its cursor is written, and between two chunks.
jobs.Engine.bring = slowly("brought", jobs.Engine.bring)
jobs.Undo.take_back = slowly("brought", jobs.Undo.take_back)
runner.Run.progress = slowly("written", runner.Run.progress)
jobs._tell = slowly("committed", jobs._tell)
with platform_context():
    tenant = Tenant.objects.get(schema_name=sys.argv[1])
print("ran", runner.execute(tenant, uuid.UUID(sys.argv[2])), flush=True)
"""


def start(tenant, job_id, where="", pause=0):
    command = [sys.executable, "-c", WORKER, tenant.schema_name, str(job_id), where, str(pause)]
    environment = {**os.environ, "DJANGO_SETTINGS_MODULE": "ostoja.settings"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def kill_at(tenant, job_id, where, times):
    """Start a worker, let it pass the place so many times, and kill it there."""
    worker = start(tenant, job_id, where, 0.4 if times > 1 else 60)
    seen = 0
    while seen < times:
        line = worker.stdout.readline()
        assert line, worker.stderr.read()
        seen += line.strip() == where
    worker.send_signal(signal.SIGKILL)
    worker.communicate()


def finish(tenant, job_id):
    """Let a worker go on, once the dead one's lock is gone."""
    for _ in range(100):
        worker = start(tenant, job_id)
        out, err = worker.communicate()
        if "ran True" in out:
            return
        assert "ran False" in out, err
        time.sleep(0.1)
    pytest.fail("The lock of the dead worker stays.")


@pytest.mark.parametrize("where", ["brought", "written", "committed"])
def test_a_killed_import_goes_on_without_a_duplicate_or_a_gap(tenant, actor, rows, errors, where):
    text = (
        "name,part of\n"
        + "".join(f"d{n},{'d' + str(n + 30) if n % 10 == 0 and n <= 70 else ''}\n" for n in range(1, 101))
        + ",\n,nowhere\nd5,\n"
    )
    mapping = {"columns": [{"from": "name", "to": "name"}, {"from": "part of", "to": "parent"}]}
    run = runs.go(actor, runs.start(actor, "departments", text.encode(), "d.csv", mapping=mapping))
    run.refresh_from_db()
    kill_at(tenant, run.job_id, where, 2)
    there = rows("access.department").count()
    assert there in (20, 40) and Job.objects.get(pk=run.job_id).cursor["counts"]["created"] == there
    finish(tenant, run.job_id)
    run.refresh_from_db()
    names = sorted(rows("access.department").values_list("name", flat=True), key=lambda n: int(n[1:]))
    assert names == [f"d{n}" for n in range(1, 101)]
    assert (run.state, run.created, run.failed, run.rows) == ("done", 100, 2, 102)
    assert [(r, c) for r, c, _m in errors(run)] == [(103, "name"), (104, "name")]
    assert rows("access.department").exclude(parent=None).count() == 7
    assert Change.objects.filter(cause=run.pk, op="I", model="access.department").count() == 100

    if where != "written":
        return
    run = runs.undo(actor, run)
    run.refresh_from_db()
    kill_at(tenant, run.job_id, where, 2)
    finish(tenant, run.job_id)
    run.refresh_from_db()
    assert run.state == "undone" and not rows("access.department").exists()
    assert run.result["undo"]["deleted"] == 100 and run.result["undo"]["kept_count"] == 0


def test_a_worker_that_dies_at_the_same_row_again_and_again_ends_the_import_with_advice(tenant, actor):
    run = runs.go(actor, runs.start(actor, "departments", b"name\na\nb\n", "d.csv"))
    run.refresh_from_db()
    for _ in range(3):
        kill_at(tenant, run.job_id, "brought", 1)
        time.sleep(0.3)
    finish(tenant, run.job_id)
    run.refresh_from_db()
    assert run.state == "failed" and "died again and again" in run.result["error"]
    run = runs.go(actor, run)  # the cause is gone; it goes on
    run.refresh_from_db()
    finish(tenant, run.job_id)
    run.refresh_from_db()
    assert (run.state, run.created) == ("done", 2)
