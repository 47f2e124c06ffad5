"""The demo: made on development installations only, filled once, gone on with after an interruption."""

import pytest
from django.conf import settings
from django.test import RequestFactory

from ostoja.access import signin
from ostoja.access.models import User
from ostoja.exchange import demo as data
from ostoja.kernel.errors import NotAllowed
from ostoja.onboarding import applying, demo, signup
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import Tenant


@pytest.fixture
def loaded(monkeypatch):
    """Which tenants the files were loaded into, instead of loading them: the files have their own tests."""
    calls = []
    monkeypatch.setattr(data, "load", lambda tenant, report: calls.append(tenant.slug))
    return calls


def test_the_demo_is_a_wholesaler_whose_owner_signs_in(lender, loaded):
    made = demo.ensure_demo(lambda _line: None)
    assert (made.tenant.slug, made.tenant.state, made.tenant.blueprint, made.tenant.currency) == (
        "demo",
        "open",
        "wholesale",
        "USD",
    )
    assert (made.email, loaded) == ("owner@demo.example", ["demo"])
    assert made.url.startswith("http://demo.localhost")
    with tenant_context(made.tenant):
        assert signin.sign_in(RequestFactory().post("/"), made.email, made.password).user.is_owner


def test_it_is_made_once(lender, loaded):
    first = demo.ensure_demo(lambda _line: None)
    assert demo.ensure_demo(lambda _line: None) == first
    with tenant_context(first.tenant):
        assert User.objects.count() == 1


def test_what_was_interrupted_goes_on(lender, loaded, monkeypatch):
    def dies(*_args):
        raise KeyboardInterrupt

    with monkeypatch.context() as interrupted, pytest.raises(KeyboardInterrupt):
        interrupted.setattr(applying, "apply", dies)
        demo.ensure_demo(lambda _line: None)
    assert provisioning.find("demo").state == "building"
    assert demo.ensure_demo(lambda _line: None).tenant.state == "open"
    provisioning.suspend(provisioning.find("demo"))
    assert demo.ensure_demo(lambda _line: None).tenant.state == "open"
    provisioning.delete(provisioning.find("demo"))
    assert demo.ensure_demo(lambda _line: None).tenant.state == "open"


def test_a_password_that_everybody_knows_is_for_development_only(lender, loaded, monkeypatch):
    monkeypatch.setattr(settings, "DEVELOPMENT", False)
    with pytest.raises(NotAllowed):
        demo.ensure_demo(lambda _line: None)
    with platform_context():
        assert not Tenant.objects.exists()


def test_nobody_else_signs_up_as_the_demo(lender):
    assert not signup.check_name("demo", "192.0.2.1").free
