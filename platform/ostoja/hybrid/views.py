"""The upper site's ear: another site enrols with its code, and exchanges with signed requests that can't be played again."""

from __future__ import annotations

import logging
import threading
import time
import uuid
from collections.abc import Callable
from functools import wraps

import orjson
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_exempt

from ostoja.gate import perform
from ostoja.journal.context import changing
from ostoja.kernel.errors import NotAllowed, OstojaError

from . import carrying, enrolment, files, keys, rotating, using, verifying, withdrawing
from .exchange import UNKNOWN_MANIFEST, Exchange, Message
from .models import Link, Progress
from .recognising import Claim, recognised
from .sites import actor_of

log = logging.getLogger(__name__)
LONGEST_WAIT = 25.0  # seconds that a pull is held when there is nothing to say
LOOK = 0.05
WAITERS = threading.BoundedSemaphore(2)  # of this process: a held request keeps a thread of the web server
MOST_WORDS = 1_000_000
TOLD = ("clock_suspect", "cloned")  # what is noted of requests that were signed, but refused


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


def _of_link(view: Callable[[HttpRequest, Link], bytes]) -> Callable[..., HttpResponse]:
    """A view for the other site of a link: it signed the request, and gets a signed answer; what is wrong is noted."""

    @csrf_exempt
    @wraps(view)
    def answer(request: HttpRequest, link: uuid.UUID) -> HttpResponse:
        if request.method != "POST":
            return HttpResponse(status=405, headers={"Allow": "POST"})
        found = None
        try:
            found = _recognised(request, link)
            body = view(request, found)
            using.note(found, request.headers["X-Ostoja-Lane"], into=len(request.body), out=len(body))
            return _signed(request, found, body)
        except OstojaError as error:
            log.warning("Link %s: %s", link, error.code)
            if found is not None or error.code in TOLD:
                using.trouble(link, error, request.headers.get("X-Ostoja-Lane", "")[:8])
            return _problem(error.status, error.code, error.message)
        except (ValueError, KeyError, TypeError):
            if found is None:
                raise
            return _problem(400, "bad_message", _("This is no question that a site asks."))

    return answer


@_of_link
def exchange(request: HttpRequest, link: Link) -> bytes:
    """One exchange over a link: take what the lower site says; answer with what this one has to say.

    A ``push`` is answered at once with an acknowledgement; a ``pull`` is held until there is something to say.
    """
    line = Exchange(link)
    message = Message.unpack(request.body)
    line.incoming(message, len(request.body))
    answer = _answer(request, line, message)
    if not Link.objects.filter(pk=link.pk, state=Link.State.OPEN).exists():
        raise NotAllowed(_("This link was revoked at the other site: it stays closed."), code="revoked")
    with changing(actor_of(link), "sync"):
        line.said(answer)
    return answer.pack()


@_of_link
def verify(request: HttpRequest, link: Link) -> bytes:
    """The lower site compares: hashes of what both should hold, from the root down to single records."""
    line, question = Exchange(link), orjson.loads(request.body)
    if question.get("of") != "equal":
        return orjson.dumps(verifying.answer(line, question))
    root = verifying.root(verifying.roots(line))
    if root == question["root"]:
        Progress.objects.filter(link=link).update(equal_at=timezone.now(), equal_root=root)
    return orjson.dumps({"equal": root == question["root"]})


@_of_link
def carry(request: HttpRequest, link: Link) -> bytes:
    """The lower site brings or fetches bytes of files, and says where browsers find it."""
    return carrying.packed(*files.answer(link, *carrying.unpacked(request.body)))


@_of_link
def new_keys(request: HttpRequest, link: Link) -> bytes:
    """The lower site proposes a new key and gets ours."""
    return orjson.dumps({"key": rotating.take(link, str(orjson.loads(request.body)["key"]))})


@_of_link
def close(request: HttpRequest, link: Link) -> bytes:
    """The lower site has revoked the link: it is closed here as well."""
    perform(actor_of(link), link, "revoke")
    return b""


def _signed(request: HttpRequest, found: Link, body: bytes) -> HttpResponse:
    wish = rotating.WISH if found.use.wanted else ""
    signature = keys.sign(found.private_key, "answer", request.headers["X-Ostoja-Signature"], wish, keys.digest(body))
    headers = {"X-Ostoja-Signature": signature, "X-Ostoja-Wish": wish, "Cache-Control": "no-store"}
    return HttpResponse(body, content_type="application/octet-stream", headers=headers)


def _recognised(request: HttpRequest, key: uuid.UUID) -> Link:
    """The link whose other end made this request. Raises NotAllowed."""
    return recognised(key, *Claim.of(request.path, request.headers, request.body))


def _answer(request: HttpRequest, line: Exchange, message: Message) -> Message:
    if request.headers["X-Ostoja-Lane"] == "push":
        return line.outgoing(silent=True)
    withdrawing.begin(line)
    if WAITERS.acquire(blocking=False):
        try:
            until = time.monotonic() + LONGEST_WAIT
            while not line.waiting() and line.progress.problem != UNKNOWN_MANIFEST and time.monotonic() < until:
                time.sleep(LOOK)
                line.progress.refresh_from_db()
        finally:
            WAITERS.release()
    return line.outgoing(behind=message.behind)


def _problem(status: int, code: str, detail: str) -> HttpResponse:
    body = {"type": "about:blank", "status": status, "code": code, "detail": detail}
    return JsonResponse(
        body, status=status, content_type="application/problem+json", headers={"Cache-Control": "no-store"}
    )
