"""Every request of a tenant has an actor, or None: from the Bearer token, else from the session cookie."""

from __future__ import annotations

import contextvars
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone, translation
from django.utils.translation.trans_real import get_supported_language_variant, parse_accept_lang_header

from ostoja.kernel.actors import Actor, acting
from ostoja.tenancy.context import opening

from . import sessions, tokens
from .signin import warm_up


class ActorMiddleware:
    """Sets ``request.actor`` (Actor or None), ``request.user`` (User or None), ``request.session``, language and time zone.

    A request with ``Authorization: Bearer …`` is its token's, whatever cookie comes along; it needs no CSRF token and an
    unknown token is nobody (``request.bearer`` tells the API to answer 401). On the platform's own pages nobody is
    anybody. ``request.session_cookie`` (a key, or "" to take it away) set by a view is what the browser gets.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]):
        self.get_response = get_response
        warm_up()

    def __call__(self, request: HttpRequest) -> HttpResponse:
        now = opening()
        tenant = now.tenant if now else None
        request.actor = request.user = None
        request.session = sessions.SessionData()
        request.session_cookie = None
        request.bearer = False
        if tenant is not None:
            self._recognise(request)
        actor = request.actor
        with ExitStack() as stack:
            stack.enter_context(translation.override(language_for(request, actor, tenant)))
            stack.enter_context(timezone.override(_zone(request, actor, tenant)))
            if actor is not None:
                stack.enter_context(acting(actor))
            response = self.get_response(request)
            if request.session.modified:
                request.session.save()
            if getattr(response, "streaming", False) and not response.is_async:
                response.streaming_content = _within(contextvars.copy_context(), iter(response.streaming_content))
        if request.session_cookie is not None:
            sessions.set_cookie(response, request.session_cookie)
        return response

    def _recognise(self, request: HttpRequest) -> None:
        header = request.META.get("HTTP_AUTHORIZATION", "")
        if header[:7].lower() == "bearer ":
            request.bearer = True
            request._dont_enforce_csrf_checks = True  # no cookie is used: nothing that a browser sends by itself
            actor = tokens.find(header[7:].strip())
        else:
            actor = self._from_cookie(request)
        if actor is not None:
            request.actor, request.user = actor, actor.user

    def _from_cookie(self, request: HttpRequest) -> Actor | None:
        if settings.SESSION_COOKIE_NAME not in request.COOKIES:
            return None
        key = sessions.cookie_key(request)
        found = sessions.find(key) if key else None
        if found is None:
            request.session_cookie = ""
            return None
        actor, request.session, renewed = found
        if renewed:
            request.session_cookie = key
        return actor


def _within(context: contextvars.Context, parts: Iterator) -> Iterator:
    """The parts of a stream, each made by the request's actor, although the middleware is left by then."""
    end = object()
    while (part := context.run(next, parts, end)) is not end:
        yield part


def language_for(request: HttpRequest, actor: Actor | None, tenant) -> str:
    """The person's language; a stranger's choice on the page, else what the browser accepts, else the tenant's."""
    if actor is not None and actor.kind != "token":
        wanted = [actor.language]
    else:
        wanted = [request.COOKIES.get(settings.LANGUAGE_COOKIE_NAME, "")]
        wanted += [code for code, _q in parse_accept_lang_header(request.META.get("HTTP_ACCEPT_LANGUAGE", ""))]
        if actor is not None:
            wanted.append(actor.language)
    if tenant is not None:
        wanted.append(tenant.language)
    for code in wanted:
        try:
            return get_supported_language_variant(code)
        except LookupError:
            continue
    return settings.LANGUAGE_CODE


def _zone(request: HttpRequest, actor: Actor | None, tenant):
    """Programs speak UTC; people see their own time, strangers the tenant's."""
    if request.bearer or tenant is None:
        return timezone.get_default_timezone()
    name = actor.user.timezone if actor is not None else tenant.timezone
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.get_default_timezone()
