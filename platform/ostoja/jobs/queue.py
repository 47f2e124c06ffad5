"""Puts a job into the tenant's queue and registers who executes which kind."""

from __future__ import annotations

import logging
from collections.abc import Callable

from django.db import transaction

from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import current_tenant

from .models import Job

log = logging.getLogger(__name__)

HANDLERS: dict[str, Callable] = {}
ELSEWHERE: set[str] = set()  # kinds that no worker does: a process that may do what a worker may not looks for them
_actors: list[Callable[[Job], Actor]] = []


def handler(kind: str, *, elsewhere: bool = False):
    """Register a function ``run(run: Run)`` as the executor of a kind of job; ``elsewhere``: workers leave it alone."""

    def register(function):
        HANDLERS[kind] = function
        if elsewhere:
            ELSEWHERE.add(kind)
        return function

    return register


def use_actors(factory: Callable[[Job], Actor]) -> None:
    """Access tells here how a job's actor is made of the person who queued it."""
    _actors[:] = [factory]


def actor_for(job: Job) -> Actor:
    """Whom the job acts for."""
    if job.user_id is None or not _actors:
        return Actor.system(job.actor_label or "Ostoja").as_job(job.pk)
    return _actors[0](job)


def queue(actor: Actor, kind: str, title: str = "", **args) -> Job:
    """Write the job row; it starts when the present transaction commits.

    Raises KeyError for a kind that nobody registered.
    """
    HANDLERS[kind]
    job = Job.objects.create(
        kind=kind,
        title=title,
        args=args,
        user_id=actor.user_id,
        actor_label=actor.label,
        limits=None if actor.limits is None else list(actor.limits),
    )
    send_on_commit(job)
    return job


def send_on_commit(job: Job) -> None:
    """Tell a worker after the commit; when the broker is away, the sweep finds the row."""
    if job.kind in ELSEWHERE:
        return
    schema = current_tenant().schema_name
    transaction.on_commit(lambda: send(schema, str(job.pk)), robust=True)


def send(schema: str, job_id: str) -> None:
    """Send the message. A broker that is away costs time, never work."""
    from .celery import run_job

    try:
        run_job.apply_async(args=[schema, job_id], retry=False, ignore_result=True)
    except Exception as error:  # the broker may be away in any way; the row waits for the sweep
        log.warning("The broker did not take job %s (%s); the sweep will.", job_id, error)


def cancel(job: Job) -> None:
    """Ask a job to stop at its next safe point; one that waits is cancelled at once."""
    Job.objects.filter(pk=job.pk, state=Job.State.QUEUED).update(state=Job.State.CANCELLED)
    Job.objects.filter(pk=job.pk, state=Job.State.RUNNING).update(cancel_requested=True)


def retry(job: Job) -> None:
    """Queue a failed, parked or cancelled job again, from where it stopped."""
    Job.objects.filter(pk=job.pk).update(
        state=Job.State.QUEUED, attempts=0, cancel_requested=False, error="", finished_at=None
    )
    send_on_commit(job)
