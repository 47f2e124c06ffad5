"""What a salesperson does all day, in a real browser under the strict content policy: list, card, form, board."""

import re

import pytest
from playwright.sync_api import expect

from ostoja import gate
from ostoja.kernel import registry


def model(label):
    return registry.get(label).model


@pytest.fixture
def stages(actor):
    pipeline = gate.perform(actor, model("sales.pipeline"), "add", {"name": "Sales", "position": 1})
    names = [("New", "open", 10), ("Offer", "open", 50), ("Won", "won", 100), ("Lost", "lost", 0)]
    return {
        name: gate.perform(
            actor,
            model("sales.stage"),
            "add",
            {"pipeline": pipeline.pk, "name": name, "position": i, "kind": kind, "probability": percent},
        )
        for i, (name, kind, percent) in enumerate(names)
    }


@pytest.fixture
def customer(actor):
    return gate.perform(
        actor, model("party.party"), "add", {"name": "Stalmet Śląsk S.A.", "kind": "org", "is_customer": True}
    )


@pytest.fixture
def deal(actor, stages, customer):
    data = {"title": "ERP rollout", "party": customer.pk, "stage": stages["New"].pk, "amount": "284000"}
    return gate.perform(actor, model("sales.deal"), "add", data)


def again(record):
    return type(record).objects.get(pk=record.pk)


def test_a_customer_is_created_found_and_opened(open_page, stages):
    with open_page() as tab:
        page = tab.go("/parties")
        page.get_by_role("heading", name="No customers yet").wait_for()
        page.keyboard.press("c")
        page.locator("#id_name").fill("Browar Żywiecki")
        page.keyboard.press("Control+Enter")
        expect(page.get_by_role("heading", name="Browar Żywiecki")).to_be_visible()
        expect(page.locator("#toasts")).to_contain_text("is created")
        page.keyboard.press("Control+k")
        page.keyboard.type("żyw")
        page.get_by_role("option", name="Browar Żywiecki").wait_for()
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Browar Żywiecki")).to_be_visible()


def test_a_deal_with_lines_is_made_from_a_card(open_page, stages, customer, actor):
    gate.perform(
        actor, model("catalog.product"), "add", {"name": "Terminal X200", "code": "X200", "list_price": "1200"}
    )
    with open_page() as tab:
        page = tab.go(f"/parties/{customer.pk}?tab=deals")
        page.get_by_role("link", name="New deal").click()
        expect(page.get_by_label("Customer")).to_have_value(re.compile("Stalmet|" + str(customer.pk)))
        page.get_by_label("Title").fill("Terminals")
        page.get_by_role("button", name="Add a line").click()
        row = page.locator("table.lines tbody tr").first
        row.locator("select, input[role=combobox]").first.wait_for()
        if row.locator("select").count():
            row.locator("select").first.select_option(label="Terminal X200")
        row.get_by_label("Quantity").fill("3")
        row.get_by_label("Unit price").fill("1 200,50")
        page.get_by_role("button", name="Create").click()
        page.wait_for_url(re.compile(rf"/parties/{customer.pk}"))
    made = model("sales.deal").objects.get(title="Terminals")
    assert (made.party_id, str(made.amount)) == (customer.pk, "3601.50")


def test_a_refused_form_says_where_and_keeps_what_was_typed(open_page, stages, deal):
    with open_page(expect=("422",)) as tab:
        page = tab.go(f"/deals/{deal.pk}/edit")
        page.get_by_label("Amount").fill("-5")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#id_amount_errors")).to_contain_text("can't be negative")
        expect(page.get_by_label("Amount")).to_have_value("-5")


def test_a_card_is_dragged_to_another_stage(open_page, stages, deal):
    with open_page() as tab:
        page = tab.go("/deals/board")
        card = page.locator(f"#card-{deal.pk}")
        lane = page.locator(f"[data-lane='{stages['Offer'].pk}']")
        card.drag_to(lane)
        expect(lane.locator(f"#card-{deal.pk}[data-version='2']")).to_be_visible()
        expect(page.locator(f"#lane-{stages['Offer'].pk}")).to_contain_text("284,000")
    assert again(deal).stage_id == stages["Offer"].pk


def test_a_card_is_moved_by_keyboard_alone(open_page, stages, deal):
    with open_page() as tab:
        page = tab.go("/deals/board")
        page.locator(f"#card-{deal.pk} .more").focus()
        page.keyboard.press("Enter")
        page.locator("#move-menu").get_by_role("button", name="Offer").wait_for()
        page.keyboard.press("Enter")
        expect(page.locator(f"[data-lane='{stages['Offer'].pk}'] #card-{deal.pk}[data-version='2']")).to_be_visible()
    assert again(deal).stage_id == stages["Offer"].pk


