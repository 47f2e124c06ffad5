"""Changes: through the form and the gate, upon a version, with a refusal that names the field and the way out."""

import pytest
from django.test import override_settings

from ostoja.access.models import Department
from ostoja.testing.clients import Browser

from .answers import at, problem


def test_add_read_change_delete(api):
    made = api.post(at("departments"), {"name": "Sales"})
    assert made.status_code == 201 and made["ETag"] == '"1"'
    one = made.json()
    assert made["Location"].endswith(f"/api/v1/departments/{one['id']}/")
    read = api.get(made["Location"])
    assert read.json() == one and read["ETag"] == '"1"'
    changed = api.patch(at("departments", one["id"]), {"name": "Sales and service"})
    assert changed.json()["name"] == "Sales and service" and changed["ETag"] == '"2"' and changed.json()["version"] == 2
    gone = api.delete(at("departments", one["id"]))
    assert gone.status_code == 204 and gone.content == b""
    problem(api.get(at("departments", one["id"])), 404, "not_found")


def test_a_relation_is_given_by_its_id_or_as_it_was_read(api, departments):
    sales = api.get(at("departments", departments["Sales"].pk)).json()
    for n, parent in enumerate((sales["id"], sales, {"id": sales["id"], "label": "whatever"})):
        made = api.post(at("departments"), {"name": f"Part {n}", "parent": parent})
        assert made.json()["parent"] == {"id": sales["id"], "label": "Sales"}
        assert api.patch(at("departments", made.json()["id"]), {"parent": None}).json()["parent"] is None


@pytest.mark.parametrize(
    ("body", "named"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"name": 5}, "name"),
        ({"name": True}, "name"),
        ({"name": ["Sales"]}, "name"),
        ({"name": {"a": 1}}, "name"),
        ({"name": "x" * 121}, "name"),
        ({"name": "a\u0000b"}, "name"),
        ({"name": "Sales", "parent": "nobody"}, "parent"),
        ({"name": "Sales", "parent": 5}, "parent"),
        ({"name": "Sales", "parent": {}}, "parent"),
        ({"name": "Sales", "parent": {"id": []}}, "parent"),
        ({"name": "Sales", "parent": "01a20bae-7f87-7499-ab7e-534c13c8fc16"}, "parent"),
        ({"name": "Sales", "nonsense": 1}, "nonsense"),
        ({"name": "Sales", "id": "01a20bae-7f87-7499-ab7e-534c13c8fc16"}, "id"),
        ({"name": "Sales", "version": 7}, "version"),
        ({"name": "Sales", "created_at": "2020-01-01T00:00:00Z"}, "created_at"),
    ],
)
def test_a_refused_record_names_the_field(api, body, named):
    said = problem(api.post(at("departments"), body), 422)
    assert said["errors"][named]
    assert not Department.objects.exists()


def test_a_rule_of_the_database_speaks_its_own_sentence(api, departments):
    said = problem(api.post(at("departments"), {"name": "SALES"}), 422)
    assert "There is a department of this name." in said["detail"]
    key = departments["Sales"].pk
    said = problem(api.patch(at("departments", key), {"parent": str(key)}), 422)
    assert said["errors"]["parent"] == ["A department can't be a part of itself."]
    problem(api.delete(at("departments", key)), 422, "relation")


@pytest.mark.parametrize(
    "raw",
    [
        b"{",
        b"nonsense",
        b"[1]",
        b"7",
        b'"text"',
        b'{"name": NaN}',
        b'{"name": "\\ud800"}',
        b"\xff\xfe",
        b"[" * 5000,
        b"{'a': 1}",
    ],
)
def test_malformed_json_is_a_bad_request(api, raw):
    problem(api.generic("POST", at("departments"), raw, content_type="application/json"), 400, "malformed_json")


def test_content_that_is_not_json(api):
    for kind in (
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
    ):
        problem(api.generic("POST", at("departments"), b"name=Sales", content_type=kind), 415, "unsupported_media_type")


def test_a_body_that_is_too_large(api):
    with override_settings(DATA_UPLOAD_MAX_MEMORY_SIZE=1000):
        problem(api.post(at("departments"), {"name": "x" * 2000}), 413, "too_large")


