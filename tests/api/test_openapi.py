"""The document: valid, complete, narrowed to the reader, and no different from what was agreed."""

import json
import re
from pathlib import Path

from openapi_spec_validator import validate

from ostoja.api.openapi import as_bytes, document
from ostoja.api.urls import RESERVED_SLUGS, RESERVED_WORDS, urlpatterns
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor

from .answers import at

SNAPSHOT = Path(__file__).parent / "snapshots" / "openapi.json"
NOT_DESCRIBED = {"docs", "openapi", "nothing"}


def test_the_document_is_valid_openapi(api):
    said = api.get(at("openapi.json")).json()
    validate(said)
    assert said["openapi"].startswith("3.1")
    assert said["servers"][0]["url"].endswith("/api/v1")


def test_the_document_is_the_one_that_was_agreed(tenant):
    """Read the difference; when it is meant: ``UPDATE_SNAPSHOTS=1 uv run pytest tests/api/test_openapi.py``."""
    import os

    now = as_bytes(document(Actor.system(), "https://demo.example/api/v1"))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_bytes(now)
    assert now == SNAPSHOT.read_bytes()


def test_every_address_is_described_and_every_description_is_answered():
    said = document(Actor.system(), "")["paths"]
    filled = {re.sub(r"\{[a-z]+\}", "01a20bae-7f87-7499-ab7e-534c13c8fc16", path).lstrip("/"): path for path in said}
    found: dict[str, set[str]] = {}
    for example, path in filled.items():
        pattern = next(p for p in urlpatterns if p.pattern.match(example))
        assert pattern.name != "nothing", path
        methods = {m.upper() for m in said[path]}
        assert methods <= set(pattern.callback.methods), path
        found.setdefault(pattern.name, set()).update(methods)
    for pattern in urlpatterns:
        if pattern.name not in NOT_DESCRIBED:
            assert found[pattern.name] == set(pattern.callback.methods), pattern.name


def test_no_address_of_an_object_hides_another():
    for entry in registry.entries():
        assert entry.slug not in RESERVED_SLUGS, entry.label
        assert not set(entry.verbs) & (RESERVED_WORDS | {"add", "change", "delete"}), entry.label


def test_operations_have_names_of_their_own():
    said = document(Actor.system(), "")["paths"]
    names = [o["operationId"] for item in said.values() for o in item.values()]
    assert len(names) == len(set(names))


def test_a_reader_is_told_of_nothing_they_may_not_do(api, as_role):
    reader = as_role(
        {"access.department": {"view": "own", "change": "own"}, "access.user": {"view": "all"}}, classes=["public"]
    )
    said = api.as_user(reader.user).get(at("openapi.json")).json()
    validate(said)
    tags = {tag["name"] for tag in said["tags"]}
    assert {"departments", "users"} <= tags and "roles" not in tags
    assert set(said["paths"]["/departments/"]) == {"get"}
    assert set(said["paths"]["/departments/{id}/"]) == {"get", "patch"}
    assert "/users/{id}/deactivate" not in said["paths"]
    assert set(said["components"]["schemas"]["User"]["properties"]) == {"id"}
    text = json.dumps(said)
    assert "Role" not in said["components"]["schemas"] and "password" not in text and "digest" not in text


def test_a_stranger_reads_the_document_and_the_page_but_no_data(client):
    assert client.get(at("openapi.json")).status_code == 200
    page = client.get(at("docs"))
    assert page.status_code == 200 and page["Content-Type"].startswith("text/html")
    assert b"<script" not in page.content and b" style=" not in page.content


def test_the_page_explains_every_object(api):
    page = api.get(at("docs")).content.decode()
    for entry in registry.entries():
        assert f'id="{entry.slug}"' in page, entry.label
