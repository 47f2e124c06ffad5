"""The pages, the API and the command by which owners decide what leaves; every refusal says why."""

from __future__ import annotations

import json
from urllib.parse import unquote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from test_policy import NOTES, pair, quiet  # noqa: F401

from ostoja.access.models import UserRole
from ostoja.crm.sales.models import Deal
from ostoja.hybrid import adopting, marking, policing
from ostoja.hybrid.models import Label, Link, PolicyRule, PurgeCase, Site
from ostoja.jobs import runner
from ostoja.jobs.models import Job
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user

HERE = "/settings/hybrid/policy"


@pytest.fixture
def olga(pair):  # noqa: F811
    """A browser in which the first owner is signed in on the premises."""
    return Browser(pair.premises).sign_in(pair.olga.user)


@pytest.fixture
def ola(pair):  # noqa: F811
    """The second owner's browser."""
    return Browser(pair.premises).sign_in(pair.ola.user)


@pytest.fixture
def seller(pair):  # noqa: F811
    """A browser of somebody who may do everything with deals and customers, and is no owner."""
    with tenant_context(pair.premises):
        user = make_user("Sam Seller")
        role = make_role({"sales.deal": {"*": "all"}, "party.party": {"*": "all"}})
        with changing(Actor.system("Test"), "add"):
            UserRole.objects.create(user=user, role=role)
    pair.seller = user
    return Browser(pair.premises).sign_in(user)


def text(response, status=200):
    """The page's text without its tags being in the way."""
    assert response.status_code == status, response.content.decode()[:2000]
    return response.content.decode()


def said(response):
    """What the next page will say."""
    return json.loads(unquote(response.cookies["ostoja_says"].value))[0]


# --- the policy's page ------------------------------------------------------------------------------------------------------


def test_the_page_shows_classes_objects_and_every_field_with_its_reason(pair, olga):  # noqa: F811
    page = text(olga.get(HERE))
    assert "Confidential" in page and "Deals" in page and "By data class" in page
    page = text(olga.get(HERE, {"object": "party.party"}))
    assert "As the code declares it" in page and "Propose to open" in page
    page = text(olga.get(HERE, {"q": "iban"}))
    assert "Never leaves" in page and "Propose to open" not in page and "Keep on the premises" not in page
    assert "Nothing matches" in text(olga.get(HERE, {"q": "no such field anywhere"}))


def test_only_owners_see_it_and_the_navigation_shows_it_to_nobody_else(pair, olga, seller):  # noqa: F811
    assert "Only an owner" in text(seller.get(HERE), 403)
    assert "Only an owner" in text(seller.get("/settings/hybrid/purges"), 403)
    assert "Only an owner" in text(seller.post(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "1"}), 403)
    assert HERE in text(olga.get("/settings/profile")) and HERE not in text(seller.get("/settings/profile"))


def test_a_tenant_on_one_site_has_no_such_page(signed_in):
    assert signed_in.get(HERE).status_code == 404
    assert HERE not in text(signed_in.get("/settings/profile"))


def test_the_preview_shows_the_values_before_anything_is_decided(pair, olga):  # noqa: F811
    page = text(olga.get(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "0"}))
    assert "This 1 value in 1 record will leave the premises." in page and "They pay late." in page
    assert "another owner has to approve it" in page
    with tenant_context(pair.premises):
        assert not PolicyRule.objects.exists()


def test_proposing_waits_and_the_second_owner_approves_after_a_look(pair, olga, ola):  # noqa: F811
    answer = olga.post(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "0"})
    assert answer.status_code == 302 and "waits for another owner" in said(answer)
    with tenant_context(pair.premises):
        rule = PolicyRule.objects.get()
    page = text(olga.get(HERE))
    assert "Waits for a second person" in page and "Take it back" in page and "See what would leave" not in page
    for page in (text(olga.get(f"{HERE}/{rule.pk}/approve")), text(olga.post(f"{HERE}/{rule.pk}/approve"), 422)):
        assert page.count("another owner approves it") == 1 and "They pay late." in page
        assert "let it leave" not in page and "Take it back" in page and "Reject" not in page
    assert "See what would leave" in text(ola.get(HERE))
    page = text(ola.get(f"{HERE}/{rule.pk}/approve"))
    assert "They pay late." in page and "let it leave" in page and "Reject" in page
    assert ola.post(f"{HERE}/{rule.pk}/approve").status_code == 302
    with tenant_context(pair.premises):
        rule.refresh_from_db()
        assert (rule.state, rule.approved_by_id) == ("force", pair.ola.user_id)


