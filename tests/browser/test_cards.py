"""A record's card in a real browser: what is long stays within it, on a phone too."""

import pytest

from ostoja import gate
from ostoja.party.models import Consent, Party
from ostoja.testing.people import make_user

LONG = "Konstancja Wielopolska-Brzeczyszczykiewiczowna z Dabrowy Gorniczej, pelnomocniczka zarzadu"


@pytest.mark.parametrize("name", [LONG, "A" * 110], ids=["many words", "one word"])
def test_a_long_name_of_an_owner_stays_within_the_card(actor, owner, open_page, name):
    party = gate.perform(actor, Party, "add", {"kind": "org", "name": "Chairs", "owner": make_user(name).pk})
    with open_page(user=owner, width=390, height=844) as tab:
        page = tab.go(f"/parties/{party.pk}")
        shown = page.locator(".props dd", has_text=name[:40]).first
        inside = shown.evaluate("e => [e.scrollWidth <= e.clientWidth, e.getBoundingClientRect().right <= innerWidth]")
        assert inside == [True, True] and page.evaluate("document.documentElement.scrollWidth") <= 390
        assert shown.locator(".who > span").last.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_on_a_phone_the_card_scrolls_and_the_page_does_not(actor, owner, open_page):
    party = gate.perform(actor, Party, "add", {"kind": "org", "name": "Chairs", "owner": owner.pk})
    with open_page(user=owner, width=390, height=600) as tab:
        page = tab.go(f"/parties/{party.pk}")
        assert page.locator(".record").evaluate("e => e.scrollHeight > e.clientHeight")
        assert page.evaluate("document.documentElement.scrollHeight") <= 600


def test_on_a_phone_the_open_page_of_the_settings_is_in_sight(owner, open_page):
    with open_page(user=owner, width=390, height=844) as tab:
        page = tab.go("/settings/devices")
        box = page.locator(".settings > nav [aria-current]").bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= 390


def test_the_state_of_a_part_does_not_touch_the_line_above_it(actor, owner, open_page):
    party = gate.perform(actor, Party, "add", {"kind": "person", "name": "Anna Nowak"})
    said = {"party": party.pk, "purpose": "marketing", "channel": "email", "state": "given", "source": "Paper"}
    gate.perform(actor, Consent, "add", said)
    with open_page(user=owner) as tab:
        page = tab.go(f"/parties/{party.pk}")
        item = page.locator(".left li", has=page.locator(".pill")).first
        top = item.locator(".pill").bounding_box()["y"]
        title = item.evaluate(
            """e => { const range = document.createRange(); range.selectNodeContents(e.querySelector(".leading-tight").firstChild);
                      return range.getBoundingClientRect().bottom }"""
        )
        assert top - title >= 2
