"""A13, A4, C13: every address of the web × method × whoever asks, with ids of another tenant and of another scope in every place."""

from __future__ import annotations

import itertools
import re

import pytest
from django.conf import settings
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import URLPattern, get_resolver

from ostoja.access.actor_of import EVERYBODY, actor_of
from ostoja.access.models import Invitation, SavedView, Session, UserRole
from ostoja.access.policy import writable_fields
from ostoja.exchange import runs
from ostoja.jobs.models import Job
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user

from ..api.samples import fill
from .test_api_matrix import fingerprint

CANARY = "CNRY-of-another-tenant"
OWNERS = "CNRY-of-the-owner"
SYSTEM = Actor.system()
METHODS = ("GET", "POST")

# What a stranger may open; everything else asks them to sign in.
OPEN = {
    "sign-in", "sign-out", "forgotten", "password/<str:token>", "confirm/<str:token>", "welcome/<str:token>",
    "invitation/<str:token>", "language",
}  # fmt: skip
# Addresses that are there on a developer's machine only.
DEVELOPMENT = {"development/mail", "development/mail/<str:key>"}
KEYED = {
    "jobs": "jobs", "views": "views", "settings/people": "users", "settings/people/invitations": "invitations",
    "settings/roles": "roles", "settings/devices": "sessions", "settings/tokens": "tokens", "imports": "imports", "exports": "exports",
}  # fmt: skip


def routes() -> list[str]:
    """The patterns of all addresses of the web, as they are written; those of the API have their own matrix."""
    return [str(p.pattern) for p in get_resolver("ostoja.web.urls").url_patterns if isinstance(p, URLPattern)]


def filled(route: str, slug: str, key: str, verb: str) -> str:
    """The address of a pattern."""
    path = route.replace("<str:token>", "x" * 43).replace("<str:key>", "x")
    path = re.sub(r"\(\?P<slug>[^)]*\)", slug, path)
    path = re.sub(r"\(\?P<pk>[^)]*\)", key, path)
    path = re.sub(r"\(\?P<verb>[^)]*\)", verb, path)
    path = re.sub(r"\(\?P<format>[^)]*\)", "csv", path)
    return "/" + path.removeprefix("^").removesuffix("$").replace("\\.", ".")


class World:
    """A tenant with its people, and with one record of every object."""

    def __init__(self, tenant, canary: str):
        self.tenant = tenant
        with tenant_context(tenant):
            self.owner = make_user(f"{canary} owner", owner=True)
            self.actor = actor_of(self.owner)
            program = Program.of(tenant, self.owner)
            there = fill(program, self.owner)
            for entry, key in there.items():
                title = None if isinstance(entry, tuple) else entry.surface.title
                if title and title in writable_fields(SYSTEM, entry) and not entry.fields[title].is_relation:
                    program.patch(f"/api/v1/{entry.slug}/{key}", {title: f"{canary} {entry.slug}"})
            self.keys = {e.slug: k for e, k in there.items() if not isinstance(e, tuple)}
            attached = Browser.post(
                program,
                f"/api/v1/parties/{self.keys['parties']}/files",
                {"file": SimpleUploadedFile("canary.txt", canary.encode())},
            )
            slug, self.file = attached["Location"].split("/api/v1/")[1].rstrip("/").split("/")[:2]
            self.keys[slug] = self.file
            self.keys["imports"] = str(
                runs.start(self.actor, "access.department", f"name\n{canary}\n".encode(), f"{canary}.csv").pk
            )
            self.keys["exports"] = program.post("/api/v1/exports", {"object": "parties"}).json()["id"]
            with changing(self.actor, "add"):
                view = SavedView.objects.create(
                    user=self.owner, object="party.party", name=f"{canary} view", query={"pairs": []}
                )
                invitation = Invitation(email="someone@example.com", invited_by=self.owner, digest="d" * 64)
                invitation.expires_at = self.owner.created_at
                invitation.save()
            self.keys |= {"views": str(view.pk), "invitations": str(invitation.pk)}
            self.keys["tokens"] = str(self.owner.tokens.first().pk)
            self.keys["jobs"] = str(Job.objects.exclude(title="").first().pk)
            self.browser = Browser(tenant, raise_request_exception=False).sign_in(self.owner)
            self.keys["sessions"] = str(Session.objects.filter(user=self.owner).first().pk)


@pytest.fixture(scope="module")
def worlds(lender):
    """(mine, theirs): two tenants; a seller of mine with the scope ``own`` who owns nothing."""
    with lender.kept_tenant() as a, lender.kept_tenant() as b:
        mine, theirs = World(a, OWNERS), World(b, CANARY)
        with tenant_context(a):
            own = {verb: "own" for verb in ("view", "add", "change", "delete", "export", "import")}
            grants = {
                e.label: own
                for e in registry.entries()
                if e.parent is None and not e.surface.automatic and "own" in e.scopes
            }
            for label in grants:
                grants[label] = own | {v: "own" for v in registry.get(label).verbs}
            seller = make_user("Sam Seller")
            with changing(SYSTEM, "add"):
                UserRole.objects.create(user=seller, role=make_role(grants))
            mine.seller = Browser(a, raise_request_exception=False).sign_in(seller)
        yield mine, theirs