def test_a_rule_has_no_button_to_edit_or_delete_it(pair, olga, api):  # noqa: F811
    olga.post(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "0"})
    with tenant_context(pair.premises):
        rule = PolicyRule.objects.get()
    card = f"/policy-rules/{rule.pk}"
    page = text(olga.get(card))
    assert f"{card}/edit" not in page and f"{card}/delete" not in page and f"{card}/do/withdraw" in page
    assert "nobody changes or deletes them" in text(olga.get(f"{card}/edit"), 403)
    assert "nobody changes or deletes them" in api.delete(f"/api/v1{card}").json()["detail"]
    assert api.patch(f"/api/v1{card}", {"level": 1}).status_code == 403
    paths = api.get("/api/v1/openapi.json").json()["paths"]
    assert "post" in paths["/policy-rules/"] and "get" in paths["/policy-rules/{id}/"]
    assert not {"patch", "put", "delete"} & set(paths["/policy-rules/{id}/"])


def test_the_second_owner_can_reject(pair, olga, ola):  # noqa: F811
    olga.post(f"{HERE}/decide", {"about": "class", "name": "confidential", "level": "0"})
    with tenant_context(pair.premises):
        rule = PolicyRule.objects.get()
    assert "Reject" in text(ola.get(f"{HERE}/{rule.pk}/withdraw"))
    assert "nothing changes" in said(ola.post(f"{HERE}/{rule.pk}/withdraw"))
    with tenant_context(pair.premises):
        assert PolicyRule.objects.get().state == "over"


def test_keeping_here_counts_at_once_and_is_adopted_by_a_job(pair, olga):  # noqa: F811
    page = text(olga.get(f"{HERE}/decide", {"about": "field", "name": "sales.deal.title", "level": "1"}))
    assert "will be called back from the cloud" in page and "Hundred chairs" in page
    answer = olga.post(f"{HERE}/decide", {"about": "field", "name": "sales.deal.title", "level": "1"})
    assert "stays on the premises" in said(answer)
    with tenant_context(pair.premises):
        job = Job.objects.get(kind=policing.ADOPT)
        assert runner.execute(pair.premises, job.pk)
        job.refresh_from_db()
        assert job.state == "done", job.error
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM information_schema.columns WHERE table_schema = current_schema() "
                "AND table_name = 'egress_sales_deal' AND column_name = 'title'"
            )
            assert cursor.fetchone() == (0,)


def test_what_can_not_be_decided_is_refused_on_the_page(pair, olga):  # noqa: F811
    where = f"{HERE}/decide"
    assert "never leaves" in text(
        olga.get(where, {"about": "field", "name": "party.bankaccount.iban", "level": "0"}), 422
    )
    assert "0 (open) or 1 (stays here)" in text(olga.get(where, {"about": "field", "name": NOTES, "level": "x"}), 422)


def test_sealing_is_offered_for_records_alone(pair, olga):  # noqa: F811
    with tenant_context(pair.premises), changing(pair.olga, "add"):
        PolicyRule.objects.create(about="class", name="internal", level=2, state="force", proposed_by=pair.olga.user)
    for query in ({}, {"object": "sales.deal"}, {"q": "title"}):
        page = text(olga.get(HERE, query))
        assert "Seal" not in page and 'value="sealed"' not in page and "Stays here" in page
    assert "Sealed" not in text(olga.get("/policy-rules")) + text(olga.get("/policy-rules/new"))
    asked = {"about": "field", "name": "sales.deal.title", "level": "2"}
    for answer in (olga.get(f"{HERE}/decide", asked), olga.post(f"{HERE}/decide", asked)):
        assert "Sealing is for single records: mark the record." in text(answer, 422)
    api = Program.of(pair.premises, pair.olga.user)
    for answer in (
        api.post("/api/v1/policy-rules/", asked | {"level": 2}),
        api.get("/api/v1/policy-rules/preview", asked),
    ):
        assert answer.status_code == 422
        assert "Sealing is for single records: mark the record." in answer.json()["errors"]["level"][0]
    with tenant_context(pair.premises):
        assert PolicyRule.objects.count() == 1


