"""Sign-in as an attacker meets it, through all middleware: replay, fixation, planted cookies, forged requests, guessing."""

import pytest
from django.conf import settings

from ostoja.access import tokens
from ostoja.access.actor_of import actor_of
from ostoja.access.models import Session, User
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import PASSWORD, make_user

COOKIE = settings.SESSION_COOKIE_NAME


@pytest.fixture
def browser(tenant):
    """A browser that is checked for forged requests."""
    return Browser(tenant, enforce_csrf_checks=True)


def sign_in(browser, email, password, **extra):
    """Fill the page in and send it."""
    browser.get("/sign-in")
    data = {
        "email": email,
        "password": password,
        "csrfmiddlewaretoken": browser.cookies[settings.CSRF_COOKIE_NAME].value,
    }
    return browser.post("/sign-in", data, **extra)


def test_the_form_signs_in_and_out(owner, browser):
    assert browser.get("/").status_code in (302, 303)
    answer = sign_in(browser, owner.email, PASSWORD)
    assert answer.status_code == 302 and len(browser.cookies[COOKIE].value) >= 43
    cookie = answer.cookies[COOKIE]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and not cookie["domain"]
    key = cookie.value
    token = browser.cookies[settings.CSRF_COOKIE_NAME].value
    browser.post("/sign-out", {"csrfmiddlewaretoken": token})
    assert not Session.objects.exists()
    browser.cookies[COOKIE] = key
    assert browser.get("/").headers["Location"].startswith("/sign-in")


def test_C6_the_page_is_the_same_for_everybody_who_is_not_let_in(owner, browser):
    make_user("Off", email="inactive@example.com", is_active=False)
    pages = set()
    for email, password in (
        ("owner@example.com", "wrong"),
        ("nobody@example.com", "wrong"),
        ("inactive@example.com", PASSWORD),
    ):
        browser.cookies.clear()
        answer = sign_in(browser, email, password)
        body = answer.content.decode().replace(email, "E-MAIL")
        token = answer.context["csrf_token"] if answer.context else ""
        pages.add((answer.status_code, body.replace(str(token), "TOKEN"), COOKIE in answer.cookies))
    assert len(pages) == 1


def test_A6_a_session_is_worth_nothing_at_another_tenants_host(owner, browser, other_tenant):
    sign_in(browser, owner.email, PASSWORD)
    elsewhere = Browser(other_tenant)
    elsewhere.cookies[COOKIE] = browser.cookies[COOKIE].value
    answer = elsewhere.get("/")
    assert answer.headers["Location"].startswith("/sign-in")
    assert elsewhere.get("/api/v1/me").status_code == 401


def test_A7_a_token_is_worth_nothing_at_another_tenants_host(tenant, owner, other_tenant):
    _token, secret = tokens.issue(actor_of(owner), owner, "x", ["*:*"])
    assert Program(tenant, secret).get("/api/v1/me").status_code == 200
    assert Program(other_tenant, secret).get("/api/v1/me").status_code == 401


def test_C3_the_key_before_signing_in_is_not_the_key_after(owner, browser):
    browser.cookies[COOKIE] = "planted-by-the-attacker"
    sign_in(browser, owner.email, PASSWORD)
    after = browser.cookies[COOKIE].value
    assert after != "planted-by-the-attacker"
    other = Browser(browser.tenant)
    other.cookies[COOKIE] = "planted-by-the-attacker"
    assert other.get("/api/v1/me").status_code == 401


def test_a_forged_request_with_the_cookie_is_refused(owner, browser):
    sign_in(browser, owner.email, PASSWORD)
    assert browser.post("/sign-out").status_code == 403
    answer = browser.post("/api/v1/departments/", {"name": "Forged"}, content_type="application/json")
    assert answer.status_code == 403 and Session.objects.count() == 1


def test_a_cookie_does_not_help_a_request_with_a_wrong_token(owner, browser):
    sign_in(browser, owner.email, PASSWORD)
    answer = browser.post(
        "/api/v1/departments/", {"name": "x"}, content_type="application/json", HTTP_AUTHORIZATION="Bearer nonsense"
    )
    assert answer.status_code == 401
    assert browser.get("/api/v1/me", HTTP_AUTHORIZATION="Bearer nonsense").status_code == 401


def test_a_token_is_narrowed_at_the_api(tenant, owner):
    _token, secret = tokens.issue(actor_of(owner), owner, "x", ["access.department:view"])
    program = Program(tenant, secret)
    assert program.get("/api/v1/departments/").status_code == 200
    assert program.post("/api/v1/departments/", {"name": "x"}).status_code == 403
    assert program.get("/api/v1/roles/").status_code == 403


def test_escalation_through_the_api(tenant, owner, as_role):
    rights = {"access.user": {"*": "all"}, "access.role": {"*": "all"}, "access.invitation": {"*": "all"}}
    climber = as_role(rights, classes=["public", "internal"])
    program = Program(tenant, tokens.issue(climber, climber.user, "x", ["*:*"])[1])
    me = f"/api/v1/users/{climber.user_id}/"
    (role,) = User.objects.get(pk=climber.user_id).roles.all()
    tries = [
        ("patch", me, {"is_owner": True}),
        ("patch", me, {"password": "x"}),
        ("patch", f"/api/v1/users/{owner.pk}/", {"email": "mine@example.com"}),
        ("patch", f"/api/v1/roles/{role.pk}/", {"grants": {"*": {"*": "all"}}}),
        ("patch", f"/api/v1/roles/{role.pk}/", {"classes": ["restricted"]}),
        ("post", "/api/v1/roles/", {"name": "R", "code": "r", "grants": {"*": {"*": "all"}}}),
        ("post", "/api/v1/users/", {"name": "X", "email": "x@example.com", "is_owner": True}),
        ("post", "/api/v1/invitations/", {"email": "x@example.com", "role_codes": [role.code]}),
        ("post", "/api/v1/tokens/", {"name": "x", "scopes": ["*:*"], "user": str(owner.pk)}),
        ("post", f"/api/v1/users/{owner.pk}/deactivate", {}),
    ]
    for method, address, data in tries:
        answer = getattr(program, method)(address, data)
        assert answer.status_code in (400, 403, 404, 405, 422), (address, data, answer.status_code, answer.content)
    owner.refresh_from_db()
    role.refresh_from_db()
    assert (owner.email, owner.is_active) == ("owner@example.com", True)
    assert User.objects.filter(is_owner=True).count() == 1 and role.grants == rights
    assert not User.objects.filter(email="x@example.com").exists()


def test_C7_guessing_at_the_page_ends_in_429(owner, browser):
    statuses = [sign_in(browser, owner.email, "guess", REMOTE_ADDR="203.0.113.7").status_code for _ in range(12)]
    assert statuses[-1] == 429 and 429 not in statuses[:10]
    assert sign_in(browser, owner.email, PASSWORD, REMOTE_ADDR="203.0.113.8").status_code == 429
