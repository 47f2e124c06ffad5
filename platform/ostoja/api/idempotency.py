"""Idempotency: the same key twice is one effect and one answer (K-1), also when both arrive at once or the server dies."""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.kernel.errors import Refused
from ostoja.kernel.ids import uuid7

from .models import Answer
from .problems import BadRequest, InProgress

HEADER = "HTTP_IDEMPOTENCY_KEY"
KEPT_FOR = timedelta(hours=24)
WAIT = "15s"
TAKE = """
INSERT INTO api_answer (id, actor, key, asked, status, headers, body, expires_at) VALUES (%s, %s, %s, %s, 0, '{}', '', %s)
ON CONFLICT (actor, key) DO UPDATE
SET id = excluded.id, asked = excluded.asked, status = 0, headers = '{}', body = '', expires_at = excluded.expires_at
WHERE api_answer.expires_at <= %s
RETURNING id
"""
REPEATED = ("Content-Type", "ETag", "Location")


def key_of(request: HttpRequest) -> str | None:
    """The request's idempotency key, or None. Raises BadRequest when it can't be one."""
    key = request.META.get(HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= 255 or not all("\x21" <= c <= "\x7e" for c in key):
        message = _("Use 1 to 255 visible ASCII characters, e.g. a UUID.")
        raise BadRequest(message, fields={"Idempotency-Key": [message]}, code="bad_idempotency_key")
    return key


def once(request: HttpRequest, key: str, answer: Callable[[], HttpResponse]) -> HttpResponse:
    """The answer, made once for this actor and key.

    The row is inserted first: a request with the same key waits there until the first has committed, and is then
    answered from the row. Effect and row commit together; what was refused had no effect and may be tried again.
    Raises Refused when the key was used for another request, InProgress when the first takes too long.
    """
    asked = _digest(request)
    mine, now = uuid7(), timezone.now()
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('lock_timeout', %s, true)", [WAIT])
            cursor.execute(TAKE, [mine, request.actor.key, key, asked, now + KEPT_FOR, now])
            taken = cursor.fetchone() is not None
        if not taken:
            return _again(Answer.objects.get(actor=request.actor.key, key=key), asked)
        response = answer()
        if response.status_code >= 400:
            transaction.set_rollback(True)
            return response
        Answer.objects.filter(pk=mine).update(
            status=response.status_code,
            headers={name: response[name] for name in REPEATED if name in response},
            body=response.content,
        )
        return response


def _again(kept: Answer, asked: bytes) -> HttpResponse:
    if bytes(kept.asked) != asked:
        raise Refused(
            _("This Idempotency-Key was used for another request. Use a new key for a new request."),
            fields={"Idempotency-Key": [_("It belongs to another request.")]},
            code="idempotency_key_reused",
        )
    if not kept.status:
        raise InProgress(_("The first request with this key is still being worked on."))
    response = HttpResponse(bytes(kept.body), status=kept.status)
    for name, value in kept.headers.items():
        response[name] = value
    response["Idempotent-Replayed"] = "true"
    return response


def _digest(request: HttpRequest) -> bytes:
    asked = hashlib.sha256()
    for part in (
        request.method,
        request.path,
        request.META.get("QUERY_STRING", ""),
        request.META.get("HTTP_IF_MATCH", ""),
    ):
        asked.update(part.encode() + b"\0")
    if request.content_type == "multipart/form-data":
        for name, parts in sorted(request.POST.lists()):
            asked.update(repr((name, parts)).encode(errors="surrogatepass"))
        for name, uploads in sorted(request.FILES.lists()):
            for upload in uploads:
                asked.update(repr((name, upload.name)).encode(errors="surrogatepass"))
                for chunk in upload.chunks():
                    asked.update(chunk)
                upload.seek(0)
    else:
        asked.update(request.body)
    return asked.digest()


def forget_expired() -> int:
    """Delete answers whose time is over; returns how many."""
    gone, _by_model = Answer.objects.filter(expires_at__lte=timezone.now()).delete()
    return gone


def forget_about(records: Iterable[uuid.UUID | str] | None = None) -> int:
    """Answers that name one of these records (None: all answers) lose what they said; asked again, they say so.

    Returns how many.
    """
    body = json.dumps(
        {"type": "about:blank", "status": 410, "code": "gone", "detail": _("What was answered is not kept any more.")}
    )
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE api_answer a SET status = 410, headers = %s, body = convert_to(%s, 'UTF8') WHERE status NOT IN (0, 410) AND (%s OR EXISTS "
            "(SELECT FROM unnest(%s::text[]) r WHERE position(convert_to(r, 'UTF8') IN a.body) > 0 OR a.headers::text LIKE '%%' || r || '%%'))",
            [
                json.dumps({"Content-Type": "application/problem+json"}), body, records is None, [str(r) for r in records or ()],
            ],
        )  # fmt: skip
        return cursor.rowcount