def test_the_cloud_reads_the_decisions_and_decides_nothing(pair):  # noqa: F811
    pair.talk()
    with tenant_context(pair.cloud):
        user = type(pair.olga.user).objects.get(pk=pair.olga.user_id)
    browser = Browser(pair.cloud).sign_in(user)
    page = text(browser.get(HERE))
    assert "The premises decide" in page
    page = text(browser.get(HERE, {"object": "sales.deal"}))
    assert "Propose to open" not in page and "Keep the whole object here" not in page
    assert "decide there" in text(browser.get(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "0"}), 403)


def test_a_laptop_shows_what_the_premises_decided_and_decides_nothing(pair, lender):  # noqa: F811
    laptop = lender.lend()
    line = pair.join(pair.premises, laptop, Site.Kind.DESKTOP, "Laptop")

    def talk():
        for _round in range(6):
            pair.send(laptop, pair.premises, line)
            pair.send(pair.premises, laptop, line)

    talk()
    with tenant_context(laptop):
        owner = type(pair.olga.user).objects.get(pk=pair.olga.user_id)
    card = text(Browser(laptop).sign_in(owner).get(f"/deals/{pair.deal.pk}"))
    assert "Shared with the cloud" in card and "Mark as sensitive" not in card
    refused = text(Browser(laptop).sign_in(owner).get(f"/hybrid/deals/{pair.deal.pk}/mark"), 422)
    assert "mark it there" in refused
    with tenant_context(pair.premises):
        policing.propose(pair.olga, "object", "sales.deal", 1)
        policing.propose(pair.olga, "field", "party.party.industry", 1)
        adopting.adopt()
    talk()
    with tenant_context(laptop):
        user = type(pair.olga.user).objects.get(pk=pair.olga.user_id)
        deal = Deal.objects.get(pk=pair.deal.pk)
    browser = Browser(laptop).sign_in(user)
    page = text(browser.get(HERE))
    assert "The premises decide" in page and "By data class" not in page
    page = text(browser.get(HERE, {"object": "party.party"}))
    row = next(r for r in page.split("<tr>") if "The premises decided so." in r)
    assert ">Industry<" in row and "Stays on the premises" in row and "Propose to open" not in page
    assert "decide there" in text(browser.get(f"{HERE}/decide", {"about": "field", "name": NOTES, "level": "0"}), 403)
    assert "Shared with the cloud" not in text(browser.get(f"/deals/{deal.pk}"))
    said = Program.of(laptop, user).get(f"/api/v1/deals/{deal.pk}/sharing").json()
    assert said["state"] == "stays"
    page = text(browser.get("/settings/hybrid/purges"))
    assert "Waiting for the cloud" not in page and "from the cloud" not in page


def test_the_page_asks_few_queries(pair, olga):  # noqa: F811
    olga.get(HERE)
    for query in ({}, {"object": "sales.deal"}, {"q": "name"}):
        with CaptureQueriesContext(connection) as asked:
            text(olga.get(HERE, query))
        assert len(asked) <= 9, [q["sql"] for q in asked]


