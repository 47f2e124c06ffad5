"""A salesperson in the cloud sees what the premises keep, in a frame that they serve; the cloud never has it in its hands."""

import os
import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from playwright.sync_api import expect

from ostoja import gate
from ostoja.hybrid import labels, reaching, withdrawing
from ostoja.hybrid.models import Link, Site
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, host_of
from ostoja.testing.people import make_user

sys.path.insert(0, str(Path(__file__).parents[1] / "hybrid"))
from two_sites import SYSTEM, Pair

PICTURES = os.environ.get("TEST_PICTURES", "")  # a folder for screenshots, for whoever wants to look
SECRET = "Wieloryb-7041-tajne"
MAIL = "prezes@stalmet.example"


def model(label):
    return registry.get(label).model


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


@pytest.fixture(scope="module")
def served(installation):
    """The application at a port, and the access log that such a server writes: (host, line)."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    from ostoja.web.wsgi import application

    lines = []

    class Noting(WSGIRequestHandler):
        def log_message(self, *_args):
            lines.append((self.headers.get("Host", ""), self.requestline))

    server = make_server("127.0.0.1", 0, StaticFilesHandler(application), server_class=_Server, handler_class=Noting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_port, lines
    server.shutdown()
    server.server_close()


class Sites:
    """A cloud and its premises, both answering at one port, with the access log of both."""

    def __init__(self, cloud, premises, served):
        port, self.log = served
        self.pair = Pair(cloud, premises)
        self.pair.load()
        self.cloud, self.premises = cloud, premises
        self.at_cloud = f"http://{host_of(cloud)}:{port}"
        self.at_premises = f"http://{host_of(premises)}:{port}"
        with tenant_context(premises), changing(SYSTEM, "change"):
            Link.objects.update(url=self.at_cloud)
        with tenant_context(premises):
            reaching.set_address(SYSTEM, self.at_premises)
            address = reaching.own_address()
        with tenant_context(cloud):
            link = Link.objects.select_related("site").get()
            withdrawing.withdraw()
            reaching.heard(link, address)

    def unreachable(self):
        """The premises are where nobody answers."""
        with tenant_context(self.cloud), changing(SYSTEM, "change"):
            Site.objects.filter(here=False).update(browser_url="http://gone.localhost:9")
        reaching.forget()

    def there(self, record, name):
        """A value as the premises have it."""
        with tenant_context(self.premises):
            return getattr(type(record).objects.get(pk=record.pk), name)


@pytest.fixture
def sites(tenant, other_tenant, owner, served):
    party = gate.perform(SYSTEM, model("party.party"), "add", {"name": "Stalmet Śląsk S.A.", "kind": "org"})
    others = [
        gate.perform(SYSTEM, model("party.party"), "add", {"name": name, "kind": "org"})
        for name in ("Browar", "Odlewnia")
    ]
    made = Sites(tenant, other_tenant, served)
    made.party, made.owner = party, owner
    with tenant_context(other_tenant):
        there = model("party.party").objects.get(pk=party.pk)
        gate.perform(SYSTEM, there, "change", {"notes": SECRET, "annual_revenue": "7041000"})
        for one, revenue in zip(others, ("111000", "222000"), strict=True):
            gate.perform(SYSTEM, model("party.party").objects.get(pk=one.pk), "change", {"annual_revenue": revenue})
        point = {"party": party.pk, "type": "email", "value": MAIL}
        gate.perform(SYSTEM, model("party.contactpoint"), "add", point)
        subject = {"kind": "call", "subject": "Rozmowa o cenie", "party": party.pk}
        gate.perform(SYSTEM, model("planning.activity"), "add", subject)
    made.pair.talk()
    made.log.clear()
    return made


def session_of(tenant, user, base):
    """The cookie of a signed-in browser, for Playwright."""
    from django.conf import settings

    key = Browser(tenant).sign_in(user).cookies[settings.SESSION_COOKIE_NAME]
    return {"name": settings.SESSION_COOKIE_NAME, "value": getattr(key, "value", key), "url": base}


@pytest.fixture
def person(chromium, sites):
    """A page of somebody who is signed in in the cloud; every answer of the cloud's origin is kept in ``said``."""
    context = chromium.new_context(viewport={"width": 1440, "height": 900}, reduced_motion="reduce")
    context.grant_permissions(["storage-access"])  # a private window keeps third parties' cookies back until one agrees
    context.add_cookies([session_of(sites.cloud, sites.owner, sites.at_cloud)])
    page = context.new_page()
    page.set_default_timeout(20_000)
    page.said = []
    page.on("response", lambda r: page.said.append(r) if r.url.startswith(sites.at_cloud) else None)
    yield page
    context.close()


