"""Signing in: the same answer to everybody who does not know the password, limits, and links that work once and here."""

import inspect
import re
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import Argon2PasswordHasher
from django.core.cache import cache
from django.db import connection
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import translation
from zxcvbn import feedback

from ostoja.access import links, passwords, sessions, signin
from ostoja.access.actor_of import actor_of
from ostoja.access.limits import Limit, NotNow, TooMany, address_of, network_of
from ostoja.access.links import LinkRefused
from ostoja.access.models import Session, User
from ostoja.access.signin import NotSignedIn
from ostoja.gate import perform
from ostoja.journal.context import changing
from ostoja.journal.models import Change
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import PASSWORD, make_user

NEW = "Wrona-kracze-o-swicie-9"


def link_in(letter):
    """The token at the end of the only link of a letter."""
    return next(line for line in letter.text.splitlines() if line.startswith("http")).rpartition("/")[2]


def test_the_right_password_signs_in_with_a_new_key(owner, browse):
    request, response = browse(lambda r: signin.sign_in(r, "  OWNER@Example.com ", PASSWORD) and None)
    assert request.actor.user_id == owner.pk and request.actor.session_key == str(Session.objects.get().pk)
    again, _ = browse()
    assert again.user == owner


@pytest.fixture
def refused(browse):
    """What somebody gets who is not let in: the sentence, the code, and the work that was done."""

    def go(email, password, monkeypatch):
        work = []
        real = {"verify": Argon2PasswordHasher.verify, "encode": Argon2PasswordHasher.encode}
        with monkeypatch.context() as patch:
            patch.setattr(Argon2PasswordHasher, "verify", lambda *a: work.append("verify") or real["verify"](*a))
            patch.setattr(Argon2PasswordHasher, "encode", lambda *a: work.append("encode") or real["encode"](*a))
            with pytest.raises(NotSignedIn) as error:
                browse(lambda r: signin.sign_in(r, email, password))
        return error.value.message, error.value.code, error.value.status, tuple(work)

    return go


def test_C6_unknown_wrong_inactive_and_without_password_are_one(owner, refused, monkeypatch):
    make_user("Inactive", email="inactive@example.com", is_active=False)
    make_user("Invited", email="invited@example.com")
    with changing(Actor.system(), "test"):
        User.objects.filter(email="invited@example.com").update(password="")
    signin.warm_up()
    answers = {
        refused("owner@example.com", "wrong", monkeypatch),
        refused("nobody@example.com", "wrong", monkeypatch),
        refused("inactive@example.com", PASSWORD, monkeypatch),
        refused("invited@example.com", "", monkeypatch),
        refused("invited@example.com", "nobody's password", monkeypatch),
        refused("x" * 500, "\x00" * 5000, monkeypatch),
    }
    assert len(answers) == 1
    (_sentence, code, status, work) = answers.pop()
    assert (code, status, work) == ("not_signed_in", 401, ("verify",))


def test_C7_at_most_ten_of_a_thousand_guesses_are_evaluated(owner, browse, monkeypatch):
    evaluated = []
    monkeypatch.setattr(passwords, "is_right", lambda *a: evaluated.append(1) and False)
    refusals = []
    for number in range(1000):
        try:
            browse(lambda r: signin.sign_in(r, owner.email, "guess"), address=f"198.51.{number % 250}.7")
        except NotSignedIn:
            continue
        except TooMany as error:
            refusals.append(error)
    assert len(evaluated) <= 10 and len(refusals) == 990
    assert {(e.status, e.retry_after) for e in refusals} == {(429, 900)}


def test_C7_one_network_can_not_try_many_accounts(tenant, browse, monkeypatch):
    monkeypatch.setattr(passwords, "is_right", lambda *a: False)
    evaluated = 0
    for number in range(100):
        try:
            browse(lambda r, n=number: signin.sign_in(r, f"p{n}@example.com", "x"), address=f"2001:db8:1:2::{number:x}")
        except NotSignedIn:
            evaluated += 1
        except TooMany:
            break
    assert evaluated == signin.TRIES_FROM_NETWORK.number


def test_C7_without_the_counters_nobody_signs_in_but_who_is_in_works(owner, browse, monkeypatch):
    browse(lambda r: signin.sign_in(r, owner.email, PASSWORD) and None)

    def away(*args, **kwargs):
        raise ConnectionError("the broker is away")

    monkeypatch.setattr(cache, "add", away)
    with pytest.raises(NotNow) as error:
        browse(lambda r: signin.sign_in(r, owner.email, PASSWORD))
    assert error.value.status == 503
    assert browse()[0].actor.user_id == owner.pk
    Limit("reading", 1, 60, closed=False).take()


def test_success_forgets_the_tries_of_the_account(owner, browse):
    for _round in range(3):
        for _n in range(signin.TRIES_FOR_ACCOUNT.number - 1):
            signin.TRIES_FOR_ACCOUNT.take(owner.email)
        browse(lambda r: signin.sign_in(r, owner.email, PASSWORD) and None)


