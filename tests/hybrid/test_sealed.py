"""A sealed record is there for its circle alone: everybody else finds it nowhere, by no way, and nobody tells them that it exists."""

from __future__ import annotations

import base64
import io

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from test_policy import pair, quiet  # noqa: F401
from two_sites import SYSTEM, do, value

from ostoja import gate, handover
from ostoja.access.actor_of import actor_of
from ostoja.access.models import User, UserRole
from ostoja.access.narrowing import AT_ANY_MOMENT
from ostoja.access.policy import allowed, explain, visible
from ostoja.cli.site import _insiders, _marked
from ostoja.crm.sales.models import Deal, DealLine
from ostoja.documents.files import store
from ostoja.exchange import export as exporting
from ostoja.exchange.models import ExportRun
from ostoja.exchange.undoing import Undo, Undone, touched
from ostoja.hybrid import labels, marking, reaching, sealing, verifying
from ostoja.hybrid.models import Conflict, Insider, Label, Link, PurgeCase, Site
from ostoja.jobs import runner
from ostoja.journal.context import changing
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.ids import uuid7
from ostoja.party.duplicates import duplicates
from ostoja.party.models import ContactPoint, Party, Relation
from ostoja.planning.models import Activity
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_role, make_user

ALL = {"*": {"*": "all"}}
SECRET = "Zamek-4711-tajne"  # the name of what is sealed; whoever reads it was told of it


@pytest.fixture
def firm(pair):  # noqa: F811
    """The premises are open. Anna seals, Kasia owns the deal, Piotr has the same role as both; Olga owns the tenant."""
    with tenant_context(pair.premises):
        pair.anna, pair.kasia, pair.piotr = make_user("Anna Nowak"), make_user("Kasia Mazur"), make_user("Piotr Lis")
        role = make_role(ALL, classes=["public", "internal", "confidential", "restricted"])
        with changing(SYSTEM, "add"):
            for one in (pair.anna, pair.kasia, pair.piotr):
                UserRole.objects.create(user=one, role=role)
        gate.perform(SYSTEM, Deal.objects.get(pk=pair.deal.pk), "change", {"owner": pair.kasia.pk})
        gate.perform(SYSTEM, Party.objects.get(pk=pair.party.pk), "change", {"owner": pair.kasia.pk})
        yield pair


@pytest.fixture
def named(firm):
    """A deal that everybody sees, of Kasia's, with a name that can be looked for."""
    found = Deal.objects.get(pk=firm.deal.pk)
    return gate.perform(SYSTEM, found, "change", {"title": SECRET})


@pytest.fixture
def deal(firm, named):
    """A deal that Anna sealed."""
    found = Deal.objects.get(pk=named.pk)
    marking.mark(actor_of(firm.anna), found, 2)
    return found


@pytest.fixture
def party(firm):
    """A customer that Anna sealed; the deals of it are not sealed."""
    found = Party.objects.get(pk=firm.party.pk)
    with changing(SYSTEM, "change"):
        Party.objects.filter(pk=found.pk).update(name=SECRET)
    found.refresh_from_db()
    marking.mark(actor_of(firm.anna), found, 2)
    return found


def browser(firm, user) -> Browser:
    return Browser(firm.premises, raise_request_exception=False).sign_in(user)


def program(firm, user) -> Program:
    return Program.of(firm.premises, user)


def page(response, status=200) -> str:
    assert response.status_code == status, response.content.decode()[:1500]
    return response.content.decode()


def titles(firm, user) -> set[str]:
    return set(visible(actor_of(user), Deal).values_list("title", flat=True))


# --- the circle -------------------------------------------------------------------------------------------------------------


def test_who_sealed_it_its_owner_and_the_owners_of_the_tenant_see_and_change_it(firm, deal):
    for user in (firm.anna, firm.kasia, firm.olga.user):
        assert SECRET in titles(firm, user)
        assert SECRET in page(browser(firm, user).get(f"/deals/{deal.pk}"))
        assert program(firm, user).get(f"/api/v1/deals/{deal.pk}").json()["title"] == SECRET
        gate.perform(actor_of(user), Deal.objects.get(pk=deal.pk), "change", {"amount": "5.00"})
    assert titles(firm, firm.piotr) == {"Two tables"}


def test_naming_a_person_shows_it_and_taking_the_name_off_hides_it_again(firm, deal):
    anna, piotr = program(firm, firm.anna), program(firm, firm.piotr)
    url = f"/api/v1/deals/{deal.pk}"
    assert piotr.get(url).status_code == 404
    told = anna.post(f"{url}/let-in", {"user": str(firm.piotr.pk)}).json()
    assert [(p["label"], p["sealed_it"]) for p in told["insiders"]] == [("Anna Nowak", True), ("Piotr Lis", False)]
    assert told["owner"]["label"] == "Kasia Mazur"
    assert piotr.get(url).json()["title"] == SECRET
    assert piotr.get(f"{url}/insiders").json() == told
    assert piotr.patch(url, {"amount": "7.00"}).status_code == 200
    assert len(anna.post(f"{url}/shut-out", {"user": str(firm.piotr.pk)}).json()["insiders"]) == 1
    assert piotr.get(url).status_code == 404
    verbs = Change.objects.filter(model="hybrid.insider").order_by("id").values_list("verb", "op")
    assert list(verbs) == [("label", "I"), ("let-in", "I"), ("shut-out", "D")]


