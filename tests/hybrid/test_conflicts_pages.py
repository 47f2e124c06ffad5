"""Whoever meets a conflict reads both values, who wrote them and the rule, and turns it around; others do not see them."""

from __future__ import annotations

import html
import re
from urllib.parse import unquote

import pytest
from test_database import fill
from two_sites import Pair, do, value

from ostoja.access.actor_of import actor_of
from ostoja.access.models import User, UserRole
from ostoja.crm.sales.models import Deal, DealLine, LostReason
from ostoja.gate import perform
from ostoja.hybrid import disputes
from ostoja.hybrid.models import Absent, Conflict, Link
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user

SALES = {
    "sales.deal": {"view": "all", "add": "own", "change": "own", "win": "own", "lose": "own", "reopen": "own"},
    "party.party": {"view": "all"}, "sales.pipeline": {"view": "all"}, "sales.lostreason": {"view": "all"}, "hybrid.conflict": {"*": "own"},
}  # fmt: skip


@pytest.fixture
def pair(lender):
    """Two sites with a customer and a deal of Anna's; on the premises an owner, Anna, and Piotr, who has no deals."""
    cloud, premises = lender.lend(), lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, premises)
    made.party, made.deal = party, deal
    made.load()
    with tenant_context(premises):
        role = make_role(SALES)
        made.owner, made.anna, made.piotr = make_user("Olga", owner=True), make_user("Anna"), make_user("Piotr")
        with changing(Actor.system("Test"), "add"):
            for one in (made.anna, made.piotr):
                UserRole.objects.create(user=one, role=role)
    made.talk()
    do(premises, deal, data={"owner": made.anna.pk})
    made.talk()
    return made


def by(pair, user, target, verb="change", data=None):
    """A change on the premises by a person."""
    with tenant_context(pair.premises):
        target = type(target).objects.get(pk=target.pk)
        user.refresh_from_db()
        return perform(actor_of(user), target, verb, data or {})


def at(pair, user) -> Browser:
    return Browser(pair.premises, raise_request_exception=False).sign_in(user)


def disputed(pair, ours="Ours: 90 chairs", theirs="Theirs: 110 chairs") -> Conflict:
    """Anna and the cloud give the deal another title at once; the cloud's is later."""
    by(pair, pair.anna, pair.deal, data={"title": ours})
    do(pair.cloud, pair.deal, data={"title": theirs})
    pair.talk()
    return only(pair)


def only(pair) -> Conflict:
    with tenant_context(pair.premises):
        return Conflict.objects.select_related("site", "owner").get(state="open")


def conflicts(pair) -> int:
    with tenant_context(pair.premises):
        return Conflict.objects.filter(state="open").count()


def page(browser, path) -> str:
    response = browser.get(path)
    assert response.status_code == 200, response.status_code
    return response.content.decode()


def test_both_values_who_when_where_and_the_rule_are_on_one_page(pair):
    conflict = disputed(pair)
    assert conflict.owner_id == pair.anna.pk
    said = page(at(pair, pair.anna), f"/conflicts/{conflict.pk}")
    for words in ("Ours: 90 chairs", "Theirs: 110 chairs", "Anna", "Warsaw", "Cloud", "had not seen the other value"):
        assert words in said
    listed = page(at(pair, pair.anna), "/conflicts")
    assert f"/conflicts/{conflict.pk}" in listed and "Ours: 90 chairs" in listed


def test_a_change_by_a_program_names_whose_token_it_has(pair):
    program = Program.of(pair.premises, pair.anna)
    version = program.get(f"/api/v1/deals/{pair.deal.pk}").json()["version"]
    done = program.patch(f"/api/v1/deals/{pair.deal.pk}", {"title": "Ours"}, headers={"If-Match": f'"{version}"'})
    assert done.status_code == 200, done.content
    do(pair.cloud, pair.deal, data={"title": "Theirs"})
    pair.talk()
    assert "Anna (token “" in page(at(pair, pair.anna), f"/conflicts/{only(pair).pk}")


