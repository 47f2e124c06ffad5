"""Every operation of the document, fuzzed: no 5xx, and every answer is one that the document promises.

The seed is ``FUZZ_SEED`` (7). ``FUZZ_EXAMPLES`` (default 2) is how many cases each operation gets, of right and of wrong ones each.
"""

from __future__ import annotations

import os

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from ostoja.kernel import registry
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Program, host_of
from ostoja.testing.people import make_user

from .samples import fill

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "2"))
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
def program(module_tenant):
    """A program of an owner, in a tenant with one record of every object."""
    with tenant_context(module_tenant):
        owner = make_user("Olga Owner", owner=True)
        program = Program.of(module_tenant, owner)
        program.there = {key.slug: found for key, found in fill(program, owner).items() if not isinstance(key, tuple)}
    return program


@pytest.fixture(scope="module")
def document(program):
    """The document as schemathesis reads it, with the application that answers."""
    from ostoja.web.wsgi import application

    headers = {
        "Authorization": f"Bearer {program.token}",
        "Host": host_of(program.tenant),
        "Accept-Encoding": "identity",
    }
    found = schemathesis.openapi.from_wsgi("/api/v1/openapi.json", application, headers=headers)
    found.headers_of_all = headers
    return found


def _slugs() -> list[str]:
    return ["me", "jobs", *(entry.slug for entry in registry.entries())]


@pytest.mark.parametrize("slug", _slugs())
def test_no_case_is_a_fault_and_every_answer_was_promised(document, program, slug):
    operations = [o.ok() for o in document.get_all_operations() if isinstance(o, Ok)]
    mine = [o for o in operations if o.tags == [slug]]
    assert mine
    for operation in mine:
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):
            _fuzz(document, operation, mode, {})
        if "{id}" in operation.path and operation.method != "delete" and program.there.get(slug):
            _fuzz(document, operation, GenerationMode.POSITIVE, {"path_parameters": {"id": program.there[slug]}})


def _fuzz(document, operation, mode, fixed) -> None:
    try:
        strategy = operation.as_strategy(generation_mode=mode, **fixed)
    except Exception as error:
        if "Impossible" in type(error).__name__ or "Unsatisfiable" in type(error).__name__:
            return  # nothing wrong can be said to an operation without arguments
        raise

    @seed(int(os.environ.get("FUZZ_SEED", "7")))
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
    )
    @given(case=strategy)
    def run(case):
        case.call_and_validate(headers=document.headers_of_all, checks=CHECKS)

    run()