def test_one_who_was_named_names_others_and_may_leave(firm, deal):
    sealing.let_in(actor_of(firm.kasia), deal, firm.piotr)
    piotr = actor_of(firm.piotr)
    other = make_user("Ewa Kot")
    with pytest.raises(Refused, match="does not show them"):
        sealing.let_in(piotr, deal, other)
    assert Insider.objects.count() == 2
    with changing(SYSTEM, "add"):
        UserRole.objects.create(user=other, role=make_role({"sales.deal": {"view": "all"}}))
    sealing.let_in(piotr, deal, other)
    with pytest.raises(Refused, match="already"):
        sealing.let_in(piotr, deal, other)
    with pytest.raises(Refused, match="sealed it"):
        sealing.shut_out(piotr, deal, firm.anna)
    sealing.shut_out(piotr, deal, firm.piotr)
    with pytest.raises(NotFound):
        sealing.let_in(actor_of(firm.piotr), deal, firm.piotr)
    sealing.shut_out(firm.olga, deal, firm.anna)
    assert SECRET not in titles(firm, firm.anna)


def test_who_is_not_in_the_circle_names_nobody(firm, deal):
    for word in ("insiders", "let-in", "shut-out", "sharing", "mark-sensitive", "open-again"):
        url = f"/api/v1/deals/{deal.pk}/{word}"
        piotr = program(firm, firm.piotr)
        answer = piotr.get(url) if word in ("insiders", "sharing") else piotr.post(url, {"user": str(firm.piotr.pk)})
        assert answer.status_code == 404
    for path in ("let-in", "shut-out", "mark", "open"):
        answer = browser(firm, firm.piotr).post(f"/hybrid/deals/{deal.pk}/{path}", {"user": str(firm.piotr.pk)})
        assert answer.status_code == 404
    with pytest.raises(NotFound):
        sealing.let_in(actor_of(firm.piotr), deal, firm.piotr)
    assert Insider.objects.count() == 1


def test_the_circle_is_forgotten_when_the_level_is_lowered(firm, deal):
    sealing.let_in(actor_of(firm.anna), deal, firm.piotr)
    marking.mark(actor_of(firm.piotr), deal, 1)
    assert not Insider.objects.exists() and SECRET in titles(firm, firm.piotr)
    marking.mark(actor_of(firm.kasia), deal, 2)
    assert [i.user_id for i in Insider.objects.all()] == [firm.kasia.pk]
    assert SECRET not in titles(firm, firm.piotr) and SECRET not in titles(firm, firm.anna)
    marking.open_again(firm.olga, deal)
    assert not Insider.objects.exists() and SECRET in titles(firm, firm.piotr)


def test_the_new_owner_of_a_record_sees_it_and_the_former_one_does_not(firm, deal):
    gate.perform(actor_of(firm.kasia), deal, "change", {"owner": firm.piotr.pk})
    assert SECRET in titles(firm, firm.piotr) and SECRET not in titles(firm, firm.kasia)


def test_the_circle_narrows_what_a_role_shows_and_never_widens_it(firm, deal):
    narrow = make_user("Jan Bez")
    with changing(SYSTEM, "add"):
        UserRole.objects.create(user=narrow, role=make_role({"sales.deal": {"view": "own"}}))
        Insider.objects.create(label_id=deal.pk, user=narrow)
    assert not titles(firm, narrow)
    assert not explain(actor_of(narrow), deal, "change")


def test_the_installation_itself_and_sites_are_not_narrowed(firm, deal):
    site = Actor(kind="site", id=None, label="Cloud", superuser=True)
    for actor in (SYSTEM, site):
        assert allowed(actor, Deal) is None and visible(actor, Deal).filter(pk=deal.pk).exists()


def test_an_actor_of_whom_nothing_is_known_sees_nothing_sealed(firm, deal):
    stranger = Actor(kind="user", id=firm.piotr.pk, label="P", user_id=firm.piotr.pk, grants=ALL)
    assert stranger.narrowed is None and not visible(stranger, Deal).filter(pk=deal.pk).exists()


# --- nowhere, for everybody else ----------------------------------------------------------------------------------------------


def test_no_page_shows_or_counts_it(firm, deal):
    piotr = browser(firm, firm.piotr)
    for path in (
        "/deals", "/deals?q=Zamek", "/deals?sort=title", "/deals/board", "/deals/calendar", f"/parties/{firm.party.pk}",
        f"/parties/{firm.party.pk}?tab=deals", "/palette?q=Zamek", "/deals/options?q=Zamek", "/deals/filters",
        f"/parties/{firm.party.pk}?tab=history", "/labels", "/insiders", "/purges", "/conflicts", "/exports", "/settings/profile",
    ):  # fmt: skip
        found = page(piotr.get(path))
        assert SECRET not in found and str(deal.pk) not in found, path
    assert ">1<" in page(piotr.get("/deals/totals")).replace(" ", "").replace("\n", "") or "1 " in page(
        piotr.get("/deals/totals")
    )
    assert "100.00" not in page(piotr.get("/deals/totals"))
    for path in ("", "?tab=history", "/edit", "/do/win", "/do/lose"):
        page(piotr.get(f"/deals/{deal.pk}{path}"), 404)
    for path in ("edit", "delete", "do/win", "move", "files"):
        page(piotr.post(f"/deals/{deal.pk}/{path}", {"title": "x", "to": "won"}), 404)
    for path in ("delete", "do/win", "assign"):
        page(piotr.post(f"/deals/{path}", {"id": str(deal.pk), "owner": str(firm.piotr.pk)}), 404)
    assert Deal.objects.get(pk=deal.pk).title == SECRET


