"""A14, A15: nobody climbs: every door by which somebody could give rights beyond their own, or use what is somebody else's."""

from __future__ import annotations

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from ostoja import gate
from ostoja.access import remembered, tokens
from ostoja.access.actor_of import actor_of
from ostoja.access.models import Role, SavedView, User, UserRole
from ostoja.access.people import set_roles
from ostoja.exchange import runs
from ostoja.jobs import runner
from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.tenancy.context import current_tenant
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user

ALL = {"*": {"*": "all"}}
RIGHTS = {
    "access.user": {"*": "all"},
    "access.role": {"*": "all"},
    "access.invitation": {"*": "all"},
    "exchange.importrun": {"*": "all"},
    "access.savedview": {"*": "own"},
    "party.party": {"view": "own", "add": "own", "change": "own"},
}


@pytest.fixture
def strong(owner):
    """A role that may everything."""
    return make_role(ALL, ["public", "internal", "confidential", "restricted"])


@pytest.fixture
def climber(as_role, owner):
    """Somebody who looks after people and roles, and has no right beyond that."""
    return as_role(RIGHTS, classes=["public", "internal"])


def imported(actor, work, label: str, text: str) -> object:
    """A file goes all the way in, as far as it is let."""
    run = runs.start(actor, label, text.encode(), "climb.csv")
    run = runs.check(actor, run)
    work()
    run.refresh_from_db()
    if run.state == "checked":
        run = runs.go(actor, run)
        work()
    run.refresh_from_db()
    return run


