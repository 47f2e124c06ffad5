"""Files in and out: an import from the upload to the last row, an export, and files of records."""

import json

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import override_settings

from ostoja.jobs.models import Job
from ostoja.jobs.runner import execute
from ostoja.testing.people import make_user

from .answers import at, items, names, problem

CSV = b"name,part of\nSales,\nWarsaw,Sales\n,Sales\n"
PNG = (
    b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x06\x00\x00\x00\x1f\x15\xc4\x89"
    + b"\0" * 20
)


def send(program, path, name="teams.csv", content=CSV, **fields):
    """A multipart request with a file."""
    data = {"file": SimpleUploadedFile(name, content), **fields}
    return super(type(program), program).post(path, data)


def work(tenant):
    """Do what is queued."""
    for job in Job.objects.filter(state="queued").order_by("id"):
        execute(tenant, job.pk)


def test_an_import_from_the_upload_to_the_last_row(api, tenant):
    started = send(api, at("imports"), object="departments")
    assert started.status_code == 201 and started["Location"]
    one = at("imports", started.json()["id"])
    assert started.json()["state"] == "draft" and started.json()["rows"] == 3
    columns = api.get(f"{one}/columns").json()
    assert [c["name"] for c in columns["columns"]] == ["name", "part of"]
    assert {t["path"] for t in columns["targets"]} >= {"name", "parent"}
    preview = api.get(f"{one}/preview").json()
    assert preview["rows"][0]["values"]["name"] == "Sales"
    assert "items" in api.get(f"{one}/unknown").json()
    assert api.post(f"{one}/dry_run").status_code == 200
    work(tenant)
    checked = api.get(one).json()
    assert checked["state"] == "checked" and checked["failed"] == 1
    [error] = items(api.get(f"{one}/errors"))
    assert error["row"] == 4 and error["message"]
    assert items(api.get(f"{one}/errors?after={error['id']}")) == []
    refused = api.get(f"{one}/errors.csv")
    assert refused["Content-Disposition"].startswith("attachment") and b"Sales" in refused.content
    assert items(api.get(at("departments"))) == []
    assert api.post(f"{one}/run").status_code == 200
    work(tenant)
    assert api.get(one).json()["created"] == 2
    assert names(api.get(at("departments", sort="name"))) == ["Sales", "Warsaw"]
    job = api.get(at("jobs", api.get(one).json()["job_id"])).json()
    assert job["state"] == "done"
    assert api.post(f"{one}/undo").status_code == 200
    work(tenant)
    assert items(api.get(at("departments"))) == []


def test_another_mapping(api):
    one = at("imports", send(api, at("imports"), object="departments").json()["id"])
    changed = api.patch(
        one, {"mapping": {"columns": [{"from": "name", "to": "name"}]}, "mode": "upsert", "name": "Teams"}
    )
    assert changed.status_code == 200 and changed.json()["mode"] == "upsert" and changed.json()["name"] == "Teams"
    problem(api.patch(one, {"mapping": {"columns": [{"from": "name", "to": "nonsense"}]}}), 422)
    for wrong in (
        {"mapping": []},
        {"mode": "fly"},
        {"state": "done"},
        {"whole": "yes"},
        {"name": "a\u0000"},
        {"owner": None},
    ):
        problem(api.patch(one, wrong), 422)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({}, "object"),
        ({"object": "departments", "mapping": "{"}, "mapping"),
        ({"object": "departments", "mapping": "[]"}, "mapping"),
        ({"object": "departments", "options": '{"nonsense": 1}'}, "options"),
        ({"object": "departments", "mode": "fly"}, "mode"),
        ({"object": "departments", "nonsense": "1"}, "nonsense"),
    ],
)
def test_an_import_that_can_not_start_names_why(api, fields, named):
    response = send(api, at("imports"), **fields)
    assert named in problem(response, response.status_code)["errors"] and response.status_code in (400, 422)


def test_files_that_are_none(api):
    for content in (b"", b"\x00\x01\x02" * 50, b"%PDF-1.7\n", PNG, b"\xff\xfe"):
        problem(send(api, at("imports"), content=content, object="departments"), 422)
    problem(api.post(at("imports"), {"object": "departments"}), 415)
    problem(super(type(api), api).post(at("imports"), {"object": "departments"}), 422)
    raw = api.generic("POST", at("imports"), b"nonsense", content_type="multipart/form-data; boundary=x")
    problem(raw, raw.status_code)
    assert raw.status_code in (400, 422)
    problem(api.generic("POST", at("imports"), b"nonsense", content_type="multipart/form-data"), 400)
    problem(send(api, at("imports"), object="nonsense"), 404)


def test_a_file_that_is_too_large(api):
    with override_settings(MAX_UPLOAD_BYTES=10):
        response = send(api, at("imports"), object="departments")
        problem(response, 422)
        response = send(api, at("imports"), content=b"x" * (1024 * 1024 + 100), object="departments")
        problem(response, 413, "too_large")