def test_keep_ours_is_written_at_every_site_by_whoever_decides_and_leaves_the_list(pair):
    conflict = disputed(pair)
    browser = at(pair, pair.anna)
    assert browser.post(f"/conflicts/{conflict.pk}/decide", {"verb": "keep_ours"}).status_code == 302
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == value(pair.premises, pair.deal, "title") == "Ours: 90 chairs"
    assert conflicts(pair) == 0 and f"/conflicts/{conflict.pk}" not in page(browser, "/conflicts")
    assert "Anna" in page(browser, f"/deals/{pair.deal.pk}?tab=history")


def test_take_theirs_stands_at_every_site(pair):
    conflict = disputed(pair)
    by(pair, pair.anna, conflict, "take_theirs")
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == value(pair.premises, pair.deal, "title") == "Theirs: 110 chairs"
    assert conflicts(pair) == 0


def test_a_badge_and_a_line_on_the_card_for_those_concerned_only(pair):
    conflict = disputed(pair)
    for user, concerned in ((pair.anna, True), (pair.owner, True), (pair.piotr, False)):
        browser = at(pair, user)
        assert ('href="/conflicts"' in page(browser, "/deals")) is concerned
        card = page(browser, f"/deals/{pair.deal.pk}")
        assert ("1 conflict" in card and f"/conflicts/{conflict.pk}" in card) is concerned
        assert browser.get(f"/conflicts/{conflict.pk}").status_code == (200 if concerned else 404)
        assert ("Ours: 90 chairs" in page(browser, "/conflicts")) is concerned
    by(pair, pair.anna, conflict, "keep_ours")
    assert 'href="/conflicts"' not in page(at(pair, pair.anna), "/deals")


def test_only_who_may_change_the_record_decides(pair):
    conflict = disputed(pair)
    do(pair.premises, pair.deal, data={"owner": pair.piotr.pk})  # the conflict is still Anna's, the deal is not
    with pytest.raises(NotAllowed):
        by(pair, pair.anna, conflict, "keep_ours")
    with pytest.raises(NotAllowed):
        by(pair, pair.anna, conflict, "settle")
    assert conflicts(pair) == 1


def test_values_obey_the_rights_on_the_field(pair):
    """A closed field travels between premises; here its conflict is made by hand."""
    with tenant_context(pair.premises), changing(Actor.system("Test"), "add"):
        site = Link.objects.get().site
        made = {
            rule: Conflict.objects.create(about="sales.deal", record=pair.deal.pk, field=field, rule=rule, ours=ours,
                                          theirs=None, site=site, owner=pair.anna, reason="canary reason")
            for rule, field, ours in (
                ("latest", "notes", "canary notes"), ("deleted", "", {"title": "Chairs", "notes": "canary notes"}),
            )
        }  # fmt: skip
        narrow = make_role(SALES, classes=("public", "internal"))
        UserRole.objects.filter(user=pair.anna).update(role=narrow)
        token = Program.of(pair.premises, pair.anna)
        owner = Program.of(pair.premises, pair.owner)
    browser = at(pair, pair.anna)
    for path in ("/conflicts", f"/conflicts/{made['latest'].pk}", f"/conflicts/{made['deleted'].pk}"):
        assert "canary" not in page(browser, path)
    for path in (
        "/api/v1/conflicts",
        *(f"/api/v1/conflicts/{c.pk}{end}" for c in made.values() for end in ("", "/values", "/history")),
    ):
        answer = token.get(path)
        assert answer.status_code == 200 and b"canary" not in answer.content, path
    assert b"Chairs" in token.get(f"/api/v1/conflicts/{made['deleted'].pk}/values").content
    assert b"canary notes" in owner.get(f"/api/v1/conflicts/{made['latest'].pk}/values").content
    export = browser.post("/conflicts/export.csv")
    assert b"canary" not in b"".join(export.streaming_content)


