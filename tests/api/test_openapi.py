"""The document: valid, complete, narrowed to the reader, and no different from what was agreed."""

import json
import os
import re
from pathlib import Path

from openapi_spec_validator import validate

from ostoja.api.openapi import document
from ostoja.api.urls import RESERVED_SLUGS, RESERVED_WORDS, urlpatterns
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor

from .answers import at

SNAPSHOT = Path(__file__).parent / "snapshots" / "openapi.txt"
NOT_DESCRIBED = {"docs", "openapi", "nothing"}
WHERE_A_ROOM_ADDS_SOME = {"object-word", "record-word"}  # described in the tenants that have them


def test_the_document_is_valid_openapi(api):
    said = api.get(at("openapi.json")).json()
    validate(said)
    assert said["openapi"].startswith("3.1")
    assert said["servers"][0]["url"].endswith("/api/v1")


def lines(said: dict) -> list[str]:
    """The document so that people can read its differences: a line for an operation, a property, a parameter."""

    def brief(value: object) -> str:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))

    def last(reference: dict) -> str:
        return reference.get("$ref", "").rpartition("/")[2] or reference.get("name") or brief(reference)

    def answer(status: str, response: dict) -> str:
        schemas = [last(c["schema"]) for c in response.get("content", {}).values()]
        return f"{status}:{'|'.join(schemas)}" if schemas else status

    out = []
    for path, item in sorted(said["paths"].items()):
        for method, operation in sorted(item.items()):
            body = [last(c["schema"]) for c in operation.get("requestBody", {}).get("content", {}).values()]
            parameters = " ".join(last(p) for p in operation.get("parameters", ()))
            answers = " ".join(answer(*r) for r in operation["responses"].items())
            out.append(
                f"{method.upper()} {path} = {operation['operationId']}({parameters}) {' '.join(body)} -> {answers}"
            )
    for name, schema in sorted(said["components"]["schemas"].items()):
        out.append(f"{name}: {brief({k: v for k, v in schema.items() if k != 'properties'})}")
        out += [f"{name}.{key}: {brief(value)}" for key, value in schema["properties"].items()]
    out += [f"?{name}: {brief(p['schema'])}" for name, p in sorted(said["components"]["parameters"].items())]
    return out


def test_the_document_is_the_one_that_was_agreed(tenant):
    """Read the difference; when it is meant: ``UPDATE_SNAPSHOTS=1 uv run pytest tests/api/test_openapi.py``."""
    now = lines(document(Actor.system(), "https://demo.example/api/v1"))
    if os.environ.get("UPDATE_SNAPSHOTS"):
        SNAPSHOT.write_text("\n".join(now) + "\n")
    agreed = SNAPSHOT.read_text().splitlines()
    assert [line for line in now if line not in agreed] == [] == [line for line in agreed if line not in now]


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
        if pattern.name not in NOT_DESCRIBED | WHERE_A_ROOM_ADDS_SOME:
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
    assert set(said["paths"]["/departments/{id}/"]) == {"get"}  # no field of it may be seen, so none be changed
    changer = as_role({"access.department": {"view": "own", "change": "own"}})
    other = api.as_user(changer.user).get(at("openapi.json")).json()
    assert set(other["paths"]["/departments/{id}/"]) == {"get", "patch"}
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
