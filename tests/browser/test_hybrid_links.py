"""An administrator invites a site and watches its link, and a person turns a conflict around, in a real browser."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from ostoja import gate
from ostoja.hybrid import enrolment, keys
from ostoja.hybrid.models import Conflict, Link, LinkUse, Progress
from ostoja.hybrid.sites import manifest_in_force, new_epoch
from ostoja.journal.context import changing
from ostoja.kernel import registry

HERE = "/settings/hybrid/links"


def model(label):
    return registry.get(label).model


def linked(actor) -> Link:
    """A link to premises that were just heard."""
    code = enrolment.invite(actor)
    enrolment.accept(code, keys.new_pair()[1], "Head office", new_epoch(), manifest_in_force().canonical)
    Progress.objects.update(seen_at=timezone.now(), acked=10**9)
    return Link.objects.get()


@pytest.fixture
def link(tenant, actor):
    """The link to the tenant's premises."""
    return linked(actor)


@pytest.fixture
def conflict(tenant, actor):
    """Two titles of one deal, made before the tenant had premises, which decide on pipelines."""
    stages = [("Talk", "open", 10), ("Won", "won", 100), ("Lost", "lost", 0)]
    pipeline = gate.perform(actor, model("sales.pipeline"), "add", {"name": "Sales", "position": 1})
    for position, (name, kind, percent) in enumerate(stages):
        data = {"pipeline": pipeline.pk, "name": name, "position": position, "kind": kind, "probability": percent}
        gate.perform(actor, model("sales.stage"), "add", data)
    party = gate.perform(actor, model("party.party"), "add", {"name": "Stalmet", "kind": "org"})
    data = {"title": "Theirs: 110 chairs", "party": party.pk, "amount": "284000"}
    deal = gate.perform(actor, model("sales.deal"), "add", data)
    site = linked(actor).site
    with changing(actor, "sync"):
        return Conflict.objects.create(
            about="sales.deal", record=deal.pk, field="title", rule="latest", ours="Ours: 90 chairs",
            theirs="Theirs: 110 chairs", site=site, owner=actor.user,
        )  # fmt: skip


def no_wider_than_the_window(page):
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")


def test_a_site_is_invited_with_a_code_that_is_shown_once(open_page, tenant):
    with open_page() as tab:
        page = tab.go(HERE)
        page.get_by_role("heading", name="No site is linked").wait_for()
        page.get_by_role("button", name="Invite a site").click()
        page.get_by_role("button", name="Make the code").click()
        code = page.locator("#code")
        code.wait_for()
        expect(page.locator("dialog[open]")).to_have_count(0)
        said = code.inner_text()
        assert f"--code {said}" in page.locator("#command").inner_text()
        no_wider_than_the_window(page)
        page.goto(tab.base + HERE)
        assert said not in page.content()


def test_the_link_is_watched_without_a_reload(open_page, link):
    with open_page() as tab:
        page = tab.go(HERE)
        card = page.locator("section.box")
        expect(card).to_contain_text("Live")
        expect(card).to_contain_text(link.fingerprint)
        page.evaluate("window.still = true")
        LinkUse.objects.update(trouble="clock_suspect", trouble_at=timezone.now())
        expect(card).to_contain_text("Clock suspect")
        expect(card).to_contain_text("Set both by NTP")
        LinkUse.objects.update(trouble="")
        Progress.objects.update(equal_at=timezone.now() - timedelta(minutes=5))
        expect(card).to_contain_text("Equal, 5 min ago")
        assert page.evaluate("window.still")


def test_a_link_is_revoked_after_a_question(open_page, link):
    with open_page() as tab:
        page = tab.go(HERE)
        page.get_by_role("button", name="What to do with Head office").click()
        page.get_by_role("button", name="Revoke").click()
        dialog = page.locator("dialog[open]")
        expect(dialog).to_contain_text("can't be opened again")
        dialog.get_by_role("button", name="Revoke").click()
        expect(page.locator("section.box")).to_contain_text("Revoked")
    assert Link.objects.get().state == "revoked"


@pytest.mark.parametrize("width", [1440, 390])
def test_a_conflict_is_found_by_its_badge_and_turned_around(open_page, conflict, width):
    with open_page(width=width) as tab:
        page = tab.go(f"/deals/{conflict.record}")
        page.get_by_role("link", name="1 conflict").click()
        expect(page.get_by_role("heading", name="Changed at both sites")).to_be_visible()
        expect(page.locator("#main")).to_contain_text("Ours: 90 chairs")
        expect(page.locator("#main")).to_contain_text("Theirs: 110 chairs")
        no_wider_than_the_window(page)
        page.get_by_role("button", name="Put ours back").click()
        page.get_by_role("heading", name="Nothing waits for you").wait_for()
        no_wider_than_the_window(page)
    assert model("sales.deal").objects.get(pk=conflict.record).title == "Ours: 90 chairs"


def test_the_list_of_conflicts_has_all_its_columns_in_sight(open_page, conflict, actor):
    long = "for the canteen, the entrance hall and the meeting rooms of the head office"
    with changing(actor, "change"):
        Conflict.objects.update(ours=f"Ours: 90 chairs {long}", theirs=f"Theirs: 110 chairs {long}")
        model("sales.deal").objects.update(title=f"Theirs: 110 chairs {long}")
    with open_page() as tab:
        page = tab.go("/conflicts")
        assert page.locator(".box").evaluate("e => e.scrollWidth <= e.clientWidth")
        expect(page.get_by_role("columnheader", name="When")).to_be_in_viewport()