def test_no_answer_of_the_api_shows_or_counts_it(firm, deal):
    piotr = program(firm, firm.piotr)
    for query in (
        "", "?search=Zamek", "?sort=title", "?title=" + SECRET, "?title__contains=Zamek", f"?id={deal.pk}", f"?id__in={deal.pk}",
        f"?owner={firm.kasia.pk}", "?amount=100.00", "?count=exact", f"?party={firm.party.pk}", "?sort=-amount&limit=1",
    ):  # fmt: skip
        answer = piotr.get(f"/api/v1/deals/{query}")
        assert answer.status_code == 200 and SECRET not in answer.content.decode(), query
        assert str(deal.pk) not in answer.content.decode(), query
    assert piotr.get("/api/v1/deals/?count=exact").json()["count"] == 1
    assert piotr.get("/api/v1/deals/aggregate?measure=count,sum:amount").json()["items"] == [
        {"count": 1, "sum:amount": "20.00"}
    ]
    for word in ("", "/history", "/files", "/sharing", "/insiders"):
        assert piotr.get(f"/api/v1/deals/{deal.pk}{word}").status_code == 404
    assert piotr.patch(f"/api/v1/deals/{deal.pk}", {"title": "Mine"}).status_code == 404
    assert piotr.delete(f"/api/v1/deals/{deal.pk}").status_code == 404
    assert piotr.post(f"/api/v1/deals/{deal.pk}/win").status_code == 404
    rows = [{"verb": v, "id": str(deal.pk), "data": {}} for v in ("change", "delete", "win")]
    assert [r["status"] for r in piotr.post("/api/v1/deals/bulk", rows).json()["results"]] == [404] * 3
    same = piotr.get("/api/v1/deals/00000000-0000-7000-8000-000000000000").json()
    assert piotr.get(f"/api/v1/deals/{deal.pk}").json() | {"instance": ""} == same | {"instance": ""}


def test_what_hybrid_keeps_of_it_is_not_listed(firm, deal):
    with changing(SYSTEM, "note"):
        site = Site.objects.filter(here=False).first()
        conflict = Conflict.objects.create(
            about="sales.deal", record=deal.pk, field="title", rule="latest", site=site, ours=SECRET
        )
        PurgeCase.objects.create(link=Link.objects.get(), about="sales.deal", record=deal.pk, label_ver=1)
    piotr, anna = program(firm, firm.piotr), program(firm, firm.anna)
    for slug in ("conflicts", "purges", "labels", "insiders"):
        assert anna.get(f"/api/v1/{slug}/").json()["items"], slug
        assert piotr.get(f"/api/v1/{slug}/").json()["items"] == [], slug
    assert piotr.get(f"/api/v1/conflicts/{conflict.pk}/values").status_code == 404
    page(browser(firm, firm.piotr).get(f"/conflicts/{conflict.pk}"), 404)
    page(browser(firm, firm.piotr).post(f"/conflicts/{conflict.pk}/decide", {"verb": "keep_ours"}), 404)
    assert SECRET in page(browser(firm, firm.anna).get(f"/conflicts/{conflict.pk}"))


def test_an_export_has_it_for_the_circle_alone_and_older_files_are_gone(firm, named):
    piotr, anna = actor_of(firm.piotr), actor_of(firm.anna)

    def exported(actor) -> str:
        run = exporting.export(actor, "sales.deal")
        runner.execute(firm.premises, run.job_id)
        return exporting.open_export(actor, run.pk)[0].read().decode()

    assert SECRET in exported(piotr)
    found = Deal.objects.get(pk=firm.deal.pk)
    marking.mark(anna, found, 2)
    assert [run.state for run in ExportRun.objects.all()] == ["gone"]
    with pytest.raises(NotFound):
        exporting.open_export(piotr, ExportRun.objects.get().pk)
    assert SECRET not in exported(actor_of(firm.piotr)) and SECRET in exported(actor_of(firm.anna))


def test_an_answer_that_was_kept_for_a_repeated_request_is_gone(firm, named):
    piotr, url = program(firm, firm.piotr), f"/api/v1/deals/{firm.deal.pk}"
    asked = {"amount": "3.00"}
    assert SECRET in piotr.patch(url, asked, HTTP_IDEMPOTENCY_KEY="one").content.decode()
    marking.mark(actor_of(firm.anna), Deal.objects.get(pk=firm.deal.pk), 2)
    assert piotr.patch(url, asked, HTTP_IDEMPOTENCY_KEY="one").status_code == 410


