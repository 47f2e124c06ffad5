"""Sealing in a real browser: a deal is sealed after a look, a colleague is let in, sees it on a phone, and is taken off the list."""

import pytest
from playwright.sync_api import expect

from ostoja import gate
from ostoja.access.models import UserRole
from ostoja.crm.sales.models import Deal
from ostoja.hybrid.models import Insider
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.testing.people import make_role, make_user


@pytest.fixture
def firm(pair):
    """The premises of a firm with two deals, at which Anna and Piotr have the same role."""
    gate.perform(Actor.system("Test"), Deal, "add", {"title": "Two tables", "party": pair.party.pk, "amount": "20.00"})
    pair.anna, pair.piotr = make_user("Anna Nowak"), make_user("Piotr Lis")
    role = make_role({"*": {"*": "all"}})
    with changing(Actor.system("Test"), "add"):
        for one in (pair.anna, pair.piotr):
            UserRole.objects.create(user=one, role=role)
    return pair


def test_a_deal_is_sealed_and_a_colleague_is_let_in_and_taken_off_again(firm, open_page, owner):
    card = f"/deals/{firm.deal.pk}"
    with open_page(user=firm.anna) as tab:
        page = tab.go(card)
        page.get_by_role("link", name="Seal", exact=True).click()
        expect(page.get_by_text("For everybody else it is not there")).to_be_visible()
        page.get_by_role("button", name="Seal", exact=True).click()
        expect(page.get_by_text("Sealed on the premises")).to_be_visible()
        with open_page(user=firm.piotr, width=390, height=844) as phone:
            theirs = phone.go("/deals")
            expect(theirs.get_by_text("Two tables")).to_be_visible()
            expect(theirs.get_by_text("Hundred chairs")).to_have_count(0)
        page.get_by_role("button", name="Let somebody in").click()
        page.locator("dialog select[name=user]").select_option(label="Piotr Lis")
        page.get_by_role("button", name="Let in", exact=True).click()
        expect(page.locator("[data-circle]")).to_contain_text("Piotr Lis")
        with open_page(user=firm.piotr, width=390, height=844) as phone:
            theirs = phone.go(card)
            expect(theirs.locator("[data-circle]")).to_contain_text("Anna Nowak")
        page.get_by_role("button", name="Take Piotr Lis off the list").click()
        page.get_by_role("button", name="Take off the list").click()
        expect(page.locator("[data-circle]")).not_to_contain_text("Piotr Lis")
    assert [one.user_id for one in Insider.objects.all()] == [firm.anna.pk]
    with open_page(user=firm.anna) as tab:
        page = tab.go(card)
        page.get_by_role("link", name="Take the seal away").click()
        page.get_by_role("button", name="Take the seal away").click()
        expect(page.get_by_text("Stays on the premises", exact=True)).to_be_visible()
    assert not Insider.objects.exists()
