"""Keys of a link: requests are signed, counted and timed; keys change without a pause; a copied key locks; revoking is at once."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest
from by_http import caller, connect, send
from django.utils import timezone
from test_database import fill
from two_sites import SYSTEM, Pair, do, value

from ostoja.crm.sales.models import Deal
from ostoja.hybrid import enrolment, keys, rotating, views
from ostoja.hybrid.dialling import Line, Unreachable
from ostoja.hybrid.models import EnrolmentCode, Link, LinkUse, Progress, Site
from ostoja.hybrid.recognising import Claim
from ostoja.journal.context import changing
from ostoja.kernel.errors import Refused
from ostoja.tenancy.context import tenant_context


@pytest.fixture
def pair(lender, monkeypatch):
    """Two sites, with HTTP between them that tests listen to and cut."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.deal = deal
    made.load()
    made.talk()
    connect(made, monkeypatch)
    return made


def push(pair, title):
    """A change on the premises goes over the line."""
    do(pair.premises, pair.deal, data={"title": title})
    with tenant_context(pair.premises):
        assert caller().push()
    assert value(pair.cloud, pair.deal, "title") == title


def claimed(pair, body=b"", *, what="exchange", link=None, private=None, **changes) -> tuple[str, dict]:
    """A properly signed request of the premises, but for what a test changes."""
    with tenant_context(pair.premises):
        found, use, progress = Link.objects.get(), LinkUse.objects.get(), Progress.objects.get()
        path = f"/sync/v1/{link or found.pk}/{what}"
        said = {
            "path": path, "moment": int(time.time()), "lane": "push", "counter": progress.pushes + 1,
            "generation": use.generation, "epoch": Site.objects.get(here=True).epoch, "digest": keys.digest(body),
        } | changes  # fmt: skip
        return path, Claim(**said).headers(private or found.private_key)


def refusal(pair, body=b"", headers=None, **changes) -> tuple[int, str]:
    path, signed = claimed(pair, body, **changes)
    response = send(pair, path, body, headers if headers is not None else signed)
    return response.status_code, response.json()["code"]


def cloud_link(pair) -> Link:
    with tenant_context(pair.cloud):
        return Link.objects.select_related("use").get()


def test_a_request_played_again_is_refused_and_locks_nothing(pair):
    push(pair, "Once")
    path, body, headers = pair.heard[-1]
    again = send(pair, path, body, headers)
    assert (again.status_code, again.json()["code"]) == (403, "replayed")
    assert cloud_link(pair).state == "open"
    push(pair, "And on")


def test_another_body_another_address_or_another_key_is_refused(pair):
    push(pair, "Once")
    path, body, headers = pair.heard[-1]
    for where, what in ((path, body + b"x"), (path.replace("exchange", "verify"), body)):
        refused = send(pair, where, what, headers)
        assert (refused.status_code, refused.json()["code"]) == (403, "link_closed")
    assert refusal(pair, private=keys.new_pair()[0]) == (403, "link_closed")
    assert refusal(pair, link="01a2186f-ff11-712e-a34e-47c214fcba3b") == (403, "link_closed")


def test_without_a_signature_or_with_odd_headers_nobody_gets_in(pair):
    push(pair, "Once")
    _path, signed = claimed(pair)
    assert refusal(pair, headers={}) == (403, "not_signed")
    for name, odd in (("Time", "now"), ("Counter", "-1"), ("Epoch", str(2**70)), ("Lane", "middle")):
        assert refusal(pair, headers={**signed, f"X-Ostoja-{name}": odd}) == (403, "not_signed")


@pytest.mark.parametrize("minutes", [-11, 11])
def test_a_clock_that_is_wrong_is_told_in_words(pair, minutes):
    push(pair, "Once")
    assert refusal(pair, moment=int(time.time()) + minutes * 60) == (403, "clock_suspect")
    assert cloud_link(pair).use.trouble == "clock_suspect"
    push(pair, "Set right")
    assert cloud_link(pair).use.trouble == ""


def test_what_is_not_encrypted_is_not_dialled():
    for url in ("http://company.example.com", "ftp://company.example.com", "company"):
        with pytest.raises(Unreachable):
            Line(url)
    assert Line("https://company.example.com").pool.scheme == "https"
    assert Line("http://demo.localhost:8000").host == "demo.localhost:8000"