def test_a_job_that_was_queued_before_runs_with_what_is_in_sight_then(firm, named):
    piotr = actor_of(firm.piotr)
    to = make_user("Ewa Kot")
    job = handover.start(piotr, User.objects.get(pk=firm.kasia.pk), to)
    marking.mark(actor_of(firm.anna), Deal.objects.get(pk=named.pk), 2)
    assert runner.execute(firm.premises, job.pk)
    job.refresh_from_db()
    assert job.state == "done" and SECRET not in str(job.result)
    assert Deal.objects.get(pk=named.pk).owner_id == firm.kasia.pk
    assert Party.objects.get(pk=firm.party.pk).owner_id == to.pk


# --- where others refer to it -------------------------------------------------------------------------------------------------


def test_its_name_stands_nowhere_where_others_refer_to_it(firm, party):
    open_deal = Deal.objects.get(pk=firm.deal.pk)
    row = {"kind": "call", "subject": "A call", "party": party.pk, "owner": firm.piotr.pk}
    activity = gate.perform(SYSTEM, Activity, "add", row)
    gate.perform(SYSTEM, Deal.objects.get(title="Two tables"), "change", {"closes_on": "2026-11-05"})
    piotr, anna = browser(firm, firm.piotr), browser(firm, firm.anna)
    for path in (
        "/deals", "/deals?sort=party", "/deals?sort=-party", "/deals/board", "/deals/calendar?month=2026-11", f"/deals/{open_deal.pk}",
        f"/deals/{open_deal.pk}/edit", f"/deals/{open_deal.pk}?tab=history", "/palette?q=chairs", "/deals/options?q=chairs",
        "/deals/filters", f"/deals?f.party={party.pk}", "/activities", f"/activities/{activity.pk}", "/activities/board",
        f"/hybrid/deals/{open_deal.pk}/mark", "/parties", "/parties/options?q=Zamek", "/deals?q=Zamek",
    ):  # fmt: skip
        answer = piotr.get(path)
        assert answer.status_code in (200, 404) and SECRET not in answer.content.decode(), path
    assert "(not visible)" in page(piotr.get("/deals")) and "(not visible)" in page(piotr.get(f"/deals/{open_deal.pk}"))
    assert "Hundred chairs" not in page(piotr.get("/deals?q=Zamek"))
    assert SECRET in page(anna.get("/deals")) and SECRET in page(anna.get(f"/deals/{open_deal.pk}"))
    page(piotr.get(f"/parties/{party.pk}"), 404)


def test_the_api_neither_names_it_nor_finds_sorts_or_groups_by_it(firm, party):
    piotr, anna = program(firm, firm.piotr), program(firm, firm.anna)
    for query in (
        "",
        "?sort=party",
        "?sort=-party&limit=1",
        f"?search={SECRET}",
        "?sort=party__name",
        f"?party={party.pk}",
    ):
        assert SECRET not in piotr.get(f"/api/v1/deals/{query}").content.decode(), query
    assert piotr.get("/api/v1/deals/?fields=title,party&title=Two tables").json()["items"][0]["party"] == {
        "id": str(party.pk), "label": None,
    }  # fmt: skip
    for query in (f"?party__name={SECRET}", "?party__name__contains=Zamek", f"?search={SECRET}", "?party__name__gt=A"):
        assert piotr.get(f"/api/v1/deals/{query}").json()["items"] == [], query
        assert len(anna.get(f"/api/v1/deals/{query}").json()["items"]) == 2, query
    grouped = piotr.get("/api/v1/deals/aggregate?group_by=party").json()["items"]
    assert [g["party"]["label"] for g in grouped] == [None]
    assert [g["party"]["label"] for g in anna.get("/api/v1/deals/aggregate?group_by=party").json()["items"]] == [SECRET]
    assert piotr.get("/api/v1/parties/?count=exact").json()["count"] == 0


def test_its_name_does_not_decide_the_order_of_a_list(firm, party):
    """Of customers A, Zamek (sealed) and Zz, the deals of the sealed one stand at the end, with no cursor that tells its name."""
    for name in ("A firm", "Zz firm"):
        other = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": name})
        gate.perform(SYSTEM, Deal, "add", {"title": f"Of {name}", "party": other.pk, "amount": "1.00"})
    piotr = program(firm, firm.piotr)
    found, cursor, cursors = [], "", []
    while True:
        answer = piotr.get(f"/api/v1/deals/?sort=party&limit=1{cursor}").json()
        found += [r["title"] for r in answer["items"]]
        if not answer["next"]:
            break
        cursors.append(answer["next"])
        cursor = f"&cursor={answer['next']}"
    assert found[:2] == ["Of A firm", "Of Zz firm"] and len(found) == 4
    assert all(b"amek" not in base64.urlsafe_b64decode(c + "=" * (-len(c) % 4)).lower() for c in cursors)
    shown = page(browser(firm, firm.piotr).get("/deals?sort=party"))
    assert shown.index("Of A firm") < shown.index("Of Zz firm") < shown.index("Two tables")
    shown = page(browser(firm, firm.anna).get("/deals?sort=party"))
    assert shown.index("Of A firm") < shown.index("Two tables") < shown.index("Of Zz firm")


def test_an_export_of_what_refers_to_it_has_no_name(firm, party):
    actor = actor_of(firm.piotr)
    out = io.BytesIO()
    entry = registry.get("sales.deal")
    exporting.write(out, actor, entry, visible(actor, Deal), ("title", "party"), "csv")
    assert b"Hundred chairs" in out.getvalue() and SECRET.encode() not in out.getvalue()


