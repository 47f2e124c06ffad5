"""Copies that the cloud keeps of a record, in exports, uploads, kept answers and jobs, go with it when it is called back."""

from __future__ import annotations

import pytest
from django.core.files.storage import default_storage
from test_database import fill
from two_sites import SYSTEM, Pair, do

from ostoja.access.actor_of import actor_of
from ostoja.exchange import export, runs
from ostoja.exchange.models import ExportRun, ImportRun, RowError
from ostoja.hybrid import copies, labels, withdrawing
from ostoja.hybrid.models import Progress, Site
from ostoja.jobs import runner
from ostoja.jobs.models import Job
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context
from ostoja.testing.canaries import Canaries
from ostoja.testing.clients import Program
from ostoja.testing.people import make_user

FILE = "name,kind,is_customer,employees\n{name},org,true,12\nRefused,org,true,{refused}\n"


def work_off(tenant, run):
    """Execute the run's job."""
    run.refresh_from_db()
    assert runner.execute(tenant, run.job_id)
    run.refresh_from_db()
    return run


@pytest.fixture
def signals():
    """Values that are open until their record is called back."""
    return Canaries()


@pytest.fixture
def pair(lender, signals):
    """A cloud in which a party came by import and by the API, was exported, and refused once; and its premises."""
    cloud, premises = lender.lend(), lender.lend()
    fill(cloud)
    with tenant_context(cloud):
        owner = make_user("Olga Owner", owner=True, email="owner@example.com")
        actor = actor_of(owner)
        content = FILE.format(name=signals.text("imported"), refused=signals.text("refused"))
        fields = ("name", "kind", "is_customer", "employees")
        mapping = {"version": 1, "columns": [{"from": n, "to": n} for n in fields]}
        run = work_off(
            cloud, runs.go(actor, runs.start(actor, "party.party", content.encode(), "parties.csv", mapping=mapping))
        )
        assert (run.created, run.failed) == (1, 1)
        imported = Party.objects.get(name__startswith=signals.head)
        program = Program.of(cloud, owner)
        answer = program.post(
            "/api/v1/parties/", {"kind": "org", "name": signals.text("answered")}, HTTP_IDEMPOTENCY_KEY="once"
        )
        assert answer.status_code == 201
        work_off(cloud, export.export(actor, "party.party", {}, "csv"))
    made = Pair(cloud, premises)
    made.program, made.imported, made.answered = program, imported, Party(pk=answer.json()["id"])
    made.load()
    made.talk()
    return made


def test_copies_go_with_the_record(pair, signals, sinks):
    before = {name for name, content in sinks(pair.cloud, []).items() if signals.found(content)}
    assert {"table api_answer", "table exchange_rowerror", "table party_party"} <= before
    assert sum(name.startswith("file ") for name in before) == 2  # the upload and the export
    for record in (pair.imported, pair.answered):
        with tenant_context(pair.premises):
            labels.close(SYSTEM, Party.objects.get(pk=record.pk))
    pair.talk()
    with tenant_context(pair.cloud):
        waiting = Job.objects.get(kind=copies.KIND)
        assert waiting.state == "queued" and "party_party" in waiting.args["tables"]
        copies.compact(waiting.args["tables"])
        assert ImportRun.objects.get().result["file_gone"] and not RowError.objects.exists()
        assert ExportRun.objects.get().state == "gone"
    after = {name: found for name, content in sinks(pair.cloud, []).items() if (found := signals.found(content))}
    assert after == {}
    again = pair.program.post(
        "/api/v1/parties/", {"kind": "org", "name": list(signals.texts)[-1]}, HTTP_IDEMPOTENCY_KEY="once"
    )
    assert (again.status_code, again.json()["code"]) == (410, "gone")


def test_an_export_that_is_written_while_a_record_is_called_back_ends_without_a_file(pair, signals, monkeypatch):
    with tenant_context(pair.cloud):
        run = export.export(SYSTEM, "party.party", {}, "csv")
        written = export.write

        def late(*arguments):
            count = written(*arguments)
            copies.forget(SYSTEM, [pair.imported.pk], ["party.party"])
            return count

        monkeypatch.setattr(export, "write", late)
        work_off(pair.cloud, run)
        assert run.state == "failed" and run.file_key == ""
        folder = f"{pair.cloud.schema_name}/exchange"
        kept = [default_storage.open(f"{folder}/{name}").read() for name in default_storage.listdir(folder)[1]]
        assert not any(signals.found(content) for content in kept)


def test_copies_of_all_go_when_fields_close(pair, signals, sinks):
    with tenant_context(pair.cloud):
        withdrawing.withdraw()
        assert ExportRun.objects.get().state == "gone" and not RowError.objects.exists()
    held = {name for name, content in sinks(pair.cloud, []).items() if signals.found(content)}
    assert not any(name.startswith("file ") for name in held)
    assert not held & {"table api_answer", "table exchange_rowerror", "table jobs_job"}
    do(pair.premises, Party, "add", {"kind": "org", "name": "Afterwards"})
    pair.talk()


def test_a_withdrawal_that_is_cut_short_is_not_taken_for_done(pair, monkeypatch):
    def cut(*_arguments):
        raise KeyboardInterrupt

    with tenant_context(pair.cloud):
        wanted = withdrawing.wanted(bytes(Progress.objects.get().peer_manifest)).decode()
        with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
            broken.setattr(copies, "forget_all", cut)
            withdrawing.withdraw()
        assert Site.objects.get(here=True).adopted != wanted
        assert ExportRun.objects.get().state == "done"
        assert withdrawing.withdraw() > 0
        assert Site.objects.get(here=True).adopted == wanted
        assert ExportRun.objects.get().state == "gone"
