"""The doctor finds what is wrong, says what helps, and is content with a sound installation."""

import os
import uuid

import pytest
from django.conf import settings
from django.db import connection, connections
from django.test import override_settings
from django.utils import timezone

from ostoja.hybrid import enrolment
from ostoja.hybrid.install import egress_role, install
from ostoja.hybrid.sites import manifest_in_force
from ostoja.hybrid.tables import tables_of
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound
from ostoja.operations import doctor
from ostoja.tenancy.context import platform_context, role_of, tenant_context
from ostoja.testing.people import make_user


@pytest.fixture
def look(installation, tenant, other_tenant):
    """``look(name)`` makes one check: its findings."""

    def examine(name: str, slug: str | None = None) -> list[doctor.Finding]:
        return doctor.examine(installation.home, slug, only=[name])

    return examine


@pytest.fixture
def as_superuser(installation):
    """``as_superuser(sql)`` does what only a person with too many rights could."""
    session = installation.superuser()

    def execute(sql: str, *parameters) -> None:
        with session.cursor() as cursor:
            cursor.execute(sql, parameters)

    yield execute
    session.close()


def states(findings: list[doctor.Finding]) -> list[str]:
    return [finding.state for finding in findings]


def test_a_sound_installation(installation, tenant, other_tenant):
    findings = doctor.examine(installation.home)
    assert [f for f in findings if f.state == "fail"] == []
    assert {f.name for f in findings if f.state == "warn"} <= {"pool", "worker", "schedule", "disk"}
    assert {"database", "grants", "journal", "jobs", "migrations", "extensions"} <= {f.name for f in findings}
    assert all(bool(f.advice) == (f.state != "ok") for f in findings)


def test_rights_of_another_tenants_role_are_found(look, tenant, other_tenant, as_superuser):
    assert states(look("grants")) == ["ok"]
    schema, stranger = tenant.schema_name, role_of(other_tenant.schema_name)
    as_superuser(f'GRANT USAGE ON SCHEMA "{schema}" TO "{stranger}"')
    as_superuser(f'GRANT SELECT ON "{schema}".access_user TO PUBLIC')
    try:
        found = look("grants")
        assert states(found) == ["fail", "fail"]
        assert any(stranger in f.what and tenant.slug in f.what for f in found)
        assert any(f.what.startswith("PUBLIC") for f in found)
    finally:
        as_superuser(f'REVOKE ALL ON SCHEMA "{schema}" FROM "{stranger}"')
        as_superuser(f'REVOKE ALL ON "{schema}".access_user FROM PUBLIC')


def test_what_speaks_to_other_sites_reads_its_views_and_nothing_else(look, tenant, as_superuser):
    with tenant_context(tenant):
        enrolment.invite(Actor.system("Test"))
        install(tenant, tables_of(manifest_in_force().canonical), 2, in_cloud=False)
    assert states(look("grants")) == ["ok"]
    schema = tenant.schema_name
    for role, table in ((egress_role(schema), "access_user"), (egress_role(schema), "whole_journal")):
        as_superuser(f'GRANT SELECT ON "{schema}"."{table}" TO "{role}"')
        (found,) = look("grants")
        assert found.state == "fail" and role in found.what
        as_superuser(f'REVOKE ALL ON "{schema}"."{table}" FROM "{role}"')


def test_a_role_that_may_act_as_a_tenant_is_found(look, tenant, other_tenant, as_superuser):
    as_superuser(f'GRANT "{role_of(tenant.schema_name)}" TO "{role_of(other_tenant.schema_name)}"')
    try:
        (found,) = look("grants")
        assert found.state == "fail" and "may act as" in found.what
        assert found.advice.startswith("REVOKE")
    finally:
        as_superuser(f'REVOKE "{role_of(tenant.schema_name)}" FROM "{role_of(other_tenant.schema_name)}"')


def test_a_tenants_role_without_its_rights_is_found(look, tenant, as_superuser):
    as_superuser(f'REVOKE USAGE ON SCHEMA "{tenant.schema_name}" FROM "{role_of(tenant.schema_name)}"')
    try:
        (found,) = look("grants")
        assert found.state == "fail" and tenant.slug in found.what
    finally:
        as_superuser(f'GRANT USAGE ON SCHEMA "{tenant.schema_name}" TO "{role_of(tenant.schema_name)}"')


def test_a_table_name_in_two_places_is_found(look, as_superuser):
    as_superuser("CREATE TABLE public.access_user (id int)")
    try:
        assert "access_user" in look("names")[0].what
    finally:
        as_superuser("DROP TABLE public.access_user")


def test_too_mighty_an_application_is_found(look, as_superuser):
    app = settings.DATABASES["default"]["USER"]
    as_superuser("CREATE TABLE public.owned_by_app (id int)")
    as_superuser(f'ALTER TABLE public.owned_by_app OWNER TO "{app}"')
    try:
        (found,) = look("roles")
        assert found.state == "fail" and "owns 1 table" in found.what
    finally:
        as_superuser("DROP TABLE public.owned_by_app")