def test_an_edit_of_what_refers_to_it_leaves_the_reference_as_it_is(firm, party):
    found = Deal.objects.get(pk=firm.deal.pk)
    piotr = browser(firm, firm.piotr)
    form = page(piotr.get(f"/deals/{found.pk}/edit"))
    assert str(party.pk) in form and SECRET not in form
    sent = {"title": "Two hundred chairs", "party": str(party.pk), "version": str(found.version)}
    assert piotr.post(f"/deals/{found.pk}/edit", sent).status_code == 302
    found.refresh_from_db()
    assert (found.title, found.party_id) == ("Two hundred chairs", party.pk)
    answer = program(firm, firm.piotr).post(
        "/api/v1/deals/", {"title": "New", "party": str(party.pk), "amount": "1.00"}
    )
    assert answer.status_code == 422 and "may not see it" in str(answer.json()["errors"]["party"])


def test_what_it_is_merged_with_or_like_is_not_told(firm, party):
    twin = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": SECRET})
    assert [d.party.pk for d in duplicates(actor_of(firm.anna), twin)] == [party.pk]
    assert duplicates(actor_of(firm.piotr), twin) == []
    piotr = actor_of(firm.piotr)
    with pytest.raises(Refused, match="may not see it"):
        gate.perform(piotr, twin, "merge", {"merged_into": party.pk})
    with pytest.raises(NotFound):
        gate.perform(piotr, party, "merge", {"merged_into": twin.pk})


def test_relations_of_others_do_not_name_it(firm, party):
    other = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": "Open firm"})
    kind = Relation._meta.get_field("type").choices[0][0]
    gate.perform(SYSTEM, Relation, "add", {"party": other.pk, "other": party.pk, "type": kind})
    assert SECRET not in page(browser(firm, firm.piotr).get(f"/parties/{other.pk}"))
    assert SECRET in page(browser(firm, firm.anna).get(f"/parties/{other.pk}"))
    assert SECRET not in page(browser(firm, firm.piotr).get("/relations"))


def test_what_still_uses_a_record_is_not_told_when_it_is_sealed(firm, deal):
    for one in Deal.objects.exclude(pk=deal.pk):
        gate.perform(SYSTEM, one, "delete")
    found = Party.objects.get(pk=firm.party.pk)
    with pytest.raises(Refused, match="still used elsewhere"):
        gate.perform(actor_of(firm.piotr), found, "delete")
    with pytest.raises(Refused, match="1 deals"):
        gate.perform(actor_of(firm.anna), found, "delete")


# --- parts --------------------------------------------------------------------------------------------------------------------


def test_parts_are_sealed_with_what_they_are_parts_of_and_new_ones_too(firm, deal):
    anna, piotr = actor_of(firm.anna), actor_of(firm.piotr)
    line = gate.perform(
        anna, DealLine, "add", {"deal": deal.pk, "description": "A throne", "quantity": 1, "price": "9"}
    )
    file = store(anna, deal, SimpleUploadedFile("throne.txt", b"of oak"), "throne.txt")
    for part in (line, file):
        label = Label.objects.get(pk=part.pk)
        assert (label.level, label.inherited, label.root) == (2, True, deal.pk)
        for user in (firm.anna, firm.kasia, firm.olga.user):
            assert visible(actor_of(user), type(part)).filter(pk=part.pk).exists()
        assert not visible(piotr, type(part)).filter(pk=part.pk).exists()
    api = program(firm, firm.piotr)
    assert api.get(f"/api/v1/deal-files/{file.pk}/content").status_code == 404
    assert api.get("/api/v1/deal-lines/?count=exact").json()["count"] == 0
    assert api.get("/api/v1/stage-changes/").json()["items"][0]["deal"]["id"] != str(deal.pk)
    with pytest.raises(NotFound):
        gate.perform(piotr, line, "change", {"description": "x"})
    with pytest.raises(Refused, match="may not see it"):
        gate.perform(piotr, DealLine, "add", {"deal": deal.pk, "description": "x", "quantity": 1, "price": "1"})
    with pytest.raises(Refused, match="is sealed"):
        marking.mark(anna, line, 1)
    sealing.let_in(anna, deal, firm.piotr)
    assert visible(actor_of(firm.piotr), DealLine).filter(pk=line.pk).exists()


def test_a_part_without_a_label_of_its_own_is_hidden_all_the_same(firm, party):
    point = gate.perform(
        SYSTEM, ContactPoint, "add", {"party": party.pk, "type": "email", "value": "tajne@zamek.example"}
    )
    with connection.cursor() as cursor, changing(SYSTEM, "attack"):
        cursor.execute("DELETE FROM hybrid_label WHERE id = %s", [point.pk])
    assert not visible(actor_of(firm.piotr), ContactPoint).filter(pk=point.pk).exists()
    assert visible(actor_of(firm.kasia), ContactPoint).filter(pk=point.pk).exists()


