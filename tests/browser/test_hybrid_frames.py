"""A salesperson in the cloud sees what the premises keep, in a frame that they serve; the cloud never has it in its hands."""

import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from ostoja import gate
from ostoja.hybrid import reaching, withdrawing
from ostoja.hybrid.models import Link, Site
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, host_of

sys.path.insert(0, str(Path(__file__).parents[1] / "hybrid"))
from two_sites import SYSTEM, Pair

SECRET = "Wieloryb-7041-tajne"
REFUSED = ("401", "403", "404", "ERR_", "frame-ancestors", "Refused", "Framing", "chrome-error")


def model(label):
    return registry.get(label).model


class Sites:
    """A cloud and its premises, both answering at one port; what was asked of the cloud, and what it answered, is noted."""

    def __init__(self, cloud, premises, port):
        self.pair = Pair(cloud, premises)
        self.pair.load()
        self.cloud, self.premises = cloud, premises
        self.at_cloud = f"http://{host_of(cloud)}:{port}"
        self.at_premises = f"http://{host_of(premises)}:{port}"
        with tenant_context(premises), changing(SYSTEM, "change"):
            Link.objects.update(url=self.at_cloud)
            reaching.set_address(SYSTEM, self.at_premises)
            address = reaching.own_address()
        with tenant_context(cloud):
            link = Link.objects.select_related("site").get()
            withdrawing.begin(link)
            withdrawing.withdraw()
            reaching.heard(link, address)

    def unreachable(self):
        """The premises are where nobody answers."""
        with tenant_context(self.cloud), changing(SYSTEM, "change"):
            Site.objects.filter(here=False).update(browser_url="http://gone.localhost:9")
        reaching.forget()


@pytest.fixture
def sites(tenant, other_tenant, owner, port):
    party = gate.perform(SYSTEM, model("party.party"), "add", {"name": "Stalmet Śląsk S.A.", "kind": "org"})
    made = Sites(tenant, other_tenant, port)
    made.party, made.owner = party, owner
    with tenant_context(other_tenant):
        there = model("party.party").objects.get(pk=party.pk)
        gate.perform(SYSTEM, there, "change", {"notes": SECRET})
        gate.perform(
            SYSTEM,
            model("party.contactpoint"),
            "add",
            {"party": party.pk, "type": "email", "value": "prezes@stalmet.example"},
        )
    made.pair.talk()
    return made


@pytest.fixture
def person(chromium, sites):
    """A browser of somebody who is signed in in the cloud: every answer of the cloud's origin is kept in ``said``."""
    from django.conf import settings

    context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.grant_permissions(["storage-access"])  # a private window keeps third parties' cookies back until one agrees
    key = Browser(sites.cloud).sign_in(sites.owner).cookies[settings.SESSION_COOKIE_NAME]
    context.add_cookies([
        {"name": settings.SESSION_COOKIE_NAME, "value": getattr(key, "value", key), "url": sites.at_cloud}
    ])  # fmt: skip
    page = context.new_page()
    page.set_default_timeout(10000)
    page.said = []
    page.on("response", lambda r: r.url.startswith(sites.at_cloud) and page.said.append(r))
    yield page
    context.close()


def sign_in_on_the_premises(page, sites, user=None):
    """As the person does it: the window of the premises, where the usual sign-in has happened."""
    from django.conf import settings

    key = Browser(sites.premises).sign_in(user or sites.owner).cookies[settings.SESSION_COOKIE_NAME]
    page.context.add_cookies([
        {"name": settings.SESSION_COOKIE_NAME, "value": getattr(key, "value", key), "url": sites.at_premises}
    ])  # fmt: skip
    frame = page.frame_locator(".left [data-held=block] iframe")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Sign in on the premises").click()
    window = opened.value
    expect(window.get_by_text(sites.at_cloud)).to_be_visible()
    window.get_by_role("button", name="Show them").click()
    window.get_by_role("heading", name="That's it").wait_for()
    return frame


def test_the_value_is_in_the_frame_and_nowhere_in_the_cloud(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    expect(person.locator(".left [data-held=block]")).to_contain_text("Held on premises")
    frame = sign_in_on_the_premises(person, sites)
    expect(frame.get_by_text(SECRET)).to_be_visible()
    expect(frame.get_by_text("prezes@stalmet.example")).to_be_visible()

    assert SECRET not in person.content()
    for answer in person.said:
        if answer.request.resource_type in ("document", "fetch", "xhr", "script"):
            assert SECRET.encode() not in answer.body(), answer.url
    reached = person.evaluate(
        """() => { try { return document.querySelector(".left [data-held=block] iframe").contentWindow.document.body.textContent }
                   catch (error) { return error.name } }"""
    )
    assert reached == "SecurityError"
    assert person.evaluate("document.querySelector('.left [data-held=block] iframe').contentDocument") is None
