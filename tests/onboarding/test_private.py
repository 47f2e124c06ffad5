"""A private installation: one tenant, made with the code that only its operator sees."""

import pytest

from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.onboarding import private
from ostoja.tenancy import hosts

HERE = "192.0.2.8"


@pytest.fixture
def first(company):
    """``first(code="…")`` is what the first visitor fills in."""

    def fill_in(**changes):
        data = company(code=private.code()) | changes
        del data["slug"], data["website"]
        return data

    return fill_in


@pytest.fixture
def ours(lender, installation_is):
    installation_is(kind="private", signup="closed")
    hosts.forget()
    yield
    hosts.forget()


def test_the_first_visitor_with_the_code_makes_the_one_tenant(ours, first):
    assert private.is_needed()
    assert hosts.place_of("anything.example") == hosts.Place()
    done = private.set_up(first(), HERE)
    assert (done.tenant.state, done.tenant.slug) == ("open", "mlyny-gorskie-sp-z-o-o")
    assert not private.is_needed()
    assert hosts.place_of("anything.example").tenant == done.tenant


def test_afterwards_nobody_else_makes_one(ours, first):
    private.set_up(first(), HERE)
    with pytest.raises(NotAllowed):
        private.set_up(first(company="Another"), HERE)


@pytest.mark.parametrize("wrong", ["", "AAAA-BBBB-CCCC", "x" * 40])
def test_without_the_code_nothing_is_made(ours, wrong, first):
    with pytest.raises(Refused) as refused:
        private.set_up(first(code=wrong), HERE)
    assert list(refused.value.fields) == ["code"]
    assert private.is_needed()


def test_the_code_may_be_typed_in_small_letters_without_hyphens(ours, first):
    assert private.set_up(first(code=private.code().replace("-", " ").lower()), HERE).tenant.state == "open"


def test_a_name_that_gives_no_free_address_is_no_obstacle(ours, first):
    assert private.set_up(first(company="Admin"), HERE).tenant.slug == "admin-crm"


def test_the_code_stays_the_same(ours):
    assert private.code() == private.code()
    assert len(private.code()) == 14


def test_a_public_installation_has_no_such_page(lender, first):
    assert not private.is_needed()
    with pytest.raises(NotAllowed):
        private.set_up(first(), HERE)