@pytest.fixture(scope="module")
def untouched(worlds):
    """The other tenant before any attack."""
    return fingerprint(worlds[1].tenant)


def key_for(route: str, slug: str, keys: dict) -> str:
    """The id that belongs into a pattern."""
    if "slug>" in route:
        return keys[slug]
    head = route.removeprefix("^").partition("/(?P<pk>")[0]
    return keys[KEYED[head]]


def harvested(keys: dict, entry) -> dict:
    """Everything that was found elsewhere, as the fields of a form."""
    data: dict[str, object] = {"id": list(keys.values()), "next": "https://evil.example/", "name": "x", "text": "x"}
    if entry is not None:
        for name, field in entry.fields.items():
            if field.is_relation:
                try:
                    target = registry.of(field.related_model).slug
                except KeyError:
                    continue
                if target in keys:
                    data[name] = keys[target]
    return data


def ask(browser, method: str, path: str, data: dict, **extra):
    """Send one request; a POST like a form does, with a file."""
    if method == "POST":
        return browser.post(path, data | {"file": SimpleUploadedFile("x.csv", b"name\nx\n")}, **extra)
    if method == "GET":
        return browser.get(path, data, **extra)
    return browser.generic(method, path, b"{}", content_type="application/json", **extra)


def content_of(response) -> bytes:
    """The whole body and what the headers say."""
    body = b"".join(response.streaming_content) if getattr(response, "streaming", False) else response.content
    return body + repr(sorted(response.items())).encode() + str(response.cookies).encode()


def sound(response, path: str) -> bytes:
    """No fault, and every header that protects is there."""
    assert response.status_code < 500, (path, response.status_code)
    heads = response.headers
    assert "no-store" in heads["Cache-Control"], path
    assert "default-src 'none'" in heads["Content-Security-Policy"] or "sandbox" in heads["Content-Security-Policy"], (
        path
    )
    assert "unsafe" not in heads["Content-Security-Policy"], path
    assert heads["X-Content-Type-Options"] == "nosniff" and heads["X-Frame-Options"] == "DENY", path
    assert heads["Referrer-Policy"] == "same-origin" and heads["Cross-Origin-Opener-Policy"] == "same-origin", path
    for name, cookie in response.cookies.items():
        assert cookie["path"] == "/" and not cookie["domain"] and cookie["samesite"] == "Lax", (path, name)
        gone = cookie["max-age"] == 0
        assert gone or cookie["httponly"] or name == settings.CSRF_COOKIE_NAME, (path, name)
    location = heads.get("Location", heads.get("HX-Redirect", "/"))
    assert location.startswith("/") and not location.startswith("//"), (path, location)
    return content_of(response)


def slugs_of(route: str, keys: dict) -> list[str | None]:
    """The objects for which a pattern is tried: all of which there is a record, once for patterns without one."""
    if "slug>" not in route:
        return [None]
    return [e.slug for e in registry.entries() if e.slug in keys]


def verb_of(slug: str | None) -> str:
    """A verb that the object has, or one that it has not."""
    verbs = registry.by_slug(slug).verbs if slug else {}
    return next(iter(verbs), "win")


def test_every_address_is_in_the_matrix():
    for route in routes():
        keyed = re.search(r"\^(.+)/\(\?P<pk>", route)
        assert "slug>" in route or not keyed or keyed[1] in KEYED, f"{route}: say in KEYED whose ids belong there."
    assert OPEN <= set(routes()) and DEVELOPMENT <= set(routes())


@pytest.mark.parametrize("route", routes())
def test_a_stranger_is_asked_to_sign_in(worlds, untouched, route):
    _mine, theirs = worlds
    browser = Browser(theirs.tenant, raise_request_exception=False)
    for method, slug in itertools.product(METHODS, (None,) if "slug>" not in route else ("parties", "users")):
        path = filled(route, slug or "", key_for(route, slug, theirs.keys) if "pk>" in route else "", verb_of(slug))
        response = ask(browser, method, path, harvested(theirs.keys, registry.by_slug(slug) if slug else None))
        assert CANARY.encode() not in sound(response, path), (method, path)
        if route in OPEN or route in DEVELOPMENT:
            continue
        assert response.status_code in (302, 405) and response.get("Location", "/sign-in").startswith("/sign-in"), (
            method,
            path,
        )
        assert ask(browser, method, path, {}, HTTP_HX_REQUEST="true").status_code in (401, 405), (method, path)
    assert fingerprint(theirs.tenant) == untouched


