"""The language of questions, attacked: any field, look-up and text is answered or named, never a fault and never slow."""

from __future__ import annotations

import os

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from ostoja.api.openapi import document
from ostoja.api.selection import lookups_of, readable
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Program
from ostoja.testing.people import make_user

from .answers import at
from .samples import fill

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2")) * 200
SEED = int(os.environ.get("FUZZ_SEED", "7"))
SYSTEM = Actor.system()
NASTY = [
    "", " ", "0", "-1", "1e400", "NaN", "Infinity", "1_000", "٣", "99999999999999999999", "-0.0", "1.5", "true", "null", "None",
    "2026-02-30", "0000-00-00", "9999-12-31T23:59:59.999999-23:59", "2026-01-01T25:00:00Z", "12:00", "01a20bae-7f87-7499-ab7e-534c13c8fc16",
    "%", "_", "\\", "\\\\%", "'", "\";--", "a'||pg_sleep(9)||'", "\x00", "\ud800", "\U0001f600", "ﬃ", "ı", "ß" * 100, "x" * 5000, "[]", "{}",
    ",", ",,,", "a,b", "%s", "%(x)s", "{0}", "r.\"c0\"", "open", "won",
]  # fmt: skip
TEXTS = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=30), st.integers().map(str), st.dates().map(str), st.datetimes().map(str)
)


@pytest.fixture(scope="module")
def program(module_tenant):
    """A program of an owner, in a tenant with one record of every object."""
    with tenant_context(module_tenant):
        owner = make_user("Olga Owner", owner=True)
        program = Program.of(module_tenant, owner)
        fill(program, owner)
    return program


def questions():
    """(entry, parameter) of every field and look-up, and one level further."""
    for entry in registry.entries():
        for name, field in readable(SYSTEM, entry).items():
            for lookup in ("", *lookups_of(field)):
                yield entry, f"{name}__{lookup}" if lookup else name
            if field.is_relation:
                try:
                    other = registry.of(field.related_model)
                except KeyError:
                    continue
                for below in readable(SYSTEM, other):
                    yield entry, f"{name}__{below}__isnull"
                    yield entry, f"{name}__{below}"


QUESTIONS = list(questions())


def answered(program, path: str) -> None:
    """200, or 400 with the reason; what the database does not answer in its time would be a 503."""
    response = program.get(path)
    assert response.status_code in (200, 400), (path, response.status_code, response.content[:300])


@seed(SEED)
@settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    question=st.sampled_from(QUESTIONS),
    texts=st.lists(TEXTS, min_size=1, max_size=3),
    where=st.sampled_from(["", "aggregate"]),
)
def test_any_filter_is_answered_or_named(program, question, texts, where):
    entry, name = question
    parts = (entry.slug, where) if where else (entry.slug,)
    answered(program, at(*parts, **{name: [t.encode("utf-8", "surrogatepass") for t in texts]}))


@seed(SEED)
@settings(max_examples=EXAMPLES, database=None, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    entry=st.sampled_from(list(registry.entries())),
    word=st.sampled_from(["search", "sort", "limit", "cursor", "count", "fields", "group_by", "measure"]),
    text=TEXTS,
    where=st.sampled_from(["", "aggregate"]),
)
def test_any_word_is_answered_or_named(program, entry, word, text, where):
    parts = (entry.slug, where) if where else (entry.slug,)
    answered(program, at(*parts, **{word: text.encode("utf-8", "surrogatepass")}))


def test_every_filter_of_the_document_is_taken(program):
    """Each parameter that the document lists is one that the list knows."""
    said = document(SYSTEM, "")
    parameters = said["components"]["parameters"]
    for entry in registry.entries():
        for reference in said["paths"][f"/{entry.slug}/"]["get"]["parameters"]:
            name = parameters[reference["$ref"].rpartition("/")[2]]["name"]
            response = program.get(at(entry.slug, **{name: ""}))
            assert response.status_code == 200 or response.json()["code"] not in (
                "unknown_field",
                "unknown_parameter",
            ), name
