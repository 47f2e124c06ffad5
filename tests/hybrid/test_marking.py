"""Who may mark a record as sensitive: whoever may change such records, even one that nobody changes; and nobody else."""

from __future__ import annotations

import pytest
from test_policy import pair, quiet  # noqa: F401
from test_policy_pages import api, olga, said, seller, text  # noqa: F401

from ostoja import gate
from ostoja.access.actor_of import actor_of
from ostoja.access.models import UserRole
from ostoja.access.policy import MARKING
from ostoja.cli.site import _marked
from ostoja.hybrid import marking
from ostoja.hybrid.models import Label, Link
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.party.models import Consent
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user


@pytest.fixture
def consent(pair):  # noqa: F811
    """A consent of a customer: nobody changes it."""
    with tenant_context(pair.premises):
        said = {"party": pair.party.pk, "state": "given", "source": "A form at the fair"}
        return gate.perform(pair.olga, Consent, "add", said)


def test_a_consent_offers_no_edit_and_no_delete_and_is_marked_sealed_and_opened_as_before(pair, olga, seller, consent):  # noqa: F811
    card = f"/consents/{consent.pk}"
    for browser in (olga, seller):
        page = text(browser.get(card))
        assert f"{card}/edit" not in page and f"{card}/delete" not in page and f"/hybrid{card}/mark?level=2" in page
        page = text(browser.get(f"/parties/{pair.party.pk}"))
        assert f"{card}/edit" not in page and f'href="{card}"' in page
        assert "Add what was said later" in text(browser.get(f"{card}/edit"), 403)
        assert "Add what was said later" in str(said(browser.post(f"{card}/delete")))
    assert "Mark as sensitive" in text(seller.get(f"/hybrid{card}/mark"))
    assert seller.post(f"/hybrid{card}/mark").status_code == 302
    page = text(olga.get(card))
    assert "It is marked as sensitive" in page and "Open again" in page
    assert olga.post(f"/hybrid{card}/open").status_code == 302
    assert seller.post(f"/hybrid{card}/mark", {"level": "2"}).status_code == 302
    assert "Sealed on the premises" in text(seller.get(card)) and "mark?level=1" in text(seller.get(card))


def test_a_consent_is_marked_and_opened_by_programs_and_at_the_command_line(pair, api, consent):  # noqa: F811
    url = f"/api/v1/consents/{consent.pk}"
    assert api.post(f"{url}/mark-sensitive").json()["state"] == "stays"
    with tenant_context(pair.premises):
        assert not Label.objects.get(pk=consent.pk).inherited
    assert api.post(f"{url}/open-again").json()["marked"] is False
    refused = api.patch(url + "/", {"source": "A letter"}), api.delete(url + "/")
    assert [one.status_code for one in refused] == [403, 403]
    assert all("Add what was said later" in one.json()["detail"] for one in refused)
    with tenant_context(pair.premises):
        assert _marked("party.consent", str(consent.pk), "seal")["state"] == marking.SEALED_HERE
        assert _marked("party.consent", str(consent.pk), "open")["changed"] == 1


def test_nobody_marks_what_lasts_who_may_not_change_such_records(pair, consent, other_tenant):  # noqa: F811
    """The intruders: a reader, somebody who adds only, whose scope ends before it, whose token is for less, who is elsewhere."""
    everything = {"view": "all", "add": "all", "change": "all", "delete": "all"}
    grants = {
        "reader": {"party.party": {"view": "all", "export": "all"}},
        "adder": {"party.party": {"view": "all", "add": "all", "delete": "all"}},
        "owner of others": {"party.party": {"view": "all", "change": "own"}},
        "a right of that name": {"party.party": {"view": "all", MARKING: "all"}, "party.consent": {MARKING: "all"}},
        "a right to the part": {"party.party": {"view": "all"}, "party.consent": everything},
        "blind": {"sales.deal": {"*": "all"}},
    }
    with tenant_context(pair.premises):
        people = {}
        for name, granted in grants.items():
            people[name] = make_user(name.title())
            with changing(Actor.system("Test"), "add"):
                UserRole.objects.create(user=people[name], role=make_role(granted))
    card, url = f"/consents/{consent.pk}", f"/api/v1/consents/{consent.pk}"
    for name, person in people.items():
        browser, absent = Browser(pair.premises).sign_in(person), name == "blind"
        for level in ("1", "2"):
            asked = (
                browser.get(f"/hybrid{card}/mark?level={level}"),
                browser.post(f"/hybrid{card}/mark", {"level": level}),
            )
            assert [one.status_code for one in asked] == ([404, 404] if absent else [422, 403]), name
            told = Program.of(pair.premises, person).post(f"{url}/mark-sensitive", {"level": int(level)})
            assert told.status_code == 403, name
        if not absent:
            assert f"/hybrid{card}/mark" not in text(browser.get(card)), name
        with tenant_context(pair.premises), pytest.raises(NotAllowed):
            marking.mark(actor_of(person), consent)
    for scopes in (["*:view"], ["party.party:view", "party.consent:*"]):
        program = Program.of(pair.premises, pair.olga.user, scopes)
        assert program.post(f"{url}/mark-sensitive").status_code == 403, scopes
    with pytest.raises(Refused, match="No object has"):
        Program.of(pair.premises, pair.olga.user, [f"*:{MARKING}"])
    with tenant_context(other_tenant):
        stranger = make_user("Olaf Owner", owner=True)
    assert Browser(other_tenant).sign_in(stranger).post(f"/hybrid{card}/mark").status_code == 404
    assert Program.of(other_tenant, stranger).post(f"{url}/mark-sensitive").status_code == 404
    with tenant_context(pair.cloud), pytest.raises(Refused, match="mark it there"):
        marking.mark(pair.olga, consent)
    with tenant_context(pair.premises):
        assert not Label.objects.filter(pk=consent.pk).exists()
        link = Link.objects.get()
        with pytest.raises(NotAllowed, match="kept by Ostoja itself"):
            marking.mark(pair.olga, link)  # what is written automatically is marked by nobody, as before