def test_a_part_that_is_moved_out_stays_sealed_for_the_same_people(firm, party):
    anna = actor_of(firm.anna)
    point = gate.perform(
        anna, ContactPoint, "add", {"party": party.pk, "type": "email", "value": "tajne@zamek.example"}
    )
    other = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": "Open firm"})
    gate.perform(anna, point, "change", {"party": other.pk})
    assert visible(actor_of(firm.anna), ContactPoint).filter(pk=point.pk).exists()
    assert visible(actor_of(firm.kasia), ContactPoint).filter(pk=point.pk).exists()
    assert not visible(actor_of(firm.piotr), ContactPoint).filter(pk=point.pk).exists()
    assert "tajne@zamek" not in page(browser(firm, firm.piotr).get(f"/parties/{other.pk}"))


def test_a_part_may_be_sealed_alone_and_is_not_deleted_with_the_whole_by_who_does_not_see_it(firm):
    firm_of = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": "Open firm"})
    point = gate.perform(
        SYSTEM, ContactPoint, "add", {"party": firm_of.pk, "type": "email", "value": "tajne@zamek.example"}
    )
    marking.mark(actor_of(firm.anna), point, 2)
    piotr = program(firm, firm.piotr)
    assert "tajne@zamek" not in piotr.get(f"/api/v1/parties/{firm_of.pk}").content.decode()
    assert piotr.get("/api/v1/contact-points/?search=tajne@zamek").json()["items"] == []
    assert len(program(firm, firm.anna).get("/api/v1/contact-points/?search=tajne@zamek").json()["items"]) == 1
    assert "tajne@zamek" not in page(browser(firm, firm.piotr).get(f"/parties/{firm_of.pk}"))
    sample = program(firm, firm.piotr).get(f"/api/v1/parties/{firm_of.pk}/sharing").content.decode()
    assert "tajne@zamek" not in sample
    with pytest.raises(Refused, match="still used elsewhere"):
        gate.perform(actor_of(firm.piotr), firm_of, "delete")
    (outcome,) = gate.Many(actor_of(firm.piotr), Party).delete([firm_of])
    assert not outcome.ok
    marking.mark(actor_of(firm.anna), Party.objects.get(pk=firm_of.pk), 1)
    assert Label.objects.get(pk=point.pk).level == 2  # what is marked higher by itself stays so
    gate.perform(actor_of(firm.anna), Party.objects.get(pk=firm_of.pk), "delete")


def test_what_is_told_on_its_timeline_is_for_the_circle_and_for_whose_it_is(firm, deal):
    told = gate.perform(SYSTEM, Activity, "add", {"kind": "call", "subject": "Half the price", "deal": deal.pk})
    mine = gate.perform(
        SYSTEM, Activity, "add", {"kind": "note", "subject": "Mine", "deal": deal.pk, "owner": firm.piotr.pk}
    )
    other = gate.perform(SYSTEM, Activity, "add", {"kind": "call", "subject": "Of nothing"})
    file = store(SYSTEM, told, SimpleUploadedFile("price.txt", b"half"), "price.txt")

    def seen(user) -> set[str]:
        return set(visible(actor_of(user), Activity).values_list("subject", flat=True))

    assert seen(firm.anna) == seen(firm.kasia) == {"Half the price", "Mine", "Of nothing"}
    assert seen(firm.piotr) == {"Mine", "Of nothing"}
    assert not visible(actor_of(firm.piotr), type(file)).exists() and visible(actor_of(firm.anna), type(file)).exists()
    assert "Half the price" not in page(browser(firm, firm.piotr).get(f"/parties/{firm.party.pk}"))
    shown = page(browser(firm, firm.piotr).get(f"/activities/{mine.pk}"))
    assert "(not visible)" in shown and SECRET not in shown
    assert program(firm, firm.piotr).get(f"/api/v1/activities/{told.pk}").status_code == 404
    assert program(firm, firm.piotr).get(f"/api/v1/activities/{other.pk}").status_code == 200


def test_what_everybody_works_with_and_lines_are_not_sealed(firm, deal):
    line = gate.perform(
        SYSTEM, DealLine, "add", {"deal": deal.pk, "description": "A throne", "quantity": 1, "price": "9"}
    )
    with pytest.raises(Refused, match="belongs to what it stands in"):
        marking.mark(firm.olga, line, 2)
    with pytest.raises(Refused, match="Everybody works with these"):
        marking.mark(firm.olga, User.objects.get(pk=firm.piotr.pk), 2)
    assert program(firm, firm.anna).get(f"/api/v1/users/{firm.piotr.pk}/insiders").status_code == 404


# --- the database keeps it ------------------------------------------------------------------------------------------------------


def test_the_database_keeps_a_circle_of_what_is_sealed_only(firm, deal):
    other = Deal.objects.get(title="Two tables")
    labels.close(firm.olga, other)
    for record in (other.pk, deal.pk):
        with changing(SYSTEM, "attack"):
            Insider.objects.filter(label=record, user=firm.piotr).delete()
    with (
        pytest.raises(IntegrityError, match="insider_is_of_a_sealed_record"),
        transaction.atomic(),
        changing(SYSTEM, "attack"),
    ):
        Insider.objects.create(label_id=other.pk, user=firm.piotr)
    with pytest.raises(IntegrityError, match="insider_is_named_once"), transaction.atomic(), changing(SYSTEM, "attack"):
        Insider.objects.create(label_id=deal.pk, user=firm.anna)
    with changing(SYSTEM, "attack"):
        Label.objects.filter(pk=deal.pk).update(level=1)
    assert not Insider.objects.exists()