def test_limits_of_one_tenant_are_not_anothers(tenant, other_tenant):
    limit = Limit("own", 1, 60)
    limit.take("a")
    with tenant_context(other_tenant):
        limit.take("a")
    with pytest.raises(TooMany):
        limit.take("a")


def test_where_a_request_comes_from():
    def address(peer, forwarded=""):
        return address_of(RequestFactory().get("/", REMOTE_ADDR=peer, HTTP_X_FORWARDED_FOR=forwarded))

    assert address("203.0.113.5", "1.2.3.4") == "203.0.113.5"
    assert address("127.0.0.1", "6.6.6.6, 1.2.3.4") == "1.2.3.4"
    assert address("127.0.0.1", "nonsense") == "127.0.0.1"
    assert network_of("2001:db8:1:2:3::4") == "2001:db8:1:2::/64"
    assert network_of("::ffff:203.0.113.5") == "203.0.113.5"
    assert network_of("") == ""


# --- passwords --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weak",
    ["", "short", "password123", "qwertyuiop", "aaaaaaaaaaaa", "owner@example.com", "Olga Owner 1", "ostojaostoja"],
)
def test_a_weak_password_is_refused_with_advice(weak):
    problems = passwords.problems_of(weak, ["owner@example.com", "Olga Owner", "Acme"])
    assert problems and all(sentence.endswith(".") for sentence in problems)


def test_good_passwords_need_no_special_characters():
    assert passwords.problems_of("trzy dzikie gesi nad jeziorem") == []
    assert passwords.problems_of("x" * 1001)
    assert passwords.strength("") == 0 and passwords.strength("trzy dzikie gesi nad jeziorem") == 4


def test_every_sentence_of_the_judge_is_known():
    source = re.sub(r"['\"]\s*\\?\n\s*['\"]", "", inspect.getsource(feedback))
    said = {a or b for a, b in re.findall(r"_\(\s*(?:'((?:[^'\\]|\\.)*)'|\"((?:[^\"\\]|\\.)*)\")", source)}
    assert said and {s.replace("\\'", "'") for s in said} <= passwords.SENTENCES


def test_changing_the_password_ends_the_other_sessions_and_tells_by_mail(owner, browse, work):
    browse(lambda r: signin.sign_in(r, owner.email, PASSWORD) and None)
    elsewhere = RequestFactory().get("/")
    sessions.start(elsewhere, owner)
    me = browse()[0].actor
    with pytest.raises(Refused) as error:
        signin.change_password(me, "wrong", NEW)
    assert list(error.value.fields) == ["present"]
    for bad in ("password123", PASSWORD):
        with pytest.raises(Refused) as error:
            signin.change_password(me, PASSWORD, bad)
        assert list(error.value.fields) == ["new"]
    signin.change_password(me, PASSWORD, NEW)
    assert browse()[0].actor is not None
    assert sessions.find(elsewhere.session_cookie) is None
    owner.refresh_from_db()
    assert passwords.is_right(NEW, owner.password)
    assert work()[0].subject == "Your password was changed"
    change = Change.objects.filter(verb="change_password").get()
    assert change.actor == f"user:{owner.pk}" and "password" not in (change.old or {})


def test_why_a_password_is_weak_is_said_in_the_language_of_the_person():
    said = passwords.problems_of("password1234567")
    assert len(said) > 1
    with translation.override("pl"):
        polish = passwords.problems_of("password1234567")
    assert len(polish) == len(said) and not set(polish) & set(said)


# --- forgotten --------------------------------------------------------------------------------------------------------


def test_C6_a_forgotten_password_is_answered_alike_by_the_same_queries(owner, browse, work):
    seen = []
    for email in ("owner@example.com", "nobody@example.com"):
        with CaptureQueriesContext(connection) as queries:
            assert browse(lambda r, e=email: signin.forgot(r, e))[1].status_code == 200
        seen.append([q["sql"].split()[0] for q in queries.captured_queries])
    assert seen[0] == seen[1]
    assert [letter.to for letter in work()] == ["owner@example.com"]


def test_the_link_sets_a_new_password_once_and_signs_in(owner, browse, work):
    old = browse(lambda r: sessions.start(r, owner) and None)[0].session_cookie
    signin.forgot(browse()[0], owner.email)
    token = link_in(work()[0])
    assert signin.user_to_reset(token) == owner
    with pytest.raises(Refused):
        browse(lambda r: signin.reset_password(r, token, "password123"))
    request, _ = browse(lambda r: signin.reset_password(r, token, NEW) and None)
    assert request.actor.user_id == owner.pk
    assert sessions.find(old) is None
    owner.refresh_from_db()
    assert owner.email_confirmed_at is not None and passwords.is_right(NEW, owner.password)
    with pytest.raises(LinkRefused):
        browse(lambda r: signin.reset_password(r, token, NEW + "2"))
    assert browse()[0].actor.user_id == owner.pk


