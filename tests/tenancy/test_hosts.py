"""Hosts: parsed strictly; tenant, platform or a bare 404; opened for the whole request; closed within seconds."""

import json

import pytest
from django.conf import settings
from django.http import HttpResponse, StreamingHttpResponse
from django.test import RequestFactory

from ostoja.access.models import Role
from ostoja.tenancy import hosts, provisioning
from ostoja.tenancy.context import opening
from ostoja.tenancy.middleware import TenantMiddleware
from ostoja.tenancy.models import Tenant
from ostoja.testing.people import make_role


def ask(host, path="/", view=None):
    """The answer to a request at a host; the view tells where it is."""

    def where(request):
        now = opening()
        return HttpResponse(f"{now.schema} {getattr(request, 'urlconf', '')}")

    request = RequestFactory().get(path, HTTP_HOST=host)
    return TenantMiddleware(view or where)(request)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("demo.localhost", "demo.localhost"),
        ("demo.localhost:8000", "demo.localhost"),
        ("DEMO.LocalHost", "demo.localhost"),
        ("demo.localhost.", "demo.localhost"),
        ("demo.localhost.:8000", "demo.localhost"),
        ("127.0.0.1:80", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[0:0:0:0:0:0:0:1]:8000", "[::1]"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_a_proper_host_is_understood(raw, name):
    assert hosts.parse(raw) == name


@pytest.mark.parametrize(
    "raw",
    ["", ".", "..", "demo..localhost", ".demo", "demo:", "demo:0", "demo:65536", "demo:80:80", "demo:http", "demo@evil.example", "user:pw@demo",
     "demo.localhost,evil.example", "demo localhost", " demo", "demo\t", "demo\n", "demo/evil", "demo\\evil", "demo?x", "demo#x", "demo%2eevil",
     "-demo.localhost", "demo-.localhost", "de_mo.localhost", "dęmo.localhost", "ｄｅｍｏ.localhost", "demo\u2024localhost", "[::1", "::1", "[demo]",
     "[::1]x", "[::ffff:1.2.3.4.5]", "[fe80::1%eth0]", "a" * 64 + ".example", "a." * 130 + "a", "demo.localhost..", "١.localhost"],
)  # fmt: skip
def test_an_improper_host_is_none(raw):
    assert hosts.parse(raw) is None


@pytest.mark.parametrize("host", ["northwind.localhost", "NORTHWIND.localhost:8000", "northwind.localhost."])
def test_a_tenants_host_opens_it(lender, host):
    tenant = lender.lend(slug="northwind")
    assert ask(host).content.decode() == f"{tenant.schema_name} "
    assert opening() is None


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:8000", "[::1]:8000"])
def test_the_base_domain_is_the_platform(lender, host):
    assert ask(host).content.decode() == f"public {settings.PUBLIC_URLCONF}"


@pytest.mark.parametrize(
    "host",
    [
        "nobody.localhost",
        "www.northwind.localhost",
        "northwind",
        "northwind.example.com",
        "evil.example",
        "northwind.localhost@evil",
        "10.0.0.1",
    ],
)
def test_an_unknown_host_is_a_bare_404_that_repeats_nothing(lender, host):
    lender.lend(slug="northwind")
    answer = ask(host, "/<script>")
    assert (answer.status_code, answer.content) == (404, b"Not found\n")
    assert answer["Cache-Control"] == "no-store" and "default-src 'none'" in answer["Content-Security-Policy"]


def test_forwarded_hosts_are_not_believed(lender):
    tenant = lender.lend(slug="northwind")
    lender.lend(slug="southwind")
    request = RequestFactory().get(
        "/",
        HTTP_HOST="northwind.localhost",
        HTTP_X_FORWARDED_HOST="southwind.localhost",
        HTTP_FORWARDED="host=southwind.localhost",
    )
    answer = TenantMiddleware(lambda r: HttpResponse(r.get_host() + " " + opening().schema))(request)
    assert answer.content.decode() == f"northwind.localhost {tenant.schema_name}"


def test_unknown_hosts_do_not_fill_the_memory(lender, monkeypatch):
    monkeypatch.setattr(hosts, "MOST", 10)
    for number in range(50):
        hosts.place_of(f"h{number}.localhost")
    assert len(hosts._known) <= 10


def test_a_known_host_costs_no_query(lender):
    lender.lend(slug="northwind")
    hosts.place_of("northwind.localhost")
    assert hosts.place_of("northwind.localhost").tenant.slug == "northwind"  # no platform is open: a query would raise
    place = hosts.place_of("northwind.localhost")
    place.tenant.name = "changed by a view"
    assert hosts.place_of("northwind.localhost").tenant.name != "changed by a view"


def test_a_suspended_tenant_gets_a_friendly_page_at_once_here_and_soon_elsewhere(lender, monkeypatch):
    tenant = lender.lend(slug="northwind", language="en")
    assert ask("northwind.localhost").status_code == 200
    provisioning.suspend(tenant)
    answer = ask("northwind.localhost")
    assert answer.status_code == 503 and b"This workspace is paused" in answer.content
    problem = ask("northwind.localhost", "/api/v1/deals/")
    assert (
        problem["Content-Type"] == "application/problem+json"
        and json.loads(problem.content)["code"] == "tenant_suspended"
    )
    provisioning.resume(tenant)
    ask("northwind.localhost")
    monkeypatch.setattr(provisioning.hosts, "forget", lambda: None)  # as in another process
    provisioning.suspend(tenant)
    assert ask("northwind.localhost").status_code == 200
    now = hosts.time.monotonic()
    monkeypatch.setattr(hosts.time, "monotonic", lambda: now + hosts.SECONDS + 0.1)
    assert ask("northwind.localhost").status_code == 503


def test_a_tenant_that_is_built_asks_for_a_moment(lender):
    lender.lend(slug="northwind", state=Tenant.State.BUILDING, language="en")
    answer = ask("northwind.localhost")
    assert (answer.status_code, answer["Retry-After"]) == (503, "2")
    assert b'http-equiv="refresh"' in answer.content


def test_a_deleted_tenant_is_as_unknown_as_any(lender):
    provisioning.delete(lender.lend(slug="northwind"))
    assert ask("northwind.localhost").content == ask("nobody.localhost").content


@pytest.mark.parametrize("host", ["crm.firma.pl", "192.168.1.5:8000", "[fd00::5]", "localhost"])
def test_a_private_installation_answers_on_any_host(lender, settings_with, host):
    with settings_with(kind="private"):
        assert ask(host).content.decode().startswith("public ")
        tenant = lender.lend()
        hosts.forget()
        assert ask(host).content.decode() == f"{tenant.schema_name} "
        assert ask("not a host").status_code == 404


def test_a_stream_is_made_in_its_tenant_to_the_last_byte(lender, tenant):
    make_role({})

    def streaming(request):
        return StreamingHttpResponse(str(Role.objects.count()) for _part in range(3))

    answer = ask(f"{tenant.slug}.localhost", view=streaming)
    make_role({})
    assert b"".join(answer.streaming_content) == b"222"


def test_the_tenant_is_closed_when_the_view_raises(lender):
    lender.lend(slug="northwind")

    def broken(request):
        raise ValueError

    with pytest.raises(ValueError):
        ask("northwind.localhost", view=broken)
    assert opening() is None
