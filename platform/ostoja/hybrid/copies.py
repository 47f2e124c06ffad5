"""Copies: what a site keeps of records beside them, in exports, uploads, kept answers and jobs, goes when the records go."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from datetime import timedelta

from django.db import connection, connections, transaction
from django.utils import timezone
from django.utils.translation import gettext_noop as _

from ostoja.api import idempotency
from ostoja.exchange import forgetting
from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.kernel.actors import Actor
from ostoja.tenancy.context import current_tenant, schema_context

KIND = "hybrid.compact"
LATER = timedelta(hours=1)  # so that many purges are one piece of work: a table is locked while it is written anew
ENDED = [Job.State.DONE, Job.State.FAILED, Job.State.PARKED, Job.State.CANCELLED]
BESIDE = (
    "api_answer", "exchange_exportrun", "exchange_importrun", "exchange_rowerror", "hybrid_conflict", "hybrid_parked", "hybrid_reply",
    "hybrid_stash", "jobs_job", "journal_change",
)  # fmt: skip


def forget(actor: Actor, records: Collection[uuid.UUID | str], objects: Collection[str]) -> None:
    """In the transaction that takes these records of these objects away: their copies go along."""
    forgetting.forget_exports(actor)
    forgetting.forget_uploads(actor, objects, records)
    idempotency.forget_about(records)
    _forget_jobs(records)


def forget_all(actor: Actor, objects: Collection[str]) -> None:
    """In the transaction in which fields of these objects close: whatever was kept of anything goes."""
    forgetting.forget_exports(actor)
    forgetting.forget_uploads(actor, objects)
    idempotency.forget_about()
    _forget_jobs(None)


def _forget_jobs(records: Collection[uuid.UUID | str] | None) -> None:
    """Jobs that are over and name one of these records, and all that moved files of records, keep their title and times only."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE jobs_job j SET args = '{}', result = '{}', cursor = '{}', error = '', message = '' WHERE state = ANY(%s) AND "
            "(%s OR kind LIKE 'exchange.%%' OR EXISTS (SELECT FROM unnest(%s::text[]) r "
            "WHERE concat(j.args, j.result, j.cursor, j.error, j.message) LIKE '%%' || r || '%%'))",
            [ENDED, records is None, [str(r) for r in records or ()]],
        )


def compact_later(tables: Collection[str]) -> None:
    """Queue that these tables, and those beside them, are written anew, so that nothing is left in the files either."""
    with transaction.atomic():
        waiting = Job.objects.select_for_update().filter(kind=KIND, state=Job.State.QUEUED).first()
        if waiting is not None:
            names = sorted({*waiting.args.get("tables", ()), *tables})
            Job.objects.filter(pk=waiting.pk).update(args={"tables": names})
            return
        title = _("What was called back leaves the files of the database")
        job = queue(Actor.system("Hybrid"), KIND, title, tables=sorted(tables))
        Job.objects.filter(pk=job.pk).update(run_after=timezone.now() + LATER)


def compact(tables: Collection[str]) -> int:
    """Write these tables of the open tenant and those beside them anew, their indexes and statistics too; answers how many.

    What is left then is in the write-ahead log, until it is used again, and in backups, until they are deleted.
    """
    names = sorted({*tables, *BESIDE})
    with schema_context(current_tenant().schema_name), connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(%s)", [names]
        )
        found = [row[0] for row in cursor.fetchall()]
        for name in found:
            cursor.execute(f'VACUUM (FULL, ANALYZE) "{name}"')
    return len(found)
