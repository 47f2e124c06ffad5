"""A record's card and its month say each thing once, and as people say it."""

import datetime as dt
import re

import pytest
from django.utils import timezone

from ostoja import gate
from ostoja.kernel import registry


def add(actor, label, **data):
    return gate.perform(actor, registry.get(label).model, "add", data)


@pytest.fixture
def deal(actor):
    pipeline = add(actor, "sales.pipeline", name="Sales", position=1)
    for position, (name, kind, probability) in enumerate([("New", "open", 10), ("Won", "won", 100)]):
        add(
            actor, "sales.stage", pipeline=pipeline.pk, name=name, position=position, kind=kind, probability=probability
        )
    return add(actor, "sales.deal", title="Ten bicycles", amount="5000")


def test_a_year_has_no_separators(signed_in, actor):
    party = add(actor, "party.party", name="Kan-code", kind="org", founded=1982, employees=34288)
    card = signed_in.get(f"/parties/{party.pk}").content.decode()
    assert "1982" in card and "1,982" not in card and "34,288" in card


def test_a_state_is_not_told_beside_the_stage_that_stands_for_it(signed_in, actor, deal):
    gate.perform(actor, deal, "win", {})
    card = signed_in.get(f"/deals/{deal.pk}").content.decode()
    assert re.findall(r'class="pill"[^>]*>([^<]+)', card) == ["Won"]


def test_the_stages_of_a_deal_have_their_times(signed_in, actor, deal):
    gate.perform(actor, deal, "win", {})
    card = signed_in.get(f"/deals/{deal.pk}").content.decode()
    stages = card[card.index("Stages") : card.index("</section>")]
    new, won = re.findall(r"<li.*?</li>", stages, re.S)
    assert "New" in new and len(re.findall("<time ", new)) == 2
    assert "Won" in won and len(re.findall("<time ", won)) == 1


def test_a_deal_that_is_named_by_its_number_says_it_once(signed_in, actor, deal):
    unnamed = add(actor, "sales.deal")
    title = re.search(r"<h1.*?</div></div>", signed_in.get(f"/deals/{unnamed.pk}").content.decode(), re.S)[0]
    assert title.count(unnamed.number) == 1


@pytest.mark.parametrize(("away", "said"), [(100, True), (-100, True), (0, False)])
def test_an_empty_month_leads_to_the_nearest_one(signed_in, actor, deal, away, said):
    assert "Nothing in this month" not in signed_in.get("/deals/calendar").content.decode()
    day = timezone.localdate() + dt.timedelta(days=away)
    gate.perform(actor, deal, "change", {"closes_on": day.isoformat()})
    page = signed_in.get("/deals/calendar").content.decode()
    assert ("Nothing in this month" in page) is said
    assert (f"month={day:%Y-%m}" in page) is said
    assert "Ten bicycles" in signed_in.get(f"/deals/calendar?month={day:%Y-%m}").content.decode()


def test_the_nearest_moment_counts_in_the_readers_time_zone(signed_in, actor):
    at = dt.datetime(2031, 3, 31, 22, 30, tzinfo=dt.UTC)  # it is April already in Warsaw
    add(actor, "planning.activity", kind="meeting", subject="Planning", at=at.isoformat())
    assert "month=2031-04" in signed_in.get("/activities/calendar").content.decode()


def test_a_new_form_has_the_cursor_in_its_first_field(signed_in, deal):
    def focused(path):
        form = re.search(r"<main.*?</main>", signed_in.get(path).content.decode(), re.S)[0]
        return re.findall(r'name="(\w+)"[^>]* autofocus', form)

    assert focused("/deals/new") == ["title"]
    assert focused(f"/deals/{deal.pk}/edit") == []
