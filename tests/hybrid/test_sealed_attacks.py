"""Attacks on what is sealed: for a colleague of the same role a sealed record and none are the same, also in the moment of sealing."""

# ruff: noqa: F811  (fixtures of another file are asked for by their names)

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connections, transaction
from test_policy import pair, quiet  # noqa: F401
from test_sealed import SECRET, browser, deal, firm, named, page, party, program  # noqa: F401
from two_sites import SYSTEM

from ostoja import gate
from ostoja.access.actor_of import actor_of
from ostoja.access.policy import visible
from ostoja.crm.sales.models import Deal, DealLine
from ostoja.documents.files import store
from ostoja.documents.models import ActivityFile, DealFile
from ostoja.exchange import runs
from ostoja.exchange.models import ImportRun
from ostoja.hybrid import marking, sealing
from ostoja.hybrid.models import Conflict, Insider, Label, Link, Parked, PurgeCase, Site
from ostoja.jobs import runner
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.party.models import ContactPoint, Party, Relation
from ostoja.planning.models import Activity
from ostoja.tenancy.context import tenant_context
from ostoja.testing.clients import Browser, Program
from ostoja.testing.people import make_user

NOBODY = "01a00000-0000-7000-8000-000000000000"
PAGES = ("", "/board", "/calendar", "/totals", "/options?q=", "?q=a", "?sort=-created_at", "/export")
ANSWERS = ("?count=exact&limit=500", "aggregate?measure=count", "?search=Zamek")
CHANGING = re.compile(r"[A-Za-z0-9]{64}|\d\d:\d\d")  # what forms are signed with, and the time of day


def body(answer) -> str:
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return CHANGING.sub("", content.decode("latin-1"))


def everything(firm, web: Browser, api: Program) -> dict[str, tuple[int, str]]:
    """What every list, count and search says, and the customer's card."""
    paths = ["/conflicts", "/palette?q=Zamek", "/palette?q=a", "/settings/hybrid/purges"]
    paths += [
        f"/parties/{firm.party.pk}{t}" for t in ("", "?tab=history", "?tab=deals", "?tab=activities", "/do/merge")
    ]
    paths += [f"/{entry.slug}{part}" for entry in registry.entries() for part in PAGES]
    asked = {path: web.get(path) for path in paths}
    asked |= {
        path: api.get(path)
        for path in (f"/api/v1/{entry.slug}/{part}" for entry in registry.entries() for part in ANSWERS)
    }
    return {path: (answer.status_code, body(answer)) for path, answer in asked.items()}


def at_the_same_time(begin: Callable[[], object], ask: Callable[[], object]) -> object:
    """What ``ask`` answers when it is asked while the transaction of ``begin`` is open, which ends a moment later."""
    answers = []

    def asking() -> None:
        try:
            answers.append(ask())
        finally:
            connections.close_all()

    thread = threading.Thread(target=asking)
    with transaction.atomic():
        begin()
        thread.start()
        time.sleep(1)
    thread.join(30)
    return answers[0]


def brought(firm, actor, run: ImportRun) -> ImportRun:
    """An import that was checked and then run."""
    for act in (runs.check, runs.go):
        run = act(actor, run)
        runner.execute(firm.premises, run.job_id)
        run.refresh_from_db()
    return run


# --- nowhere ----------------------------------------------------------------------------------------------------------------


