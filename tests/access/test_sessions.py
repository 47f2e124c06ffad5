"""Sessions: nothing is stored for strangers, keys are new at each sign-in, live in one tenant, and end when they are told to."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.db import connection
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone, translation

from ostoja.access import sessions, signin, tokens
from ostoja.access.actor_of import actor_of
from ostoja.access.middleware import ActorMiddleware
from ostoja.access.models import Session
from ostoja.kernel.actors import current_actor
from ostoja.kernel.errors import NotFound
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.testing.people import make_user


def ask(view=lambda request: HttpResponse(), key="", raw_cookie="", **headers):
    """One request through the middleware: the request as the view saw it, and the answer."""
    request = RequestFactory().get("/", **headers)
    if key:
        request.META["HTTP_COOKIE"] = f"{settings.SESSION_COOKIE_NAME}={key}"
    if raw_cookie:
        request.META["HTTP_COOKIE"] = raw_cookie
    response = ActorMiddleware(view)(request)
    return request, response


def entered(user):
    """A session key of a user."""
    request = RequestFactory().get("/", headers={"user-agent": "Firefox"})
    sessions.start(request, user)
    return request.session_cookie


def test_a_stranger_is_nobody_and_leaves_nothing(tenant):
    def view(request):
        request.session["seen"] = True
        assert request.session["seen"]
        return HttpResponse()

    request, response = ask(view)
    assert request.actor is None and request.user is None
    assert settings.SESSION_COOKIE_NAME not in response.cookies
    assert not Session.objects.exists()


def test_the_session_makes_the_actor_in_one_query(owner):
    key = entered(owner)
    with CaptureQueriesContext(connection) as queries:
        request, _response = ask(key=key)
    assert request.actor.user_id == owner.pk and request.actor.superuser and request.user.email == owner.email
    assert len(queries) == 1, queries.captured_queries


def test_the_view_runs_as_the_actor_in_their_language(owner):
    pole = make_user("Pola", language="pl", timezone="America/New_York")
    seen = {}

    def view(request):
        seen["actor"], seen["language"] = current_actor(), translation.get_language()
        seen["zone"] = str(timezone.get_current_timezone())
        return HttpResponse()

    request, _ = ask(view, key=entered(pole), headers={"accept-language": "en"})
    assert seen == {"actor": request.actor, "language": "pl", "zone": "America/New_York"}
    assert current_actor() is None


def test_a_stream_is_made_by_the_actor_too(owner):
    def view(request):
        return StreamingHttpResponse(str(current_actor().user_id) for _ in range(2))

    _request, response = ask(view, key=entered(owner))
    assert response.getvalue().decode() == str(owner.pk) * 2


@pytest.mark.parametrize(
    ("cookie", "accepts", "expected"),
    [("", "pl;q=0.9,de", "pl"), ("pl", "en", "pl"), ("", "de", "en"), ("xx", "", "en")],
)
def test_the_language_of_a_stranger(tenant, cookie, accepts, expected):
    seen = []
    raw = f"{settings.LANGUAGE_COOKIE_NAME}={cookie}" if cookie else ""
    ask(
        lambda r: seen.append(translation.get_language()) or HttpResponse(),
        raw_cookie=raw,
        headers={"accept-language": accepts},
    )
    assert seen == [expected]


def test_values_are_kept_for_the_next_page(owner):
    key = entered(owner)

    def write(request):
        request.session["toast"] = "Saved"
        return HttpResponse()

    ask(write, key=key)
    read = []
    ask(lambda r: read.append(r.session.pop("toast")) or HttpResponse(), key=key)
    assert read == ["Saved"]
    request, _ = ask(key=key)
    assert "toast" not in request.session and len(request.session) == 0


def test_only_the_digest_is_kept(owner):
    key = entered(owner)
    assert len(key) >= 43
    session = Session.objects.get()
    assert key not in str(session.__dict__) and session.key_digest == sessions.digest_of(key)
    assert (session.agent, session.address) == ("Firefox", "127.0.0.1")


def test_A6_a_cookie_of_one_tenant_is_nobody_in_another(owner, other_tenant):
    key = entered(owner)
    with tenant_context(other_tenant):
        make_user("Somebody", owner=True)
        request, response = ask(key=key)
    assert request.actor is None
    assert response.cookies[settings.SESSION_COOKIE_NAME].value == ""


def test_there_is_no_session_on_the_platforms_own_pages(owner):
    key = entered(owner)
    with platform_context():
        request, response = ask(key=key)
    assert request.actor is None and not response.cookies


def test_C3_a_planted_key_does_not_survive_the_sign_in(owner):
    planted = "planted-key-that-the-attacker-knows-000000000"
    request = RequestFactory().get("/")
    request.COOKIES[settings.SESSION_COOKIE_NAME] = planted
    sessions.start(request, owner)
    assert request.session_cookie != planted
    assert ask(key=planted)[0].actor is None


def test_C3_a_new_sign_in_ends_the_old_session_of_the_browser(owner):
    old = entered(owner)
    request = RequestFactory().get("/")
    request.COOKIES[settings.SESSION_COOKIE_NAME] = old
    sessions.start(request, owner)
    assert ask(key=old)[0].actor is None
    assert ask(key=request.session_cookie)[0].actor is not None


def test_A6_two_session_cookies_are_none(owner):
    key, name = entered(owner), settings.SESSION_COOKIE_NAME
    assert ask(raw_cookie=f"{name}=tossed; {name}={key}")[0].actor is None
    assert ask(raw_cookie=f"x{name}=1; {name}={key}")[0].actor is not None


def test_the_cookie_is_closed_to_scripts_and_to_other_sites(owner):
    def view(request):
        sessions.start(request, owner)
        return HttpResponse()

    _request, response = ask(view)
    cookie = response.cookies[settings.SESSION_COOKIE_NAME]
    assert cookie["httponly"] and cookie["samesite"] == "Lax" and not cookie["domain"] and cookie["path"] == "/"


def test_an_ended_session_is_nobody(owner):
    key = entered(owner)
    Session.objects.update(expires_at=timezone.now())
    assert ask(key=key)[0].actor is None
    assert sessions.sweep() == 1


def test_use_prolongs_a_session_but_not_for_ever(owner):
    key, now = entered(owner), timezone.now()
    Session.objects.update(seen_at=now - timedelta(hours=1), expires_at=now + timedelta(hours=1))
    _request, response = ask(key=key)
    session = Session.objects.get()
    assert session.expires_at > now + sessions.IDLE - timedelta(minutes=1)
    assert response.cookies[settings.SESSION_COOKIE_NAME].value == key
    born = now - sessions.LONGEST + timedelta(hours=2)
    Session.objects.update(seen_at=now - timedelta(hours=1), created_at=born)
    ask(key=key)
    assert Session.objects.get().expires_at == born + sessions.LONGEST


def test_who_is_switched_off_is_signed_out_and_their_tokens_are_dead(actor, owner):
    from ostoja.gate import perform

    worker = make_user("Wanda Worker")
    key = entered(worker)
    token, secret = tokens.issue(actor_of(worker), worker, "script", ["*:view"])
    assert ask(key=key)[0].actor and tokens.find(secret)
    perform(actor, worker, "deactivate")
    assert ask(key=key)[0].actor is None and tokens.find(secret) is None
    perform(actor, worker, "activate")
    assert ask(key=key)[0].actor is None and tokens.find(secret) is None
    token.refresh_from_db()
    assert token.state == "revoked"


def test_the_list_of_sessions_and_ending_them(owner):
    keys = [entered(owner) for _ in range(3)]
    stranger = entered(make_user("Else"))
    me = ask(key=keys[0])[0].actor
    assert {str(s.pk) for s in sessions.mine(me)} > {me.session_key} and len(sessions.mine(me)) == 3
    theirs = ask(key=stranger)[0].actor
    with pytest.raises(NotFound):
        sessions.end_one(me, theirs.session_key)
    with pytest.raises(NotFound):
        sessions.end_one(me, "nonsense")
    sessions.end_one(me, ask(key=keys[1])[0].actor.session_key)
    assert ask(key=keys[1])[0].actor is None
    assert sessions.end_others(me) == 1
    assert [bool(ask(key=k)[0].actor) for k in (*keys, stranger)] == [True, False, False, True]


def test_signing_out(owner):
    key = entered(owner)

    def view(request):
        signin.sign_out(request)
        return HttpResponse()

    _request, response = ask(view, key=key)
    assert response.cookies[settings.SESSION_COOKIE_NAME].value == "" and not Session.objects.exists()