def test_two_who_hold_the_link_at_once(owner, browse):
    token = links.make("reset", [str(owner.pk), signin._fingerprint(owner)])
    first = signin.user_to_reset(token)
    signin._set_password(actor_of(first), first, NEW, "reset_password")
    with pytest.raises(LinkRefused):
        browse(lambda r: signin.reset_password(r, token, NEW + "2"))


def test_A7_links_of_one_tenant_are_worth_nothing_in_another(owner, other_tenant, browse):
    """The same user id and the same hash in both tenants, as if one were a copy of the other."""
    tokens = {
        "reset": links.make("reset", [str(owner.pk), signin._fingerprint(owner)]),
        "confirm": links.make("confirm", [str(owner.pk), owner.email]),
        "welcome": signin.welcome_token(owner),
    }
    with tenant_context(other_tenant):
        make_user("Copy", id=owner.pk, email=owner.email, owner=True)
        for use in (
            lambda: signin.user_to_reset(tokens["reset"]),
            lambda: signin.confirm_email(tokens["confirm"]),
            lambda: signin.sign_in_by_link(browse()[0], tokens["welcome"]),
        ):
            with pytest.raises(LinkRefused):
                use()
    assert signin.user_to_reset(tokens["reset"]) == owner


def test_a_link_of_one_purpose_is_worth_nothing_for_another(owner, browse):
    confirm = links.make("confirm", [str(owner.pk), signin._fingerprint(owner)])
    with pytest.raises(LinkRefused):
        signin.user_to_reset(confirm)
    with pytest.raises(LinkRefused):
        signin.user_to_reset("nonsense")


def test_links_grow_old(owner, monkeypatch):
    token = links.make("reset", [str(owner.pk), signin._fingerprint(owner)])
    monkeypatch.setattr(signin, "RESET_FOR", timedelta(seconds=-1))
    with pytest.raises(LinkRefused, match="too old"):
        signin.user_to_reset(token)


def test_the_welcome_link_signs_in_once(owner, browse, monkeypatch):
    token = signin.welcome_token(owner)
    assert browse(lambda r: signin.sign_in_by_link(r, token) and None)[0].actor.user_id == owner.pk
    with pytest.raises(LinkRefused, match="used"):
        browse(lambda r: signin.sign_in_by_link(r, token))
    other = signin.welcome_token(owner)
    monkeypatch.setattr(cache, "add", lambda *a, **k: (_ for _ in ()).throw(ConnectionError()))
    with pytest.raises((LinkRefused, NotNow)):
        browse(lambda r: signin.sign_in_by_link(r, other))


def test_an_inactive_person_uses_no_link(actor, browse):
    worker = make_user("Wanda")
    reset = links.make("reset", [str(worker.pk), signin._fingerprint(worker)])
    welcome = signin.welcome_token(worker)
    perform(actor, worker, "deactivate")
    with pytest.raises(LinkRefused):
        signin.user_to_reset(reset)
    with pytest.raises(LinkRefused):
        browse(lambda r: signin.sign_in_by_link(r, welcome))


# --- addresses --------------------------------------------------------------------------------------------------------


def test_confirming_the_address(owner, work):
    assert owner.email_confirmed_at is None
    signin.send_confirmation(owner)
    token = link_in(work()[0])
    assert signin.confirm_email(token).email_confirmed_at is not None
    assert signin.confirm_email(token) == owner


def test_another_address_counts_when_its_mail_was_opened(owner, work):
    me = actor_of(owner)
    make_user("Else", email="taken@example.com")
    with pytest.raises(Refused) as error:
        signin.change_email(me, "wrong", "new@example.com")
    assert list(error.value.fields) == ["password"]
    with pytest.raises(Refused) as error:
        signin.change_email(me, PASSWORD, "no address\nBcc: x@example.com")
    assert list(error.value.fields) == ["email"]
    signin.change_email(me, PASSWORD, "taken@example.com")
    assert work() == []
    signin.change_email(me, PASSWORD, "New@Example.com")
    letter = work()[0]
    owner.refresh_from_db()
    assert (letter.to, owner.email) == ("new@example.com", "owner@example.com")
    assert signin.confirm_email(link_in(letter)).email == "new@example.com"
    assert (work()[0].to, work()[0].subject) == ("owner@example.com", "Your e-mail address was changed")
    with pytest.raises(LinkRefused):
        signin.confirm_email(link_in(letter))


def test_a_new_address_that_was_taken_meanwhile(owner, work):
    signin.change_email(actor_of(owner), PASSWORD, "new@example.com")
    token = link_in(work()[0])
    make_user("Quicker", email="new@example.com")
    with pytest.raises(LinkRefused, match="Somebody else"):
        signin.confirm_email(token)
