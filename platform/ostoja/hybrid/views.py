"""The upper site's ear: another site enrols with its code, and exchanges with signed requests that can't be played again."""

from __future__ import annotations

import logging
import threading
import time
import uuid

import orjson
from django.db import connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from ostoja.journal.context import changing
from ostoja.kernel.errors import NotAllowed, OstojaError

from . import enrolment, keys, verifying, withdrawing
from .exchange import Exchange, Message
from .models import Link
from .sites import actor_of

log = logging.getLogger(__name__)
LONGEST_WAIT = 25.0  # seconds that a pull is held when there is nothing to say
LOOK = 0.05
SKEW = 600  # seconds that the clocks of two sites may differ before a request is refused
WAITERS = threading.BoundedSemaphore(2)  # of this process: a held request keeps a thread of the web server
MOST_WORDS = 1_000_000


@csrf_exempt
def enrol(request: HttpRequest) -> HttpResponse:
    """Another site comes with its one-time code and its key."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        if len(request.body) > MOST_WORDS:
            raise ValueError
        said = orjson.loads(request.body)
        asked = (
            str(said["code"]),
            str(said["key"]),
            str(said["name"]),
            int(said["epoch"]),
            str(said["manifest"]).encode(),
        )
    except (ValueError, KeyError, TypeError):
        return _problem(400, "bad_message", _("This is no request to enrol."))
    try:
        return JsonResponse(enrolment.accept(*asked), status=201, headers={"Cache-Control": "no-store"})
    except OstojaError as error:
        return _problem(error.status, error.code, error.message)


@csrf_exempt
def exchange(request: HttpRequest, link: uuid.UUID) -> HttpResponse:
    """One exchange over a link: take what the lower site says; answer with what this one has to say.

    A ``push`` is answered at once with an acknowledgement; a ``pull`` is held until there is something to say.
    """
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        found = _recognised(request, link)
        line = Exchange(found)
        message = Message.unpack(request.body)
        line.incoming(message, len(request.body))
        answer = _answer(request, line, message)
        with changing(actor_of(found), "sync"):
            line.said(answer)
    except OstojaError as error:
        log.warning("Link %s: %s", link, error.code)
        return _problem(error.status, error.code, error.message)
    return _signed(request, found, answer.pack())


@csrf_exempt
def verify(request: HttpRequest, link: uuid.UUID) -> HttpResponse:
    """The lower site compares: hashes of what both should hold, from the root down to single records."""
    if request.method != "POST":
        return HttpResponse(status=405, headers={"Allow": "POST"})
    try:
        found = _recognised(request, link)
        return _signed(request, found, orjson.dumps(verifying.answer(Exchange(found), orjson.loads(request.body))))
    except OstojaError as error:
        return _problem(error.status, error.code, error.message)
    except (ValueError, KeyError, TypeError):
        return _problem(400, "bad_message", _("This is no question that a site asks."))


def _signed(request: HttpRequest, found: Link, body: bytes) -> HttpResponse:
    signature = keys.sign(found.private_key, "answer", request.headers["X-Ostoja-Signature"], keys.digest(body))
    headers = {"X-Ostoja-Signature": signature, "Cache-Control": "no-store"}
    return HttpResponse(body, content_type="application/octet-stream", headers=headers)


def _recognised(request: HttpRequest, key: uuid.UUID) -> Link:
    """The link whose other end signed this request just now, for the first time. Raises NotAllowed."""
    link = Link.objects.filter(pk=key, state=Link.State.OPEN, dials=False).select_related("site", "progress").first()
    said = request.headers
    try:
        moment, counter, lane = int(said["X-Ostoja-Time"]), int(said["X-Ostoja-Counter"]), said["X-Ostoja-Lane"]
        signature = said["X-Ostoja-Signature"]
    except (KeyError, ValueError):
        raise NotAllowed(_("The request is not signed."), code="not_signed") from None
    parts = ("POST", request.path, moment, lane, counter, keys.digest(request.body))
    if link is None or lane not in ("push", "pull") or not keys.is_signed(link.peer_key, signature, *parts):
        raise NotAllowed(_("This link is not open, or the key is not its own."), code="link_closed")
    if abs(time.time() - moment) > SKEW:
        raise NotAllowed(
            _("The clocks of the two sites differ by more than ten minutes: set both by NTP."), code="clock_suspect"
        )
    column = "pushes" if lane == "push" else "pulls"
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE hybrid_progress SET {column} = %s WHERE link_id = %s AND {column} < %s",
            [counter, str(key), counter],
        )
        if not cursor.rowcount:
            raise NotAllowed(
                _("This request was made before: it was played again, or the site was cloned."), code="replayed"
            )
    return link


def _answer(request: HttpRequest, line: Exchange, message: Message) -> Message:
    if request.headers["X-Ostoja-Lane"] == "push":
        return line.outgoing(silent=True)
    withdrawing.begin(line)
    if WAITERS.acquire(blocking=False):
        try:
            until = time.monotonic() + LONGEST_WAIT
            while not line.waiting() and time.monotonic() < until:
                time.sleep(LOOK)
                line.progress.refresh_from_db()
        finally:
            WAITERS.release()
    return line.outgoing()


def _problem(status: int, code: str, detail: str) -> HttpResponse:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return JsonResponse(
        body, status=status, content_type="application/problem+json", headers={"Cache-Control": "no-store"}
    )