def test_no_page_and_no_answer_differs_from_those_where_it_never_was(firm, named):
    anna, found = actor_of(firm.anna), Deal.objects.get(pk=named.pk)
    line = gate.perform(anna, DealLine, "add", {"deal": found.pk, "description": SECRET, "quantity": 1, "price": "9"})
    file = store(anna, found, SimpleUploadedFile("a.txt", SECRET.encode()), "a.txt")
    told = gate.perform(anna, Activity, "add", {"kind": "call", "subject": SECRET, "deal": found.pk})
    beside = store(anna, told, SimpleUploadedFile("b.txt", SECRET.encode()), "b.txt")
    marking.mark(anna, found, 2)
    with changing(SYSTEM, "note"):
        site, link = Site.objects.get(here=False), Link.objects.get()
        for one in (found, line, file, told, beside):
            about = one._meta.label_lower
            Conflict.objects.create(about=about, record=one.pk, field="title", rule="latest", site=site, ours=SECRET)
            PurgeCase.objects.create(link=link, about=about, record=one.pk, label_ver=1)
    web, api = browser(firm, firm.piotr), program(firm, firm.piotr)
    with_it = everything(firm, web, api)
    with changing(SYSTEM, "clean"):
        for model in (Conflict, PurgeCase, ActivityFile, DealFile, Activity, DealLine):
            model.objects.all().delete()
        found.stage_changes.all().delete()
        found.delete()
        Insider.objects.all().delete()
        Label.objects.all().delete()
    without_it = everything(firm, web, api)
    assert len([status for status, _text in with_it.values() if status == 200]) > 200
    assert [path for path in with_it if with_it[path] != without_it[path]] == []


def test_what_hybrid_keeps_of_what_was_told_of_it_is_for_the_circle(firm, deal):
    told = gate.perform(SYSTEM, Activity, "add", {"kind": "call", "subject": "Half the price", "deal": deal.pk})
    other = gate.perform(SYSTEM, Activity, "add", {"kind": "call", "subject": "Of nothing"})
    with changing(SYSTEM, "note"):
        site, link = Site.objects.get(here=False), Link.objects.get()
        for one in (told, other):
            row = {"about": "planning.activity", "record": one.pk}
            Conflict.objects.create(**row, field="subject", rule="latest", site=site, ours=SECRET)
            PurgeCase.objects.create(**row, link=link, label_ver=1)
    for model in (Conflict, PurgeCase):
        assert set(visible(actor_of(firm.piotr), model).values_list("record", flat=True)) == {other.pk}
        assert set(visible(actor_of(firm.anna), model).values_list("record", flat=True)) == {told.pk, other.pk}
    gate.perform(SYSTEM, told, "delete")
    assert not visible(actor_of(firm.piotr), Conflict).filter(record=told.pk).exists()
    assert not visible(actor_of(firm.piotr), Parked).exists()


def test_every_question_about_it_is_answered_as_about_nothing(firm, deal):
    piotr = program(firm, firm.piotr)

    def said(ask: Callable[[object], object]) -> list[tuple[int, str]]:
        return [((a := ask(key)).status_code, body(a).replace(str(key), "KEY")) for key in (deal.pk, NOBODY)]

    for ask in (
        lambda key: piotr.patch(f"/api/v1/deals/{key}", {"title": 5}),
        lambda key: piotr.patch(f"/api/v1/deals/{key}", {"nothing": 1}),
        lambda key: piotr.patch(f"/api/v1/deals/{key}", {"title": "x"}, HTTP_IF_MATCH='"1"'),
        lambda key: piotr.patch(f"/api/v1/deals/{key}", {"title": "x"}, HTTP_IF_MATCH='"99"'),
        lambda key: piotr.delete(f"/api/v1/deals/{key}", HTTP_IF_MATCH='"99"'),
        lambda key: piotr.get(f"/api/v1/deals/{key}", HTTP_IF_NONE_MATCH='"1"'),
        lambda key: piotr.post(f"/api/v1/deals/{key}/let-in", {"user": "x"}),
        lambda key: piotr.post(f"/api/v1/deals/{key}/mark-sensitive", {"level": 9}),
        lambda key: piotr.post("/api/v1/activities/", {"kind": "note", "subject": "x", "deal": str(key)}),
        lambda key: piotr.post("/api/v1/deal-lines/", {"deal": str(key), "description": "x", "price": "1"}),
    ):
        first, second = said(ask)
        assert first == second and first[0] >= 400