@pytest.fixture
def work(monkeypatch):
    """Carries out every job that waits."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)

    def all_of_it():
        for job in Job.objects.filter(state="queued").order_by("created_at"):
            runner.execute(current_tenant(), job.pk)

    return all_of_it


def held(actor) -> set[str]:
    """The codes of the roles that somebody holds."""
    return set(UserRole.objects.filter(user_id=actor.user_id).values_list("role__code", flat=True))


def test_a_role_in_a_form_a_file_or_a_bulk_grants_no_more_than_one_holds(tenant, climber, strong):
    own = Role.objects.exclude(pk=strong.pk).get()
    before = held(climber)
    browser = Browser(tenant).sign_in(climber.user)
    program = Program.of(tenant, climber.user)
    form = {"name": "Climb", "code": "climb", "level": "1", "grants": json.dumps(ALL), "classes": "restricted"}
    answers = [
        browser.post("/roles/new", form),
        browser.post(f"/roles/{own.pk}/edit", form),
        browser.post("/settings/roles/new", form | {"name": "Climb"}),
        browser.post(f"/settings/roles/{own.pk}", form | {"g.sales.deal.view": "all", "sales.deal:view": "all"}),
        browser.post(f"/settings/people/{climber.user_id}/roles", {"role_codes": [strong.code]}),
        browser.post("/held-roles/new", {"user": climber.user_id, "role": strong.pk}),
        browser.post("/settings/people/invite", {"email": "me2@example.com", "role_codes": [strong.code]}),
        program.post("/api/v1/held-roles", {"user": str(climber.user_id), "role": str(strong.pk)}),
        program.post(
            "/api/v1/held-roles/bulk", [{"verb": "add", "data": {"user": str(climber.user_id), "role": str(strong.pk)}}]
        ),
        program.post("/api/v1/roles/bulk", [{"verb": "change", "id": str(own.pk), "data": {"grants": ALL}}]),
        program.post(f"/api/v1/users/{climber.user_id}/roles", {"role_codes": [strong.code]}),
    ]
    assert all(a.status_code < 500 for a in answers), [a.status_code for a in answers]
    own.refresh_from_db()
    assert own.grants == RIGHTS and own.classes == ["public", "internal"]
    assert not any(r.grants == ALL for r in Role.objects.exclude(pk=strong.pk))
    assert held(climber) == before
    with pytest.raises(OstojaError):
        set_roles(climber, climber.user, [strong.code])


@pytest.mark.parametrize("label", ["access.userrole", "access.role", "access.user"])
def test_an_import_grants_no_more_than_one_holds(tenant, climber, strong, owner, work, label):
    own = Role.objects.exclude(pk=strong.pk).get()
    before, people = held(climber), set(User.objects.values_list("email", "is_owner", "password"))
    texts = {
        "access.userrole": f"user,role\n{climber.user.email},{strong.code}\n",
        "access.role": f'name,code,level,grants,classes\nA,{own.code},1,"{{""*"": {{""*"": ""all""}}}}",restricted\nB,b,1,"{{""*"": {{""*"": ""all""}}}}",restricted\n',
        "access.user": f"name,email,is_owner,roles,password\nOlga,{owner.email},0,,x\nMe,{climber.user.email},1,{strong.code},x\n",
    }
    try:
        imported(climber, work, label, texts[label])
    except (NotAllowed, NotFound, Refused):
        pass
    assert held(climber) == before
    assert not any(r.grants == ALL for r in Role.objects.exclude(pk=strong.pk))
    assert set(User.objects.values_list("email", "is_owner", "password")) == people


def test_who_holds_nothing_gives_nothing_through_a_token(tenant, climber):
    program = Program.of(tenant, climber.user, ["access.user:view"])
    for path, body in (
        ("/api/v1/users", {"name": "X", "email": "x@example.com"}),
        (f"/api/v1/users/{climber.user_id}/deactivate", {}),
        ("/api/v1/tokens", {"name": "x", "scopes": ["*:*"]}),
        ("/api/v1/imports", {"object": "users"}),
        ("/api/v1/exports", {"object": "roles"}),
    ):
        assert program.post(path, body).status_code in (400, 403, 404, 405, 415, 422), path
    with pytest.raises(Refused):
        tokens.issue(climber, climber.user, "wide", ["sales.deal:view"])
    with pytest.raises(NotAllowed):
        tokens.issue(climber, make_user("Else"), "theirs", ["*:view"])
    assert climber.user.tokens.count() == 1


def test_a_token_is_nobody_at_the_pages_of_people(tenant, owner):
    """Its scopes are kept at the API; at a page it could end sessions, read settings and make saved views."""
    person = Browser(tenant).sign_in(owner)
    key = {"HTTP_AUTHORIZATION": Program.of(tenant, owner, ["*:view"]).defaults["HTTP_AUTHORIZATION"]}
    program = Browser(tenant)
    for path in ("/", "/parties", "/settings/people", "/settings/tokens", "/palette", "/jobs/mine"):
        assert program.get(path, **key)["Location"].startswith("/sign-in"), path
    for path in (
        "/settings/devices/end",
        "/settings/tokens/new",
        "/parties/views/new",
        "/settings/profile",
        "/confirm-again",
    ):
        assert program.post(path, {"name": "x", "scopes": "*:*"}, **key)["Location"].startswith("/sign-in"), path
    program.post("/language", {"language": "pl"}, **key)
    owner.refresh_from_db()
    assert owner.language != "pl" and person.get("/api/v1/me").status_code == 200
    assert owner.tokens.count() == 1 and not SavedView.objects.exists()


def test_a_colleague_touches_nothing_of_mine(tenant, owner, as_role, actor):
    mine = runs.start(actor, "party.party", b"name\nStalmet\n", "mine.csv")
    job = queue(actor, "exchange.check", "Mine", run=str(mine.pk))
    with changing(actor, "add"):
        view = SavedView.objects.create(user=owner, object="party.party", name="Private view", query={"pairs": []})
    token, _secret = tokens.issue(actor, owner, "Mine", ["*:*"])
    rights = {
        "exchange.importrun": {"*": "own"},
        "exchange.exportrun": {"view": "own"},
        "party.party": {"*": "all"},
        "access.apitoken": {"*": "own"},
    }
    colleague = as_role(rights | {"access.savedview": {"*": "own"}})
    browser, program = Browser(tenant).sign_in(colleague.user), Program.of(tenant, colleague.user)
    for part in ("", "/progress", "/errors.csv"):
        assert browser.get(f"/imports/{mine.pk}{part}").status_code == 404, part
    for part in ("columns", "values", "go", "stop", "undo", "save"):
        assert browser.post(f"/imports/{mine.pk}/{part}").status_code == 404, part
    assert browser.post(f"/views/{view.pk}/forget").status_code == 404
    assert browser.post(f"/settings/tokens/{token.pk}/revoke").status_code in (302, 404)
    assert browser.post(f"/jobs/{job.pk}/stop").status_code == 200
    assert "Private view" not in browser.get("/parties").content.decode()
    for method, path in (
        ("get", f"imports/{mine.pk}"), ("post", f"imports/{mine.pk}/undo"), ("post", f"imports/{mine.pk}/run"), ("get", f"jobs/{job.pk}"),
        ("post", f"jobs/{job.pk}/stop"), ("get", f"views/{view.pk}"), ("delete", f"views/{view.pk}"), ("patch", f"views/{view.pk}"),
        ("get", f"tokens/{token.pk}"), ("post", f"tokens/{token.pk}/revoke"),
    ):  # fmt: skip
        answer = getattr(program, method)(f"/api/v1/{path}", **({"data": {}} if method in ("post", "patch") else {}))
        assert answer.status_code in (404, 405), (method, path, answer.status_code)
    job.refresh_from_db()
    token.refresh_from_db()
    assert not job.cancel_requested and token.revoked_at is None and SavedView.objects.filter(pk=view.pk).exists()


def test_a_shared_view_shows_only_what_its_reader_may_see(tenant, actor, as_role):
    gate.perform(
        actor, registry.get("party.party").model, "add", {"name": "Stalmet", "kind": "org", "notes": "Tajemnica"}
    )
    view = gate.perform(
        actor,
        SavedView,
        "add",
        {"name": "Everybody's", "object": "party.party", "query": {"pairs": [["q", "Stal"]]}, "shared": True},
    )
    reader = as_role({"party.party": {"view": "own"}}, classes=["public", "internal"])
    page = Browser(tenant).sign_in(reader.user).get("/parties?q=Stal").content.decode()
    assert view.shared and "Everybody&#x27;s" in page and "Stalmet" not in page


def test_undoing_the_import_of_another_needs_the_rights_over_its_records(tenant, actor, as_role, work):
    run = imported(actor, work, "party.party", "name,kind\nStalmet,org\n")
    model = registry.get("party.party").model
    assert run.state == "done" and model.objects.count() == 1
    meddler = as_role(
        {"exchange.importrun": {"*": "all"}, "party.party": {"view": "own", "import": "own", "delete": "own"}}
    )
    try:
        runs.undo(meddler, run)
        work()
    except (NotAllowed, NotFound, Refused):
        pass
    assert model.objects.count() == 1


def test_who_lost_the_right_loses_the_job(tenant, as_role, work):
    rights = {"exchange.importrun": {"*": "own"}, "party.party": {"view": "own", "add": "own", "import": "own"}}
    clerk = as_role(rights)
    run = runs.start(clerk, "party.party", b"name,kind\nStalmet,org\n", "late.csv")
    runs.check(clerk, run)
    work()
    run.refresh_from_db()
    runs.go(clerk, run)
    with changing(Actor.system(), "delete"):
        UserRole.objects.get(user_id=clerk.user_id).delete()
    remembered.forget()
    work()
    assert registry.get("party.party").model.objects.count() == 0
    assert "party.party" not in actor_of(User.objects.get(pk=clerk.user_id)).grants


def test_files_follow_their_record(tenant, owner, as_role):
    program = Program.of(tenant, owner)
    party = program.post("/api/v1/parties", {"name": "Stalmet", "kind": "org"}).json()["id"]
    sent = Browser.post(program, f"/api/v1/parties/{party}/files", {"file": SimpleUploadedFile("s.txt", b"Tajemnica")})
    path = sent["Location"].split("/api/v1/")[1].rstrip("/")
    nobody = as_role({"party.party": {"view": "own", "change": "own"}})
    browser, other = Browser(tenant).sign_in(nobody.user), Program.of(tenant, nobody.user)
    assert (
        browser.get(f"/{path}/content").status_code == 404 and other.get(f"/api/v1/{path}/content").status_code == 404
    )
    assert browser.post(f"/{path}/delete").status_code == 404 and other.delete(f"/api/v1/{path}").status_code == 404
    upload = {"file": SimpleUploadedFile("x.txt", b"x")}
    assert browser.post(f"/parties/{party}/files", upload).status_code == 404
    answer = Browser(tenant).sign_in(owner).get(f"/{path}/content")
    assert "attachment" in answer["Content-Disposition"] or "sandbox" in answer["Content-Security-Policy"]
