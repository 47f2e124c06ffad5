"""Fleet migrations: recorded once and replayed, or run with data; one bad tenant blocks none; killed anywhere, run again."""

import os
import signal
import subprocess
import sys
import textwrap
import time

import pytest
from django.db import connection, connections

from ostoja.jobs.models import Job
from ostoja.tenancy import finishing, fleet, pool, release, template
from ostoja.tenancy.context import platform_context, schema_context, tenant_context
from ostoja.tenancy.models import Template, Tenant
from ostoja.testing.releases import anatomy, next_release

COLUMN = """
operations = [
    migrations.AddField("job", "place", models.CharField(max_length=20, default="here")),
    migrations.AddIndex("job", models.Index(fields=["place"], name="job_place")),
    migrations.AddConstraint("job", Check(models.Q(attempts__lte=99), name="job_gives_up_some_day")),
    migrations.AddConstraint("job", Rule("IF NEW.place = 'nowhere' THEN {refuse} END IF; RETURN NEW;", name="job_is_somewhere", timing="BEFORE")),
]
"""
TABLE = """
operations = [
    migrations.CreateModel("Note", [
        ("id", models.BigAutoField(primary_key=True)), ("text", models.TextField()), ("job", models.ForeignKey("jobs.Job", models.CASCADE)),
    ]),
]
"""
DATA = """
def shout(apps, schema_editor):
    Job = apps.get_model("jobs", "Job")
    for job in Job.objects.using(schema_editor.connection.alias):
        job.title = job.title.upper()
        job.save()

operations = [migrations.RunPython(shout)]
"""
UNIQUE = """
operations = [migrations.AddConstraint("job", models.UniqueConstraint(fields=["kind"], name="job_kind_once"))]
"""
CONCURRENT = """
atomic = False
operations = [AddIndexConcurrently("job", models.Index(fields=["title"], name="job_title"))]
"""


@pytest.fixture
def tenants(lender):
    """Three tenants with a job each; the second one's name is its own."""
    made = [lender.lend() for _n in range(3)]
    for number, tenant in enumerate(made):
        with tenant_context(tenant):
            Job.objects.create(kind="count", title=f"job of {number}")
    return made


def run(**options):
    """Migrate and answer (outcome, what was reported)."""
    lines = []
    return fleet.migrate(lines.append, **options), lines


def heads():
    """What is behind, by slug."""
    return {head.slug: head for head in fleet.status() if head.behind}


def columns(tenant):
    """The columns of a tenant's jobs."""
    return {
        name for kind, name, _type in anatomy(tenant.schema_name) if kind == "column" and name.startswith("jobs_job.")
    }


def test_nothing_to_do_is_nothing_done(tenants):
    outcome, lines = run()
    assert (outcome.migrated, outcome.failed, lines) == ([], {}, [])
    assert not heads()


def test_recorded_sql_makes_every_tenant_the_same_as_a_new_one(tenants, tmp_path):
    with next_release(tmp_path, COLUMN, TABLE):
        assert {h.missing for h in heads().values()} == {("jobs.9001_next", "jobs.9002_next")}
        outcome, lines = run()
        assert set(outcome.migrated) == {t.schema_name for t in tenants} and not outcome.failed
        assert lines[-1] == "Tenants migrated: 3 of 3"
        assert not heads()
        made = template.ensure(lambda _line: None)
        fresh = pool.add(made)
        wanted = anatomy(fresh)
        for tenant in tenants:
            assert anatomy(tenant.schema_name) == wanted
        with tenant_context(tenants[2]), connection.cursor() as cursor:
            cursor.execute("SELECT title, place FROM jobs_job")
            assert cursor.fetchall() == [("job of 2", "here")]
        pool.drop(fresh)


def test_what_finishes_a_schema_is_renewed_without_any_migration(tenants, monkeypatch):
    added = 'CREATE OR REPLACE FUNCTION "finished_anew"() RETURNS int LANGUAGE sql AS $$ SELECT 7 $$'
    monkeypatch.setattr(finishing, "_sources", [*finishing._sources, lambda: [added]])
    release.fingerprint.cache_clear()
    try:
        outcome, _lines = run()
        assert len(outcome.migrated) == 3
        for tenant in tenants:
            with tenant_context(tenant), connection.cursor() as cursor:
                cursor.execute("SELECT finished_anew()")
                assert cursor.fetchone() == (7,)
    finally:
        release.fingerprint.cache_clear()


def test_only_the_first_tenant_of_a_state_needs_the_executor(tenants, tmp_path, monkeypatch):
    replayed = []
    replay = fleet._Run._replay
    monkeypatch.setattr(
        fleet._Run, "_replay", lambda self, tenant, record: (replayed.append(tenant.slug), replay(self, tenant, record))
    )
    with next_release(tmp_path, COLUMN):
        run()
    assert len(replayed) == 2