def test_people_and_tokens_of_another_tenant_come_to_nothing(firm, deal, lender):
    other = lender.lend()
    with tenant_context(other):
        stranger = make_user("Another Owner", owner=True)
    program_of_theirs, host = Program.of(other, stranger), program(firm, firm.anna).defaults["HTTP_HOST"]
    for word in ("", "/insiders", "/history", "/sharing", "/files"):
        assert program_of_theirs.get(f"/api/v1/deals/{deal.pk}{word}").status_code == 404
    program_of_theirs.defaults["HTTP_HOST"] = host
    assert program_of_theirs.get(f"/api/v1/deals/{deal.pk}").status_code == 401
    web = Browser(other).sign_in(stranger)
    web.defaults["HTTP_HOST"] = host
    assert web.get(f"/deals/{deal.pk}").status_code == 302
    answer = program(firm, firm.anna).post(f"/api/v1/deals/{deal.pk}/let-in", {"user": str(stranger.pk)})
    assert answer.status_code == 422


def test_a_token_that_only_views_names_nobody_and_takes_nobody_off(firm, deal):
    sealing.let_in(actor_of(firm.anna), deal, firm.piotr)
    url, whom = f"/api/v1/deals/{deal.pk}", {"user": str(firm.piotr.pk)}
    views = Program.of(firm.premises, firm.anna, ["sales.deal:view", "access.user:view"])
    assert views.get(f"{url}/insiders").status_code == 200
    for word in ("let-in", "shut-out"):
        answer = views.post(f"{url}/{word}", whom)
        assert answer.status_code == 403 and "does not include “change”" in answer.json()["detail"]
    changes = Program.of(firm.premises, firm.anna, ["sales.deal:view", "sales.deal:change", "access.user:view"])
    assert changes.post(f"{url}/shut-out", whom).status_code == 200


# --- copies, names and histories --------------------------------------------------------------------------------------------------


def test_files_of_imports_that_wrote_it_go_when_it_is_sealed(firm, named):
    anna = actor_of(firm.anna)
    rows = f"number,title,amount\n{named.number},{SECRET},7\n{named.number},{SECRET},x\n"
    run = brought(firm, anna, runs.start(anna, "sales.deal", rows.encode(), "f.csv", mode="update"))
    piotr = browser(firm, firm.piotr)
    assert SECRET in page(piotr.get(f"/imports/{run.pk}/errors.csv"))
    marking.mark(anna, Deal.objects.get(pk=named.pk), 2)
    assert piotr.get(f"/imports/{run.pk}/errors.csv").status_code == 404
    for path in (f"/imports/{run.pk}", f"/api/v1/imports/{run.pk}"):
        assert SECRET not in body(piotr.get(path))


def test_an_import_finds_it_by_no_key(firm, deal):
    piotr = actor_of(firm.piotr)
    for rows, mode in (
        (f"number,amount\n{deal.number},99\n", "update"),
        (f"id,amount\n{deal.pk},99\n", "update"),
        (f"number,title,amount\n{deal.number},Mine,99\n", "upsert"),
    ):
        run = brought(firm, piotr, runs.start(piotr, "sales.deal", rows.encode(), "f.csv", mode=mode))
        assert run.result["errors"] == 1 and SECRET not in str(run.result)
        assert all(SECRET not in f"{e.message} {e.value}" for e in runs.errors(run))
    assert str(Deal.objects.get(pk=deal.pk).amount) != "99.00"


def test_undoing_an_import_names_nothing_that_a_kept_record_refers_to(firm, named):
    piotr = actor_of(firm.piotr)
    other = gate.perform(SYSTEM, Party, "add", {"kind": "org", "name": "Open firm"})
    with changing(SYSTEM, "change"):
        Party.objects.filter(pk=firm.party.pk).update(name=SECRET)
    rows = f"party,type,other\n{other.pk},partner_of,{firm.party.pk}\n"
    run = brought(firm, piotr, runs.start(piotr, "party.relation", rows.encode(), "f.csv"))
    relation = Relation.objects.get()
    gate.perform(SYSTEM, relation, "change", {"role": "boss"})
    marking.mark(actor_of(firm.anna), Party.objects.get(pk=firm.party.pk), 2)
    run = runs.undo(actor_of(firm.piotr), run)
    runner.execute(firm.premises, run.job_id)
    run.refresh_from_db()
    ((label, key, name, why),) = run.result["undo"]["kept"]
    assert (label, key, name) == ("party.relation", str(relation.pk), str(relation.pk)) and "(change," in why