def test_keys_change_on_demand_and_the_old_ones_end_with_the_first_use_of_the_new(pair):
    push(pair, "Before")
    with tenant_context(pair.premises):
        before = Link.objects.get()
    do(pair.premises, before, "rotate")
    push(pair, "After")
    with tenant_context(pair.premises):
        after, use = Link.objects.get(), LinkUse.objects.get()
    there = cloud_link(pair)
    assert after.private_key != before.private_key and after.peer_key != before.peer_key
    assert keys.public_of(after.private_key) == there.peer_key and keys.public_of(there.private_key) == after.peer_key
    assert (use.generation, there.use.generation, use.wanted, there.use.wanted) == (2, 2, False, False)
    assert use.next_private_key == there.use.next_private_key == ""
    push(pair, "And on")
    with tenant_context(pair.premises):
        assert caller("pull").pull() == 0


def test_the_cloud_asks_for_new_keys_too(pair):
    push(pair, "Before")
    do(pair.cloud, cloud_link(pair), "rotate")
    push(pair, "The wish is heard")
    push(pair, "And followed")
    assert (cloud_link(pair).use.generation, cloud_link(pair).use.wanted) == (2, False)
    push(pair, "Once only")
    assert cloud_link(pair).use.generation == 2


def test_keys_change_after_ninety_days(pair):
    push(pair, "Before")
    with tenant_context(pair.premises):
        LinkUse.objects.update(since=timezone.now() - timedelta(days=91))
    push(pair, "Later")
    assert cloud_link(pair).use.generation == 2


@pytest.mark.parametrize("answers", [1, 2])
def test_new_keys_survive_answers_that_are_lost(pair, answers):
    push(pair, "Before")
    with tenant_context(pair.premises):
        rotating.want_new_keys(Link.objects.get())
    pair.lost[:] = (
        [True] if answers == 1 else [True, False]
    )  # taken from the end: the answer to the proposal, or to the first use
    do(pair.premises, pair.deal, data={"title": "On the way"})
    with tenant_context(pair.premises), pytest.raises(Unreachable):
        caller().push()
    push(pair, "After")
    with tenant_context(pair.premises):
        assert LinkUse.objects.get().generation == cloud_link(pair).use.generation == 2


def test_a_cloud_that_forgot_the_new_keys_is_met_with_the_old_ones(pair):
    push(pair, "Before")
    with tenant_context(pair.premises):
        rotating.want_new_keys(Link.objects.get())
        caller().rotate()
    with tenant_context(pair.cloud):
        LinkUse.objects.update(next_private_key="", next_peer_key="")  # as a restored backup would
    push(pair, "After")
    push(pair, "And new ones again")
    assert cloud_link(pair).use.generation == 2


def test_two_sites_with_one_key_lock_the_link(pair):
    push(pair, "Once")
    code = refusal(pair, counter=1, moment=int(time.time()) + 5)  # a copy that counts its requests on its own
    assert code == (403, "cloned")
    link = cloud_link(pair)
    assert link.state == "locked" and "Two sites use the same key" in link.reason
    do(pair.premises, pair.deal, data={"title": "Not over this line"})
    with tenant_context(pair.premises), pytest.raises(Unreachable) as refused:
        caller().push()
    assert refused.value.code == "locked"
    do(pair.cloud, link, "reopen")
    push(pair, "The wish for new keys")
    push(pair, "With new keys")
    assert (cloud_link(pair).state, cloud_link(pair).use.generation, cloud_link(pair).reason) == ("open", 2, "")


def test_a_replaced_key_that_comes_back_locks_the_link(pair):
    push(pair, "Before")
    with tenant_context(pair.premises):
        old = Link.objects.get().private_key
        rotating.want_new_keys(Link.objects.get())
    push(pair, "After")
    path, body, headers = pair.heard[0]  # from before the change: late, and no proof of anything
    assert send(pair, path, body, headers).json()["code"] == "replayed"
    assert refusal(pair, private=old, generation=1, counter=9999, moment=int(time.time()) + 5) == (403, "cloned")
    assert cloud_link(pair).state == "locked"


