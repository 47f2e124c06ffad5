"""A13, A15: every address of the API, with every id of another tenant in every place: nothing is told and nothing is written."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections

from ostoja.access.policy import writable_fields
from ostoja.api.openapi import document
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_user

from ..api.answers import at, items, problem
from ..api.samples import fill

CANARY = "CANARY-of-the-other"
SYSTEM = Actor.system()


@pytest.fixture(scope="module")
def both(lender):
    """(a program of tenant A, a program of tenant B, B's ids by slug); both have a record of every object."""
    with lender.kept_tenant() as mine, lender.kept_tenant() as theirs:
        programs = []
        for tenant in (mine, theirs):
            with tenant_context(tenant):
                owner = make_user(f"{CANARY} owner" if tenant is theirs else "Olga", owner=True)
                program = Program.of(tenant, owner)
                program.there = fill(program, owner)
                program.owner = owner
            programs.append(program)
        a, b = programs
        for entry, key in list(b.there.items()):
            title = None if isinstance(entry, tuple) else entry.surface.title
            if title and title in writable_fields(SYSTEM, entry) and not entry.fields[title].is_relation:
                b.patch(at(entry.slug, key), {title: f"{CANARY} {entry.slug}"})
        file = {"file": SimpleUploadedFile("canary.txt", CANARY.encode())}
        party = b.there[registry.by_slug("parties")]
        attached = Browser.post(b, at("parties", party, "files"), file)
        b.file = attached["Location"].split("/api/v1/")[1].rstrip("/").split("/")
        started = Browser.post(
            b, at("imports"), {"file": SimpleUploadedFile("c.csv", b"name\nx\n"), "object": "departments"}
        )
        b.run = started.json()["id"]
        b.export = b.post(at("exports"), {"object": "parties"}).json()["id"]
        b.job = items(b.get(at("jobs")))[0]["id"]
        foreign = {entry.slug: key for entry, key in b.there.items() if not isinstance(entry, tuple)}
        foreign |= {b.file[0]: b.file[1], "imports": b.run, "exports": b.export, "jobs": b.job}
        yield a, b, foreign


def fingerprint(tenant) -> str:
    """A hash of every row of every table of a tenant; the use of tokens and counters aside."""
    out = hashlib.sha256()
    with tenant_context(tenant), connections["default"].cursor() as cursor:
        cursor.execute(
            "SELECT table_name FROM information_schema.tables WHERE table_schema = %s ORDER BY 1", [tenant.schema_name]
        )
        for (table,) in cursor.fetchall():
            if table not in ("access_tokenuse", "django_migrations"):
                cursor.execute(f"SELECT md5(string_agg(t::text, '|' ORDER BY t::text)) FROM \"{table}\" t")
                out.update(f"{table}={cursor.fetchone()[0]}".encode())
    return out.hexdigest()


@pytest.fixture(scope="module")
def untouched(both):
    """B, before any of the attacks."""
    return fingerprint(both[1].tenant)


def addresses():
    """Every operation of the document that has an id in its path."""
    for path, item in sorted(document(SYSTEM, "")["paths"].items()):
        for method in sorted(item):
            if "{id}" in path:
                yield pytest.param(method.upper(), path, id=f"{method.upper()} {path}")


@pytest.mark.parametrize(("method", "path"), list(addresses()))
def test_a_foreign_id_in_a_path_is_not_found(both, untouched, method, path):
    a, b, foreign = both
    slug = re.match(r"/([a-z-]+)/", path)[1]
    keys = {foreign.get(slug)} - {None} | {foreign["parties"], b.there[registry.by_slug("users")]}
    for key in keys:
        address = f"/api/v1{path.replace('{id}', key)}"
        if path.endswith("/files") and method == "POST":
            response = Browser.post(a, address, {"file": SimpleUploadedFile("x.txt", b"x")})
        else:
            response = a.generic(
                method, address, b"{}" if method in ("POST", "PATCH") else b"", content_type="application/json"
            )
        problem(response, 404, "not_found")
        assert CANARY.encode() not in response.content
    assert fingerprint(b.tenant) == untouched


@pytest.mark.parametrize("entry", list(registry.entries()), ids=lambda e: e.slug)
def test_a_foreign_id_in_a_body_a_bulk_or_a_question_finds_nothing(both, untouched, entry):
    a, b, foreign = both
    mine = a.there.get(entry)
    said = []
    for name in writable_fields(SYSTEM, entry):
        field = entry.fields[name]
        if not field.is_relation:
            continue
        key = foreign.get(registry.of(field.related_model).slug)
        for value in (key, {"id": key, "label": CANARY}):
            if mine:
                refused = a.patch(at(entry.slug, mine), {name: value})
                assert refused.status_code in (403, 404, 422), (name, refused.content)
                said.append(refused)
                row = a.post(at(entry.slug, "bulk"), [{"verb": "change", "id": mine, "data": {name: value}}])
                assert row.json()["results"][0]["status"] >= 400
            added = a.post(at(entry.slug), {name: value})
            assert added.status_code >= 400, added.content
            said.append(added)
    for name, field in entry.fields.items():
        if field.is_relation and name not in entry.model.data.secret:
            try:
                key = foreign.get(registry.of(field.related_model).slug)
            except KeyError:
                continue
            if key:
                for query in ({name: key}, {f"{name}__in": key}):
                    listed = a.get(at(entry.slug, **query))
                    assert items(listed) == []
                    assert items(a.get(at(entry.slug, "aggregate", **query))) == [{"count": 0}]
    if key := foreign.get(entry.slug):
        assert items(a.get(at(entry.slug, id=key))) == []
        for verb in ("change", "delete", *entry.verbs):
            result = a.post(at(entry.slug, "bulk"), [{"verb": verb, "id": key}]).json()["results"][0]
            assert result["status"] == 404, (verb, result)
    said += [
        a.get(at(entry.slug)),
        a.get(at(entry.slug, search="CANARY")),
        a.get(at(entry.slug, limit=500, sort="-id")),
    ]
    assert all(CANARY.encode() not in r.content for r in said)
    assert fingerprint(b.tenant) == untouched


def test_the_canary_is_there_to_be_found(both):
    _a, b, foreign = both
    for slug in ("parties", "deals", "users"):
        assert CANARY.encode() in b.get(at(slug)).content, slug
    assert CANARY.encode() in b"".join(b.get(at(*b.file, "content")).streaming_content)
    assert len(foreign) >= 20


def test_a_cursor_of_another_tenant_shows_ones_own_list(both):
    a, b, _foreign = both
    cursor = b.get(at("parties", sort="name", limit=1)).json()["next"]
    response = a.get(at("parties", sort="name", cursor=cursor))
    assert response.status_code == 200 and CANARY.encode() not in response.content


def test_a_token_is_of_its_tenant_alone(both, untouched):
    a, b, _foreign = both
    stolen = Program(b.tenant, a.token)
    for path in (at("me"), at("parties"), at("openapi.json"), at("parties", b.there[registry.by_slug("parties")])):
        response = stolen.get(path)
        assert CANARY.encode() not in response.content
        if "openapi" not in path:
            problem(response, 401)
    problem(stolen.post(at("departments"), {"name": "x"}), 401)
    assert fingerprint(b.tenant) == untouched


def test_a_session_is_of_its_tenant_alone(both):
    a, b, _foreign = both
    browser = Browser(a.tenant).sign_in(a.owner)
    assert browser.get(at("me")).status_code == 200
    problem(browser.get(at("me"), HTTP_HOST=Browser(b.tenant).host), 401)


def test_an_idempotency_key_of_another_tenant_replays_nothing(both):
    a, b, _foreign = both
    key = {"HTTP_IDEMPOTENCY_KEY": "the-same"}
    theirs = b.post(at("departments"), {"name": f"{CANARY} department"}, **key)
    mine = a.post(at("departments"), {"name": f"{CANARY} department"}, **key)
    assert theirs.status_code == mine.status_code == 201
    assert json.loads(theirs.content)["id"] != json.loads(mine.content)["id"]
