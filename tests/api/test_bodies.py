"""Bodies, attacked: whatever value a field is given, it is taken, or refused by name; never a fault."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ostoja.access.policy import writable_fields
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Program
from ostoja.testing.people import make_user

from .answers import at, problem
from .samples import fill

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2")) * 150
SEED = int(os.environ.get("FUZZ_SEED", "7"))
ABSENT = "01a20bae-7f87-7499-ab7e-534c13c8fc16"
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(min_value=-(2**70), max_value=2**70),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=40),
    st.sampled_from(
        [
            "",
            " ",
            "\x00",
            "x" * 10_000,
            "2026-02-30",
            "9999-12-31",
            "0001-01-01T00:00:00+14:00",
            "-1",
            "1e5",
            ABSENT,
            "\u202e",
            "=1+1",
        ]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = [(e, n) for e in registry.entries() for n in (*writable_fields(Actor.system(), e), *e.lines)]
VERBS = [(e, v) for e in registry.entries() for v in e.verbs]


@pytest.fixture(scope="module")
def program(module_tenant):
    """A program of an owner, in a tenant with one record of every object."""
    with tenant_context(module_tenant):
        owner = make_user("Olga Owner", owner=True)
        program = Program.of(module_tenant, owner)
        program.there = fill(program, owner)
    return program


def answered(response) -> None:
    """Done, or a problem that says why."""
    if response.status_code >= 300:
        assert response.status_code in (400, 403, 404, 415, 422), response.content
        problem(response, response.status_code)


@seed(SEED)
@settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(target=st.sampled_from(FIELDS), value=VALUES, other=st.dictionaries(st.text(max_size=12), SCALARS, max_size=1))
def test_any_value_of_any_field(program, target, value, other):
    entry, name = target
    body = {name: value, **other}
    if not _sendable(body):
        return
    answered(program.patch(at(entry.slug, program.there.get(entry, ABSENT)), body))
    answered(program.post(at(entry.slug), body))
    row = {"verb": "change", "id": program.there.get(entry, ABSENT), "data": body}
    assert program.post(at(entry.slug, "bulk"), [row, {"verb": "add", "data": body}]).status_code == 200


@seed(SEED)
@settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(target=st.sampled_from(VERBS), name=st.text(max_size=12), value=VALUES, known=st.booleans())
def test_any_argument_of_any_verb(program, target, name, value, known):
    entry, verb = target
    spec = entry.verbs[verb]
    body = {(spec.arguments[0] if known and spec.arguments else name): value}
    if _sendable(body):
        answered(program.post(at(entry.slug, program.there.get(entry, ABSENT), verb), body))


def _sendable(body: object) -> bool:
    """Whether the test client can send it: JSON has no lone surrogates."""
    import json

    try:
        json.dumps(body, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True
