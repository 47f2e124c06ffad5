"""Signing up with a real browser: the live check, the button, and the way across to one's own host under the content policy."""

import pytest
from django.conf import settings

from ostoja.tenancy import provisioning
from ostoja.testing.people import PASSWORD


@pytest.fixture
def page(chromium, port, lender, monkeypatch):
    """The sign-up page; what the console complains of fails the test."""
    monkeypatch.setattr(settings, "PUBLIC_PORT", port)
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, locale="pl-PL")
    complaints = []
    opened = context.new_page()
    opened.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.on("pageerror", lambda e: complaints.append(str(e)))
    opened.goto(f"http://{settings.BASE_DOMAIN}:{port}/")
    yield opened
    context.close()
    assert complaints == []


def test_a_company_signs_up_and_is_at_work(page, port):
    page.fill("#id_company", "Młyny Górskie")
    page.fill("#id_slug", "admin")
    page.locator("#slug-answer [data-tone=red]").wait_for()
    page.fill("#id_slug", "mlyny-gorskie")
    page.locator("#slug-answer [data-tone=green]").wait_for()
    page.fill("#id_email", "anna.nowak@mlyny.example")
    page.fill("#id_password", PASSWORD)
    page.locator("label:has(input[value=manufacturing])").click()
    page.locator("button[data-busy]").click()
    page.wait_for_url(f"http://mlyny-gorskie.localhost:{port}/**")
    page.get_by_text("Anna Nowak").first.wait_for()
    tenant = provisioning.find("mlyny-gorskie")
    assert (tenant.state, tenant.blueprint) == ("open", "manufacturing")
