"""What the premises send into frames, by its headers and by what it refuses; and what the cloud's pages say and may frame."""

import re

import pytest
from django.conf import settings
from test_database import fill
from two_sites import SYSTEM, Pair, do

from ostoja.access.actor_of import actor_of
from ostoja.gate import perform
from ostoja.hybrid import entering, labels, marking, reaching, withdrawing
from ostoja.hybrid.models import Link, Site
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser
from ostoja.testing.people import make_user

SECRET = "Wieloryb-7041-tajne"
OFFICE = "https://office.example.com"


def model(label):
    return registry.get(label).model


@pytest.fixture
def sites(tenant, other_tenant, owner):
    party = perform(SYSTEM, model("party.party"), "add", {"name": "Stalmet", "kind": "org"})
    pair = Pair(tenant, other_tenant)
    pair.load()
    withdrawing.withdraw()
    reaching.forget()
    with tenant_context(other_tenant), changing(SYSTEM, "change"):
        Link.objects.update(url="https://firma.cloud.example/")
    with tenant_context(other_tenant):
        perform(SYSTEM, model("party.party").objects.get(pk=party.pk), "change", {"notes": SECRET})
        pair.user = make_user("Anna Nowak", owner=True, email="anna@example.com")
    pair.talk()
    pair.party, pair.owner = party, owner
    pair.url = f"/frame/parties/{party.pk}?fields=notes"
    yield pair
    reaching.forget()


@pytest.fixture
def there(sites):
    """A browser at the premises with Anna signed in."""
    return Browser(sites.premises).sign_in(sites.user)


def policy(response):
    return {d.split()[0]: d.split()[1:] for d in response["Content-Security-Policy"].split("; ")}


