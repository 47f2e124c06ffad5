"""Health answers before anything else, and the headers that every answer carries."""

from __future__ import annotations

from collections.abc import Callable

from django.conf import settings
from django.db import connections
from django.http import HttpRequest, HttpResponse

from ostoja.tenancy.context import platform_context

from . import says


class HealthMiddleware:
    """``/healthz``: the process answers. ``/readyz``: it also reaches its database. For whatever host they are asked."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if request.path == "/healthz":
            return _plain("ok")
        if request.path == "/readyz":
            return _ready()
        return self.get_response(request)


def _ready() -> HttpResponse:
    try:
        with platform_context(), connections["default"].cursor() as cursor:
            cursor.execute("SELECT 1")
    except Exception:  # whatever keeps it from the database: it is not ready
        return _plain("the database can't be reached", 503)
    return _plain("ready")


def _plain(text: str, status: int = 200) -> HttpResponse:
    return HttpResponse(f"{text}\n", status=status, content_type="text/plain", headers={"Cache-Control": "no-store"})


HEADERS = {
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}


class ReplyHeadersMiddleware:
    """Nothing that a tenant sees is kept by caches on the way; a sentence that was shown is forgotten."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response
        self.headers = dict(HEADERS)
        if settings.USE_HTTPS:
            self.headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        for name, value in self.headers.items():
            if name != "X-Frame-Options" or not getattr(
                response, "framed_by", ""
            ):  # it can't name who may; the CSP does
                response.headers.setdefault(name, value)
        response.headers.setdefault("Cache-Control", "private, no-store")
        if getattr(request, "said", False) and says.COOKIE not in response.cookies:
            response.delete_cookie(says.COOKIE, samesite="Lax")
        return response


class FramesMiddleware:
    """A page that shows what another site keeps (``request.frames_from``) may frame that one origin; all others frame nothing."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        if origin := getattr(request, "frames_from", ""):
            response._csp_update = {"frame-src": [origin]}
        return response
