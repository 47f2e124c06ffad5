"""Executes one job: claims it by an advisory lock that dies with the worker, shows progress, parks what keeps failing."""

from __future__ import annotations

import logging
import traceback
import uuid
import zlib
from datetime import timedelta

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction
from django.db.models import F
from django.utils import timezone, translation

from ostoja.kernel.actors import Actor, acting
from ostoja.kernel.errors import OstojaError
from ostoja.tenancy.context import current_tenant, tenant_context

from .models import Job
from .queue import ELSEWHERE, HANDLERS, actor_for

log = logging.getLogger(__name__)
MAX_ATTEMPTS = 3


class Cancelled(Exception):
    """The person who started the job asked it to stop."""


class Run:
    """What a handler gets: the job, its actor, its arguments, and ways to tell progress."""

    def __init__(self, job: Job, actor: Actor):
        self.job = job
        self.actor = actor
        self.args = job.args
        self.cursor = job.cursor

    def progress(self, done: int, total: int | None = None, message: str = "", cursor: dict | None = None) -> None:
        """Show how far it is; written in the caller's transaction, so that progress and work commit together.

        Raises Cancelled when somebody asked for it.
        """
        changes = {"done": done, "message": message[:300]}
        if total is not None:
            changes["total"] = total
        if cursor is not None:
            changes |= {"cursor": cursor, "attempts": 1}  # it got further: no poison, whatever stops it next
            self.cursor = cursor
        Job.objects.filter(pk=self.job.pk).update(**changes)
        if Job.objects.filter(pk=self.job.pk, cancel_requested=True).exists():
            raise Cancelled

    def show(self, done: int, total: int | None = None, message: str = "") -> None:
        """Show how far it is at once, also from within a transaction that is rolled back later.

        Raises Cancelled when somebody asked for it.
        """
        apart = connections.create_connection(DEFAULT_DB_ALIAS)
        try:
            with apart.cursor() as cursor:
                cursor.execute(
                    "UPDATE jobs_job SET done = %s, total = coalesce(%s, total), message = %s WHERE id = %s "
                    "RETURNING cancel_requested",
                    [done, total, message[:300], self.job.pk],
                )
                row = cursor.fetchone()
        finally:
            apart.close()
        if row and row[0]:
            raise Cancelled

    def result(self, **values) -> None:
        """Keep what the job found out, for the page that waits for it."""
        self.job.result = {**self.job.result, **values}
        Job.objects.filter(pk=self.job.pk).update(result=self.job.result)


def lock_key(job_id: uuid.UUID) -> tuple[int, int]:
    """The two numbers of a job's advisory lock: the tenant's and the job's."""
    return current_tenant().lock_number, zlib.crc32(job_id.bytes) - 2**31


def execute(tenant, job_id: uuid.UUID, *, elsewhere: bool = False) -> bool:
    """Run a job if nobody else does. True when this call ran it (to whatever end).

    Kinds that no worker does are run by whoever says that it is ``elsewhere``.
    """
    with tenant_context(tenant):
        key = lock_key(job_id)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
            if not cursor.fetchone()[0]:
                return False
        try:
            return _claimed(job_id, elsewhere)
        finally:
            if connection.connection is not None and not connection.in_atomic_block:
                with connection.cursor() as cursor:
                    cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def _claimed(job_id, elsewhere: bool) -> bool:
    now = timezone.now()
    waiting = Job.objects.filter(pk=job_id, state__in=["queued", "running"], run_after__lte=now)
    if not elsewhere:
        waiting = waiting.exclude(kind__in=ELSEWHERE)
    if not waiting.update(state="running", attempts=F("attempts") + 1, started_at=now):
        return False
    job = Job.objects.get(pk=job_id)
    run_handler = HANDLERS.get(job.kind)
    if run_handler is None or job.attempts > MAX_ATTEMPTS:
        gave_up = getattr(run_handler, "gave_up", None)
        if gave_up is not None:
            gave_up(job)
        _end(
            job,
            "parked",
            error=job.error or f"No handler for “{job.kind}”."
            if run_handler is None
            else job.error or "The worker died each time.",
        )
        return True
    try:
        actor = actor_for(job)
        with acting(actor), translation.override(actor.language):
            run_handler(Run(job, actor))
    except Cancelled:
        _end(job, "cancelled")
    except OstojaError as error:
        _end(job, "failed", error=error.message)
    except Exception as error:
        log.exception("Job %s (%s) failed, attempt %s", job.pk, job.kind, job.attempts)
        if connection.in_atomic_block:
            raise
        if job.attempts >= MAX_ATTEMPTS:
            _end(job, "parked", error="".join(traceback.format_exception_only(error)).strip())
        else:
            Job.objects.filter(pk=job.pk).update(
                state="queued", run_after=now + timedelta(seconds=5 * 4**job.attempts), error=str(error)[:2000]
            )
    else:
        _end(job, "done")
    return True


def _end(job: Job, state: str, error: str = "") -> None:
    with transaction.atomic():
        Job.objects.filter(pk=job.pk).update(
            state=state, error=error, finished_at=timezone.now(), cancel_requested=False
        )