def test_all_decisions_are_shown_on_demand_and_objects_are_told_apart(pair, olga):  # noqa: F811
    names = [f"documents.{one}file.{f}" for one in ("party", "deal", "product") for f in ("name", "size", "mime", "sha256", "uploaded_by")]  # fmt: skip
    with tenant_context(pair.premises):
        for name in names:
            policing.propose(pair.olga, "field", name, 1)
    page = text(olga.get(HERE))
    assert page.count("Withdraw</a>") == 12 and "Show 3 more" in page
    page = text(olga.get(HERE, {"decisions": "all"}))
    assert page.count("Withdraw</a>") == 15 and "Show 3 more" not in page
    for whole in ("customers", "deals", "products"):
        assert f"Files ({whole}): size" in page and f">Files ({whole})</option>" in page
    assert ">Addresses</option>" in page


# --- the card ---------------------------------------------------------------------------------------------------------------


def test_the_card_says_where_the_record_is_and_marks_it_after_a_look(pair, olga):  # noqa: F811
    card = f"/deals/{pair.deal.pk}"
    page = text(olga.get(card))
    assert "Shared with the cloud" in page and "Mark as sensitive" in page
    page = text(olga.get(f"/hybrid{card}/mark"))
    assert "will be called back from the cloud" in page and "Hundred chairs" in page
    assert olga.post(f"/hybrid{card}/mark").status_code == 302
    page = text(olga.get(card))
    assert "Stays on the premises" in page and "Open again" in page and "Mark as sensitive" not in page
    pair.talk()
    page = text(olga.get(card))
    assert "Gone from the cloud" in page and "from its backups by" in page
    page = text(olga.get(f"/hybrid{card}/open"))
    assert "will leave the premises." in page and "Hundred chairs" in page
    assert olga.post(f"/hybrid{card}/open").status_code == 302
    pair.talk()
    with tenant_context(pair.cloud):
        assert Deal.objects.filter(pk=pair.deal.pk).exists()


def test_whoever_may_change_a_record_marks_it_and_only_owners_open_it(pair, seller):  # noqa: F811
    card = f"/deals/{pair.deal.pk}"
    assert seller.post(f"/hybrid{card}/mark").status_code == 302
    page = text(seller.get(card))
    assert "Stays on the premises" in page and "Open again" not in page
    assert "Only an owner" in text(seller.get(f"/hybrid{card}/open"), 422)
    assert "Only an owner" in text(seller.post(f"/hybrid{card}/open"), 403)
    with tenant_context(pair.premises):
        assert Label.objects.get(pk=pair.deal.pk).level == 1


def test_a_reader_can_not_mark(pair):  # noqa: F811
    with tenant_context(pair.premises):
        reader = make_user("Rita Reader")
        with changing(Actor.system("Test"), "add"):
            UserRole.objects.create(user=reader, role=make_role({"sales.deal": {"view": "all"}}))
    browser = Browser(pair.premises).sign_in(reader)
    card = f"/deals/{pair.deal.pk}"
    assert "Shared with the cloud" in text(browser.get(card)) and "Mark as sensitive" not in text(browser.get(card))
    assert browser.post(f"/hybrid{card}/mark").status_code == 403


def test_the_family_is_marked_and_a_part_is_not_opened_alone(pair):  # noqa: F811
    from ostoja import gate
    from ostoja.kernel import registry
    from ostoja.kernel.errors import Refused

    with tenant_context(pair.premises):
        point = gate.perform(
            pair.olga, registry.get("party.contactpoint").model, "add",
            {"party": pair.party.pk, "type": "email", "value": "hello@acme.example"},
        )  # fmt: skip
        assert marking.mark(pair.olga, type(pair.party).objects.get(pk=pair.party.pk)) == 2
        assert Label.objects.get(pk=point.pk).inherited
        with pytest.raises(Refused, match="open that"):
            marking.open_again(pair.olga, point)
        assert marking.standing_of(point).inherited