def test_methods_that_an_address_does_not_know(api, departments):
    key = departments["Sales"].pk
    for path, method, allow in (
        ("departments", "PUT", "GET, HEAD, POST, OPTIONS"),
        (f"departments/{key}", "POST", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        ("departments/bulk", "PATCH", "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (f"departments/{key}/history", "DELETE", "GET, HEAD, OPTIONS"),
        ("me", "POST", "GET, HEAD, OPTIONS"),
    ):
        response = api.generic(method, at(path), b"{}", content_type="application/json")
        if path.endswith("bulk"):
            continue
        problem(response, 405, "method_not_allowed")
        assert response["Allow"] == allow
    options = api.options(at("departments"))
    assert options.status_code == 204 and options["Allow"] == "GET, HEAD, POST, OPTIONS"
    head = api.head(at("departments"))
    assert head.status_code == 200 and head.content == b""


def test_absent_forbidden_and_malformed_ids_look_the_same(api, departments, as_role):
    absent = "01a20bae-7f87-7499-ab7e-534c13c8fc16"
    seen = set()
    for key in (absent, "5", "nobody", absent.replace("-", ""), f"{{{absent}}}", "%00", "ż"):
        for response in (
            api.get(at("departments", key)),
            api.patch(at("departments", key), {"name": "x"}),
            api.delete(at("departments", key)),
            api.get(at("departments", key, "history")),
        ):
            seen.add(problem(response, 404, "not_found")["detail"])
    assert len(seen) == 1


def test_upon_a_version(api, departments):
    path = at("departments", departments["Sales"].pk)
    assert api.patch(path, {"name": "First"}, HTTP_IF_MATCH='"1"')["ETag"] == '"2"'
    problem(api.patch(path, {"name": "Second"}, HTTP_IF_MATCH='"1"'), 412, "stale")
    problem(api.delete(path, HTTP_IF_MATCH='"1"'), 412, "stale")
    assert api.get(path).json()["name"] == "First"
    assert api.patch(path, {"name": "Any"}, HTTP_IF_MATCH="*").status_code == 200
    for nonsense in ("1", "W/1", '"x"', '"1", "2"', '"99999999999999999999"'):
        problem(api.patch(path, {"name": "No"}, HTTP_IF_MATCH=nonsense), 400, "bad_etag")


def test_the_etag_of_a_compressed_answer_is_as_good(api, departments):
    path = at("departments", departments["Sales"].pk)
    api.patch(path, {"name": "Sales of many things, and a name that is long enough to be compressed " + "x" * 40})
    read = api.get(path, HTTP_ACCEPT_ENCODING="gzip")
    assert read["ETag"].endswith('"2"')
    assert api.patch(path, {"name": "Sales"}, HTTP_IF_MATCH=read["ETag"]).status_code == 200
    problem(api.patch(path, {"name": "Sale"}, HTTP_IF_MATCH=read["ETag"]), 412, "stale")


def test_a_verb_with_its_reason(api, people, owner):
    path = at("users", people["Ben"].pk)
    assert api.post(f"{path}/deactivate").json()["is_active"] is False
    assert api.post(f"{path}/activate/", {}).json()["is_active"] is True
    problem(api.post(f"{path}/fly"), 404)
    problem(api.post(at("users", owner.pk, "deactivate")), 403, "not_allowed")
    said = problem(api.post(f"{path}/deactivate", {"name": "Somebody else"}), 422)
    assert "name" in said["errors"]


def test_history_tells_who_did_what(api, owner, departments):
    path = at("departments", departments["Warsaw"].pk)
    api.patch(path, {"name": "Warszawa", "parent": None})
    events = api.get(f"{path}/history").json()["items"]
    assert [e["change"] for e in events] == ["changed", "added"]
    assert {f["field"]: (f["before"], f["after"]) for f in events[0]["fields"]} == {
        "name": ("Warsaw", "Warszawa"),
        "parent": (str(departments["Sales"].pk), None),
    }
    assert events[1]["actor"] == {"kind": "user", "id": str(owner.pk), "label": "Olga Owner"}
    assert events[0]["actor"]["kind"] == "token"
    assert len(api.get(at("departments", departments["Warsaw"].pk, "history", limit=1)).json()["items"]) == 1


def test_strangers_are_told_to_sign_in(tenant, api):
    stranger = Browser(tenant)
    for path in ("departments", "me", "jobs", "nonsense/nonsense", "departments/1/history"):
        response = stranger.get(at(path))
        problem(response, 401, "sign_in_needed")
        assert response["WWW-Authenticate"].startswith("Bearer")
    for token in ("Bearer ost_" + "x" * 40, "Bearer nonsense", "Bearer "):
        problem(stranger.get(at("departments"), HTTP_AUTHORIZATION=token), 401, "sign_in_needed")
    problem(stranger.post(at("departments"), {"name": "x"}, content_type="application/json"), 401)


def test_an_unknown_token_is_not_helped_by_a_cookie(signed_in):
    assert signed_in.get(at("me")).status_code == 200
    problem(signed_in.get(at("me"), HTTP_AUTHORIZATION="Bearer ost_" + "x" * 40), 401)


def test_a_session_needs_the_csrf_token_for_changes(tenant, owner):
    browser = Browser(tenant, enforce_csrf_checks=True).sign_in(owner)
    assert browser.get(at("departments")).status_code == 200
    problem(browser.post(at("departments"), {"name": "Sales"}, content_type="application/json"), 403, "csrf")
    assert not Department.objects.exists()


def test_answers_are_kept_by_nobody(api):
    for response in (api.get(at("departments")), api.get(at("nonsense")), api.post(at("departments"), {})):
        assert response["Cache-Control"] == "private, no-store"
        assert "Authorization" in response["Vary"] and "Cookie" in response["Vary"]


def test_addresses_where_nothing_is(api):
    for path in ("nonsense", "departments/a/b/c/d", "Departments", "departments//", "%2e%2e/"):
        problem(api.get(at(path)), 404)
    problem(api.post(at("nonsense"), {}), 404)


def test_a_fault_of_ours_is_recorded_and_tells_nothing(api, monkeypatch, caplog):
    def broken(*_args, **_kwargs):
        raise RuntimeError("the secret of the house")

    monkeypatch.setattr("ostoja.api.records.statement", broken)
    response = api.get(at("departments"))
    assert problem(response, 500, "fault") and b"secret" not in response.content
    assert "the secret of the house" in caplog.text


def test_the_database_away_is_a_503_that_may_be_tried_again(api, monkeypatch):
    from django.db import OperationalError

    def away(*_args, **_kwargs):
        raise OperationalError("server closed the connection unexpectedly")

    api.get(at("me"))
    monkeypatch.setattr("ostoja.api.records.statement", away)
    response = api.get(at("departments"))
    problem(response, 503, "unavailable")
    assert response["Retry-After"]


def test_unknown_parameters_of_single_addresses_are_named(api, departments):
    problem(api.get(at("departments", departments["Sales"].pk, fields="name")), 400, "unknown_parameter")
    problem(api.post(at("departments", dry_run=1), {"name": "x"}), 400, "unknown_parameter")
