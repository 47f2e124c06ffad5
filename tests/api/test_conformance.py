"""Every object of the registry, over HTTP, without a line from its author."""

from __future__ import annotations

import pytest

from ostoja.access.policy import may, visible_fields, writable_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Program
from ostoja.testing.people import make_user

from .answers import at, items, problem
from .samples import fill, sample

SYSTEM = Actor.system()


@pytest.fixture(scope="module")
def program(module_tenant):
    """A program of an owner, in a tenant with one record of every object that can be added by its fields."""
    with tenant_context(module_tenant):
        owner = make_user("Olga Owner", owner=True)
        program = Program.of(module_tenant, owner)
        program.owner = owner
        program.there = fill(program, owner)
    return program


def entries(*, added: bool = False):
    """All objects; with ``added`` those that a program can add by their fields."""
    found = list(registry.entries())
    if added:
        found = [
            e for e in found if e.label not in MADE_OTHERWISE and may(SYSTEM, e, "add") and writable_fields(SYSTEM, e)
        ]
    return pytest.mark.parametrize("entry", found, ids=lambda e: e.slug)


# Made by a verb, a file or a page of their own; adding them by their fields is refused.
MADE_OTHERWISE: set[str] = {
    "access.apitoken", "access.invitation", "exchange.importrun", "exchange.exportrun",
    "documents.partyfile", "documents.dealfile", "documents.productfile", "documents.activityfile",
}  # fmt: skip


@entries()
def test_a_list_and_its_questions_are_answered_for_every_field(program, entry):
    names = [n for n in visible_fields(SYSTEM, entry)]
    assert items(program.get(at(entry.slug, fields=",".join(names)))) is not None
    for item in items(program.get(at(entry.slug, limit=3))):
        assert set(item) == set(names)
    for name in names:
        program_answers = program.get(at(entry.slug, sort=f"-{name}", limit=2)).status_code
        assert program_answers in (200, 400), name
        assert program.get(at(entry.slug, **{f"{name}__isnull": "false"})).status_code in (200, 400), name
    assert program.get(at(entry.slug, search="a b")).status_code == 200
    assert program.get(at(entry.slug, "aggregate")).status_code == 200


@entries(added=True)
def test_what_was_sent_is_read(program, entry):
    body = sample(entry, program.there, every=True)
    assert body is not None, f"Nothing of {entry.label} could be added: see samples.KNOWN."
    response = program.post(at(entry.slug), body)
    if response.status_code == 422:  # a rule of its own does not take every field together
        body = sample(entry, program.there)
        response = program.post(at(entry.slug), body)
    if response.status_code == 422 and "already" in response.json()["detail"]:  # the one that is there is the same
        response = program.get(at(entry.slug, program.there[entry]))
    assert response.status_code in (200, 201), response.content
    one = program.get(at(entry.slug, response.json()["id"])).json()
    assert one == response.json()
    for name, sent in body.items():
        field, got = entry.fields[name], one[name]
        got = got["id"] if field.is_relation and got else got
        if isinstance(sent, str) and not field.is_relation:
            same = str(got).replace("+00:00", "Z").rstrip("0").rstrip(".") == sent.rstrip("0").rstrip(".")
            assert same or got, (name, sent, got)
        else:
            assert got == sent, name


@entries(added=True)
def test_every_writable_field_is_changed_and_no_other(program, entry):
    key = program.there[entry]
    path = at(entry.slug, key)
    if not may(SYSTEM, entry, "change"):
        problem(program.patch(path, {}), 403)
        return
    writable = writable_fields(SYSTEM, entry)
    for name in entry.fields:
        if name not in writable:
            said = problem(program.patch(path, {name: None}), 422)
            assert said["errors"][name], name
    before = program.get(path).json()
    same = program.patch(path, {n: before[n] for n in writable if n in before and n in CHANGED_ALONE})
    assert same.status_code == 200 and same.json()["version"] == before["version"]


CHANGED_ALONE = {"name", "title", "label"}


@entries()
def test_every_verb_is_answered_with_its_effect_or_its_reason(program, entry):
    for verb in entry.verbs:
        absent = program.post(at(entry.slug, "01a20bae-7f87-7499-ab7e-534c13c8fc16", verb))
        problem(absent, 404, "not_found")
        key = program.there.get(entry)
        if key is None:
            continue
        response = program.post(at(entry.slug, key, verb))
        if response.status_code != 200:
            assert problem(response, response.status_code)["detail"]
            assert response.status_code in (403, 422), (verb, response.content)


@entries(added=True)
def test_a_record_is_deleted_once(program, entry):
    body = sample(entry, program.there)
    made = program.post(at(entry.slug), body)
    if made.status_code == 422:  # there may be one of these only
        return
    path = at(entry.slug, made.json()["id"])
    response = program.delete(path)
    if response.status_code != 204:
        assert problem(response, response.status_code)["detail"] and response.status_code in (403, 422)
        return
    for again in (program.get(path), program.delete(path), program.patch(path, {})):
        problem(again, 404, "not_found")


@entries()
def test_without_a_right_nothing_is_answered_but_the_reason(program, entry):
    with tenant_context(program.tenant):
        nobody = program.as_user(make_user())
    if entry.slug in nobody.get(at("me")).json()["objects"]:
        return  # everybody has a right to their own of these
    key = program.there.get(entry, "01a20bae-7f87-7499-ab7e-534c13c8fc16")
    for response in (
        nobody.get(at(entry.slug)),
        nobody.get(at(entry.slug, "aggregate")),
        nobody.get(at(entry.slug, key)),
        nobody.get(at(entry.slug, key, "history")),
        nobody.post(at(entry.slug), {}),
        nobody.post(at(entry.slug, "bulk"), [{"verb": "delete", "id": key}]),
        nobody.patch(at(entry.slug, key), {}),
        nobody.delete(at(entry.slug, key)),
        *(nobody.post(at(entry.slug, key, verb)) for verb in entry.verbs),
    ):
        problem(response, 403, "not_allowed")