def test_a_restored_site_counts_anew_and_the_one_before_it_locks_the_link(pair):
    push(pair, "Before")
    with tenant_context(pair.premises):
        was = Site.objects.get(here=True).epoch
        with changing(SYSTEM, "restore"):
            Site.objects.filter(here=True).update(epoch=was + 2)
        Progress.objects.update(pushes=0, pulls=0)
    for lane in ("push", "pull", "push"):
        with tenant_context(pair.premises):
            assert caller(lane).ask({"of": "roots"})["roots"]
    assert cloud_link(pair).state == "open"
    assert refusal(pair, epoch=was, counter=9999, moment=int(time.time()) + 5) == (403, "cloned")
    assert cloud_link(pair).state == "locked"


def test_a_link_revoked_in_the_cloud_is_closed_at_once(pair):
    push(pair, "Once")
    do(pair.cloud, cloud_link(pair), "revoke")
    do(pair.premises, pair.deal, data={"title": "Too late"})
    with tenant_context(pair.premises), pytest.raises(Unreachable) as refused:
        caller().push()
    assert refused.value.code == "revoked"
    assert value(pair.cloud, pair.deal, "title") == "Once"


def test_a_pull_that_is_held_when_the_link_is_revoked_brings_nothing(pair, monkeypatch):
    push(pair, "Once")

    def revoked_meanwhile(*_args):
        do(pair.cloud, cloud_link(pair), "revoke")
        do(pair.cloud, pair.deal, data={"title": "Not to be seen"})
        return original(*_args)

    original = views._answer
    monkeypatch.setattr(views, "_answer", revoked_meanwhile)
    with tenant_context(pair.premises), pytest.raises(Unreachable) as refused:
        caller("pull").pull()
    assert refused.value.code == "revoked"
    assert value(pair.premises, pair.deal, "title") == "Once"


def test_the_premises_revoke_the_cloud_and_send_nothing_more(pair):
    push(pair, "Once")
    with tenant_context(pair.premises):
        running, link = caller(), Link.objects.get()
    do(pair.premises, pair.deal, data={"title": "Stays here"})
    do(pair.premises, link, "revoke")
    sent = len(pair.heard)
    with tenant_context(pair.premises):
        with pytest.raises(Unreachable) as refused:
            running.push()
        assert (refused.value.code, len(pair.heard)) == ("revoked", sent)
        caller().goodbye()
    assert pair.heard[-1][1] == b"" and cloud_link(pair).state == "revoked"


def test_what_comes_while_the_premises_revoke_is_not_taken(pair, monkeypatch):
    push(pair, "Once")
    do(pair.cloud, pair.deal, data={"title": "Too late"})
    original = Line.post

    def post(*args):
        answer = original(*args)
        with changing(SYSTEM, "revoke"):
            Link.objects.update(state="revoked")
        return answer

    with tenant_context(pair.premises):
        monkeypatch.setattr(Line, "post", post)
        with pytest.raises(Unreachable):
            caller("pull").pull()
    assert value(pair.premises, pair.deal, "title") == "Once"


def test_a_comparison_that_finds_both_equal_is_noted_at_both(pair):
    from ostoja.hybrid.joining import compare_link

    push(pair, "Once")
    with tenant_context(pair.premises):
        assert compare_link(caller()) == []
        ours = Progress.objects.get()
    with tenant_context(pair.cloud):
        theirs = Progress.objects.get()
    assert ours.equal_root == theirs.equal_root != "" and ours.equal_at and theirs.equal_at


def test_traffic_of_the_day_is_counted_at_both(pair):
    push(pair, "Once")
    with tenant_context(pair.premises):
        ours = LinkUse.objects.get()
    theirs = cloud_link(pair).use
    assert ours.day == theirs.day and ours.day_out > 0 and ours.day_in > 0
    assert (ours.day_out, ours.day_in) == (theirs.day_in, theirs.day_out)


def test_what_is_wrong_with_one_lane_stays_told_while_the_other_works(pair):
    from ostoja.hybrid import using

    push(pair, "Once")
    with tenant_context(pair.premises):
        using.trouble(Link.objects.get().pk, Unreachable("x", code="http_500"), "push")
        caller("pull").pull()
        assert LinkUse.objects.get().trouble == "http_500"
    push(pair, "Works again")
    with tenant_context(pair.premises):
        assert LinkUse.objects.get().trouble == ""


@pytest.mark.parametrize("kind", ["cloud", "moon", ""])
def test_only_premises_and_desktops_are_invited(tenant, kind):
    with pytest.raises(Refused, match="`premises` or `desktop`"):
        enrolment.invite(SYSTEM, kind)
    assert not EnrolmentCode.objects.exists()
