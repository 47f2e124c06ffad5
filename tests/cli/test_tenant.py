"""`ostoja tenant` and `ostoja fleet`: a tenant's life from the command line."""

import json

CREATE = "from ostoja.tenancy.provisioning import create, open_up; open_up(create('Żuraw i Syn', '{}'))"


def facts(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_life(prepared):
    assert prepared("tenant", "list").stdout == "There is no tenant yet.\n"
    assert prepared("manage", "shell", "-c", CREATE.format("zuraw")).returncode == 0
    assert "Żuraw i Syn" in prepared("tenant", "list").stdout
    shown = facts(prepared("tenant", "show", "zuraw.localhost", "--json"))
    assert (shown["state"], shown["migrations_missing"]) == ("open", [])
    assert facts(prepared("tenant", "suspend", "zuraw", "--reason", "unpaid", "--json"))["reason"] == "unpaid"
    assert facts(prepared("tenant", "resume", "zuraw", "--json"))["state"] == "open"
    refused = prepared("tenant", "delete", "zuraw")
    assert refused.returncode != 0 and "y/N" in refused.stderr
    assert facts(prepared("tenant", "delete", "zuraw", "--yes", "--json"))["state"] == "deleted"
    assert facts(prepared("tenant", "list", "--json")) == []
    assert [one["state"] for one in facts(prepared("tenant", "list", "--all", "--json"))] == ["deleted"]
    assert prepared("tenant", "restore", "zuraw").stderr == "“zuraw” is open again.\n"


def test_a_tenant_that_is_not_there_is_one_sentence(prepared):
    done = prepared("tenant", "show", "nobody-here")
    assert (done.returncode, done.stderr) == (1, "ostoja: There is no tenant “nobody-here”.\n")


def test_a_tenant_that_stayed_behind_is_told_with_its_reason(prepared):
    prepared("manage", "shell", "-c", CREATE.format("late-one"))
    spoil = (
        "from django.db import connections; from ostoja.tenancy.context import schema_context;"
        "from ostoja.tenancy.provisioning import find; found = find('late-one')\n"
        "with schema_context(found.schema_name), connections['owner'].cursor() as cursor:\n"
        "    cursor.execute(\"DELETE FROM django_migrations WHERE app = 'jobs';"
        " UPDATE public.tenancy_tenant SET release = 'old' WHERE slug = 'late-one'\")"
    )
    assert prepared("manage", "shell", "-c", spoil).returncode == 0
    done = prepared("fleet", "migrate")
    assert done.returncode == 1
    assert "late-one" in done.stderr and "already exists" in done.stderr
    (head,) = [one for one in facts(prepared("fleet", "status", "--json")) if one["slug"] == "late-one"]
    assert head["behind"] and "jobs.0001_initial" in head["missing"]
