"""Background work of the person who looks: what runs, how far it is, what became of it."""

from __future__ import annotations

import datetime as dt

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from ostoja.jobs.models import Job
from ostoja.jobs.queue import cancel

from .. import display
from ..inside import inside

RECENT = dt.timedelta(seconds=20)
SHOWN = 3


@require_GET
@inside
def mine(request: HttpRequest) -> HttpResponse:
    """The jobs that run for this person, and those that have just finished."""
    return _jobs(request)


@require_POST
@inside
def stop(request: HttpRequest, pk) -> HttpResponse:
    """Ask a job of one's own to stop."""
    job = Job.objects.filter(pk=pk, user_id=request.actor.user_id).first()
    if job is not None and not job.finished:
        cancel(job)
    return _jobs(request)


@require_POST
@inside
def dismiss(request: HttpRequest, pk) -> HttpResponse:
    """Don't show a finished job any more."""
    return _jobs(request, but=str(pk))


def _jobs(request: HttpRequest, but: str = "") -> HttpResponse:
    rows = Job.objects.filter(user_id=request.actor.user_id).exclude(title="")
    running = list(rows.filter(state__in=("queued", "running")).order_by("created_at")[:SHOWN])
    ended = list(rows.filter(finished_at__gte=timezone.now() - RECENT).order_by("-finished_at")[:SHOWN])
    shown = [job_view(j) for j in [*running, *ended][:SHOWN] if str(j.pk) != but]
    return render(
        request,
        "ostoja/parts/jobs.html",
        {
            "jobs": shown,
            "jobs_url": "/jobs/mine",
            "active": bool(running) or bool([e for e in ended if str(e.pk) != but]),
        },
    )


def job_view(job: Job) -> dict:
    """A job as the progress card shows it."""
    if job.finished:
        said = str(job.get_state_display())
    elif job.total:
        said = f"{display.number(job.done)} / {display.number(job.total)}"
    else:
        said = display.number(job.done) if job.done else _("starting")
    return {
        "id": job.pk,
        "title": job.title,
        "state": job.state,
        "finished": job.finished,
        "percent": job.percent,
        "said": said,
        "message": job.message,
        "dismiss_url": f"/jobs/{job.pk}/dismiss",
        "url": (job.result or {}).get("url", ""),
    }
