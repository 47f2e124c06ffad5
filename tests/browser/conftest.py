"""A real browser at a tenant's host: the application served in a thread, Chromium driven by Playwright."""

import os
import shutil
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

CHROMIUM = (
    os.environ.get("OSTOJA_TEST_CHROMIUM")
    or shutil.which("chromium")
    or shutil.which("chromium-browser")
    or shutil.which("google-chrome")
)
PATIENCE = 20_000  # milliseconds for what a page shows or does; a machine that has other work to do is slow


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Quiet(WSGIRequestHandler):
    def log_message(self, *_args):
        pass


@pytest.fixture(scope="session")
def chromium():
    """The browser; where there is none, the tests say so instead of passing."""
    if not CHROMIUM:
        pytest.skip("Chromium is not installed, so the browser tests did not run. Install it: apt-get install chromium")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        # the driver's event loop runs in this thread; Django must not take our own queries for asynchronous ones
        os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "true"
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def port(installation):
    """The application answers at this port, for every host."""
    from django.contrib.staticfiles.handlers import StaticFilesHandler

    from ostoja.web.wsgi import application

    server = make_server("127.0.0.1", 0, StaticFilesHandler(application), server_class=_Server, handler_class=_Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()


class Page:
    """A browser's page at a tenant's host; whatever the console or the content policy complains of fails the test."""

    def __init__(self, page, base: str):
        self.page = page
        self.base = base
        self.complaints: list[str] = []
        page.on("console", lambda m: self.complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda e: self.complaints.append(str(e)))

    def go(self, path: str):
        """Open a page of the tenant."""
        self.page.goto(self.base + path)
        return self.page


@pytest.fixture
def open_page(chromium, port, tenant, owner):
    """``with open_page(width=…, dark=…) as page:`` a page of the tenant with the owner signed in."""
    from django.conf import settings

    from ostoja.testing.clients import Browser

    @contextmanager
    def opened(width: int = 1440, height: int = 900, dark: bool = False, user=owner, expect: tuple[str, ...] = ()):
        browser = Browser(tenant).sign_in(user)
        host = browser.host
        base = f"http://{host}:{port}"
        context = chromium.new_context(
            viewport={"width": width, "height": height},
            color_scheme="dark" if dark else "light",
            reduced_motion="reduce",
        )
        key = browser.cookies[settings.SESSION_COOKIE_NAME]
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": getattr(key, "value", key), "url": base}])
        page = Page(context.new_page(), base)
        page.page.set_default_timeout(PATIENCE)
        try:
            yield page
            complaints = [c for c in page.complaints if not any(e in c for e in expect)]
            assert complaints == []
        finally:
            context.close()

    return opened


@pytest.fixture
def quiet(monkeypatch):
    """Jobs wait: nothing is sent to a broker."""
    monkeypatch.setattr("ostoja.jobs.queue.send", lambda schema, job: None)


@pytest.fixture
def pair(tenant, lender, quiet):
    """The open tenant is the premises of a cloud with a customer and a deal."""
    sys.path.insert(0, str(Path(__file__).parents[1] / "hybrid"))
    from test_database import fill
    from two_sites import Pair, do

    from ostoja.crm.sales.models import Deal

    cloud = lender.lend()
    party = fill(cloud)
    deal = do(cloud, Deal, "add", {"title": "Hundred chairs", "party": party.pk, "amount": "100.00"})
    made = Pair(cloud, tenant)
    made.party, made.deal = party, deal
    made.load()
    made.talk()
    return made
