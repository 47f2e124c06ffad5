"""What somebody may not see is absent from every page: rows, fields, buttons, search, order and filters."""

import pytest

from ostoja import gate
from ostoja.access.policy import visible_fields
from ostoja.kernel import registry
from ostoja.testing.clients import Browser
from ostoja.testing.people import make_user
from ostoja.web import columns

SECRET = "Tajemnica-4711"


@pytest.fixture
def party():
    return registry.get("party.party")


@pytest.fixture
def hers(actor, party):
    return gate.perform(
        actor, party.model, "add", {"name": "Stalmet", "kind": "org", "notes": SECRET, "is_customer": True}
    )


@pytest.fixture
def seller(as_role):
    """Somebody who sees all customers but no confidential field, and changes their own."""
    user = make_user("Sam Seller")
    grants = {"party.party": {"view": "all", "add": "own", "change": "own", "export": "all"}}
    return as_role(grants, classes=("public", "internal"), user=user)


@pytest.fixture
def browser(tenant, seller):
    return Browser(tenant).sign_in(seller.user)


def test_a_confidential_field_is_on_no_page(browser, hers, party, seller):
    assert "notes" not in visible_fields(seller, party)
    for path in (
        "/parties",
        f"/parties/{hers.pk}",
        f"/parties/{hers.pk}?tab=history",
        "/parties/new",
        "/parties/filters",
        "/parties/totals",
    ):
        page = browser.get(path)
        assert page.status_code == 200, path
        assert SECRET not in page.content.decode()
        assert 'name="notes"' not in page.content.decode()


def test_a_record_has_no_name_for_who_may_not_see_the_field_that_names_it(browser, hers, actor, as_role, tenant):
    data = {"party": hers.pk, "type": "email", "value": "tajny@stalmet.example"}
    gate.perform(actor, registry.get("party.contactpoint").model, "add", data)
    page = browser.get(f"/parties/{hers.pk}").content.decode()
    assert "tajny@stalmet.example" not in page and "(not visible)" in page
    user = make_user("Cleared")
    as_role({"party.party": {"view": "all"}}, user=user)
    assert "tajny@stalmet.example" in Browser(tenant).sign_in(user).get(f"/parties/{hers.pk}").content.decode()


def test_a_link_in_a_list_says_no_name_that_its_reader_may_not_see(tenant, hers, actor, as_role, monkeypatch):
    add = {label: registry.get(f"sales.{label}").model for label in ("pipeline", "stage", "deal")}
    pipeline = gate.perform(actor, add["pipeline"], "add", {"name": "Sales", "position": 1})
    stage = {"pipeline": pipeline.pk, "name": "New", "position": 1, "kind": "open", "probability": 10}
    stage = gate.perform(actor, add["stage"], "add", stage)
    gate.perform(
        actor, add["deal"], "add", {"title": "Forklift", "party": hers.pk, "stage": stage.pk, "amount": "10.00"}
    )
    user = make_user("Dora Dealer")
    as_role({"*": {"view": "all"}}, user=user)
    browser, may_name = Browser(tenant).sign_in(user), columns.may_name
    page = browser.get("/deals").content.decode()
    assert f'href="/parties/{hers.pk}">Stalmet</a>' in page
    monkeypatch.setattr(columns, "may_name", lambda who, entry: entry.label != "party.party" and may_name(who, entry))
    page = browser.get("/deals").content.decode()
    assert "Forklift" in page and f'href="/parties/{hers.pk}">(not visible)</a>' in page


def test_an_exported_file_has_no_hidden_column(browser, hers):
    content = b"".join(browser.post("/parties/export.csv").streaming_content).decode()
    assert "Stalmet" in content
    assert SECRET not in content
    assert "Notes" not in content.splitlines()[0]


def test_search_and_order_and_filters_know_nothing_of_hidden_fields(browser, hers):
    assert "Stalmet" not in browser.get(f"/parties?q={SECRET}").content.decode()
    assert "Stalmet" not in browser.get(f"/palette?q={SECRET}").content.decode()
    assert browser.get("/parties?sort=notes").status_code == 200
    assert "sort=notes" not in browser.get("/parties").content.decode()
    assert "Stalmet" in browser.get("/parties?f.notes=nothing").content.decode()


