"""An administrator sees in words how every link is, with the way out; invites, compares, changes keys, opens again, revokes."""

from __future__ import annotations

import json
import threading
from datetime import timedelta

import pytest
from django.utils import timezone
from test_database import fill
from two_sites import Pair, do

from ostoja.access.models import UserRole
from ostoja.crm.sales.models import Deal
from ostoja.hybrid import health, using
from ostoja.hybrid.dialling import Unreachable
from ostoja.hybrid.models import EnrolmentCode, Link, LinkUse, Parked, Progress, PurgeCase
from ostoja.hybrid.receiving import LinkSuspect, NotOpen
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.ids import uuid7
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser
from ostoja.testing.people import make_role, make_user

HERE = "/settings/hybrid/links"


@pytest.fixture
def pair(lender):
    """Two linked sites; on the premises an owner and a salesperson."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.deal = deal
    made.load()
    with tenant_context(premises):
        made.owner, made.seller = make_user("Olga", owner=True), make_user("Sam")
        with changing(Actor.system("Test"), "add"):
            UserRole.objects.create(user=made.seller, role=make_role({"sales.deal": {"view": "all"}}))
    made.talk()
    return made


def at(pair, user, tenant=None) -> Browser:
    return Browser(tenant or pair.premises, raise_request_exception=False).sign_in(user)


def page(browser, path=HERE) -> str:
    response = browser.get(path)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def found(pair, tenant=None) -> health.Health:
    with tenant_context(tenant or pair.premises):
        return health.health_of(Link.objects.select_related("site", "progress").get())


def set_on_premises(pair, **values) -> None:
    with tenant_context(pair.premises):
        for model in (Progress, LinkUse):
            names = {f.name for f in model._meta.concrete_fields}
            some = {n: v for n, v in values.items() if n in names}
            if some:
                model.objects.update(**some)


def test_a_link_that_works_is_live_and_equal_only_when_it_was_compared(pair):
    assert found(pair).state == "live" and not found(pair).is_equal
    assert "Not found equal yet" in page(at(pair, pair.owner))
    set_on_premises(pair, equal_at=timezone.now() - timedelta(hours=23), equal_root="ab12")
    assert found(pair).is_equal and "ab12" in page(at(pair, pair.owner))
    set_on_premises(pair, equal_at=timezone.now() - timedelta(hours=25))
    assert not found(pair).is_equal and found(pair).state == "live"
    assert "Not found equal for a day" in page(at(pair, pair.owner))


def test_lag_is_told_in_changes_and_seconds_in_both_directions(pair):
    do(pair.premises, pair.deal, data={"title": "Waits"})
    there = found(pair)
    assert there.to_send.changes >= 1 and 0 <= there.to_send.seconds < 60 and there.unsequenced_at is not None
    with tenant_context(pair.premises):
        high = Progress.objects.get().applied + 7
        Progress.objects.update(peer_high=high)
        LinkUse.objects.update(behind_since=timezone.now() - timedelta(minutes=3))
    there = found(pair)
    assert (there.to_take.changes, there.state) == (7, "behind") and 175 < there.to_take.seconds < 200
    assert "3 min behind" in page(at(pair, pair.owner))


def test_what_is_parked_or_called_back_is_counted_with_the_oldest(pair):
    with tenant_context(pair.premises), changing(Actor.system("Test"), "add"):
        link = Link.objects.get()
        Parked.objects.create(link=link, about="sales.deal", record=uuid7(), operation=["S"], reason="Not yet")
        PurgeCase.objects.create(link=link, about="sales.deal", record=uuid7(), label_ver=2)
    there = found(pair)
    assert (there.parked, there.purges, there.state) == (1, 1, "parked") and there.parked_at and there.purged_at
    assert "waits for something that has not come yet" in page(at(pair, pair.owner))


@pytest.mark.parametrize(
    ("error", "state", "words"),
    [
        (Unreachable("x"), "waiting", "does not answer"),
        (Unreachable("x", code="unknown_name"), "waiting", "can look names up"),
        (Unreachable("x", code="certificate"), "trouble", "The certificate of"),
        (Unreachable("x", code="not_signed"), "trouble", "without inspection"),
        (Unreachable("x", code="link_closed"), "trouble", "does not know this link"),
        (Unreachable("x", code="revoked"), "trouble", "was revoked at the other site"),
        (Unreachable("x", code="locked"), "trouble", "is locked at"),
        (Unreachable("x", code="cloned"), "trouble", "Switch the copy off"),
        (Unreachable("x", code="replayed"), "trouble", "has seen a request like this before"),
        (Unreachable("x", code="older_copy"), "trouble", "ostoja site renew"),
        (Unreachable("x", code="http_500"), "trouble", "had a fault"),
        (LinkSuspect("x"), "clock", "Set both by NTP"),
        (NotOpen("x"), "manifest", "may not come here"),
        (RuntimeError("canary of a value"), "trouble", "the log of the agent says more"),
    ],
    ids=lambda one: getattr(one, "code", None) if isinstance(one, Exception) else None,
)
def test_every_problem_is_a_sentence_with_the_way_out(pair, error, state, words):
    with tenant_context(pair.premises):
        found(pair)
        using.trouble(Link.objects.get().pk, error)
    there = found(pair)
    with tenant_context(pair.premises):
        said = health.sentences(there)
    assert there.state == state and words in said[0] and "canary" not in " ".join(said)


def test_skew_silence_and_an_unknown_manifest_show_without_an_error(pair):
    from ostoja.hybrid.exchange import UNKNOWN_MANIFEST

    set_on_premises(pair, skew_ms=-7000)  # as when a message took seven seconds
    assert found(pair).state == "live"
    set_on_premises(pair, skew_ms=7000)
    assert found(pair).state == "clock" and "7 seconds" in page(at(pair, pair.owner))
    assert "7 s; the other one is ahead" in page(at(pair, pair.owner))
    set_on_premises(pair, skew_ms=-600_000)
    assert found(pair).state == "clock" and "10 min; this one is ahead" in page(at(pair, pair.owner))
    set_on_premises(pair, trouble="revoked")  # what was heard of the clock is older than this
    assert found(pair).state == "trouble" and "seconds" not in page(at(pair, pair.owner))
    set_on_premises(pair, trouble="")
    set_on_premises(pair, skew_ms=0, problem=UNKNOWN_MANIFEST)
    assert found(pair).state == "manifest" and "Until then less is sent, never more" in page(at(pair, pair.owner))
    set_on_premises(pair, problem="", seen_at=timezone.now() - timedelta(minutes=5))
    said = page(at(pair, pair.owner))
    assert found(pair).state == "waiting" and "Nothing passes" in said and "that http://cloud.example answers" in said


def test_the_state_is_asked_again_and_again_and_the_page_when_the_link_changed(pair):
    browser = at(pair, pair.owner)
    with tenant_context(pair.premises):
        link = Link.objects.get()
    path = f"{HERE}/{link.pk}/state?was=open"
    assert 'hx-trigger="every 2s"' in page(browser, path) and "HX-Refresh" not in browser.get(path)
    do(pair.premises, link, "revoke")
    assert browser.get(path)["HX-Refresh"] == "true" and "every 2s" not in page(browser, path)


def test_an_owner_invites_a_site_with_a_code_that_is_shown_once(pair, lender):
    alone = lender.lend()
    with tenant_context(alone):
        owner = make_user("Olga", owner=True)
    browser = at(pair, owner, alone)
    assert "Invite a site" in page(browser) and "lives on one site" in page(browser)
    made = browser.post(f"{HERE}/invite", {"kind": "premises"}).content.decode()
    code = made.split('id="code">')[1].split("<")[0]
    assert len(code) == 35 and f"--code {code}" in made and f"--url http://{browser.host}" in made
    assert code not in page(browser)
    with tenant_context(alone):
        assert EnrolmentCode.objects.get().digest != code
    assert browser.get(f"{HERE}/invited").status_code == 204
    from ostoja.hybrid import enrolment, keys
    from ostoja.hybrid.sites import manifest_in_force, new_epoch

    with tenant_context(alone):
        enrolment.accept(code, keys.new_pair()[1], "Warsaw", new_epoch(), manifest_in_force().canonical)
        fingerprint = Link.objects.get().fingerprint
    assert browser.get(f"{HERE}/invited")["HX-Redirect"] == HERE
    assert fingerprint in page(browser) and "Warsaw" in page(browser)


def test_the_premises_do_not_invite(pair):
    browser = at(pair, pair.owner)
    assert "Invite a site" not in page(browser)
    assert browser.post(f"{HERE}/invite", {"kind": "premises"}).status_code == 403


def test_who_does_not_look_after_links_sees_nothing_of_them(pair):
    browser = at(pair, pair.seller)
    with tenant_context(pair.premises):
        link = Link.objects.get()
    assert browser.get(HERE).status_code == 403
    assert browser.get(f"{HERE}/{link.pk}/state").status_code == 404
    assert browser.post(f"{HERE}/{link.pk}/verify").status_code == 404
    assert browser.post(f"/links/{link.pk}/do/revoke").status_code == 404
    assert HERE not in page(browser, "/settings/profile")
    with tenant_context(pair.premises):
        assert Link.objects.get().state == "open"


def test_keys_are_changed_and_the_link_revoked_from_the_page(pair):
    browser = at(pair, pair.owner)
    with tenant_context(pair.premises):
        link = Link.objects.get()
    said = page(browser)
    assert "Change the keys" in said and "Revoke" in said and "Open again" not in said
    assert browser.post(f"/links/{link.pk}/do/rotate?next={HERE}").status_code == 302
    assert "take new keys at the next exchange" in page(browser)
    assert browser.post(f"/links/{link.pk}/do/revoke?next={HERE}").status_code == 302
    said = page(browser)
    assert "nothing passes" in said and "Change the keys" not in said and "To send" not in said
    with tenant_context(pair.premises):
        assert Link.objects.get().state == "revoked"


def test_a_locked_link_says_why_and_can_be_opened_again(pair):
    with tenant_context(pair.premises):
        from ostoja.hybrid import rotating

        link = Link.objects.get()
        rotating.lock(link, "Two sites use the same key, and count their requests apart.")
    browser = at(pair, pair.owner)
    said = page(browser)
    assert "Two sites use the same key" in said and "Open again" in said
    browser.post(f"/links/{link.pk}/do/reopen?next={HERE}")
    with tenant_context(pair.premises):
        again = Link.objects.select_related("use").get()
    assert (again.state, again.reason, again.use.wanted) == ("open", "", True)


def test_verify_now_runs_in_the_background_and_lists_what_differs(pair, monkeypatch):
    from ostoja.hybrid import joining, verifying
    from ostoja.hybrid.agent import Lane
    from ostoja.jobs import runner
    from ostoja.jobs.models import Job

    class Line:
        def __init__(self, link, _lane):
            self.link, self.exchange = link, pair.exchange(pair.premises)

        def ask(self, question):
            with tenant_context(pair.cloud):
                return verifying.answer(pair.exchange(pair.cloud), question)

    monkeypatch.setattr(joining.dialling, "Caller", Line)
    browser = at(pair, pair.owner)
    with tenant_context(pair.premises):
        link = Link.objects.get()

    def verified() -> str:
        assert browser.post(f"{HERE}/{link.pk}/verify").status_code == 302
        with tenant_context(pair.premises):
            job = Job.objects.filter(kind=joining.COMPARE).latest("created_at")
            runner.execute(pair.premises, job.pk)
        assert "being compared" in page(browser)  # no worker does it
        lane = Lane(pair.premises, link.pk, "push", threading.Event())
        assert lane._is_asked()
        with tenant_context(pair.premises):
            lane._do_what_is_asked()
        assert not lane._is_asked()
        return page(browser)

    assert "Equal: both sites hold the same" in verified()
    do(pair.premises, pair.deal, data={"title": "Only here"})
    said = verified()
    assert "1 record differs" in said and f"/deals/{pair.deal.pk}" in said
    do(pair.premises, link, "revoke")
    assert browser.post(f"{HERE}/{link.pk}/verify").status_code == 302
    with tenant_context(pair.premises):
        assert not Job.objects.filter(kind=joining.COMPARE, state="queued").exists()  # nobody would ever do it
    with tenant_context(pair.cloud):
        owner = pair.owner
    assert at(pair, owner, pair.cloud).post(f"{HERE}/{link.pk}/verify").status_code == 404


def test_status_on_the_command_line_says_the_same(pair, capsys):
    from ostoja.cli.site import _status

    set_on_premises(pair, skew_ms=9000)
    line = _status(pair.premises)[0]
    assert (line["health"], line["conflicts"], line["generation"]) == ("clock", 0, 1) and "9 seconds" in line[
        "problems"
    ][0]
    assert json.dumps(line, default=str)


def test_who_signs_in_reads_that_every_site_has_passwords_of_its_own(pair, lender):
    words = "Every site has passwords of its own"
    for tenant, told in ((pair.cloud, True), (pair.premises, True), (lender.lend(), False)):
        assert (words in page(Browser(tenant), "/sign-in")) == told
