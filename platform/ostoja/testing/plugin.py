"""The pytest plugin: declares an installation before Django's settings load, and lends tenants, people and clients to tests."""

from __future__ import annotations

import functools
import os
from collections import Counter

import pytest

from ostoja.kernel.memory import keep_what_is_loaded

from .installation import TestInstallation, home_of

_installation: TestInstallation | None = None


@pytest.hookimpl(tryfirst=True, optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """The whole suite runs in three processes, of which one mostly waits for installations that it started; what is named, in this one."""
    named = bool(config.option.file_or_dir)
    return 0 if named or (os.cpu_count() or 1) < 2 else 3


def pytest_configure(config: pytest.Config) -> None:
    """Declare the tests' installation and set Django up; nothing is started before a test asks for it."""
    global _installation
    if _installation is None:
        _installation = TestInstallation(home_of(config.rootpath))
        _installation.declare()
        import django
        from django.test.utils import setup_test_environment

        django.setup()
        setup_test_environment()
        from django.conf import settings

        settings.CACHES["default"]["KEY_PREFIX"] = _installation.database


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    """What is loaded by now stays: it is not searched for garbage again and again."""
    keep_what_is_loaded()


def pytest_unconfigure() -> None:
    """Leave nothing running and no database behind."""
    if _installation is not None:
        _installation.stop()


def pytest_terminal_summary(terminalreporter) -> None:
    """What did not run, and why: a suite that left the browser out must not look like one that passed in it."""
    reasons = Counter(str(report.longrepr[2]) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in reasons.items():
        terminalreporter.write_line(f"{count} left out: {reason.removeprefix('Skipped: ')}", yellow=True)


@pytest.fixture(scope="session")
def installation() -> TestInstallation:
    """The installation with its services running and its shared tables made."""
    _installation.start()
    return _installation


@pytest.fixture(scope="session")
def lender(installation):
    """Lends tenants and takes them back."""
    from .tenants import Lender

    installation.lender = Lender(installation)
    return installation.lender


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """Every tenant that a test made, and what it left in the shared tables, is gone after it."""
    if _installation.lender is not None:
        _installation.lender.take_back()
    from django.core import mail

    mail.outbox.clear()


@pytest.fixture
def platform(lender):
    """The tables that all tenants share are open."""
    from ostoja.tenancy.context import platform_context

    with platform_context():
        yield


@pytest.fixture
def tenant(lender):
    """A fresh tenant, committed and open for the test."""
    from ostoja.tenancy.context import tenant_context

    lent = lender.lend()
    with tenant_context(lent):
        yield lent


@pytest.fixture
def other_tenant(lender):
    """Another fresh tenant, committed; it is not open."""
    return lender.lend()


@pytest.fixture(scope="module")
def module_tenant(lender):
    """A tenant that all tests of a module share; not open: ``with tenant_context(module_tenant):``."""
    with lender.kept_tenant() as kept:
        yield kept


@pytest.fixture
def owner(tenant):
    """The owner of the tenant, a user."""
    from .people import make_user

    return make_user("Olga Owner", owner=True, email="owner@example.com")


@pytest.fixture
def actor(owner):
    """The actor that the owner is."""
    from ostoja.access.actor_of import actor_of

    return actor_of(owner)


@pytest.fixture
def as_role(tenant):
    """``as_role({"sales.deal": {"view": "own"}}, classes=…, department=…, user=…)`` -> an actor with one such role."""
    from .people import make_actor

    return functools.partial(make_actor)


@pytest.fixture
def client(tenant):
    """A browser at the tenant's host; ``client.sign_in(user)`` signs somebody in."""
    from .clients import Browser

    return Browser(tenant)


@pytest.fixture
def signed_in(client, owner):
    """A browser in which the owner is signed in."""
    return client.sign_in(owner)


@pytest.fixture
def public_client(lender):
    """A browser at the installation's own address, where companies sign up."""
    from .clients import Browser

    return Browser()


@pytest.fixture
def api(tenant, owner):
    """A program with the owner's token at the tenant's API; ``api.as_user(user, scopes)`` is another one."""
    from .clients import Program

    return Program.of(tenant, owner)


@pytest.fixture
def long_memory(monkeypatch):
    """What was looked up once (hosts, tokens, who keeps what) stays known during the test, so that statements are counted alike
    on a slow machine."""
    from ostoja.access import remembered
    from ostoja.hybrid import reaching
    from ostoja.tenancy import hosts

    for remembering in (remembered, hosts, reaching):
        monkeypatch.setattr(remembering, "SECONDS", 3600)
    yield
    for remembering in (remembered, hosts, reaching):
        remembering.forget()


@pytest.fixture
def outbox():
    """The mails that were sent in this test."""
    from django.core import mail

    return mail.outbox
