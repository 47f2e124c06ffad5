"""What an owner does on the premises, in a real browser: mark, preview, the cloud gives it up, the list of purges shows it; and the policy."""

import pytest
from playwright.sync_api import expect

from ostoja.crm.sales.models import Deal
from ostoja.hybrid.models import PolicyRule
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_user


def test_a_deal_is_marked_after_a_look_and_its_purge_is_shown_until_it_is_gone(pair, open_page, owner):
    pair.talk()
    with open_page() as tab:
        page = tab.go(f"/deals/{pair.deal.pk}")
        expect(page.get_by_text("Shared with the cloud")).to_be_visible()
        page.get_by_role("link", name="Mark as sensitive").click()
        expect(page.get_by_text("will be called back from the cloud")).to_be_visible()
        expect(page.get_by_role("cell", name="Hundred chairs")).to_be_visible()
        page.get_by_role("button", name="Mark as sensitive").click()
        expect(page.get_by_text("Stays on the premises", exact=True)).to_be_visible()
        pair.send(pair.premises, pair.cloud)
        page = tab.go("/settings/hybrid/purges")
        expect(page.get_by_role("row", name="Hundred chairs")).to_contain_text("Waiting for the cloud")
        pair.talk()
        with tenant_context(pair.cloud):
            assert not Deal.objects.filter(pk=pair.deal.pk).exists()
        page = tab.go("/settings/hybrid/purges")
        expect(page.get_by_role("row", name="Hundred chairs")).to_contain_text("Gone")
        page = tab.go(f"/deals/{pair.deal.pk}")
        page.get_by_role("link", name="Open again").click()
        expect(page.get_by_text("will leave the premises")).to_be_visible()
        page.get_by_role("button", name="Open it: let this leave").click()
        expect(page.get_by_text("Shared with the cloud", exact=True)).to_be_visible()


def test_a_field_is_opened_by_two_owners_each_after_a_look(pair, open_page, owner):
    second = make_user("Ola Other", owner=True)
    with open_page() as tab:
        page = tab.go("/settings/hybrid/policy")
        page.get_by_label("Object").select_option(label="Customers")
        page.get_by_role("button", name="Filter").click()
        row = page.get_by_role("row", name="Notes")
        expect(row).to_contain_text("Confidential")
        row.get_by_role("link", name="Propose to open").click()
        expect(page.get_by_text("Nothing leaves and nothing is called back now")).to_be_visible()
        page.get_by_role("button", name="Propose to open").click()
        expect(page.locator("#toasts")).to_contain_text("waits for another owner")
        expect(page.get_by_role("link", name="Take it back")).to_be_visible()
    with open_page(user=second, width=390, height=844) as tab:
        page = tab.go("/settings/hybrid/policy")
        page.get_by_role("link", name="See what would leave").click()
        page.get_by_role("button", name="Approve: let it leave").click()
        expect(page.locator("#toasts")).to_contain_text("leaves the premises from now on")
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert PolicyRule.objects.get().approved_by == second


@pytest.mark.parametrize("dark", [False, True])
def test_the_pages_on_what_leaves_are_accessible(pair, open_page, dark):
    from axe_playwright_python.sync_playwright import Axe

    with open_page(dark=dark) as tab:
        for path in (
            "/settings/hybrid/policy", "/settings/hybrid/policy?object=sales.deal",
            "/settings/hybrid/policy/decide?about=object&name=sales.deal&level=1", "/settings/hybrid/purges",
            f"/deals/{pair.deal.pk}", f"/hybrid/deals/{pair.deal.pk}/mark",
        ):  # fmt: skip
            page = tab.go(path)
            found = [v for v in Axe().run(page).response["violations"] if v["impact"] in ("serious", "critical")]
            assert not found, (path, [(v["id"], v["nodes"][0]["html"]) for v in found])
