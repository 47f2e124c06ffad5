"""Opens the tenant of the request's host for the whole request; a host that nobody knows gets a bare 404 and no query."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.loader import render_to_string
from django.utils import translation
from django.utils.translation import gettext as _

from . import hosts
from .context import platform_context, tenant_context
from .models import Tenant

State = Tenant.State
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self'; font-src 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


class TenantMiddleware:
    """Sets ``request.tenant`` (None on the platform's own host) and keeps it open until the last byte is made."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        host = hosts.parse(request.META.get("HTTP_HOST", ""))
        place = hosts.place_of(host) if host else None
        if place is None:
            return not_found()
        request.tenant = tenant = place.tenant
        if tenant is None:
            request.urlconf = settings.PUBLIC_URLCONF
            with platform_context():
                return self._answered(request)
        if tenant.state == State.SUSPENDED:
            return closed(request, tenant, _suspended)
        if tenant.state == State.BUILDING:
            return closed(request, tenant, _building, retry_after=2)
        if tenant.state == State.CATCHING_UP and not request.path.startswith(settings.SITES_PATH):
            return closed(request, tenant, _catching_up, retry_after=10)
        with tenant_context(tenant):
            return self._answered(request)

    def _answered(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if getattr(response, "streaming", False) and not response.is_async:
            response.streaming_content = _within(contextvars.copy_context(), iter(response.streaming_content))
        return response


def _within(context: contextvars.Context, parts: Iterator) -> Iterator:
    """The parts of a stream, each made where the request was: in its tenant, by its actor, in its language."""
    end = object()
    while (part := context.run(next, parts, end)) is not end:
        yield part


def not_found() -> HttpResponse:
    """The bare answer for a host that nobody knows; it repeats nothing that was asked."""
    return HttpResponse("Not found\n", status=404, content_type="text/plain; charset=utf-8", headers=HEADERS)


def _suspended() -> tuple[str, str, str]:
    return (
        "tenant_suspended",
        _("This workspace is paused"),
        _("Nobody can sign in at the moment; all data are kept. The owner of the account knows more."),
    )


def _building() -> tuple[str, str, str]:
    return (
        "tenant_building",
        _("This workspace is being prepared"),
        _("It will open in a moment. This page tries again by itself."),
    )


def _catching_up() -> tuple[str, str, str]:
    return (
        "tenant_catching_up",
        _("This workspace was restored and is catching up"),
        _("It opens by itself as soon as it has heard from the company's other site what changed since the backup."),
    )


def closed(
    request: HttpRequest, tenant: Tenant, words: Callable[[], tuple[str, str, str]], retry_after: int | None = None
) -> HttpResponse:
    """A friendly 503 for people, ``problem+json`` for programs."""
    headers = HEADERS | ({"Retry-After": str(retry_after)} if retry_after else {})
    with translation.override(tenant.language):
        code, title, detail = words()
        if request.path.startswith("/api/"):
            problem = {"type": "about:blank", "title": title, "status": 503, "code": code, "detail": detail}
            return JsonResponse(problem, status=503, content_type="application/problem+json", headers=headers)
        page = render_to_string(
            "tenancy/closed.html",
            {"title": title, "detail": detail, "language": tenant.language, "retry_after": retry_after},
        )
    return HttpResponse(page, status=503, headers=headers)
