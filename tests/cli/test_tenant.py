"""`ostoja tenant` and `ostoja fleet`: a tenant's life from the command line."""

import json
from urllib.parse import urlsplit

from django.db import connections

from ostoja.tenancy.context import schema_context
from ostoja.tenancy.provisioning import create, open_up
from ostoja.testing.clients import Browser, host_of


def facts(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_life(command):
    assert command("tenant", "list").stdout == "There is no tenant yet.\n"
    open_up(create("Żuraw i Syn", "zuraw"))
    assert "Żuraw i Syn" in command("tenant", "list").stdout
    shown = facts(command("tenant", "show", "zuraw.localhost", "--json"))
    assert (shown["state"], shown["migrations_missing"]) == ("open", [])
    assert "Żuraw i Syn" in command("tenant", "show", "zuraw").stdout
    assert facts(command("tenant", "suspend", "zuraw", "--reason", "unpaid", "--json"))["reason"] == "unpaid"
    assert facts(command("tenant", "resume", "zuraw", "--json"))["state"] == "open"
    assert command("tenant", "delete", "zuraw", typed="n\n").returncode == 130
    assert command("tenant", "delete", "zuraw", typed="").returncode == 130
    assert facts(command("tenant", "show", "zuraw", "--json"))["state"] == "open"
    assert command("tenant", "delete", "zuraw", typed="y\n").returncode == 0
    assert facts(command("tenant", "list", "--json")) == []
    assert [one["state"] for one in facts(command("tenant", "list", "--all", "--json"))] == ["deleted"]
    assert command("tenant", "restore", "zuraw").stderr == "“zuraw” is open again.\n"
    assert facts(command("tenant", "delete", "zuraw", "--yes", "--json"))["state"] == "deleted"


def test_a_person_sets_a_password_by_the_link_of_the_command_line(command, tenant, owner):
    told = facts(command("tenant", "password", tenant.slug, "--user", owner.email.upper(), "--json"))
    path = urlsplit(told["link"]).path
    assert (told["user"], told["minutes"], urlsplit(told["link"]).hostname) == (owner.email, 60, host_of(tenant))
    browser, new = Browser(tenant), "a longer sentence than before"
    assert owner.email in browser.get(path).content.decode()
    assert browser.post(path, {"new": new}).status_code == 302
    assert Browser(tenant).post("/sign-in", {"email": owner.email, "password": new}).status_code == 302
    assert browser.get(path).status_code >= 400  # it counts once
    done = command("tenant", "password", tenant.slug, "--user", "nobody@example.com")
    assert done.returncode == 1 and "has no user “nobody@example.com” who may sign in" in done.stderr


def test_a_tenant_that_is_not_there_is_one_sentence(command):
    done = command("tenant", "show", "nobody-here")
    assert (done.returncode, done.stderr) == (1, "ostoja: There is no tenant “nobody-here”.\n")


def test_a_step_that_is_not_possible_is_one_sentence(command, tenant):
    done = command("tenant", "restore", tenant.slug)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ostoja: “{tenant.slug}” is in the state “Open”")


def test_a_tenant_that_stayed_behind_is_told_with_its_reason(command, tenant):
    assert command("fleet", "migrate", "--ready", "0").returncode == 0
    with schema_context(tenant.schema_name), connections["owner"].cursor() as cursor:
        cursor.execute("DELETE FROM django_migrations WHERE app = 'jobs'")
        cursor.execute("UPDATE public.tenancy_tenant SET release = 'old' WHERE slug = %s", [tenant.slug])
    done = command("fleet", "migrate", "--ready", "0")
    assert done.returncode == 1
    assert tenant.slug in done.stderr and "already exists" in done.stderr
    (head,) = [one for one in facts(command("fleet", "status", "--json")) if one["slug"] == tenant.slug]
    assert head["behind"] and "jobs.0001_initial" in head["missing"]
    assert "behind" in command("fleet", "status").stdout