def test_through_rest_too(pair):
    conflict = disputed(pair)
    with tenant_context(pair.premises):
        anna, piotr = Program.of(pair.premises, pair.anna), Program.of(pair.premises, pair.piotr)
    listed = anna.get("/api/v1/conflicts?state=open").json()["items"]
    assert [c["id"] for c in listed] == [str(conflict.pk)] and "ours" not in listed[0]
    said = anna.get(f"/api/v1/conflicts/{conflict.pk}/values").json()
    assert (said["ours"], said["theirs"]) == ("Ours: 90 chairs", "Theirs: 110 chairs") and "later one stands" in said[
        "rule"
    ]
    assert piotr.get(f"/api/v1/conflicts/{conflict.pk}/values").status_code == 404
    assert piotr.post(f"/api/v1/conflicts/{conflict.pk}/keep_ours").status_code == 404
    assert anna.post(f"/api/v1/conflicts/{conflict.pk}/keep_ours").status_code == 200
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "Ours: 90 chairs"
    again = anna.post(f"/api/v1/conflicts/{conflict.pk}/take_theirs")
    assert again.status_code == 422 and value(pair.premises, pair.deal, "title") == "Ours: 90 chairs"
    for verb in ("PATCH", "DELETE"):
        assert anna.generic(
            verb, f"/api/v1/conflicts/{conflict.pk}", b"{}", content_type="application/json"
        ).status_code in (403, 405)


def test_amounts_dates_and_people_are_drawn_as_their_fields_draw_them(pair):
    by(pair, pair.anna, pair.deal, data={"amount": "1234.50", "closes_on": "2027-01-14"})
    do(pair.cloud, pair.deal, data={"amount": "99", "closes_on": "2027-02-15"})
    pair.talk()
    said = page(at(pair, pair.anna), "/conflicts")
    for words in ("1,234.50", "99", "14 Jan 2027", "15 Feb 2027"):
        assert words in said