def test_a_part_that_comes_from_the_cloud_is_sealed_with_the_same_circle(firm, named):
    firm.talk()
    with tenant_context(firm.cloud):
        row = {"deal": named.pk, "description": "From there", "quantity": 1, "price": "9"}
        line = gate.perform(SYSTEM, DealLine, "add", row)
    marking.mark(actor_of(firm.anna), Deal.objects.get(pk=named.pk), 2)
    firm.talk()
    label = Label.objects.get(pk=line.pk)
    assert (label.level, label.inherited, label.root) == (2, True, named.pk)
    assert visible(actor_of(firm.anna), DealLine).filter(pk=line.pk).exists()
    assert not visible(actor_of(firm.piotr), DealLine).filter(pk=line.pk).exists()


# --- sync, and what the premises serve into pages of the cloud ------------------------------------------------------------------


def test_sync_and_verification_go_on_and_the_list_never_leaves(firm):
    firm.talk()
    anna = actor_of(firm.anna)
    found = Deal.objects.get(pk=firm.deal.pk)
    marking.mark(anna, found, 2)
    sealing.let_in(anna, found, firm.piotr)
    firm.talk()
    with tenant_context(firm.cloud):
        assert not Deal.objects.filter(pk=found.pk).exists()
        assert not Insider.objects.exists() and not Label.objects.filter(level=2).exists()
    gate.perform(anna, Deal.objects.get(pk=found.pk), "change", {"title": "Still tajne"})
    do(firm.cloud, Deal.objects.get(title="Two tables"), data={"title": "Three tables"})
    firm.talk()
    with tenant_context(firm.premises):
        assert Deal.objects.filter(title="Three tables").exists()
    exchange = firm.exchange(firm.premises)

    def ask(question):
        with tenant_context(firm.cloud):
            return verifying.answer(firm.exchange(firm.cloud), question)

    assert verifying.compare(exchange, ask) == []
    marking.open_again(firm.olga, Deal.objects.get(pk=found.pk))
    firm.talk()
    assert value(firm.cloud, found, "title") == "Still tajne"


def test_frames_of_the_premises_show_it_to_the_circle_alone(firm, party):
    with changing(SYSTEM, "change"):
        Link.objects.update(url="https://firma.cloud.example/")
        Party.objects.filter(pk=party.pk).update(notes="Wieloryb")
    reaching.forget()
    try:
        piotr, anna = browser(firm, firm.piotr), browser(firm, firm.anna)
        frame = f"/frame/parties/{party.pk}?fields=notes"
        assert "Wieloryb" in page(anna.get(frame))
        assert "Wieloryb" not in page(piotr.get(frame), 404)
        rows = f"/frame/parties?ids={party.pk}&fields=notes"
        assert "Wieloryb" in page(anna.get(rows)) and "Wieloryb" not in page(piotr.get(rows))
        of_deal = f"/frame/deals/{firm.deal.pk}?fields=party,notes"
        assert SECRET in page(anna.get(of_deal)) and SECRET not in page(piotr.get(of_deal))
        lists = f"/frame/deals?ids={firm.deal.pk}&fields=party"
        assert SECRET in page(anna.get(lists)) and SECRET not in page(piotr.get(lists))
        page(piotr.get(f"/frame/parties/{party.pk}/edit?fields=notes"), 404)
    finally:
        reaching.forget()


def test_only_premises_seal(firm):
    firm.talk()
    with tenant_context(firm.cloud):
        with pytest.raises(Refused, match="mark it there"):
            marking.mark(actor_of(User.objects.get(pk=firm.anna.pk)), Deal.objects.get(pk=firm.deal.pk), 2)


# --- queries --------------------------------------------------------------------------------------------------------------------


def count(client, path) -> int:
    with CaptureQueriesContext(connection) as asked:
        assert client.get(path).status_code == 200
    return len([q for q in asked if not q["sql"].startswith(("SAVEPOINT", "RELEASE", "BEGIN", "COMMIT"))])


PATHS = ("/deals", "/deals/totals", "/deals/board", "/deals/calendar", "/parties", "/palette?q=chairs")


def test_where_nothing_is_sealed_nothing_is_asked(firm, long_memory):
    piotr, api = browser(firm, firm.piotr), program(firm, firm.piotr)
    actor = actor_of(firm.piotr)
    assert actor.narrowed == {AT_ANY_MOMENT} and allowed(actor, Deal) is None and allowed(actor, ContactPoint) is None
    for client, path in [*((piotr, p) for p in PATHS), (api, "/api/v1/deals/"), (api, f"/api/v1/deals/{firm.deal.pk}")]:
        client.get(path)
        with CaptureQueriesContext(connection) as asked:
            client.get(path)
        assert not [q["sql"] for q in asked if "hybrid_insider" in q["sql"]], path


