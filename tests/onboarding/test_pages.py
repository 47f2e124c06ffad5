"""The pages of sign-up, as a browser meets them: from the form to the first page of one's own tenant."""

import re

import pytest

from ostoja.access.limits import Limit
from ostoja.onboarding import applying, signup
from ostoja.tenancy import hosts, provisioning
from ostoja.testing.clients import Browser


def messages(response) -> str:
    return re.sub(r"<[^>]+>", " ", response.content.decode())


def test_a_browser_signs_up_and_is_signed_in_at_its_own_host(public_client, company):
    page = public_client.get("/")
    assert page.status_code == 200
    assert "Wholesale and distribution" in messages(page)
    answer = public_client.post("/", company())
    assert answer.status_code == 302
    scheme, _sep, rest = answer["Location"].partition("://")
    assert (scheme, rest.split("/")[0].split(":")[0]) == ("http", "mlyny-gorskie.localhost")
    tenant = provisioning.find("mlyny-gorskie")
    browser = Browser(tenant)
    welcome = browser.get("/" + rest.partition("/")[2])
    assert welcome.status_code == 302
    home = browser.get(welcome["Location"], follow=True)
    assert home.status_code == 200
    assert "Anna Nowak" in messages(home)
    stranger = Browser(tenant)
    assert stranger.get("/" + rest.partition("/")[2])["Location"] == "/sign-in"


def test_the_policy_lets_the_form_lead_to_a_tenant_and_nowhere_else(public_client):
    policy = public_client.get("/")["Content-Security-Policy"]
    assert "form-action 'self' http://*.localhost:*;" in policy + ";"


def test_what_is_wrong_is_said_at_its_field_and_the_password_does_not_come_back(public_client, company):
    answer = public_client.post("/", company(slug="admin", email="nobody"))
    assert answer.status_code == 422
    text = answer.content.decode()
    assert "This address is taken, or too much like one that is. Choose another." in text
    assert "valid email" in text
    assert company()["password"] not in text
    assert "Młyny Górskie" in text


@pytest.mark.parametrize(
    ("slug", "said"),
    [("mlyny", "mlyny.localhost is free"), ("admin", "is taken"), ("a", "at least 3"), ("", "Choose an address")],
)
def test_the_address_is_checked_while_it_is_typed(public_client, slug, said):
    answer = public_client.get("/address", {"slug": slug})
    assert answer.status_code == 200
    assert said in messages(answer)


def test_a_form_without_its_token_is_refused(lender, company):
    browser = Browser(enforce_csrf_checks=True)
    assert browser.post("/", company()).status_code == 403


def test_too_many_is_said_with_the_time_to_wait(public_client, company, monkeypatch):
    monkeypatch.setattr(signup, "FROM_NETWORK", Limit("sign-up-page-test", 0, 3600))
    answer = public_client.post("/", company())
    assert (answer.status_code, answer["Retry-After"]) == (429, "3600")
    assert "Too many tries" in messages(answer)


def test_closed_says_so(public_client, installation_is, company):
    installation_is(signup="closed")
    assert "Sign-up is closed" in messages(public_client.get("/"))
    assert "Sign-up is closed" in messages(public_client.post("/", company()))


def test_what_stopped_is_waited_for_on_a_page_of_its_own(public_client, company, monkeypatch):
    def fails(*_args):
        raise OSError("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(applying, "apply", fails)
        answer = public_client.post("/", company())
    assert answer.status_code == 302
    place = answer["Location"]
    waiting = public_client.get(place)
    assert "Setting up your company" in messages(waiting)
    assert "disk" not in messages(waiting)
    tenant = provisioning.find("mlyny-gorskie")
    assert Browser(tenant).get("/").status_code == 503
    signup.resume(tenant)
    there = public_client.get(place, headers={"HX-Request": "true"})
    assert there["HX-Redirect"].startswith("http://mlyny-gorskie.localhost")
    assert public_client.get(place).status_code == 404


@pytest.mark.parametrize("watch", ["x", "a" * 500, "%00"])
def test_nobody_watches_another_s_sign_up(public_client, watch):
    assert public_client.get(f"/building/{watch}").status_code == 404


def test_a_private_installation_is_set_up_by_the_one_who_has_the_code(public_client, installation_is, company):
    from ostoja.onboarding import private

    installation_is(kind="private", signup="closed")
    hosts.forget()
    page = public_client.get("/", {"code": private.code()})
    assert private.code() in page.content.decode()
    data = company(code="wrong")
    assert public_client.post("/", data).status_code == 422
    answer = public_client.post("/", company(code=private.code()))
    assert answer["Location"].startswith("/welcome/")
    welcome = public_client.get(answer["Location"])
    assert (welcome.status_code, welcome["Location"]) == (302, "/")
    assert "Anna Nowak" in messages(public_client.get("/", follow=True))
    hosts.forget()
