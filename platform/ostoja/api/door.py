"""The door of the API: every address passes it; it knows who asks, counts, and turns every error into a problem."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import CsrfViewMiddleware
from django.utils.translation import gettext as _

from ostoja.access.policy import must
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, SignInNeeded
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from . import idempotency, meter
from .problems import BadRequest, TooLarge, WrongMethod, WrongType, problem, understood

SAFE = ("GET", "HEAD", "OPTIONS")
JSON = "application/json"
FORM = "multipart/form-data"
AROUND_A_FILE = 1024 * 1024  # bytes of a multipart body beside its file
NO_PAGE = "default-src 'none'; frame-ancestors 'none'"


def endpoint(*, open_to_all: bool = False, files: bool = False, **methods: Callable) -> Callable:
    """A view of one address from its functions by method: ``endpoint(GET=listed, POST=created)``.

    ``open_to_all`` addresses answer strangers too. ``files`` takes multipart bodies beside JSON.
    """
    allow = [
        m for m in ("GET", "HEAD", "POST", "PATCH", "DELETE") if m in methods or (m == "HEAD" and "GET" in methods)
    ]
    allow.append("OPTIONS")

    def view(request: HttpRequest, **where) -> HttpResponse:
        try:
            response = _answered(request, where)
        except Exception as error:  # the one place where every error becomes an answer
            response = problem(understood(error))
        response["Cache-Control"] = "private, no-store"
        response["Vary"] = "Authorization, Cookie, Accept-Language"
        if not response.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Content-Security-Policy", NO_PAGE)
        return response

    def _answered(request: HttpRequest, where: Mapping) -> HttpResponse:
        meter.take(request)
        if request.method == "OPTIONS":
            return HttpResponse(status=204, headers={"Allow": ", ".join(allow)})
        if request.actor is None and not open_to_all:
            raise SignInNeeded(
                _("Unknown, expired or revoked token: make a new one in your settings.")
                if request.bearer
                else _("Send a token: “Authorization: Bearer ost_…”. You make one in your settings.")
            )
        function = methods.get("GET" if request.method == "HEAD" else request.method)
        if function is None:
            raise WrongMethod(allow)
        if request.method in SAFE:
            return function(request, **where)
        _same_site(request)
        _fits(request, files)
        key = idempotency.key_of(request)
        if key is None:
            return function(request, **where)
        return idempotency.once(request, key, lambda: function(request, **where))

    view.csrf_exempt = True  # checked above for cookies, so that the refusal is a problem and not a page
    view.methods = methods
    view.open_to_all = open_to_all
    return view


def _same_site(request: HttpRequest) -> None:
    """A change with a session cookie needs the CSRF token; one with a Bearer token carries nothing a browser adds."""
    if request.bearer:
        return
    reason = _Csrf(lambda request: HttpResponse()).process_view(request, None, (), {})
    if reason is not None:
        raise NotAllowed(_("The CSRF token is missing or wrong: send it as X-CSRFToken."), code="csrf")


class _Csrf(CsrfViewMiddleware):
    def _reject(self, request, reason):
        return reason


def _fits(request: HttpRequest, files: bool) -> None:
    if files and request.content_type == FORM:
        length = request.META.get("CONTENT_LENGTH") or ""
        if not length.isdigit() or int(length) > settings.MAX_UPLOAD_BYTES + AROUND_A_FILE:
            limit = settings.MAX_UPLOAD_BYTES // (1024 * 1024)
            raise TooLarge(_("The file is larger than {limit} MB.").format(limit=limit))
        return
    if request.content_type in ("", JSON):
        return
    if request.META.get("CONTENT_LENGTH") in (None, "", "0"):
        return
    raise WrongType(_("Send the body as {type}.").format(type=JSON))


def body_of(request: HttpRequest, kind: type = dict) -> dict | list:
    """The JSON body: an object, or a list where ``kind`` says so; nothing sent is an empty one. Raises BadRequest."""
    raw = request.body
    if not raw.strip():
        return kind()
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise BadRequest(_("The body is no valid JSON: {why}").format(why=error.msg), code="malformed_json") from error
    if not isinstance(found, kind):
        expected = _("A JSON object is expected.") if kind is dict else _("A JSON list is expected.")
        raise BadRequest(expected, code="malformed_json")
    return found


def query_of(request: HttpRequest, known: tuple[str, ...] | None = None) -> dict[str, list[str]]:
    """The query parameters, each with its values; other than ``known`` ones are refused when it is given."""
    query = dict(request.GET.lists())
    if known is not None:
        for name in query:
            if name not in known:
                message = _("There is no such parameter here.")
                raise BadRequest(f"“{name}”: {message}", fields={name: [message]}, code="unknown_parameter")
    return query


def entry_at(request: HttpRequest, slug: str, verb: str = "view") -> Entry:
    """The object at this plural, if the actor may do ``verb`` on any of it. Raises NotFound, NotAllowed with the reason."""
    entry = registry.by_slug(slug)
    if entry is None:
        raise NotFound(_("There is no object “{slug}”. GET /api/v1/me lists those you may see.").format(slug=slug))
    must(request.actor, entry, verb)
    return entry


def key_in(entry: Entry, text: str):
    """The id in a path. Raises NotFound for what is none, as for any id that is not there."""
    found = parse_uuid(text) if len(text) == 36 else None
    if found is None:
        raise not_there(entry)
    return found


def not_there(entry: Entry) -> NotFound:
    """Absent, forbidden and another tenant's: the same words."""
    return NotFound(_("There is no such {thing}, or you may not see it.").format(thing=entry.model._meta.verbose_name))


def upon(request: HttpRequest) -> int | None:
    """The version that ``If-Match`` names; None when any will do. Raises BadRequest when it is no ETag of ours."""
    said = request.META.get("HTTP_IF_MATCH", "").strip()
    if said in ("", "*"):
        return None
    said = said.removeprefix("W/")  # what a proxy or compression makes of it on the way
    number = said.strip('"')
    if not (number.isascii() and number.isdigit() and len(number) < 10 and said == f'"{number}"'):
        message = _('Give the ETag of the record as you read it, e.g. "3".')
        raise BadRequest(message, fields={"If-Match": [message]}, code="bad_etag")
    return int(number)


def reply(body: bytes, status: int = 200, **headers: str) -> HttpResponse:
    """A JSON answer from bytes that are JSON already."""
    response = HttpResponse(body, status=status, content_type=JSON)
    for name, value in headers.items():
        response[name.replace("_", "-")] = value
    return response


def root(request: HttpRequest) -> str:
    """Where this API lives, as the caller reaches it."""
    scheme = "https" if settings.USE_HTTPS else request.scheme
    return f"{scheme}://{request.get_host()}/api/v1"
