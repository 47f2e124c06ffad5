"""What the tests of sign-up share: a company that signs up, installations of another kind."""

import pytest


@pytest.fixture
def company():
    """``company(slug="…")`` is what a company fills in."""
    from ostoja.testing.people import PASSWORD

    filled = {
        "company": "Młyny Górskie sp. z o.o.",
        "slug": "mlyny-gorskie",
        "email": "anna.nowak@mlyny.example",
        "password": PASSWORD,
        "blueprint": "wholesale",
        "language": "pl",
        "website": "",
    }
    return lambda **changes: filled | changes


@pytest.fixture
def installation_is(monkeypatch):
    """``installation_is(kind="private")`` declares another installation for the test."""
    from django.conf import settings

    def declare(**changes):
        monkeypatch.setattr(settings, "INSTALLATION", settings.INSTALLATION.model_copy(update=changes))

    return declare