def test_deleted_there_and_changed_here_comes_back_whole_with_one_click(pair):
    with tenant_context(pair.premises), changing(Actor.system("Test"), "add"):
        line = DealLine.objects.create(deal=pair.deal, description="Chair", quantity=3, price=30)
        Deal.objects.filter(pk=pair.deal.pk).update(notes="Kept on the premises")
    pair.talk()
    do(pair.cloud, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    conflict = only(pair)
    said = page(at(pair, pair.anna), f"/conflicts/{conflict.pk}")
    assert "Still wanted" in said and "Bring it back" in said and "Leave it deleted" in said
    leave, bring = (said.split(words)[0].rsplit("<svg", 1)[1] for words in ("Leave it deleted", "Bring it back"))
    assert "#check" in leave and "#arrow-left-right" in bring
    with tenant_context(pair.premises), changing(Actor.system("Test"), "grant"):
        UserRole.objects.filter(user=pair.anna).update(role=make_role(SALES | {"sales.deal": {"*": "own"}}))
    by(pair, pair.anna, conflict, "keep_ours")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert value(side, pair.deal, "title") == "Still wanted"
        assert value(side, line, "description") == "Chair"
    assert value(pair.premises, pair.deal, "notes") == "Kept on the premises"
    assert value(pair.cloud, pair.deal, "notes") == ""
    assert conflicts(pair) == 0


def test_or_it_is_left_deleted(pair):
    do(pair.cloud, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    by(pair, pair.anna, only(pair), "take_theirs")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        with pytest.raises(Deal.DoesNotExist):
            value(side, pair.deal, "title")
    assert conflicts(pair) == 0


def test_what_referred_to_a_deleted_record_does_so_again(pair):
    do(pair.cloud, pair.deal, "delete")
    do(pair.cloud, pair.party, "delete")
    do(pair.premises, pair.party, data={"name": "Acme, still alive"})
    with tenant_context(pair.premises):
        other = do(pair.premises, Deal, "add", {"title": "Fifty tables", "party": pair.party.pk, "amount": "1"})
    pair.talk()
    with tenant_context(pair.premises):
        found = list(Conflict.objects.filter(state="open", about="party.party"))
    for conflict in found:
        do(pair.premises, conflict, "keep_ours" if conflict.rule in ("deleted", "delete refused") else "settle")
    pair.talk()
    assert value(pair.premises, pair.party, "name") == value(pair.cloud, pair.party, "name") == "Acme, still alive"
    assert value(pair.premises, other, "party_id") == value(pair.cloud, other, "party_id") == pair.party.pk
    with tenant_context(pair.premises):
        assert not Absent.objects.exists()


def test_a_change_to_what_is_frozen_meanwhile_says_what_to_do(pair):
    with tenant_context(pair.premises), changing(Actor.system("Test"), "add"):
        conflict = Conflict.objects.create(
            about="sales.deal", record=pair.deal.pk, field="title", rule="refused", ours="Hundred chairs", theirs="Two hundred",
            site=Link.objects.get().site, owner=pair.anna, reason="A won deal can't be changed. Reopen it first.",
        )  # fmt: skip
    by(pair, pair.anna, pair.deal, "win")
    browser = at(pair, pair.anna)
    said = page(browser, f"/conflicts/{conflict.pk}")
    assert "Reopen it first" in said and "make room for it first" in said
    by(pair, pair.owner, pair.owner, data={"language": "pl"})
    assert "Najpierw otwórz ją ponownie." in page(at(pair, pair.owner), f"/conflicts/{conflict.pk}")
    refused = browser.post(f"/conflicts/{conflict.pk}/decide", {"verb": "take_theirs"})
    assert refused.status_code == 422 and "Reopen it first" in refused.content.decode()
    assert conflicts(pair) == 1 and value(pair.premises, pair.deal, "title") == "Hundred chairs"
    by(pair, pair.anna, pair.deal, "reopen", {"reopened_because": "They want more"})
    by(pair, pair.anna, conflict, "take_theirs")
    pair.talk()
    assert value(pair.cloud, pair.deal, "title") == "Two hundred"


def test_both_sites_decided_on_one_deal_and_the_premises_stand(pair):
    reason = do(pair.premises, LostReason, "add", {"name": "Price"})
    pair.talk()
    by(pair, pair.anna, pair.deal, "win")
    do(pair.cloud, pair.deal, "lose", {"lost_reason": reason.pk})
    pair.talk()
    assert {value(side, pair.deal, "state") for side in (pair.premises, pair.cloud)} == {"won"}
    told = []
    for side in (pair.premises, pair.cloud):
        with tenant_context(side):
            told += [(side, c) for c in Conflict.objects.filter(field="state", state="open")]
    assert told
    side, conflict = told[0]
    said = page(Browser(side, raise_request_exception=False).sign_in(pair.owner), f"/conflicts/{conflict.pk}")
    assert "Decided at both sites" in said and "Won" in said and "Lost" in said


def won_here_lost_there(pair):
    """The conflict of a deal that was won on the premises and lost in the cloud, and why it was lost."""
    reason = do(pair.premises, LostReason, "add", {"name": "Price"})
    pair.talk()
    by(pair, pair.anna, pair.deal, "win")
    do(pair.cloud, pair.deal, "lose", {"lost_reason": reason.pk})
    pair.talk()
    with tenant_context(pair.premises):
        conflict = Conflict.objects.get(field="state", state="open")
    return conflict, reason


def test_turning_a_step_around_is_one_click_and_decides_what_the_step_took_along(pair):
    conflict, reason = won_here_lost_there(pair)
    assert conflicts(pair) > 1
    browser = at(pair, pair.owner)
    said = page(browser, f"/conflicts/{conflict.pk}")
    assert said.count("decide which one counts") == 0  # the rule says it already
    assert browser.post(f"/conflicts/{conflict.pk}/decide", {"verb": "take_theirs"}).status_code == 302
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert value(side, pair.deal, "state") == "lost" and value(side, pair.deal, "lost_reason_id") == reason.pk
    assert conflicts(pair) == 0


def test_what_a_step_took_along_is_shown_with_it_and_not_asked_about_alone(pair):
    conflict, _reason = won_here_lost_there(pair)
    browser = at(pair, pair.anna)
    listed = page(browser, "/conflicts")
    assert listed.count(f"/conflicts/{conflict.pk}") and len(set(re.findall(r"/conflicts/[0-9a-f-]{36}", listed))) == 1
    said = page(browser, f"/conflicts/{conflict.pk}")
    assert said.count("Price") == 1 and "Stage" in said
    with tenant_context(pair.premises):
        assert disputes.concerning(actor_of(pair.anna)).count() == 1 < Conflict.objects.filter(state="open").count()


def test_nobody_is_asked_when_a_deal_that_both_won_was_closed(pair):
    by(pair, pair.anna, pair.deal, "win")
    do(pair.cloud, pair.deal, "win")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        with tenant_context(side):
            assert not Conflict.objects.filter(state="open").exists()
    assert value(pair.premises, pair.deal, "closed_at") == value(pair.cloud, pair.deal, "closed_at") is not None


def test_leaving_a_step_as_it_is_decides_what_it_took_along_too(pair):
    conflict, _reason = won_here_lost_there(pair)
    by(pair, pair.anna, conflict, "keep_ours")
    pair.talk()
    assert {value(side, pair.deal, "state") for side in (pair.premises, pair.cloud)} == {"won"}
    assert conflicts(pair) == 0


def test_the_first_button_leaves_what_stands_whoever_wrote_it(pair):
    def buttons(conflict) -> list[tuple[str, bool]]:
        forms = page(at(pair, pair.anna), f"/conflicts/{conflict.pk}").split(f"/conflicts/{conflict.pk}/decide")[1:]
        return [(re.search(r"</svg>(.+?)</button>", f)[1], 'data-variant="outline"' not in f.split("</form>")[0]) for f in forms]  # fmt: skip

    conflict = disputed(pair)
    assert buttons(conflict) == [("Leave theirs", True), ("Put ours back", False)]
    for title, first in (("Ours: 90 chairs", True), ("Something else meanwhile", False)):
        with tenant_context(pair.premises), changing(Actor.system("Test"), "change"):
            Deal.objects.filter(pk=pair.deal.pk).update(title=title)
        assert buttons(conflict) == [("Keep ours", first), ("Take theirs", False)]


def test_moments_are_told_apart_by_date_and_time(pair):
    with tenant_context(pair.premises), changing(Actor.system("Test"), "add"):
        conflict = Conflict.objects.create(
            about="sales.deal", record=pair.deal.pk, field="closed_at", rule="latest", ours="2026-11-20T10:05:00+00:00",
            theirs="2026-11-20T10:45:00+00:00", site=Link.objects.get().site, owner=pair.anna,
        )  # fmt: skip
    said = page(at(pair, pair.anna), f"/conflicts/{conflict.pk}")
    assert "20 Nov 2026, 11:05" in said and "20 Nov 2026, 11:45" in said


def test_who_deleted_it_can_bring_back_what_the_other_site_changed(pair):
    do(pair.cloud, pair.deal, "delete")
    by(pair, pair.anna, pair.deal, data={"title": "Still wanted"})
    pair.talk()
    with tenant_context(pair.cloud):
        there = Conflict.objects.get(rule="deleted", state="open")
    said = page(Browser(pair.cloud, raise_request_exception=False).sign_in(pair.owner), f"/conflicts/{there.pk}")
    assert "Deleted here, changed there" in said and "Still wanted" in said and "Bring it back" in said
    do(pair.cloud, there, "take_theirs")
    pair.talk()
    for side in (pair.premises, pair.cloud):
        assert value(side, pair.deal, "title") == "Still wanted"
        with tenant_context(side):
            assert not Conflict.objects.filter(rule="deleted", state="open").exists()


def test_a_step_that_was_not_taken_can_be_taken_after_all(pair):
    """Anna won the deal here, the cloud lost it; the premises decide, and what the cloud did is told."""
    reason = do(pair.premises, LostReason, "add", {"name": "Price"})
    by(pair, pair.anna, pair.deal, "win")
    with tenant_context(pair.premises), changing(Actor.system("Test"), "sync"):
        Conflict.objects.create(
            about="sales.deal", record=pair.deal.pk, field="state", rule="transition", ours="won", theirs="lost",
            site=Link.objects.get().site, owner=pair.anna,
        )  # fmt: skip
    pair.talk()
    conflict, browser = only(pair), at(pair, pair.anna)
    said = page(browser, f"/conflicts/{conflict.pk}")
    for words in ("Decided at both sites", "The premises decide", "Won", "Lost", "Stands", "step by step"):
        assert words in said
    refused = browser.post(f"/conflicts/{conflict.pk}/decide", {"verb": "take_theirs"})  # nobody knows why it was lost
    assert refused.status_code == 422 and "asks for more than a click" in refused.content.decode()
    assert (value(pair.premises, pair.deal, "state"), conflicts(pair)) == ("won", 1)
    with tenant_context(pair.premises):
        pair.deal.refresh_from_db()
    by(pair, pair.anna, pair.deal, "reopen", {"reopened_because": "Told"})
    by(pair, pair.anna, pair.deal, "lose", {"lost_reason": reason.pk})
    by(pair, pair.anna, conflict, "take_theirs")
    pair.talk()
    assert {value(side, pair.deal, "state") for side in (pair.premises, pair.cloud)} == {"lost"}
    assert conflicts(pair) == 0


def test_a_step_that_asks_nothing_is_taken_with_one_click(pair):
    reason = do(pair.premises, LostReason, "add", {"name": "Price"})
    by(pair, pair.anna, pair.deal, "lose", {"lost_reason": reason.pk})
    with tenant_context(pair.premises), changing(Actor.system("Test"), "sync"):
        conflict = Conflict.objects.create(
            about="sales.deal", record=pair.deal.pk, field="state", rule="transition", ours="lost", theirs="won",
            site=Link.objects.get().site, owner=pair.anna,
        )  # fmt: skip
    by(pair, pair.anna, conflict, "take_theirs")
    pair.talk()
    assert {value(side, pair.deal, "state") for side in (pair.premises, pair.cloud)} == {"won"}


def test_two_with_one_number_are_renamed_or_merged_or_left(pair):
    typed = {"party": pair.party.pk, "number": "2026/17", "amount": "1"}
    do(pair.premises, Deal, "add", {"title": "One", "owner": pair.anna.pk, **typed})
    do(pair.cloud, Deal, "add", {"title": "Other", **typed})
    pair.talk()
    with tenant_context(pair.premises):
        found = Conflict.objects.filter(rule="unique").first()
        younger = Deal.objects.get(number__startswith="2026/17-")
    side = pair.premises if found else pair.cloud
    with tenant_context(side):
        found = Conflict.objects.get(rule="unique")
        owner = User.objects.get(pk=pair.owner.pk)
    browser = Browser(side, raise_request_exception=False).sign_in(owner)
    said = page(browser, f"/conflicts/{found.pk}")
    assert "One" in said and "Other" in said and "Rename" in said and "Leave it as it is" in said
    refused = browser.post(f"/conflicts/{found.pk}/rename", {"record": str(younger.pk), "value": "2026/17"})
    assert refused.status_code == 422 and "There is" in refused.content.decode().split('role="alert"')[1][:300]
    assert (
        browser.post(f"/conflicts/{found.pk}/rename", {"record": str(younger.pk), "value": "2026/18"}).status_code
        == 302
    )
    pair.talk()
    assert value(pair.cloud, younger, "number") == value(pair.premises, younger, "number") == "2026/18"
    with tenant_context(side):
        assert Conflict.objects.get(pk=found.pk).state == "settled"
    with pytest.raises(Refused):
        do(side, found, "keep_ours")


def test_two_customers_with_one_number_can_be_merged(pair):
    one = do(pair.premises, Party, "add", {"kind": "org", "name": "Stalmet", "number": "K-1"})
    other = do(pair.cloud, Party, "add", {"kind": "org", "name": "Stalmet SA", "number": "K-1"})
    pair.talk()
    side = pair.premises
    with tenant_context(side):
        if not Conflict.objects.filter(rule="unique").exists():
            side = pair.cloud
    with tenant_context(side):
        found = Conflict.objects.get(rule="unique")
        owner = User.objects.get(pk=pair.owner.pk)
    browser = Browser(side, raise_request_exception=False).sign_in(owner)
    said = page(browser, f"/conflicts/{found.pk}")
    assert said.count("Merge into the other one") == 2
    for this, that in ((one, other), (other, one)):
        way = html.unescape(re.search(rf'hx-get="(/parties/{this.pk}/do/merge[^"]*)"', said)[1])
        assert f"next=/conflicts/{found.pk}" in unquote(way)
        assert f'value="{that.pk}"' in page(browser, way)
    do(side, other, "merge", {"merged_into": str(one.pk)})
    do(side, found, "settle")
    pair.talk()
    assert value(pair.premises, other, "merged_into_id") == value(pair.cloud, other, "merged_into_id") == one.pk
