"""Clients for tests: a browser and a program, each at its tenant's own host, through all middleware."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from django.conf import settings
from django.test import Client, RequestFactory

from ostoja.access import sessions, tokens
from ostoja.access.models import User
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import Tenant


def host_of(tenant: Tenant | None) -> str:
    """The host name at which a tenant answers; the installation's own without one."""
    if tenant is None:
        return settings.BASE_DOMAIN
    with platform_context():
        return tenant.domains.get(is_primary=True).domain


class Browser(Client):
    """A browser at a tenant's host, or at the installation's own. It checks CSRF only when ``enforce_csrf_checks`` says so."""

    def __init__(self, tenant: Tenant | None = None, **options):
        super().__init__(**options)
        self.tenant = tenant
        self.host = host_of(tenant)
        self.defaults["HTTP_HOST"] = self.host

    def sign_in(self, user: User) -> Browser:
        """Sign a user in without the form; answers the browser itself."""
        with tenant_context(self.tenant):
            request = RequestFactory(headers={"user-agent": "Test browser"}).get("/", HTTP_HOST=self.host)
            request.COOKIES = {name: morsel.value for name, morsel in self.cookies.items()}
            sessions.start(request, user)
        self.cookies[settings.SESSION_COOKIE_NAME] = request.session_cookie
        return self


class Program(Client):
    """A program with a token at a tenant's API: speaks JSON, sends no cookies."""

    def __init__(self, tenant: Tenant, token: str, **options):
        super().__init__(**options)
        self.tenant = tenant
        self.token = token
        self.defaults |= {
            "HTTP_HOST": host_of(tenant),
            "HTTP_AUTHORIZATION": f"Bearer {token}",
            "HTTP_ACCEPT": "application/json",
        }

    @classmethod
    def of(
        cls, tenant: Tenant, user: User, scopes: Iterable[str] = ("*:*",), expires_at: datetime | None = None
    ) -> Program:
        """A program that acts as ``user`` with these scopes."""
        with tenant_context(tenant):
            _token, secret = tokens.issue(Actor.system("Test"), user, "Test", scopes, expires_at)
        return cls(tenant, secret)

    def as_user(self, user: User, scopes: Iterable[str] = ("*:*",)) -> Program:
        """Another program at the same tenant."""
        return self.of(self.tenant, user, scopes)

    def post(self, path, data=None, content_type="application/json", **extra):
        """POST a JSON value."""
        return super().post(path, data, content_type=content_type, **extra)

    def patch(self, path, data="", content_type="application/json", **extra):
        """PATCH a JSON value."""
        return super().patch(path, data, content_type=content_type, **extra)

    def put(self, path, data="", content_type="application/json", **extra):
        """PUT a JSON value."""
        return super().put(path, data, content_type=content_type, **extra)