def test_what_a_role_does_not_include_has_no_button_and_is_refused(browser, hers):
    page = browser.get(f"/parties/{hers.pk}").content.decode()
    assert f"/parties/{hers.pk}/edit" not in page
    assert f"/parties/{hers.pk}/delete" not in page
    assert browser.get(f"/parties/{hers.pk}/edit").status_code == 403
    assert browser.post(f"/parties/{hers.pk}/delete").status_code == 302
    assert browser.get("/parties/import").status_code == 403
    assert browser.get("/settings/roles").status_code == 403
    assert type(hers).objects.filter(pk=hers.pk).exists()


def test_an_object_that_may_not_be_seen_does_not_exist(browser):
    for path in ("/deals", "/deals/board", "/deals/new", "/products/options"):
        assert browser.get(path).status_code == 404, path
    assert 'href="/deals"' not in browser.get("/parties").content.decode()


def test_rows_outside_of_the_scope_are_nowhere(tenant, as_role, hers, actor, party):
    user = make_user("Own Only")
    mine = as_role({"party.party": {"view": "own", "add": "own", "change": "own", "delete": "own"}}, user=user)
    gate.perform(mine, party.model, "add", {"name": "Mine alone", "kind": "org"})
    browser = Browser(tenant).sign_in(user)
    listed = browser.get("/parties").content.decode()
    assert "Mine alone" in listed
    assert "Stalmet" not in listed
    assert "Stalmet" not in browser.get("/parties/options?q=stal").content.decode()
    assert browser.get(f"/parties/{hers.pk}").status_code == 404
    assert browser.get(f"/parties/{hers.pk}/edit").status_code == 404
    assert browser.post(f"/parties/{hers.pk}/edit", {"name": "Taken over"}).status_code == 404
    browser.post("/parties/delete", {"id": str(hers.pk)})
    assert type(hers).objects.get(pk=hers.pk).name == "Stalmet"
    assert browser.get("/parties/totals").content.decode().count("<b>1</b>") == 1


def test_another_tenants_record_does_not_exist(signed_in, other_tenant, party, lender):
    from ostoja.kernel.actors import Actor
    from ostoja.tenancy.context import tenant_context

    with tenant_context(other_tenant):
        foreign = gate.perform(Actor.system("Test"), party.model, "add", {"name": "Foreign", "kind": "org"})
    for path in ("", "/edit", "/do/block", "/content"):
        assert signed_in.get(f"/parties/{foreign.pk}{path}").status_code == 404, path
    for path in ("/delete", "/do/block", "/move", "/files"):
        assert signed_in.post(f"/parties/{foreign.pk}{path}").status_code == 404, path


def test_every_page_carries_the_strict_policy(signed_in, hers):
    answer = signed_in.get(f"/parties/{hers.pk}")
    policy = answer["Content-Security-Policy"]
    for directive in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
    ):
        assert directive in policy
    assert "unsafe" not in policy
    html = answer.content.decode()
    assert " style=" not in html
    assert " onclick=" not in html
    assert "<script>" not in html
    assert answer["Cache-Control"] == "private, no-store"


def test_a_form_without_its_token_changes_nothing(tenant, owner, hers):
    browser = Browser(tenant, enforce_csrf_checks=True).sign_in(owner)
    answer = browser.post(f"/parties/{hers.pk}/edit", {"name": "Forged"})
    assert answer.status_code == 403
    assert type(hers).objects.get(pk=hers.pk).name == "Stalmet"


def test_next_leads_nowhere_but_to_our_own_pages(signed_in, hers):
    for evil in ("//evil.example/", "https://evil.example/", "javascript:alert(1)", "/\\evil.example"):
        answer = signed_in.post(f"/parties/{hers.pk}/edit", {"name": "Stalmet", "next": evil})
        assert answer["Location"] == f"/parties/{hers.pk}", evil


def test_what_people_type_is_never_markup(signed_in, actor, party):
    name = "<script>alert(1)</script>"
    made = gate.perform(
        actor, party.model, "add", {"name": name, "kind": "org", "website": "https://a.example/\"onx='"}
    )
    for path in (
        "/parties",
        f"/parties/{made.pk}",
        f"/parties/{made.pk}/edit",
        "/parties/options",
        "/palette?q=script",
        "/parties?q=<script>",
    ):
        html = signed_in.get(path).content.decode()
        assert "<script>alert" not in html, path
        assert "&lt;script&gt;" in html, path