def test_one_upload_with_a_key_is_one_import(api):
    key = {"HTTP_IDEMPOTENCY_KEY": "upload-1"}
    answers = []
    for content in (CSV, CSV, CSV + b"More,\n"):
        data = {"file": SimpleUploadedFile("teams.csv", content), "object": "departments"}
        answers.append(super(type(api), api).post(at("imports"), data, **key))
    assert [a.status_code for a in answers] == [201, 201, 422]
    assert answers[0].content == answers[1].content
    assert len(items(api.get(at("imports")))) == 1


def test_an_export_holds_what_the_list_shows(api, tenant, departments):
    query = {"parent__name": "Sales", "sort": "-name", "search": "a"}
    started = api.post(at("exports"), {"object": "departments", "query": query, "columns": ["name"]})
    assert started.status_code == 202 and started.json()["state"] == "running"
    path = at("exports", started.json()["id"])
    problem(api.get(f"{path}/content"), 404)
    work(tenant)
    assert api.get(path).json()["state"] == "done"
    response = api.get(f"{path}/content")
    lines = b"".join(response.streaming_content).decode("utf-8-sig").split()
    assert lines[1:] == names(api.get(at("departments", **query))) == ["Warsaw", "Gdańsk"]
    assert response["Content-Disposition"].startswith("attachment")
    stranger = api.as_user(make_user(owner=True))
    problem(stranger.get(f"{path}/content"), 404)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"object": 5},
        {"object": "departments", "format": "pdf"},
        {"object": "departments", "format": 5},
        {"object": "departments", "query": []},
        {"object": "departments", "query": {"name": {}}},
        {"object": "departments", "query": {"nonsense": "1"}},
        {"object": "departments", "query": {"sort": "nonsense"}},
        {"object": "departments", "columns": "name"},
        {"object": "departments", "columns": ["nonsense"]},
        {"object": "departments", "more": 1},
        {"object": "nonsense"},
    ],
)
def test_an_export_that_can_not_be(api, body):
    response = api.post(at("exports"), body)
    assert response.status_code in (400, 404, 422)
    problem(response, response.status_code)
    assert items(api.get(at("exports"))) == []


def test_a_template_names_the_columns(api):
    response = api.get(at("departments", "template.csv"))
    assert response.status_code == 200 and "name" in response.content.decode("utf-8-sig").lower()


def test_files_of_a_record(api, as_role):
    party = api.post(at("parties"), {"name": "Acme"}).json()["id"]
    path = at("parties", party, "files")
    first = send(api, path, "logo.png", PNG)
    assert first.status_code == 201 and first.json()["mime"] == "image/png"
    second = send(api, path, "<b>.html", b"<script>alert(1)</script>")
    assert [f["name"] for f in items(api.get(path))] == [second.json()["name"], "logo.png"]
    kind = first["Location"].split("/api/v1/")[1].split("/")[0]
    content = api.get(at(kind, second.json()["id"], "content"))
    assert b"".join(content.streaming_content) == b"<script>alert(1)</script>"
    assert content["Content-Disposition"].startswith("attachment") and "sandbox" in content["Content-Security-Policy"]
    assert content["Content-Type"] != "text/html"
    assert api.patch(at(kind, first.json()["id"]), {"name": "mark.png"}).json()["name"] == "mark.png"
    problem(send(api, path, "virus.exe", b"MZ" + b"\0" * 100), 422)
    problem(send(api, at("parties", "01a20bae-7f87-7499-ab7e-534c13c8fc16", "files")), 404)
    problem(send(api, at("departments", "01a20bae-7f87-7499-ab7e-534c13c8fc16", "files")), 404)
    problem(api.get(at("parties", party, "content")), 404)
    reader = api.as_user(as_role({"party.party": {"view": "own"}}).user)
    problem(reader.get(at(kind, first.json()["id"], "content")), 404)
    problem(reader.get(path), 404)
    problem(send(reader, path), 404)
    watcher = api.as_user(as_role({"party.party": {"view": "all"}}).user)
    problem(send(watcher, path), 403)
    assert api.delete(at(kind, first.json()["id"])).status_code == 204


def test_somebody_elses_import_does_not_exist(api, as_role):
    one = at("imports", send(api, at("imports"), object="departments").json()["id"])
    rights = {
        "access.department": {"view": "all", "import": "all", "add": "all"},
        "exchange.importrun": {"view": "own", "change": "own"},
    }
    other = api.as_user(as_role(rights).user)
    for response in (
        other.get(one),
        other.patch(one, {"name": "x"}),
        other.post(f"{one}/run"),
        *(other.get(f"{one}/{word}") for word in ("columns", "preview", "unknown", "errors", "errors.csv")),
    ):
        assert response.status_code in (403, 404)
    blind = api.as_user(as_role({"access.user": {"view": "all"}}).user)
    assert send(blind, at("imports"), object="departments").status_code in (403, 404)


def test_json_of_multipart_is_text(api):
    mapping = json.dumps({"columns": [{"from": "name", "to": "name"}]})
    started = send(api, at("imports"), object="departments", mapping=mapping, whole="1", name="By program")
    assert started.status_code == 201, started.content
    assert started.json()["whole"] is True and started.json()["name"] == "By program"