def test_the_number_of_queries_does_not_grow_with_what_is_sealed(firm, party, long_memory):
    piotr, api = browser(firm, firm.piotr), program(firm, firm.piotr)
    paths = [*((piotr, p) for p in PATHS), (piotr, f"/deals/{firm.deal.pk}"), (api, "/api/v1/deals/?sort=party")]
    for client, path in paths:
        client.get(path)
    few = [count(client, path) for client, path in paths]
    rows = [{"title": f"Deal {n}", "party": party.pk, "amount": n} for n in range(30)]
    made = [o.record for o in gate.Many(firm.olga, Deal).add(rows)]
    for one in made[:15]:
        marking.mark(firm.olga, one, 2)
    many = [count(client, path) for client, path in paths]
    assert all(m <= f + 1 for f, m in zip(few, many, strict=True)), (few, many)  # deals are narrowed now as well
    for one in made[15:25]:
        marking.mark(firm.olga, one, 2)
    assert [count(client, path) for client, path in paths] == many


def test_sealing_costs_a_page_one_query_for_what_it_refers_to(firm, long_memory):
    piotr = browser(firm, firm.piotr)
    piotr.get("/deals")
    before = count(piotr, "/deals")
    marking.mark(actor_of(firm.anna), Party.objects.get(pk=firm.party.pk), 2)
    assert count(piotr, "/deals") == before + 1
    card = f"/deals/{firm.deal.pk}"
    piotr.get(card)
    assert count(piotr, card) <= 14


# --- the page -------------------------------------------------------------------------------------------------------------------


def test_the_card_seals_shows_the_circle_and_takes_names(firm, named):
    anna = browser(firm, firm.anna)
    card = f"/deals/{firm.deal.pk}"
    assert f"/hybrid{card}/mark?level=2" in page(anna.get(card))
    asked = page(anna.get(f"/hybrid{card}/mark?level=2"))
    assert "For everybody else it is not there" in asked and "will be called back from the cloud" in asked
    assert anna.post(f"/hybrid{card}/mark", {"level": "2"}).status_code == 302
    shown = page(anna.get(card))
    assert "Sealed on the premises" in shown and "only these people see it" in shown
    assert (
        "Anna Nowak" in shown and "Kasia Mazur" in shown and "Piotr Lis" not in shown.partition("data-circle")[2][:3000]
    )
    assert "Piotr Lis" in page(anna.get(f"/hybrid{card}/let-in"))
    assert anna.post(f"/hybrid{card}/let-in", {"user": str(firm.piotr.pk)}).status_code == 302
    assert "Piotr Lis" in page(anna.get(card)) and SECRET in page(browser(firm, firm.piotr).get(card))
    again = page(anna.post(f"/hybrid{card}/let-in", {"user": str(firm.piotr.pk)}), 422)
    assert "already" in again
    page(anna.post(f"/hybrid{card}/let-in", {"user": "nobody"}), 422)
    piotr = browser(firm, firm.piotr)
    left = piotr.post(f"/hybrid{card}/shut-out", {"user": str(firm.piotr.pk)})
    assert left.status_code == 302 and left["Location"] == "/deals"
    back = page(anna.get(f"/hybrid{card}/mark?level=1"))
    assert "list of people is forgotten" in back
    anna.post(f"/hybrid{card}/mark", {"level": "1"})
    assert "Stays on the premises" in page(anna.get(card)) and SECRET in page(piotr.get(card))


def test_a_reader_of_the_circle_sees_the_list_and_no_way_to_seal(firm, deal):
    reader = make_user("Rita Reader")
    with changing(SYSTEM, "add"):
        UserRole.objects.create(user=reader, role=make_role({"sales.deal": {"view": "all"}}))
    sealing.let_in(actor_of(firm.anna), deal, reader)
    shown = page(browser(firm, reader).get(f"/deals/{deal.pk}"))
    assert "Rita Reader" in shown and "mark?level" not in shown
    with pytest.raises(NotAllowed):
        marking.mark(actor_of(reader), deal, 1)


def test_the_command_line_names_people_too(firm, deal):
    told = _insiders("sales.deal", str(deal.pk), firm.piotr.email, "")
    assert [(one["name"], one["sealed_it"]) for one in told] == [("Anna Nowak", True), ("Piotr Lis", False)]
    assert len(_insiders("sales.deal", str(deal.pk), "", firm.piotr.email)) == 1
    with pytest.raises(NotFound, match="Nobody here"):
        _insiders("sales.deal", str(deal.pk), "nobody@example.com", "")


def test_the_command_line_marks_and_opens(firm, deal):
    opened = _marked("sales.deal", str(deal.pk), "open")
    assert opened["state"] == marking.SHARED and not Label.objects.filter(pk=deal.pk, level__gt=0).exists()
    sealed = _marked("sales.deal", str(deal.pk), "seal")
    assert sealed["state"] == marking.SEALED_HERE and sealed["changed"] >= 1
    with pytest.raises(NotFound, match="no object"):
        _marked("sales.nothing", str(deal.pk), "keep")


def test_undo_touches_nothing_that_is_out_of_sight(firm, deal):
    cause = uuid7()
    gate.perform(SYSTEM, Deal.objects.get(pk=deal.pk), "change", {"amount": "55.00"}, cause=cause)
    undone = Undone()
    for chunk in touched(cause):
        Undo(actor_of(firm.piotr), cause).take_back(chunk, undone)
    assert str(Deal.objects.get(pk=deal.pk).amount) == "55.00" and SECRET not in str(undone)