def test_in_the_cloud_a_field_and_a_reference_read_held_on_premises(pair):  # noqa: F811
    pair.talk()
    with tenant_context(pair.premises):
        marking.mark(pair.olga, type(pair.party).objects.get(pk=pair.party.pk))
    pair.talk()
    with tenant_context(pair.cloud):
        user = type(pair.olga.user).objects.get(pk=pair.olga.user_id)
    browser = Browser(pair.cloud).sign_in(user)
    page = text(browser.get(f"/deals/{pair.deal.pk}"))
    assert 'data-field="party"' in page and "held on premises" in page
    assert "Shared with the cloud" not in page and "Mark as sensitive" not in page
    page = text(browser.get("/deals"))
    assert "held on premises" in page
    assert "mark it there" in text(browser.post(f"/hybrid/deals/{pair.deal.pk}/mark"), 422)


def test_a_tenant_on_one_site_sees_nothing_of_it_on_cards(signed_in, actor):
    from ostoja import gate
    from ostoja.kernel import registry

    party = gate.perform(actor, registry.get("party.party").model, "add", {"name": "Acme", "kind": "org"})
    page = text(signed_in.get(f"/parties/{party.pk}"))
    assert "data-sharing" not in page and "data-held" not in page
    assert signed_in.get(f"/hybrid/parties/{party.pk}/mark").status_code == 404


# --- purges -----------------------------------------------------------------------------------------------------------------


def test_the_purges_page_tells_how_far_each_case_is(pair, olga):  # noqa: F811
    assert "Nothing was called back yet" in text(olga.get("/settings/hybrid/purges"))
    with tenant_context(pair.premises):
        marking.mark(pair.olga, Deal.objects.get(pk=pair.deal.pk))
    pair.send(pair.premises, pair.cloud)
    page = text(olga.get("/settings/hybrid/purges"))
    assert "Hundred chairs" in page and "Waiting for the cloud" in page and "unreachable" not in page
    with tenant_context(pair.premises), connection.cursor() as cursor:
        cursor.execute("UPDATE hybrid_progress SET seen_at = now() - interval '3 hours'")
    assert "Cloud unreachable since" in text(olga.get("/settings/hybrid/purges"))
    pair.talk()
    page = text(olga.get("/settings/hybrid/purges"))
    assert "Gone" in page and "unreachable" not in page
    with tenant_context(pair.premises):
        case = PurgeCase.objects.get()
        assert f"{case.backups_until:%Y}" in page and "Opened again since" not in page
        marking.open_again(pair.olga, Deal.objects.get(pk=pair.deal.pk))
    page = text(olga.get("/settings/hybrid/purges"))
    assert "Opened again since" in page
    with tenant_context(pair.premises):
        marking.mark(pair.olga, Deal.objects.get(pk=pair.deal.pk))
    assert "Opened again since" not in text(olga.get("/settings/hybrid/purges"))


def test_verifying_says_equal_or_what_differs_or_why_not(pair, olga, monkeypatch):  # noqa: F811
    from ostoja.hybrid import joining, verifying
    from ostoja.hybrid.exchange import Exchange

    refused = olga.post("/settings/hybrid/purges/verify")
    assert refused.status_code == 302 and said(refused)

    class Caller:
        """Asks the cloud of this test, without a network."""

        def __init__(self, link, _lane):
            self.link, self.exchange = link, Exchange(link)

        def ask(self, question):
            with tenant_context(pair.cloud):
                return verifying.answer(pair.exchange(pair.cloud), question)

    monkeypatch.setattr(joining.dialling, "Caller", Caller)
    with tenant_context(pair.premises):
        marking.mark(pair.olga, Deal.objects.get(pk=pair.deal.pk))
    pair.talk()
    assert "Verified" in said(olga.post("/settings/hybrid/purges/verify"))
    page = text(olga.get("/settings/hybrid/purges"))
    assert page.count("just now") >= 2


# --- the API ----------------------------------------------------------------------------------------------------------------


@pytest.fixture
def api(pair):  # noqa: F811
    """A program of the first owner on the premises."""
    return Program.of(pair.premises, pair.olga.user)