def test_that_what_it_refers_to_was_sealed_is_neither_a_change_nor_in_the_history_of_a_record(firm, party):
    open_deal = Deal.objects.get(pk=firm.deal.pk)
    events = program(firm, firm.piotr).get(f"/api/v1/deals/{open_deal.pk}/history").json()["items"]
    assert {event["change"] for event in events} <= {"added", "changed"} and "resend" not in str(events)
    assert "Anna Nowak" not in page(browser(firm, firm.piotr).get(f"/deals/{open_deal.pk}?tab=history"))
    marking.mark(actor_of(firm.anna), open_deal, 1)
    assert "Anna Nowak created it" not in page(browser(firm, firm.piotr).get(f"/deals/{open_deal.pk}?tab=history"))


# --- in the moment of sealing -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [True, False], ids=["the first", "another"])
def test_who_saves_while_it_is_sealed_saves_nothing_and_is_told_nothing(firm, named, first):
    if not first:
        marking.mark(actor_of(firm.anna), Deal.objects.exclude(pk=named.pk).first(), 2)
    piotr, url = program(firm, firm.piotr), f"/api/v1/deals/{named.pk}"

    def seal() -> None:
        marking.mark(actor_of(firm.anna), Deal.objects.get(pk=named.pk), 2)

    def save():
        return piotr.patch(url, {"amount": "77.00"}, HTTP_IDEMPOTENCY_KEY="one")

    answer = at_the_same_time(seal, save)
    assert answer.status_code == 404 and SECRET not in body(answer)
    assert SECRET not in body(save()) and str(Deal.objects.get(pk=named.pk).amount) == "100.00"


def test_who_marks_it_while_it_is_sealed_does_not_take_the_seal_away(firm, named):
    piotr, url = program(firm, firm.piotr), f"/api/v1/deals/{named.pk}/mark-sensitive"
    answer = at_the_same_time(
        lambda: marking.mark(actor_of(firm.anna), Deal.objects.get(pk=named.pk), 2),
        lambda: piotr.post(url, {"level": 1}),
    )
    assert answer.status_code == 404 and Label.objects.get(pk=named.pk).level == 2


def test_who_is_taken_off_the_list_while_they_save_saves_nothing(firm, deal):
    sealing.let_in(actor_of(firm.anna), deal, firm.piotr)
    piotr = program(firm, firm.piotr)

    def take_off() -> None:
        list(Deal.objects.select_for_update().filter(pk=deal.pk))
        sealing.shut_out(actor_of(firm.anna), deal, firm.piotr)

    answer = at_the_same_time(take_off, lambda: piotr.patch(f"/api/v1/deals/{deal.pk}", {"amount": "78.00"}))
    assert answer.status_code == 404 and str(Deal.objects.get(pk=deal.pk).amount) == "100.00"


def test_who_adds_a_part_while_it_is_sealed_adds_none(firm, named):
    piotr, row = program(firm, firm.piotr), {"party": str(firm.party.pk), "type": "email", "value": "a@b.example"}
    answer = at_the_same_time(
        lambda: marking.mark(actor_of(firm.anna), Party.objects.get(pk=firm.party.pk), 2),
        lambda: piotr.post("/api/v1/contact-points/", row),
    )
    assert answer.status_code == 422 and not ContactPoint.objects.exists()


def test_a_part_that_is_added_first_is_sealed_with_the_whole(firm, named):
    sealed = []

    def add() -> None:
        row = {"party": firm.party.pk, "type": "email", "value": "a@b.example"}
        gate.perform(actor_of(firm.piotr), ContactPoint, "add", row)

    def seal() -> None:
        with tenant_context(firm.premises):
            sealed.append(marking.mark(actor_of(firm.anna), Party.objects.get(pk=firm.party.pk), 2))

    at_the_same_time(add, seal)
    assert Label.objects.get(pk=ContactPoint.objects.get().pk).root == firm.party.pk
    assert not visible(actor_of(firm.piotr), ContactPoint).exists()
