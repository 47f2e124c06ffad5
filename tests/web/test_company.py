"""The owner changes what the company says of itself; wrong values are named, and nobody else may."""

import pytest

from ostoja.testing.clients import Browser
from ostoja.testing.people import make_user

GOOD = {"name": "  New   name ", "language": "pl", "timezone": "Europe/Paris", "currency": "EUR"}


@pytest.fixture
def seller(tenant, as_role):
    """The browser of somebody who may change users, but is not the owner."""
    user = make_user("Sam Seller")
    as_role({"access.user": {"view": "all", "change": "all"}}, user=user)
    return Browser(tenant).sign_in(user)


def test_the_owner_changes_the_company(signed_in, tenant):
    assert signed_in.post("/settings/company", GOOD).status_code == 302
    page = signed_in.get("/settings/company").content.decode()
    assert 'value="New name"' in page
    assert '<option value="EUR" selected>' in page
    assert '<option value="Europe/Paris" selected>' in page


@pytest.mark.parametrize(
    ("field", "value"),
    [("name", " "), ("name", "x" * 201), ("language", "xx"), ("timezone", "Mars/Base"), ("currency", "XXQ")],
)
def test_what_is_wrong_is_named_and_nothing_is_changed(signed_in, tenant, field, value):
    before = signed_in.get("/settings/company").content.decode().count(f'value="{tenant.name}"')
    answer = signed_in.post("/settings/company", GOOD | {field: value})
    assert answer.status_code == 422
    assert f'id="id_{field}_errors"' in answer.content.decode()
    assert signed_in.get("/settings/company").content.decode().count(f'value="{tenant.name}"') == before


def test_others_may_not(seller):
    assert seller.post("/settings/company", GOOD).status_code == 403