def test_dragging_to_won_wins_and_to_lost_asks_why(open_page, stages, deal, actor):
    reason = gate.perform(actor, model("sales.lostreason"), "add", {"name": "Price"})
    with open_page() as tab:
        page = tab.go("/deals/board")
        page.locator(f"#card-{deal.pk}").drag_to(page.locator(f"[data-lane='{stages['Lost'].pk}']"))
        page.locator("dialog[open]").get_by_label("Why we lost it").select_option(label="Price")
        page.locator("dialog[open]").get_by_role("button", name="Lose", exact=True).click()
        expect(page.locator("#toasts")).to_contain_text("Lose: done")
        expect(page.locator(f"[data-lane='{stages['Lost'].pk}'] #card-{deal.pk}")).to_be_visible()
    lost = again(deal)
    assert (lost.state, lost.lost_reason_id) == ("lost", reason.pk)


def test_a_refused_move_goes_back_and_says_why(open_page, stages, customer, actor):
    free = gate.perform(
        actor, model("sales.deal"), "add", {"title": "For nothing", "party": customer.pk, "stage": stages["New"].pk}
    )
    with open_page(expect=("422",)) as tab:
        page = tab.go("/deals/board")
        page.locator(f"#card-{free.pk}").drag_to(page.locator(f"[data-lane='{stages['Won'].pk}']"))
        expect(page.locator("#toasts")).to_contain_text("Give the deal an amount")
        expect(page.locator(f"[data-lane='{stages['New'].pk}'] #card-{free.pk}")).to_be_visible()
    assert again(free).state == "open"


def test_search_filters_and_the_pager_work_without_reloading(open_page, stages, customer, actor):
    rows = [{"title": f"Deal A{n:03}B", "party": customer, "stage": stages["New"], "amount": n} for n in range(60)]
    gate.Many(actor, model("sales.deal")).add(rows)
    with open_page() as tab:
        page = tab.go("/deals")
        expect(page.locator(".list-foot")).to_contain_text("of 60")
        page.get_by_role("link", name="Next").click()
        expect(page.locator(".list-foot")).to_contain_text("51–60")
        page.get_by_role("link", name="Previous").click()
        expect(page.locator(".list-foot")).to_contain_text("1–50")
        page.keyboard.press("/")
        page.keyboard.type("deal A007B")
        expect(page.locator("tbody tr")).to_have_count(1)
        assert page.evaluate("document.activeElement.id") == "list-q"


def test_many_records_are_chosen_with_shift_and_won_at_once(open_page, stages, customer, actor):
    rows = [{"title": f"Deal {n}", "party": customer, "stage": stages["New"], "amount": n + 1} for n in range(5)]
    gate.Many(actor, model("sales.deal")).add(rows)
    with open_page() as tab:
        page = tab.go("/deals")
        boxes = page.locator("tbody .pick .cb")
        boxes.nth(0).click()
        boxes.nth(3).click(modifiers=["Shift"])
        expect(page.locator(".bulk")).to_contain_text("4 selected")
        page.locator(".bulk").get_by_role("button", name="Win").click()
        page.locator("#confirm").get_by_role("button", name="Win").click()
        expect(page.locator("#toasts")).to_contain_text("4 records done")
    assert model("sales.deal").objects.filter(state="won").count() == 4


@pytest.mark.parametrize(
    "path", ["/deals", "/deals/board", "/deals/calendar", "/deals/new", "/parties", "/settings/roles"]
)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_pages_are_accessible_and_fit_a_phone(open_page, stages, deal, path, dark):
    from axe_playwright_python.sync_playwright import Axe

    with open_page(dark=dark) as tab:
        page = tab.go(path)
        page.wait_for_load_state("networkidle")
        found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"]})
        wrong = [
            f"{v['id']}: {n['html'][:160]} {n['failureSummary'][:200]}"
            for v in found.response["violations"]
            for n in v["nodes"]
        ]
        assert wrong == [], "\n".join(wrong)
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/deals?f.state=open", "ERP rollout"),
        ("/deals/board", "ERP rollout"),
        ("/deals/calendar", "Deals"),
        ("/deals/{deal}", "ERP rollout"),
    ],
)
def test_on_paper_a_page_is_whole_and_white(open_page, stages, deal, path, words):
    with open_page(dark=True) as tab:
        page = tab.go(path.format(deal=deal.pk))
        page.emulate_media(media="print")
        expect(page.locator("html")).not_to_have_class(re.compile("dark"))
        expect(page.locator("#main")).to_contain_text(words)
        expect(page.locator(".side")).to_be_hidden()
        cut = page.evaluate(
            "[...document.querySelectorAll('#main, #main *')].filter(e => e.scrollHeight > e.clientHeight + 2"
            " && e.clientHeight > 40 && /auto|scroll|hidden/.test(getComputedStyle(e).overflowY)).map(e => e.className)"
        )
        assert cut == []
        assert page.evaluate("[...document.querySelectorAll('#main svg')].every(e => e.clientHeight <= 48)")
