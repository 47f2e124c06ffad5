"""`ostoja tenant create`, `resume` and `ostoja blueprint`: how an operator brings companies in."""

import json

import pytest
from django.test import RequestFactory

from ostoja.access import signin
from ostoja.access.models import Role, User
from ostoja.crm.sales.models import Deal
from ostoja.onboarding import signup
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import tenant_context

OWNER = "owner@zuraw.example"


def facts(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_tenant_is_made_with_its_blueprint_and_an_owner_who_can_sign_in(command):
    made = facts(
        command("tenant", "create", "zuraw", "--owner", OWNER, "--name", "Żuraw i Syn", "--blueprint", "services",
                "--language", "pl", "--currency", "czk", "--samples", "--json")
    )  # fmt: skip
    assert (made["state"], made["blueprint"], made["currency"], made["owner"]) == ("open", "services", "CZK", OWNER)
    with tenant_context(provisioning.find("zuraw")):
        assert signin.sign_in(RequestFactory().post("/"), OWNER, made["password"]).user.is_owner
        assert Role.objects.get(code="consultant").name == "Konsultant"
        assert Deal.objects.count() == 3


def test_a_password_from_stdin_is_not_shown(command):
    made = facts(
        command(
            "tenant", "create", "zuraw", "--owner", OWNER, "--password-stdin", "--json", typed="Korzenie-7-drzewa\n"
        )
    )
    assert "password" not in made
    with tenant_context(provisioning.find("zuraw")):
        assert User.objects.get().check_password("Korzenie-7-drzewa")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["admin", "--owner", OWNER], "is taken, or too much like one that is"),
        (["zuraw", "--owner", "nobody"], "valid email"),
        (["zuraw", "--owner", OWNER, "--language", "de"], "Ostoja speaks en, pl"),
        (["zuraw", "--owner", OWNER, "--currency", "euro"], "three letters"),
        (["zuraw", "--owner", OWNER, "--blueprint", "circus"], "no blueprint “circus”"),
    ],
)
def test_what_can_not_be_is_one_sentence_and_leaves_nothing(command, words, said):
    done = command("tenant", "create", *words)
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert facts(command("tenant", "list", "--json")) == []


def test_resume_goes_on_with_what_stopped(command):
    signup.begin("Żuraw", "zuraw", email=OWNER, password="Korzenie-7-drzewa", blueprint="general", language="en")
    assert facts(command("tenant", "show", "zuraw", "--json"))["state"] == "building"
    assert facts(command("tenant", "resume", "zuraw", "--json"))["state"] == "open"
    with tenant_context(provisioning.find("zuraw")):
        assert User.objects.get().is_owner


def test_blueprints_are_listed_and_sound(command):
    listed = facts(command("blueprint", "list", "--json"))
    assert [one["name"] for one in listed] == ["wholesale", "manufacturing", "services", "general"]
    assert facts(command("blueprint", "check", "--json")) == {one["name"]: [] for one in listed}
    assert "sound" in command("blueprint", "check", "general").stdout
    assert command("blueprint", "check", "circus").stderr == "ostoja: There is no blueprint “circus”.\n"