def test_tenants_of_different_releases_arrive_at_the_same(tenants, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    with next_release(tmp_path / "a", COLUMN):
        run(only=[tenants[1].slug])
    with next_release(tmp_path / "b", COLUMN, TABLE):
        outcome, _lines = run()
        assert len(outcome.migrated) == 3
        assert anatomy(tenants[0].schema_name) == anatomy(tenants[1].schema_name) == anatomy(tenants[2].schema_name)


def test_a_migration_that_reads_data_runs_in_every_tenant(tenants, tmp_path):
    with next_release(tmp_path, COLUMN, DATA):
        outcome, _lines = run()
        assert len(outcome.migrated) == 3
        for number, tenant in enumerate(tenants):
            with tenant_context(tenant):
                assert Job.objects.get().title == f"JOB OF {number}"


def test_one_bad_tenant_keeps_its_state_and_its_reason_and_blocks_none(tenants, tmp_path):
    for bad in (tenants[0], tenants[1]):  # the first one is where the record would be made
        with tenant_context(bad):
            Job.objects.create(kind="count", title="twice")
    with next_release(tmp_path, UNIQUE, COLUMN):
        outcome, lines = run()
        assert outcome.migrated == [tenants[2].schema_name]
        assert set(outcome.failed) == {tenants[0].schema_name, tenants[1].schema_name}
        assert "2 of 3 tenants stayed behind" in lines[-1]
        assert all("job_kind_once" in heads()[t.slug].error for t in tenants[:2])
        assert "jobs_job.place" not in columns(tenants[0])
        for bad in tenants[:2]:
            with tenant_context(bad), connection.cursor() as cursor:
                cursor.execute("DELETE FROM jobs_job WHERE title = 'twice'")
        outcome, _lines = run()
        assert not outcome.failed and not heads()
        with platform_context():
            assert not Tenant.objects.exclude(migration_error="").exists()


def test_a_tenant_whose_schema_is_lost_blocks_none(tenants, tmp_path):
    with platform_context():
        Tenant.objects.create(name="Lost", slug="lost-house", schema_name="t_" + "a" * 26)
    with next_release(tmp_path, COLUMN):
        outcome, _lines = run()
        assert len(outcome.migrated) == 3 and list(outcome.failed) == ["t_" + "a" * 26]


def test_a_busy_tenant_comes_again_later(tenants, tmp_path, installation, monkeypatch):
    monkeypatch.setattr(fleet, "LOCK_TIMEOUT", "100ms")
    busy = installation.superuser()
    busy.autocommit = False
    with busy.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {tenants[0].schema_name}.jobs_job")
    pauses = []
    monkeypatch.setattr(fleet.time, "sleep", lambda seconds: (pauses.append(seconds), busy.rollback()))
    with next_release(tmp_path, COLUMN):
        outcome, _lines = run()
    busy.close()
    assert len(pauses) == 1
    assert len(outcome.migrated) == 3 and outcome.migrated[-1] == tenants[0].schema_name


def test_a_tenant_that_stays_busy_is_told_and_blocks_none(tenants, tmp_path, installation, monkeypatch):
    monkeypatch.setattr(fleet, "LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(fleet.time, "sleep", lambda seconds: None)
    busy = installation.superuser()
    busy.autocommit = False
    with busy.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {tenants[1].schema_name}.jobs_job")
    with next_release(tmp_path, COLUMN):
        outcome, _lines = run()
        busy.close()
        assert len(outcome.migrated) == 2
        assert list(outcome.failed) == [tenants[1].schema_name]
        assert "in use all the time" in heads()[tenants[1].slug].error


def test_a_migration_that_can_not_run_in_a_transaction(tenants, tmp_path):
    with next_release(tmp_path, CONCURRENT):
        outcome, _lines = run()
        assert len(outcome.migrated) == 3 and not heads()
        assert ("index", "job_title") in {row[:2] for row in anatomy(tenants[2].schema_name)}


def test_deleted_tenants_are_migrated_too_so_that_they_can_come_back(tenants, tmp_path):
    with platform_context():
        Tenant.objects.filter(pk=tenants[1].pk).update(state="deleted")
    with next_release(tmp_path, COLUMN):
        assert len(run()[0].migrated) == 3


def test_templates_of_releases_that_nobody_has_are_forgotten(tenants, tmp_path):
    with platform_context():
        Template.objects.using("owner").create(release="old", script="", migrations=[])
    with next_release(tmp_path, COLUMN):
        run()
        with platform_context():
            assert not Template.objects.filter(release="old").exists()


KILLED = """
    import sys, time
    import django
    django.setup()
    from django.conf import settings
    settings.MIGRATION_MODULES = {{"jobs": "{package}"}}
    from ostoja.tenancy import fleet
    done = fleet._Run._done
    def slowly(self, tenant):
        done(self, tenant)
        print(tenant.slug, flush=True)
        time.sleep(0.03)
    fleet._Run._done = slowly
    fleet.migrate(lambda line: None)
"""


@pytest.mark.parametrize("after", [0, 1, 3])
def test_killed_anywhere_it_converges_when_run_again(lender, tmp_path, after):
    tenants = [lender.lend() for _n in range(5)]
    with next_release(tmp_path, COLUMN, TABLE) as package:
        code = textwrap.dedent(KILLED).format(package=package)
        with subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])},
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            if after == 0:
                time.sleep(0.9)
            for _n in range(after):
                assert process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        behind = len(heads())
        assert behind <= 5 - after
        outcome, _lines = run()
        assert len(outcome.migrated) == behind and not outcome.failed and not heads()
        assert len({frozenset(anatomy(t.schema_name)) for t in tenants}) == 1


def test_over_tenants_answers_for_all_that_are_well(tenants):
    with platform_context():
        Tenant.objects.create(name="Lost", slug="lost-house", schema_name="t_" + "a" * 26, state="open")
        Tenant.objects.filter(pk=tenants[1].pk).update(state="suspended")
    rows = list(
        fleet.over_tenants(
            connections["owner"], "SELECT title, %s::int FROM {schema}.jobs_job WHERE kind = %s", [7, "count"]
        )
    )
    assert sorted(rows) == sorted([(tenants[0].schema_name, "job of 0", 7), (tenants[2].schema_name, "job of 2", 7)])
    with schema_context("public"):
        assert (
            len(list(fleet.over_tenants(connections["owner"], "SELECT 1 FROM {schema}.jobs_job", states=["suspended"])))
            == 1
        )