def test_a_tampered_journal_is_found(look, tenant, as_superuser):
    with changing(Actor.system("Test"), "add"):
        make_user("Jan")
    assert states(look("journal")) == ["ok"]
    table = f'"{tenant.schema_name}".journal_change'
    as_superuser(f"SET session_replication_role = replica; UPDATE {table} SET actor = 'nobody' WHERE seq = 1")  # noqa: S608 - our own name
    bad, rest = look("journal", tenant.slug)
    assert bad.state == "fail" and tenant.slug in bad.what
    assert rest.state == "ok"


def test_jobs_that_were_given_up_or_wait_too_long_are_found(look, tenant, other_tenant):
    with tenant_context(other_tenant), changing(Actor.system("Test"), "add"), connection.cursor() as cursor:
        for state in ("parked", "queued"):
            cursor.execute(
                "INSERT INTO jobs_job (id, kind, title, args, state, done, message, result, error, cursor, attempts, cancel_requested,"
                " actor_label, created_at, run_after) VALUES (%s, 'k', '', '{}', %s, 0, '', '{}', '', '{}', 3, false, '', %s, %s)",
                [uuid.uuid4(), state, timezone.now(), timezone.now() - timezone.timedelta(hours=1)],
            )
    found = look("jobs")
    assert states(found) == ["warn", "fail"]
    assert all(other_tenant.slug in f.what and tenant.slug not in f.what for f in found)
    assert states(look("jobs", tenant.slug)) == ["ok"]


def test_a_tenant_that_was_left_behind_is_found(look, tenant):
    with platform_context():
        type(tenant).objects.filter(pk=tenant.pk).update(release="old")
    (found,) = look("migrations")
    assert found.state == "fail" and tenant.slug in found.what and "ostoja fleet migrate" in found.advice


def test_a_tenant_that_was_never_finished_is_found(look, tenant):
    with platform_context():
        long_ago = timezone.now() - timezone.timedelta(hours=1)
        type(tenant).objects.filter(pk=tenant.pk).update(
            state="building", reason="the blueprint is missing", created_at=long_ago
        )
    (found,) = look("tenants")
    assert found.state == "warn" and "the blueprint is missing" in found.what


def test_secrets_that_others_may_read_are_found(tmp_path, look):
    (tmp_path / "secrets").mkdir(mode=0o700)
    (tmp_path / "secrets" / "key").write_text("word")
    os.chmod(tmp_path / "secrets" / "key", 0o644)
    (found,) = doctor.examine(tmp_path, only=["secrets"])
    assert found.state == "fail" and str(tmp_path / "secrets" / "key") in found.what


def test_a_running_schedule_is_seen_by_its_lock(look):
    from ostoja.tenancy import locks

    assert states(look("schedule")) == ["warn"]
    with platform_context(), locks.held(connections["default"], locks.SCHEDULE):
        assert states(look("schedule")) == ["ok"]


def test_mail_that_is_only_kept_is_fine_in_development_only(look):
    assert states(look("mail")) == ["ok"]
    with override_settings(DEVELOPMENT=False):
        assert states(look("mail")) == ["warn"]
    with override_settings(
        EMAIL_BACKEND="django.core.mail.backends.smtp.EmailBackend", EMAIL_HOST="127.0.0.1", EMAIL_PORT=1
    ):
        assert states(look("mail")) == ["fail"]


def test_the_closed_way_out_and_what_it_lets_through_is_told(look, monkeypatch):
    monkeypatch.setattr("ostoja.hybrid.agent.links_to_dial", lambda: [(None, "link", "https://crm.example.com")])
    ways = {"services": set(), "mail": {("mail.lan", 587)}, "named": {("sentry.lan", 443), ("fd00::5", None)}}
    with override_settings(OUTBOUND=ways):
        (found,) = look("outbound")
    assert (found.state, found.advice) == ("ok", "")
    for said in ("workers mail.lan:587", "the agent crm.example.com:443", "sentry.lan:443", "fd00::5:*"):
        assert said in found.what
    with override_settings(OUTBOUND=ways | {"named": {("crm.example.com", 443)}}):
        (found,) = look("outbound")
    assert found.state == "warn" and "crm.example.com:443" in found.what and "outbound.hosts" in found.advice
    monkeypatch.setattr(doctor.outbound, "is_closed", lambda: False)
    assert states(look("outbound")) == ["fail"]


def test_a_database_that_logs_values_is_found(look, monkeypatch):
    assert states(look("log")) == ["ok"]
    monkeypatch.setitem(doctor.QUIET, "log_statement", ("ddl",))
    (found,) = look("log")
    assert found.state == "warn" and "ALTER SYSTEM SET log_statement = 'ddl';" in found.advice


def test_a_check_that_breaks_is_a_finding(look, monkeypatch):
    def broken(_patient):
        raise ValueError("out of order")

    monkeypatch.setattr(doctor, "CHECKS", [("broken", broken, doctor.NOTHING)])
    (found,) = look("broken")
    assert found.state == "fail" and "out of order" in found.what


def test_a_check_of_no_such_name_is_refused(look):
    with pytest.raises(NotFound, match="the checks are disk, "):
        look("astrology")


def test_an_address_of_no_tenant_is_refused(look):
    with pytest.raises(NotFound, match="ostoja tenant list"):
        look("jobs", "nobody-here")
