"""Background jobs over HTTP: how far one is, and stopping it."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ostoja.jobs.models import Job
from ostoja.jobs.queue import cancel
from ostoja.kernel.errors import NotFound
from ostoja.kernel.ids import parse_uuid

from .door import body_of, query_of, reply
from .selection import USUAL, whole
from .values import dumps

SHOWN = (
    "id", "kind", "title", "state", "done", "total", "message", "result", "error",
    "created_at", "started_at", "finished_at", "cancel_requested",
)  # fmt: skip


def _mine(request: HttpRequest):
    """One's own jobs; an owner's whole tenant."""
    rows = Job.objects.all()
    return (
        rows if request.actor.superuser and request.actor.limits is None else rows.filter(user_id=request.actor.user_id)
    )


def _job(request: HttpRequest, key: str) -> Job:
    found = parse_uuid(key) if len(key) == 36 else None
    job = _mine(request).filter(pk=found).first() if found else None
    if job is None:
        raise NotFound(_("There is no such job, or it is somebody else's."))
    return job


def _said(job: Job) -> dict:
    return {name: getattr(job, name) for name in SHOWN} | {"percent": job.percent}


def listed(request: HttpRequest) -> HttpResponse:
    """The latest jobs."""
    query = query_of(request, known=("limit", "state"))
    limit = whole((query.get("limit") or [None])[-1], "limit", 1, 500, USUAL)
    rows = _mine(request)
    if query.get("state"):
        rows = rows.filter(state__in=[s for s in query["state"] if s in Job.State.values])
    return reply(dumps({"items": [_said(job) for job in rows.order_by("-id")[:limit]]}))


def read(request: HttpRequest, key: str) -> HttpResponse:
    """One job."""
    query_of(request, known=())
    return reply(dumps(_said(_job(request, key))))


def stopped(request: HttpRequest, key: str) -> HttpResponse:
    """Ask a job to stop at its next safe point; 202 while it has not yet."""
    query_of(request, known=())
    body_of(request)
    job = _job(request, key)
    cancel(job)
    job.refresh_from_db()
    return reply(dumps(_said(job)), 200 if job.finished else 202)