@pytest.mark.parametrize("route", [r for r in routes() if r not in DEVELOPMENT])
def test_another_tenants_ids_are_nothing(worlds, untouched, route):
    mine, theirs = worlds
    owner = mine.browser if route != "sign-out" else Browser(mine.tenant)
    for slug in slugs_of(route, theirs.keys):
        entry = registry.by_slug(slug) if slug else None
        path = filled(route, slug or "", key_for(route, slug, theirs.keys) if "pk>" in route else "", verb_of(slug))
        for method in ("GET", "POST"):
            response = ask(owner, method, path, harvested(theirs.keys, entry))
            assert CANARY.encode() not in sound(response, path), (method, path)
            if "pk>" in route and not route.startswith("^jobs/"):
                assert response.status_code in (404, 405), (method, path, response.status_code)
    assert fingerprint(theirs.tenant) == untouched


@pytest.mark.parametrize("route", [r for r in routes() if r not in OPEN and r not in DEVELOPMENT])
def test_a_session_is_nobody_at_another_tenant(worlds, untouched, route):
    mine, theirs = worlds
    slug = "parties" if "slug>" in route else None
    path = filled(route, slug or "", key_for(route, slug, theirs.keys) if "pk>" in route else "", verb_of(slug))
    for method in ("GET", "POST"):
        stolen = Browser(theirs.tenant, raise_request_exception=False)
        stolen.cookies[settings.SESSION_COOKIE_NAME] = getattr(
            mine.browser.cookies[settings.SESSION_COOKIE_NAME],
            "value",
            mine.browser.cookies[settings.SESSION_COOKIE_NAME],
        )
        response = ask(stolen, method, path, {})
        assert CANARY.encode() not in sound(response, path), path
        assert response.status_code in (302, 405) and response.get("Location", "/sign-in").startswith("/sign-in"), (
            method,
            path,
        )
    assert fingerprint(theirs.tenant) == untouched


@pytest.mark.parametrize("route", [r for r in routes() if "slug>" in r or "pk>" in r])
def test_what_is_outside_of_the_scope_is_not_there(worlds, route):
    mine, _theirs = worlds
    before = fingerprint_of_others(mine)
    for slug in slugs_of(route, mine.keys):
        entry = registry.by_slug(slug) if slug else None
        if entry is not None and "own" not in entry.scopes and entry.parent is None:
            continue  # everybody who may see one sees all
        if entry is not None and EVERYBODY.get(entry.label, {}).get("view") == "all":
            continue  # everybody may see these without any role
        path = filled(route, slug or "", key_for(route, slug, mine.keys) if "pk>" in route else "", verb_of(slug))
        for method in ("GET", "POST"):
            response = ask(mine.seller, method, path, {"id": list(mine.keys.values()), "q": "CNRY-of"})
            assert OWNERS.encode() not in sound(response, path), (method, path)
            if "pk>" in route and not route.startswith("^jobs/"):
                assert response.status_code in (403, 404, 405), (method, path, response.status_code)
    assert fingerprint_of_others(mine) == before


@pytest.mark.parametrize("route", routes())
def test_no_change_without_a_csrf_token(worlds, route):
    mine, _theirs = worlds
    before = fingerprint_of_others(mine)
    forger = Browser(mine.tenant, raise_request_exception=False, enforce_csrf_checks=True)
    forger.cookies[settings.SESSION_COOKIE_NAME] = getattr(
        mine.browser.cookies[settings.SESSION_COOKIE_NAME], "value", mine.browser.cookies[settings.SESSION_COOKIE_NAME]
    )
    slug = "parties" if "slug>" in route else None
    path = filled(route, slug or "", key_for(route, slug, mine.keys) if "pk>" in route else "", verb_of(slug))
    for extra in ({}, {"HTTP_HX_REQUEST": "true"}, {"HTTP_ORIGIN": "https://evil.example"}):
        for method in ("POST", "DELETE"):
            response = ask(forger, method, path, {"id": mine.keys["parties"]}, **extra)
            assert response.status_code == 403, (method, path, response.status_code)
            sound(response, path)
    assert fingerprint_of_others(mine) == before


def fingerprint_of_others(world) -> list:
    """The versions of all records of the owner's."""
    with tenant_context(world.tenant):
        rows = []
        for slug, key in sorted(world.keys.items()):
            entry = registry.by_slug(slug)
            if entry is not None:
                rows.append((slug, list(entry.model._default_manager.filter(pk=key).values_list("pk", "version"))))
        rows.append(SavedView.objects.filter(pk=world.keys["views"]).exists())
        rows.append(Session.objects.filter(pk=world.keys["sessions"]).exists())
        rows.append(Job.objects.filter(pk=world.keys["jobs"]).values_list("state", "cancel_requested").get())
        return rows


def test_the_canary_is_there_to_be_found(worlds):
    mine, _theirs = worlds
    for path in ("/parties", "/deals", f"/parties/{mine.keys['parties']}", f"/imports/{mine.keys['imports']}"):
        assert OWNERS in mine.browser.get(path).content.decode(), path