def come_in(page, sites, user=None, place=".left [data-held=block]"):
    """As the person does it: a click in the frame, the window of the premises, where the usual sign-in has happened."""
    page.context.add_cookies([session_of(sites.premises, user or sites.owner, sites.at_premises)])
    frame = page.frame_locator(f"{place} iframe")
    with page.context.expect_page() as opened:
        frame.get_by_role("link", name="Sign in on the premises").click()
    window = opened.value
    expect(window.get_by_text(sites.at_cloud)).to_be_visible()
    picture(window, "enter")
    window.get_by_role("button", name="Show them").click()
    window.get_by_role("heading", name="That's it").wait_for()
    return frame


def picture(page, name):
    """A screenshot, wide and as on a phone, when somebody asked for some."""
    if not PICTURES:
        return
    page.wait_for_timeout(700)
    page.screenshot(path=f"{PICTURES}/{name}.png")
    size = page.viewport_size
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(400)
    page.screenshot(path=f"{PICTURES}/{name}-390.png")
    page.set_viewport_size(size)


def nothing_in_the_cloud(page, sites, *words):
    """None of the words is in the page around the frame, in an answer of the cloud, or in its access log."""
    bodies = [(r.url, r.body()) for r in page.said if r.request.resource_type in ("document", "fetch", "xhr")]
    assert bodies
    host = sites.at_cloud.removeprefix("http://")
    asked = [line for at, line in sites.log if at == host]
    assert asked
    for word in words:
        assert word not in page.content()
        assert not [url for url, body in bodies if word.encode() in body]
        assert not [line for line in asked if word in line]


