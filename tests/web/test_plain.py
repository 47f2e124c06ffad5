"""An address as people type it, ``/deals?state=won``, narrows the list or says what it does not understand."""

import pytest
from django.http import QueryDict

from ostoja.kernel import registry
from ostoja.web.plain import pairs_of, translated
from ostoja.web.reading import Listing


def said(actor, query, label="sales.deal"):
    return translated(actor, registry.get(label), pairs_of(QueryDict(query)))


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("state=won", [("f.state", "won")]),
        ("state__in=won,lost", [("f.state", "won"), ("f.state", "lost")]),
        ("state=won&state=lost", [("f.state", "won"), ("f.state", "lost")]),
        ("owner=me", [("f.owner", "me")]),
        ("amount__gte=100&amount__lte=200,50", [("f.amount.from", "100"), ("f.amount.to", "200,50")]),
        ("closes_on=2026-11-24", [("f.closes_on.from", "2026-11-24"), ("f.closes_on.to", "2026-11-24")]),
        ("source__contains=fair", [("f.source", "fair")]),
        ("party__isnull=true", [("f.party", "none")]),
        ("search=bike&sort=-amount", [("q", "bike"), ("sort", "-amount")]),
        ("f.state=won&q=x", [("f.state", "won"), ("q", "x")]),
    ],
)
def test_plain_filters_become_the_lists_own(actor, given, meant):
    assert said(actor, given) == (meant, [])


@pytest.mark.parametrize(
    "strange",
    ["state=sold", "nonsense=1", "amount__gte=much", "closes_on=tomorrow", "owner=somebody", "f.state=sold", "f.nonsense=1", "state__regex=w",
     "party__name=x", "amount__gt=5", "f.amount=5", "utm_source=mail", "state=", "stage=x\x00"],
)  # fmt: skip
def test_what_is_not_understood_is_said(actor, strange):
    made, left = said(actor, strange)
    assert made == []
    assert [f"{k}={v}" for k, v in left] == [strange]


def test_a_plain_address_leads_to_the_narrowed_list(signed_in):
    answer = signed_in.get("/deals?state=won")
    assert (answer.status_code, answer["Location"]) == (302, "/deals?f.state=won")
    assert 'class="chip"' in signed_in.get(answer["Location"]).content.decode()


@pytest.mark.parametrize("page", ["/deals", "/deals/board", "/deals/calendar"])
def test_a_page_names_what_it_left_out(signed_in, page):
    assert "nonsense=1" in signed_in.get(f"{page}?nonsense=1").content.decode()
    both = signed_in.get(f"{page}?state=open&nonsense=1")
    assert both["Location"] == f"{page}?f.state=open&nonsense=1"
    assert "nonsense=1" in signed_in.get(both["Location"]).content.decode()


def test_me_is_whoever_looks(actor):
    mine = Listing(actor, registry.get("sales.deal"), QueryDict("f.owner=me"))
    assert mine.active[0].chosen == [str(actor.user_id)]


@pytest.mark.parametrize("entry", [e for e in registry.entries() if e.surface.views], ids=lambda e: e.slug)
def test_the_views_of_every_surface_mean_something(actor, signed_in, entry):
    for _label, asked in entry.surface.views:
        pairs, strange = translated(actor, entry, asked.items())
        assert pairs
        assert not strange
    page = signed_in.get(f"/{entry.slug}").content.decode()
    assert page.count('class="view-tab"') >= 1 + len(entry.surface.views)
