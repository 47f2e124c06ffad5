"""An owner of a new company has first steps; they vanish when they are done or put away, and nobody else sees them."""

import pytest

from ostoja import gate
from ostoja.jobs.models import Job
from ostoja.kernel import registry
from ostoja.testing.clients import Browser
from ostoja.testing.people import make_user


@pytest.fixture
def seller(tenant, as_role):
    """The browser of somebody who may change users and deals, but is not the owner."""
    user = make_user("Sam Seller")
    as_role({"sales.deal": {"view": "all", "add": "own"}, "access.user": {"view": "all", "change": "all"}}, user=user)
    return Browser(tenant).sign_in(user)


def test_the_first_page_of_an_owner_is_getting_started(signed_in):
    assert signed_in.get("/")["Location"] == "/start"
    page = signed_in.get("/start").content.decode()
    for address in ("/parties/import", "/deals/new", "/settings/people"):
        assert f'href="{address}"' in page


def test_put_away_it_stays_away(signed_in):
    assert signed_in.post("/start/away")["Location"] == "/"
    assert signed_in.get("/")["Location"] == "/parties"


def test_a_step_is_done_by_a_record_of_ones_own(signed_in, actor):
    def done():
        return signed_in.get("/start").content.decode().count("#circle-check")

    before = done()
    gate.perform(actor, registry.get("party.party").model, "add", {"name": "First customer", "kind": "org"})
    assert done() == before + 1


def test_samples_are_added_by_a_job_once(signed_in):
    signed_in.post("/start/samples")
    signed_in.post("/start/samples")
    assert [j.kind for j in Job.objects.filter(kind__startswith="onboarding.")] == ["onboarding.add_samples"]
    assert 'action="/start/samples"' in signed_in.get("/start").content.decode()


@pytest.mark.parametrize("page", ["/start", "/start/samples"])
def test_others_have_no_first_steps(seller, page):
    answer = seller.get(page) if page == "/start" else seller.post(page)
    assert (answer.status_code, answer.get("Location")) in ((302, "/"), (403, None))
    assert not Job.objects.filter(kind__startswith="onboarding.").exists()
