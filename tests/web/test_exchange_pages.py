"""The import wizard page by page, with the worker's jobs done in between; files and people beside it."""

import re

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile

from ostoja.jobs.models import Job
from ostoja.jobs.runner import execute
from ostoja.kernel import registry

CSV = """Name;Industry;Employees;Status
Nowa Huta;Steel;120;active
Córka;Steel;abc;active
Trzecia;Retail;5;aktywna
"""


def model(label):
    return registry.get(label).model


def work(tenant):
    """What a worker does in the background."""
    for job in Job.objects.filter(state="queued"):
        assert execute(tenant, job.pk)


@pytest.fixture
def address(signed_in):
    """The page of an import whose file is uploaded."""
    answer = signed_in.post("/parties/import", {"file": SimpleUploadedFile("new.csv", CSV.encode())})
    assert answer.status_code == 302
    return answer["Location"]


def mapping_of(html: str) -> dict[str, str]:
    """The choices of the page as they stand."""
    data = {"mode": "upsert"}
    for name, options in re.findall(r'<select name="(to-\d+)"[^>]*>(.*?)</select>', html, re.S):
        chosen = re.search(r'<option value="([^"]*)" selected', options)
        data[name] = chosen.group(1) if chosen else ""
    return data


def test_from_the_file_to_the_result_and_back(signed_in, address, tenant):
    page = signed_in.get(address).content.decode()
    data = mapping_of(page)
    assert [data[f"to-{i}"] for i in range(4)] == ["name", "industry", "employees", "state"]
    answer = signed_in.post(f"{address}/columns", data)
    assert answer["Location"] == f"{address}?step=values"
    page = signed_in.get(answer["Location"]).content.decode()
    assert "aktywna" in page
    answer = signed_in.post(f"{address}/values", {"text-0-0": "aktywna", "value-0-0": "active"})
    assert answer["Location"] == address
    assert "import-progress" in signed_in.get(address).content.decode()
    work(tenant)
    assert signed_in.get(f"{address}/progress")["HX-Redirect"] == address
    page = signed_in.get(address).content.decode()
    assert "is not a number" in page
    assert not model("party.party").objects.exists()
    signed_in.post(f"{address}/go")
    work(tenant)
    assert set(model("party.party").objects.values_list("name", "state")) == {
        ("Nowa Huta", "active"),
        ("Trzecia", "active"),
    }
    page = signed_in.get(address).content.decode()
    assert "Undo the import" in page
    errors = signed_in.get(f"{address}/errors.csv").content.decode("utf-8-sig")
    assert "Córka" in errors and "Nowa Huta" not in errors
    signed_in.post(f"{address}/save", {"name": "Our accounts"})
    signed_in.post(f"{address}/undo")
    work(tenant)
    assert not model("party.party").objects.exists()
    assert "The import is undone" in signed_in.get(address).content.decode()


def test_a_mapping_that_can_not_be_is_refused_on_its_page(signed_in, address):
    answer = signed_in.post(f"{address}/columns", {"mode": "add", "to-0": "name", "to-1": "name"})
    assert answer.status_code == 422
    assert "Two columns go to" in answer.content.decode()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.csv", b""),
        ("only-header.csv", b"Name;City\n"),
        ("picture.csv", b"\x89PNG\r\n\x1a\n" + b"\x00" * 200),
        ("zeros.csv", b"\x00" * 500),
    ],
)
def test_a_file_that_is_none_is_refused_with_advice(signed_in, name, content):
    answer = signed_in.post("/parties/import", {"file": SimpleUploadedFile(name, content)})
    assert 400 <= answer.status_code < 500
    assert 'role="alert"' in answer.content.decode()


def test_somebody_elses_import_does_not_exist(tenant, address, as_role):
    from ostoja.testing.clients import Browser
    from ostoja.testing.people import make_user

    user = make_user("Other Importer")
    as_role({"party.party": {"view": "all", "add": "all", "import": "all"}}, user=user)
    browser = Browser(tenant).sign_in(user)
    assert browser.get(address).status_code == 404
    assert browser.post(f"{address}/go").status_code == 404


def test_formulas_are_harmless_in_an_export(signed_in, actor):
    from ostoja import gate

    gate.perform(actor, model("party.party"), "add", {"name": "=cmd|' /C calc'!A0", "kind": "org"})
    content = b"".join(signed_in.post("/parties/export.csv").streaming_content).decode()
    assert "'=cmd" in content


def test_a_file_is_attached_fetched_and_deleted(signed_in, actor):
    from ostoja import gate

    party = gate.perform(actor, model("party.party"), "add", {"name": "Stalmet", "kind": "org"})
    sent = SimpleUploadedFile("Offer.html", b"<script>alert(1)</script>")
    signed_in.post(f"/parties/{party.pk}/files", {"file": sent})
    page = signed_in.get(f"/parties/{party.pk}?tab=attachments").content.decode()
    url = re.search(r'href="(/party-files/[0-9a-f-]+/content)"', page).group(1)
    answer = signed_in.get(url)
    assert b"".join(answer.streaming_content) == b"<script>alert(1)</script>"
    assert answer["Content-Disposition"].startswith("attachment")
    assert "sandbox" in answer["Content-Security-Policy"]
    signed_in.post(url.replace("/content", "/delete"))
    assert signed_in.get(url).status_code == 404


def test_a_colleague_is_invited_and_joins(signed_in, tenant, as_role, outbox):
    from ostoja.access.models import Role
    from ostoja.testing.clients import Browser

    as_role({"party.party": {"view": "all"}})
    role = Role.objects.first()
    answer = signed_in.post(
        "/settings/people/invite", {"email": "new@example.com", "role_codes": [role.code]}, HTTP_HX_REQUEST="true"
    )
    assert answer["HX-Redirect"] == "/settings/people"
    work(tenant)
    token = re.search(r"/invitation/([A-Za-z0-9_-]+)", outbox[0].body).group(1)
    stranger = Browser(tenant)
    assert "new@example.com" in stranger.get(f"/invitation/{token}").content.decode()
    weak = stranger.post(f"/invitation/{token}", {"name": "Nina New", "password": "password12"})
    assert weak.status_code == 422
    joined = stranger.post(f"/invitation/{token}", {"name": "Nina New", "password": "Korzenie-7-drzewa-rosną"})
    assert joined.status_code == 302
    assert "Nina New" in stranger.get("/settings/profile").content.decode()
    assert stranger.get(f"/invitation/{token}").status_code in (302, 410)


def test_the_list_of_imports_names_its_objects_in_words(signed_in, address):
    rows = re.search(r"<tbody.*?</tbody>", signed_in.get("/imports").content.decode(), re.S)[0]
    assert "Customers" in rows and "party.party" not in rows