def test_a_record_is_marked_and_opened_over_the_api(pair, api):  # noqa: F811
    url = f"/api/v1/deals/{pair.deal.pk}"
    found = api.get(f"{url}/sharing").json()
    assert found["state"] == "shared" and found["passes"][0]["object"] == "sales.deal"
    assert api.post(f"{url}/open-again").json()["detail"] == "This is not marked as sensitive."
    found = api.post(f"{url}/mark-sensitive").json()
    assert (found["state"], found["marked"], found["records"]) == ("stays", True, 1)
    assert api.post(f"{url}/open-again").json()["state"] == "shared"
    assert api.post(f"{url}/mark-sensitive", {"level": 2}).json()["state"] == "sealed"
    wrong = api.post(f"{url}/mark-sensitive", {"level": 0})
    assert wrong.status_code == 422 and "level" in wrong.json()["errors"]
    assert api.get(f"{url}/mark-sensitive").status_code == 405
    assert api.post("/api/v1/deals/00000000-0000-7000-8000-000000000000/mark-sensitive").status_code == 404


def test_the_api_shows_no_value_that_the_reader_may_not_see(pair):  # noqa: F811
    with tenant_context(pair.premises):
        reader = make_user("Rita Reader")
        with changing(Actor.system("Test"), "add"):
            role = make_role({"sales.deal": {"view": "all"}}, classes=["public"])
            UserRole.objects.create(user=reader, role=role)
    api = Program.of(pair.premises, reader)
    answer = api.get(f"/api/v1/deals/{pair.deal.pk}/sharing")
    assert "Hundred chairs" not in answer.content.decode()
    assert api.post(f"/api/v1/deals/{pair.deal.pk}/mark-sensitive").status_code == 403


def test_policy_rules_are_previewed_proposed_approved_and_withdrawn_over_the_api(pair, api):  # noqa: F811
    asked = {"about": "field", "name": NOTES, "level": "0"}
    found = api.get("/api/v1/policy-rules/preview", asked).json()
    assert found["says"] == ["This 1 value in 1 record will leave the premises."]
    rule = api.post("/api/v1/policy-rules/", {"about": "field", "name": NOTES, "level": 0}).json()
    assert rule["state"] == "proposed"
    url = f"/api/v1/policy-rules/{rule['id']}"
    assert api.get(f"{url}/preview").json()["leaves"][0]["records"] == 1
    assert "another owner" in api.post(f"{url}/approve").json()["detail"]
    other = api.as_user(pair.ola.user)
    assert other.post(f"{url}/approve").json()["state"] == "force"
    assert other.get(f"{url}/preview").json()["returns"][0]["records"] == 1
    assert api.post(f"{url}/withdraw").json()["state"] == "over"
    wrong = api.post("/api/v1/policy-rules/", {"about": "field", "name": "party.bankaccount.iban", "level": 0})
    assert wrong.status_code == 422 and "level" in wrong.json()["errors"]


def test_the_words_are_described_where_they_are_and_absent_elsewhere(pair, api, other_tenant):  # noqa: F811
    from openapi_spec_validator import validate

    document = api.get("/api/v1/openapi.json").json()
    validate(document)
    assert {"get", "post"} & set(document["paths"]["/deals/{id}/sharing"])
    assert "/policy-rules/preview" in document["paths"] and "/deals/{id}/mark-sensitive" in document["paths"]
    for slug in ("conflicts", "purges", "policy-rules", "links", "tokens"):  # never on another site
        for word in ("sharing", "mark-sensitive", "open-again"):
            assert f"/{slug}/{{id}}/" in document["paths"] and f"/{slug}/{{id}}/{word}" not in document["paths"]
    with tenant_context(pair.premises):
        link = Link.objects.get()
    assert api.get(f"/api/v1/links/{link.pk}").status_code == 200
    assert api.get(f"/api/v1/links/{link.pk}/sharing").status_code == 404
    assert api.post(f"/api/v1/links/{link.pk}/mark-sensitive").status_code == 404
    with tenant_context(other_tenant):
        alone = Program.of(other_tenant, make_user("Only Owner", owner=True))
    assert "/deals/{id}/sharing" not in alone.get("/api/v1/openapi.json").json()["paths"]
    assert alone.get(f"/api/v1/deals/{pair.deal.pk}/sharing").status_code == 404
