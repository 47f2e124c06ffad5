"""A problem is the API's refusal: ``application/problem+json`` (RFC 9457) with advice and a stable code."""

from __future__ import annotations

import logging
from collections.abc import Mapping

import orjson
from django.core.exceptions import RequestDataTooBig, SuspiciousOperation, TooManyFieldsSent
from django.db import DataError, InterfaceError, OperationalError
from django.http import Http404, HttpResponse, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ostoja.kernel.errors import OstojaError

log = logging.getLogger(__name__)

CONTENT_TYPE = "application/problem+json"
LOCK_NOT_AVAILABLE, QUERY_CANCELED = "55P03", "57014"

TITLES = {
    400: gettext_lazy("The request can't be read"),
    401: gettext_lazy("Sign in first"),
    403: gettext_lazy("Not allowed"),
    404: gettext_lazy("Not found"),
    405: gettext_lazy("This address has no such method"),
    409: gettext_lazy("Busy with the same request"),
    412: gettext_lazy("Changed meanwhile"),
    413: gettext_lazy("Too large"),
    415: gettext_lazy("Wrong type of content"),
    422: gettext_lazy("Refused"),
    429: gettext_lazy("Too many requests"),
    500: gettext_lazy("A fault of ours"),
    503: gettext_lazy("Not available now"),
}


class BadRequest(OstojaError):
    """The request itself can't be understood; ``fields`` names the parameters that are wrong."""

    code = "bad_request"
    status = 400

    def __init__(self, message: object, *, fields: Mapping[str, list[str]] | None = None, code: str | None = None):
        super().__init__(message, code=code)
        self.fields = dict(fields or {})


class WrongMethod(OstojaError):
    """The address does not know the method; ``allow`` are those that it does."""

    code = "method_not_allowed"
    status = 405

    def __init__(self, allow: list[str]):
        super().__init__(_("Use one of: {methods}.").format(methods=", ".join(allow)))
        self.headers = {"Allow": ", ".join(allow)}


class TooLarge(OstojaError):
    """The body is larger than the API takes."""

    code = "too_large"
    status = 413


class WrongType(OstojaError):
    """The body is not what the address takes."""

    code = "unsupported_media_type"
    status = 415


class TooMany(OstojaError):
    """More requests than the limit allows; ``seconds`` until there is room again."""

    code = "rate_limited"
    status = 429

    def __init__(self, seconds: int):
        super().__init__(_("Wait {seconds} s and try again.").format(seconds=seconds))
        self.headers = {"Retry-After": str(seconds)}


class Busy(OstojaError):
    """The database is away or overloaded; the same request may be sent again."""

    code = "unavailable"
    status = 503
    headers = {"Retry-After": "2"}


def problem(error: OstojaError) -> HttpResponse:
    """The answer that says why."""
    body = {
        "type": f"/api/v1/docs#problem-{error.status}",
        "title": str(TITLES.get(error.status, TITLES[400])),
        "status": error.status,
        "detail": error.message,
        "code": error.code,
    }
    fields = getattr(error, "fields", None)
    if fields:
        body["errors"] = {str(name): [str(m) for m in messages] for name, messages in fields.items()}
    response = HttpResponse(orjson.dumps(body), status=error.status, content_type=CONTENT_TYPE)
    for name, value in getattr(error, "headers", {}).items():
        response[name] = value
    if getattr(error, "retry_after", None):
        response["Retry-After"] = str(error.retry_after)
    if error.status == 401:
        response["WWW-Authenticate"] = 'Bearer realm="Ostoja"'
    return response


def understood(error: Exception) -> OstojaError:
    """The error with advice that a lower layer's error stands for; what nobody foresaw is logged and a plain 500."""
    if isinstance(error, OstojaError) and error.status != 500:
        return error
    if isinstance(error, RequestDataTooBig):
        return TooLarge(_("The request's body is too large. Send it in several parts."))
    if isinstance(error, (SuspiciousOperation, TooManyFieldsSent, MultiPartParserError, UnreadablePostError)):
        return BadRequest(_("The request can't be read."))
    if isinstance(error, Http404):
        return NotHere(_("There is nothing at this address."))
    if isinstance(error, DataError):
        return BadRequest(_("The database can't take one of the values: it is out of range."))
    if isinstance(error, (OperationalError, InterfaceError)):
        state = getattr(getattr(error, "__cause__", None), "pgcode", "") or ""
        log.warning("The API could not reach the database or waited too long (%s): %s", state, error)
        if state == LOCK_NOT_AVAILABLE:
            return InProgress(_("The same record is being changed by another request. Try again."))
        if state == QUERY_CANCELED:
            return Busy(_("This took too long. Narrow it with filters, or try again."), code="timeout")
        return Busy(_("The database does not answer. Try again in a moment."))
    log.exception("The API failed", exc_info=error)
    return Fault(_("Something went wrong on our side. It has been recorded."))


class NotHere(OstojaError):
    """Nothing answers at this address."""

    code = "not_found"
    status = 404


class InProgress(OstojaError):
    """The same request, or one on the same record, is being worked on."""

    code = "in_progress"
    status = 409
    headers = {"Retry-After": "1"}


class Fault(OstojaError):
    """A fault of ours; its traceback is in the log, never in the answer."""

    code = "fault"
    status = 500