def test_the_value_is_in_the_frame_and_nowhere_in_the_cloud(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    expect(person.locator(".left [data-held=block]")).to_contain_text("Held on premises")
    picture(person, "card-before")
    frame = come_in(person, sites)
    expect(frame.get_by_text(SECRET)).to_be_visible()
    expect(frame.get_by_text(MAIL)).to_be_visible()
    expect(person.frame_locator("#tab iframe").get_by_text("Rozmowa o cenie")).to_be_visible()
    picture(person, "card")
    nothing_in_the_cloud(person, sites, SECRET, MAIL, "Rozmowa")
    reached = person.evaluate(
        """() => { try { return document.querySelector(".left [data-held] iframe").contentWindow.document.body.textContent }
                   catch (error) { return error.name } }"""
    )
    assert reached == "SecurityError"
    assert person.evaluate("document.querySelector('.left [data-held] iframe').contentDocument") is None
    person.evaluate("""() => { window.got = [];
        addEventListener("message", (event) => window.got.push(JSON.stringify(event.data))) }""")
    person.set_viewport_size({"width": 900, "height": 800})
    person.wait_for_timeout(500)
    assert all('"ostoja":"height"' in one and SECRET not in one for one in person.evaluate("window.got"))


def test_before_signing_in_the_frame_speaks_the_language_of_the_page(person, sites):
    with tenant_context(sites.premises), changing(SYSTEM, "change"):
        type(sites.owner).objects.filter(pk=sites.owner.pk).update(language="pl")
    sites.pair.talk()
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    frame = person.frame_locator(".left [data-held=block] iframe")
    expect(frame.get_by_role("link", name="Zaloguj się w siedzibie firmy")).to_be_visible()
    expect(frame.locator("html")).to_have_attribute("lang", "pl")


def test_before_signing_in_there_is_one_lock_one_button_and_no_noise(person, sites):
    noise = []
    person.on("console", lambda m: noise.append(m.text) if m.type in ("error", "warning") else None)
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    place, frame = person.locator(".left [data-held=block]"), person.frame_locator(".left [data-held=block] iframe")
    expect(frame.get_by_role("link", name="Sign in on the premises")).to_be_visible()
    locks = 'use[href$="#lock"]'
    assert place.locator(f"{locks}:visible").count() + frame.locator(locks).count() == 1
    picture(person, "card-signed-out")
    with person.context.expect_page():
        frame.get_by_role("link", name="Sign in on the premises").click()
    expect(frame.get_by_text("Show it here")).to_be_visible()
    person.wait_for_timeout(3000)  # the frame looks twice whether somebody has signed in
    assert noise == []


def test_premises_out_of_reach_are_said_so(person, sites):
    sites.unreachable()
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    place = person.locator(".left [data-held=block]")
    expect(place.get_by_text("can't be reached from this browser")).to_be_visible()
    expect(place.get_by_text("Asking the premises")).to_be_hidden()
    picture(person, "card-away")
    expect(place.get_by_role("button", name="Try again")).to_be_visible()


def test_another_page_than_this_cloud_cannot_frame_the_premises(person, sites):
    address = f"{sites.at_premises}/frame/parties/{sites.party.pk}"
    person.context.add_cookies([session_of(sites.premises, sites.owner, sites.at_premises)])
    for origin in ("http://other.localhost:7999", sites.at_premises.replace("tenant", "x-tenant")):
        person.route(
            f"{origin}/**", lambda r: r.fulfill(body=f"<iframe src='{address}'></iframe>", content_type="text/html")
        )
        person.goto(f"{origin}/")
        for _wait in range(100):
            inner = [f for f in person.frames if f != person.main_frame]
            if inner and inner[0].url.startswith("chrome-error://"):
                break
            person.wait_for_timeout(100)
        assert inner and all(SECRET not in f.content() and "framed" not in f.content() for f in inner)
        assert inner[0].url.startswith("chrome-error://")


def test_a_person_without_the_right_reads_that_it_is_not_permitted(person, sites):
    with tenant_context(sites.premises):
        stranger = make_user("Nina Nowa", email="nina@example.com")
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    frame = come_in(person, sites, stranger)
    expect(frame.get_by_text("Not permitted")).to_be_visible()
    picture(person, "card-not-permitted")
    nothing_in_the_cloud(person, sites, SECRET)
    assert SECRET not in "".join(f.content() for f in person.frames)


def test_what_is_hidden_on_a_device_stays_hidden(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    place = person.locator(".left [data-held=block]")
    place.get_by_role("button", name="Hide or show").click()
    expect(place.get_by_text("Hidden on this device")).to_be_visible()
    person.reload()
    expect(place.get_by_text("Hidden on this device")).to_be_visible()
    place.get_by_role("button", name="Hide or show").click()
    expect(person.frame_locator(".left [data-held] iframe").get_by_text("sign in there once")).to_be_visible()


def test_protected_values_are_entered_in_the_frame_and_saved_on_the_premises(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}/edit")
    assert not person.locator("#id_notes").count()
    frame = come_in(person, sites, place=".inner [data-held=block]")
    expect(frame.get_by_label("Notes")).to_have_value(SECRET)
    picture(person, "form")
    frame.get_by_label("Notes").fill("Zmienione-8822-tajne")
    frame.get_by_role("button", name="Save").click()
    expect(frame.get_by_text("Zmienione-8822-tajne")).to_be_visible()
    assert sites.there(sites.party, "notes") == "Zmienione-8822-tajne"
    sites.pair.talk()
    assert type(sites.party).objects.get(pk=sites.party.pk).notes == ""
    nothing_in_the_cloud(person, sites, "Zmienione", SECRET)


def test_a_part_of_which_nothing_may_be_in_the_cloud_is_added_in_the_frame(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    frame = come_in(person, sites)
    frame.get_by_role("link", name="Add to Contact").click()
    frame.get_by_label("Type").select_option(label="Phone")
    frame.get_by_label("Value").fill("+48 600 700 800")
    frame.get_by_role("button", name="Create").click()
    expect(frame.get_by_text("600 700 800")).to_be_visible()
    with tenant_context(sites.premises):
        assert model("party.contactpoint").objects.filter(party=sites.party.pk).count() == 2
    assert not model("party.contactpoint").objects.exists()


def test_a_list_has_one_frame_whose_rows_stand_beside_its_own(person, sites):
    person.goto(f"{sites.at_cloud}/parties")
    place = "[data-held=rows]"
    frame = come_in(person, sites, place=place)
    expect(frame.get_by_text("7,041,000")).to_be_visible()
    assert person.locator("iframe").count() == 2  # this one, and that of the search, which is asked when it is opened
    picture(person, "list")
    row = person.locator("tbody tr", has_text="Stalmet").bounding_box()
    value = frame.locator("tbody tr", has_text="7,041,000").bounding_box()
    assert abs(row["y"] - value["y"]) <= 1.5 and abs(row["height"] - value["height"]) <= 1.5
    nothing_in_the_cloud(person, sites, "7,041,000", "7041000")


def test_a_search_asks_both_sites_from_the_browser(person, sites):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    come_in(person, sites)
    person.locator("h1").first.click()  # the keys went to the frame until now
    person.keyboard.press("Control+k")
    person.keyboard.type("prezes@stal")
    found = person.frame_locator("#palette iframe")
    expect(found.get_by_text(MAIL)).to_be_visible()
    picture(person, "search")
    nothing_in_the_cloud(person, sites, MAIL)
    assert not [line for _host, line in sites.log if "prezes" in line]  # what was typed is in no log
    found.get_by_role("link", name=MAIL).click()
    person.wait_for_url(f"{sites.at_cloud}/parties/{sites.party.pk}")


def test_a_record_that_was_called_back_is_shown_whole_by_the_premises(person, sites):
    with tenant_context(sites.premises):
        labels.close(SYSTEM, model("party.party").objects.get(pk=sites.party.pk))
    sites.pair.talk()
    assert not type(sites.party).objects.filter(pk=sites.party.pk).exists()
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}")
    frame = come_in(person, sites, place=".held-page [data-held]")
    expect(frame.get_by_text(SECRET)).to_be_visible()
    expect(frame.get_by_text("Stalmet Śląsk S.A.")).to_be_visible()
    picture(person, "called-back")
    nothing_in_the_cloud(person, sites, SECRET, "Stalmet")


def test_an_object_that_is_on_the_premises_only_has_its_list_there(person, sites):
    person.goto(f"{sites.at_cloud}/activities")
    frame = come_in(person, sites, place=".held-page [data-held]")
    expect(frame.get_by_text("Rozmowa o cenie")).to_be_visible()
    picture(person, "activities")
    nothing_in_the_cloud(person, sites, "Rozmowa")


def test_a_file_goes_from_the_browser_to_the_premises_and_back(person, sites, tmp_path):
    person.goto(f"{sites.at_cloud}/parties/{sites.party.pk}?tab=attachments")
    frame = come_in(person, sites, place="#tab [data-held]")
    source = tmp_path / "umowa.txt"
    source.write_text(f"Umowa {SECRET}")
    frame.locator("input[type=file]").set_input_files(str(source))
    expect(frame.get_by_text("umowa.txt")).to_be_visible()
    picture(person, "files")
    with person.expect_download() as loading:
        frame.get_by_role("link", name="umowa.txt").press("Enter")  # a click can miss a frame that has just grown
    assert Path(loading.value.path()).read_text() == f"Umowa {SECRET}"
    assert not model("documents.partyfile").objects.exists()
    nothing_in_the_cloud(person, sites, "umowa.txt", SECRET)
