"""One sentence for the next page: kept in a short-lived cookie of the browser, shown as a toast, then gone."""

from __future__ import annotations

import json
from urllib.parse import quote, unquote

from django.conf import settings
from django.http import HttpRequest, HttpResponse

COOKIE = "ostoja_says"
TONES = ("green", "blue", "amber", "red")
LONGEST = 600


def say(response: HttpResponse, text: object, tone: str = "green") -> HttpResponse:
    """Let the page that comes next say ``text``."""
    value = quote(json.dumps([str(text)[:LONGEST], tone], ensure_ascii=False, separators=(",", ":")))
    response.set_cookie(COOKIE, value, max_age=60, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    return response


def said(request: HttpRequest) -> list[dict[str, str]]:
    """What the page before wanted to be said. The middleware takes the cookie away once this was asked."""
    raw = request.COOKIES.get(COOKIE)
    if not raw:
        return []
    request.said = True
    try:
        text, tone = json.loads(unquote(raw))
    except (ValueError, TypeError):
        return []
    return [{"text": str(text)[:LONGEST], "tone": tone if tone in TONES else "blue"}]


def trigger(response: HttpResponse, text: object, tone: str = "green") -> HttpResponse:
    """Say ``text`` at once, where htmx asked."""
    response["HX-Trigger"] = json.dumps({"ostoja:toast": {"text": str(text)[:LONGEST], "tone": tone}})
    return response