def test_a_frame_may_be_held_by_that_cloud_alone_and_kept_by_nobody(sites, there):
    for answer in (there.get(sites.url), Browser(sites.premises).get(sites.url), there.get("/frame/search")):
        assert policy(answer)["frame-ancestors"] == ["https://firma.cloud.example"]
        assert "X-Frame-Options" not in answer
        assert answer["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in answer
    assert SECRET in there.get(sites.url).content.decode()
    assert SECRET not in Browser(sites.premises).get(sites.url).content.decode()


def test_before_signing_in_a_frame_speaks_a_known_language_of_the_page_around(sites, there):
    stranger = Browser(sites.premises)
    english, polish = "Sign in on the premises", "Zaloguj się w siedzibie"
    for asked, words in (
        ("", english),
        ("&lang=pl", polish),
        ("&lang=en", english),
        ("&lang=de", english),
        ("&lang=..%2Fpl", english),
    ):
        answer = stranger.get(sites.url + asked, HTTP_ACCEPT_LANGUAGE="en").content.decode()
        assert words in answer and f'lang="{"pl" if words == polish else "en"}"' in answer
    answer = stranger.get(f"{sites.url}&lang=en", HTTP_ACCEPT_LANGUAGE="pl").content.decode()
    assert english in answer and ">Notes<" in answer
    mine = there.get(f"{sites.url}&lang=pl").content.decode()  # who is known reads their own language
    assert 'lang="en"' in mine and f"/frame/parties/{sites.party.pk}/edit?fields=notes&amp;lang=pl" in mine


def test_a_page_that_asks_to_sign_in_is_no_error_but_nobody_gets_a_file_or_posts(sites):
    stranger = Browser(sites.premises)
    for url in (sites.url, "/frame/search", f"/frame/parties?ids={sites.party.pk}&fields=notes"):
        assert stranger.get(url).status_code == 200  # what is an error stands in the console of the page around
    body = stranger.get(sites.url).content.decode().split("<body")[1]
    assert "#lock" not in body and body.count("Sign in on the premises") == 1
    assert stranger.get(f"/frame/party-files/{sites.party.pk}/content").status_code == 401
    assert stranger.post("/frame/search", {"q": "Stalmet"}).status_code == 401


def test_what_a_verb_may_take_besides_is_not_asked_where_it_may_not_be(sites, there):
    party = fill(sites.premises)
    deal = do(sites.premises, model("sales.deal"), "add", {"title": "Chairs", "party": party.pk, "amount": "1"})
    sites.talk()
    for browser, asked in ((there, True), (Browser(sites.cloud).sign_in(sites.owner), False)):
        form = browser.get(f"/deals/{deal.pk}/do/lose").content.decode()
        assert 'name="lost_reason"' in form and ('name="notes"' in form) is asked


def test_all_other_pages_are_framed_by_nobody(sites, there):
    for path in ("/parties", f"/parties/{sites.party.pk}", "/frame/enter", "/sign-in"):
        answer = there.get(path)
        assert policy(answer)["frame-ancestors"] == ["'none'"] and answer["X-Frame-Options"] == "DENY"


def test_the_cloud_and_a_tenant_of_one_site_serve_no_frames(sites):
    answer = Browser(sites.cloud).sign_in(sites.owner).get(sites.url)
    assert answer.status_code == 404 and policy(answer)["frame-ancestors"] == ["'none'"]
    with tenant_context(sites.premises), changing(SYSTEM, "change"):
        Link.objects.update(state="revoked")
    answer = Browser(sites.premises).sign_in(sites.user).get(sites.url)
    assert answer.status_code == 404 and SECRET not in answer.content.decode()


def test_the_key_of_frames_goes_to_frames_alone_and_ends_with_the_session(sites, there):
    answer = there.post("/frame/enter")
    cookie = answer.cookies[entering.COOKIE]
    assert (cookie["path"], cookie["samesite"], cookie["secure"], cookie["httponly"]) == ("/frame/", "None", True, True)
    framed = Browser(sites.premises)
    framed.cookies[entering.COOKIE] = cookie.value
    assert SECRET in framed.get(sites.url).content.decode()
    assert framed.get("/frame/entered").json() == {"entered": True}
    assert framed.get("/parties").status_code == 302  # it opens nothing else
    there.post("/sign-out")
    assert framed.get("/frame/entered").json() == {"entered": False}
    assert SECRET not in framed.get(sites.url).content.decode()


def test_the_key_of_frames_works_at_no_other_tenant(sites, there):
    key = there.post("/frame/enter").cookies[entering.COOKIE].value
    stranger = Browser(sites.cloud)
    stranger.cookies[entering.COOKIE] = key
    assert stranger.get("/frame/entered").json() == {"entered": False}


def test_a_form_needs_its_seal_and_its_own_origin(sites, there):
    url = f"/frame/parties/{sites.party.pk}/edit?fields=notes"
    seal = re.search(r'name="seal" value="(\w+)"', there.get(url).content.decode())[1]
    own = f"http://{there.host}"
    for data, origin in (
        ({"notes": "x"}, own),
        ({"notes": "x", "seal": seal[:-1] + ("1" if seal.endswith("0") else "0")}, own),
        ({"notes": "x", "seal": seal}, "https://firma.cloud.example"),
        ({"notes": "x", "seal": seal}, "null"),
    ):
        assert there.post(url, data, HTTP_ORIGIN=origin).status_code == 403
    with tenant_context(sites.premises):
        assert model("party.party").objects.get(pk=sites.party.pk).notes == SECRET
    answer = there.post(url, {"notes": "Inne", "seal": seal}, HTTP_ORIGIN=own)
    assert answer.status_code == 302 and answer["Location"].startswith("/frame/parties/")
    with tenant_context(sites.premises):
        assert model("party.party").objects.get(pk=sites.party.pk).notes == "Inne"


def test_a_frame_never_goes_on_to_a_page_that_is_none(sites, there):
    url = f"/frame/parties/{sites.party.pk}/edit?fields=notes&next=/settings/tokens"
    seal = re.search(r'name="seal" value="(\w+)"', there.get(url).content.decode())[1]
    answer = there.post(url, {"notes": "Inne", "seal": seal}, HTTP_ORIGIN=f"http://{there.host}")
    assert answer["Location"].startswith("/frame/parties/")


def test_rights_of_the_premises_count(sites):
    with tenant_context(sites.premises):
        nobody = make_user("Nina", email="nina@example.com")
    answer = Browser(sites.premises).sign_in(nobody).get(sites.url)
    assert answer.status_code == 403 and "Not permitted" in answer.content.decode()
    assert SECRET not in answer.content.decode() and "Stalmet" not in answer.content.decode()


def test_a_field_whose_class_somebody_may_not_see_is_not_in_the_frame(sites):
    from ostoja.testing.people import make_actor

    with tenant_context(sites.premises):
        clerk = make_actor({"party.party": {"view": "all"}}, classes=["public", "internal"])
        answer = Browser(sites.premises).sign_in(clerk.user).get(f"/frame/parties/{sites.party.pk}?fields=notes,name")
    assert SECRET not in answer.content.decode() and "Stalmet" in answer.content.decode()


def test_rows_of_a_list_that_somebody_may_not_see_say_so(sites, there):
    missing = "01a21889-1609-74cb-b803-1bbad2493033"
    text = there.get(f"/frame/parties?ids={sites.party.pk},{missing}&fields=notes").content.decode()
    assert SECRET in text and text.count("not permitted") == 1


def test_the_cloud_says_what_is_held_and_frames_that_one_address(sites):
    page = Browser(sites.cloud).sign_in(sites.owner)
    answer = page.get(f"/parties/{sites.party.pk}")
    text = answer.content.decode()
    assert "Held on premises" in text and "Notes" in text and "<iframe" not in text
    assert "frame-src" not in policy(answer)
    reaching.heard(Link.objects.select_related("site").get(), OFFICE)
    answer = page.get(f"/parties/{sites.party.pk}")
    assert policy(answer)["frame-src"] == [OFFICE]
    assert f'data-src="{OFFICE}/frame/parties/{sites.party.pk}?fields=' in answer.content.decode()
    assert "frame-src" not in policy(Browser(sites.cloud).get("/sign-in"))


def test_a_form_says_that_a_reference_names_what_is_held_and_saving_it_empty_keeps_it(sites):
    with tenant_context(sites.cloud):
        part = perform(
            SYSTEM, model("party.party"), "add", {"name": "Beams", "kind": "org", "parent": str(sites.party.pk)}
        )
    page = Browser(sites.cloud).sign_in(sites.owner)
    assert "kept elsewhere" not in page.get(f"/parties/{part.pk}/edit").content.decode()
    sites.talk()
    with tenant_context(sites.premises):
        marking.mark(SYSTEM, model("party.party").objects.get(pk=sites.party.pk))
    sites.talk()
    assert page.get(f"/parties/{part.pk}/edit").content.decode().count("It names what is kept elsewhere.") == 1
    with tenant_context(sites.cloud):
        perform(SYSTEM, model("party.party").objects.get(pk=part.pk), "change", {"name": "Girders"})
    sites.talk()
    with tenant_context(sites.premises):
        there = model("party.party").objects.get(pk=part.pk)
        assert (there.name, there.parent_id) == ("Girders", sites.party.pk)


def test_a_tenant_of_one_site_frames_nothing(signed_in):
    answer = signed_in.get("/parties")
    assert "frame-src" not in policy(answer) and "data-held" not in answer.content.decode()


def test_a_record_that_was_never_here_is_simply_not_there(sites):
    page = Browser(sites.cloud).sign_in(sites.owner)
    assert page.get("/parties/01a21889-1609-74cb-b803-1bbad2493033").status_code == 404
    with tenant_context(sites.premises):
        labels.close(SYSTEM, model("party.party").objects.get(pk=sites.party.pk))
    sites.talk()
    answer = page.get(f"/parties/{sites.party.pk}")
    assert answer.status_code == 200 and "Held on premises" in answer.content.decode()
    assert "Stalmet" not in answer.content.decode()


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Office.example.com/", OFFICE), ("https://office.example.com:8443", f"{OFFICE}:8443"),
        ("https://office.example.com:443", OFFICE), ("http://demo.premises.localhost:8001", "http://demo.premises.localhost:8001"),
    ],
)  # fmt: skip
def test_an_address_is_kept_as_browsers_write_origins(given, kept):
    assert reaching.origin(given) == kept


@pytest.mark.parametrize(
    "given",
    ["office.example.com", "http://office.example.com", "https://office.example.com/path", "https://u:p@office.example.com",
     "https://office.example.com:0", "https://office.example.com:99999", "javascript:alert(1)", "https://*.example.com ; script-src *"],
)  # fmt: skip
def test_what_is_no_address_is_refused_with_the_way_out(given):
    with pytest.raises(Refused) as refused:
        reaching.origin(given)
    assert "https://" in refused.value.message and "address" in refused.value.fields


def test_only_an_owner_on_the_premises_says_the_address(sites, as_role):
    with tenant_context(sites.premises):
        assert reaching.set_address(actor_of(sites.user), OFFICE) == OFFICE
        with pytest.raises(NotAllowed):
            reaching.set_address(actor_of(make_user("Nina", email="nina@example.com")), OFFICE)
        assert reaching.set_address(SYSTEM, "") == ""
    with pytest.raises(Refused):
        reaching.set_address(SYSTEM, OFFICE)
    assert settings.SESSION_COOKIE_SAMESITE == "Lax"  # the key of frames is another one
    assert Site.objects.filter(here=False).count() == 1
