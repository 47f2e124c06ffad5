"""Pages for what went wrong: each says what happened and the way out, in words of the person who reads it."""

from __future__ import annotations

import logging
import secrets
import sys

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils.translation import gettext as _

log = logging.getLogger(__name__)

BARE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>500</title>
<link rel="stylesheet" href="/static/ostoja/app.css"></head><body><main class="fault"><div class="code">500</div>
<h1>Something went wrong on our side</h1><p>It is written down. Try again in a moment.</p><p>{reference}</p></main></body></html>"""


AWAY = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>503</title><meta http-equiv="refresh" content="3">
<link rel="stylesheet" href="/static/ostoja/app.css"></head><body><main class="fault"><div class="code">503</div>
<h1>Back in a moment</h1><p>Nothing is lost; this page works again shortly.</p></main></body></html>"""


def _words(status: int) -> tuple[str, str]:
    known = {
        400: (_("This request can't be understood"), _("Go back and try again. If you typed the address, check it.")),
        403: (_("This is not for your role"), _("Somebody who looks after the roles in your company can change that.")),
        404: (
            _("There is nothing here"),
            _("The page does not exist, or you may not see it. Both look the same on purpose."),
        ),
        410: (_("This link no longer works"), _("Ask for a new one.")),
        412: (
            _("Somebody was faster"),
            _("The record was changed meanwhile. Go back, load it again and repeat your change."),
        ),
        413: (_("This is too big"), _("Send less at once.")),
        422: (_("That was not possible"), _("Go back and correct it.")),
        429: (_("Too many tries"), _("Wait a moment and try again.")),
        503: (
            _("Back in a moment"),
            _("Ostoja is being looked after. Nothing is lost; this page works again shortly."),
        ),
    }
    return known.get(status, (_("Something went wrong on our side"), _("It is written down. Try again in a moment.")))


def page(
    request: HttpRequest, status: int, *, heading: str = "", words: object = "", reference: str = ""
) -> HttpResponse:
    """The page for a status, inside the frame when somebody is signed in."""
    usual_heading, usual_words = _words(status)
    actor = getattr(request, "actor", None)
    framed = actor is not None and status < 500
    context = {
        "code": status,
        "heading": heading or usual_heading,
        "words": words or usual_words,
        "reference": reference,
        "home_url": "/",
        "home_label": _("To the start page"),
    }
    template = "ostoja/errors/fault_inside.html" if framed else "ostoja/errors/fault.html"
    return render(request, template, context, status=status)


def bad_request(request: HttpRequest, exception=None) -> HttpResponse:
    """400"""
    return page(request, 400)


def forbidden(request: HttpRequest, exception=None) -> HttpResponse:
    """403"""
    return page(request, 403)


def not_found(request: HttpRequest, exception=None) -> HttpResponse:
    """404"""
    return page(request, 404)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """403 for a form that is not from one of our pages, or from a page that was open for too long."""
    return page(
        request,
        403,
        heading=_("This page was open for too long"),
        words=_("Nothing was changed. Go back, load the page again and repeat what you did."),
    )


def fault(request: HttpRequest) -> HttpResponse:
    """500 with a reference by which the log line can be found; 503 while the database is away.

    It leans on nothing that may be broken, and speaks ``problem+json`` to programs.
    """
    if isinstance(sys.exc_info()[1], (OperationalError, InterfaceError)):
        return _away(request)
    reference = secrets.token_hex(6)
    log.error("fault %s at %s %s", reference, request.method, request.path)
    if request.path.startswith("/api/"):
        return _problem(500, "fault", _("Something went wrong on our side. It has been recorded."), reference=reference)
    try:
        return page(request, 500, reference=reference)
    except Exception:  # the page itself can't be made: say the bare minimum
        return HttpResponse(BARE.format(reference=reference), status=500)


def _away(request: HttpRequest) -> HttpResponse:
    if request.path.startswith("/api/"):
        answer = _problem(503, "busy", _("The database does not answer. Try again in a moment."))
    else:
        try:
            answer = page(request, 503)
        except Exception:  # the page asks the database: say the bare minimum
            answer = HttpResponse(AWAY, status=503)
    answer["Retry-After"] = "2"
    return answer


def _problem(status: int, code: str, detail: str, **more: str) -> JsonResponse:
    body = {"type": "about:blank", "title": detail, "status": status, "detail": detail, "code": code} | more
    return JsonResponse(body, status=status, content_type="application/problem+json")
