"""Exchange's jobs: check, import, undo, export; each goes on where a killed worker left it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import asdict
from datetime import timedelta

from django.core.files.base import File
from django.db import connections, transaction
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from ostoja.jobs.models import Job
from ostoja.jobs.queue import handler
from ostoja.jobs.runner import MAX_ATTEMPTS, Cancelled, Run
from ostoja.jobs.schedule import every
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import OstojaError, Refused
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.fleet import over_tenants
from ostoja.tenancy.models import Tenant

from . import export, files
from .engine import LATER, Counts, Engine, Fault, Later
from .models import COUNTS, ExportRun, ImportRun, RowError
from .runs import engine
from .selecting import selected
from .undoing import Undo, Undone, count, touched

CHUNK = 500
CHECKED_TOGETHER = 20_000  # rows that a check holds in one transaction
FAULTS_KEPT = 10_000
UPLOADS_KEPT = timedelta(days=30)
Listener = Callable[[int, int], None]
listening: ContextVar[Listener | None] = ContextVar("ostoja_exchange_listener", default=None)


class _TakenBack(Exception):
    """Ends a transaction whose work was only to be looked at."""


def _said(counts: Counts) -> str:
    return _("{created} created, {updated} changed, {failed} refused").format(
        created=counts.created, updated=counts.updated, failed=counts.failed
    )


def _tell(done: int, total: int) -> None:
    listener = listening.get()
    if listener is not None:
        listener(done, total)


def _keep_faults(run: ImportRun, faults: list[Fault], kept: int) -> int:
    """Store errors up to the limit; returns how many are stored now."""
    rows = faults[: max(0, FAULTS_KEPT - kept)]
    RowError.objects.bulk_create(
        RowError(
            run=run, row=f.row, column=f.column[:200], value=f.value.replace("\x00", "")[:200], message=f.message[:500]
        )
        for f in rows
    )
    return kept + len(rows)


def _set(actor: Actor, run: ImportRun, verb: str, **values) -> None:
    with changing(actor, verb):
        for name, value in values.items():
            setattr(run, name, value)
        run.save(update_fields=[*values, "updated_at"])


def _numbers(counts: Counts) -> dict[str, int]:
    return {name: getattr(counts, name) for name in COUNTS}


# --- check ------------------------------------------------------------------------------------------------------------


@handler("exchange.check")
def check(job: Run) -> None:
    """The import in earnest, taken back: all errors by row and column."""
    run = ImportRun.objects.get(pk=job.args["run"])
    try:
        counts, faults = _checked(job, run)
    except (OstojaError, Cancelled) as error:
        RowError.objects.filter(run=run).delete()
        reason = {"error": error.message} if isinstance(error, OstojaError) else {}
        _set(job.actor, run, "dry_run", state=ImportRun.State.DRAFT, result=_without(run, "error") | reason)
        raise
    with transaction.atomic():
        RowError.objects.filter(run=run).delete()
        kept = _keep_faults(run, faults, 0)
        result = _without(run, "error") | {"errors": len(faults), "errors_kept": kept}
        _set(job.actor, run, "dry_run", state=ImportRun.State.CHECKED, result=result, **_numbers(counts))
        job.progress(counts.rows, counts.rows, _said(counts))


def _check_gave_up(job: Job) -> None:
    run = ImportRun.objects.filter(pk=job.args.get("run"), state=ImportRun.State.CHECKING).first()
    if run is not None:
        reason = {"error": _("The worker died while it checked the file. Is the file too large for its memory?")}
        _set(Actor.system(), run, "dry_run", state=ImportRun.State.DRAFT, result=_without(run, "error") | reason)


check.gave_up = _check_gave_up


def _without(run: ImportRun, *names: str) -> dict:
    return {k: v for k, v in run.result.items() if k not in names}


def _checked(job: Run, run: ImportRun) -> tuple[Counts, list[Fault]]:
    brought = engine(job.actor, run)
    total = run.result.get("total") or 0
    counts, faults = Counts(), []
    chunks = brought.chunks(0, CHUNK)
    more = True
    while more:
        more = False
        together = 0
        try:
            with transaction.atomic():
                later: list[Later] = []
                for groups, skipped, last in chunks:
                    chunk = brought.bring(groups, skipped, last)
                    counts.add(chunk.counts)
                    faults += chunk.faults
                    later += _refer_now(brought, chunk.later, faults)
                    together += chunk.counts.rows
                    job.show(counts.rows, total, _said(counts))
                    _tell(counts.rows, total)
                    if together >= CHECKED_TOGETHER:
                        more = True
                        break
                _waiting, left = brought.refer(later, last=True)
                faults += left
                raise _TakenBack
        except _TakenBack:
            brought.finder.forget()
    return counts, sorted(faults, key=lambda f: f.row)


def _refer_now(brought: Engine, later: list[Later], faults: list[Fault]) -> list[Later]:
    """Set the references of a chunk whose records stand in it or above; returns the others."""
    if not later:
        return []
    waiting, left = brought.refer(later, last=False)
    faults += left
    return waiting


# --- import -----------------------------------------------------------------------------------------------------------


@handler("exchange.import")
def bring(job: Run) -> None:
    """Bring the rows in, chunk by chunk; progress, cursor and records commit together."""
    run = ImportRun.objects.get(pk=job.args["run"])
    if run.state != ImportRun.State.RUNNING:
        return
    try:
        counts = _whole(job, run) if run.whole else _by_chunks(job, run)
    except Cancelled:
        _stopped(job.job, run, job.actor, ImportRun.State.STOPPED)
        raise
    except OstojaError as error:
        _stopped(job.job, run, job.actor, ImportRun.State.FAILED, error.message)
        raise
    except Exception:
        if job.job.attempts >= MAX_ATTEMPTS:
            _stopped(job.job, run, job.actor, ImportRun.State.FAILED, _("It failed for a reason that is in the log."))
        raise
    job.result(**asdict(counts))


def _gave_up(job: Job) -> None:
    run = ImportRun.objects.filter(pk=job.args.get("run"), state=ImportRun.State.RUNNING).first()
    if run is not None:
        _stopped(
            job, run, Actor.system(), ImportRun.State.FAILED, _("The worker died again and again at the same row.")
        )


bring.gave_up = _gave_up


def _stopped(job: Job, run: ImportRun, actor: Actor, state: str, error: str = "") -> None:
    """Keep where it was, so that the next run goes on from there."""
    job.refresh_from_db(fields=["cursor"])  # what was committed
    cursor = job.cursor or run.result.get("cursor") or {}
    counts = Counts(**cursor.get("counts", {}))
    result = _without(run, "error", "cursor") | {"cursor": cursor, "errors": cursor.get("faults", 0)}
    if error:
        result["error"] = error
    _set(actor, run, "run", state=state, result=result, finished_at=timezone.now(), **_numbers(counts))


def _by_chunks(job: Run, run: ImportRun) -> Counts:
    brought = engine(job.actor, run)
    total = run.result.get("total") or 0
    cursor = job.cursor or run.result.get("cursor") or {}
    counts = Counts(**cursor.get("counts", {}))
    found, kept = cursor.get("faults", 0), cursor.get("kept", 0)
    later = [Later(*one) for one in cursor.get("later", ())]
    row = cursor.get("row", 0)
    if not cursor:
        RowError.objects.filter(run=run).delete()
    for groups, skipped, last in brought.chunks(row, CHUNK):
        with transaction.atomic():
            chunk = brought.bring(groups, skipped, last)
            faults = chunk.faults
            waiting = _refer_now(brought, chunk.later, faults)
            if len(later) + len(waiting) > LATER:
                faults += [
                    Fault(
                        o.row, o.column, o.text, _("The record that it points to was not found in time; put it above.")
                    )
                    for o in waiting
                ]
                waiting = []
            later += waiting
            counts.add(chunk.counts)
            kept = _keep_faults(run, faults, kept)
            found += len(faults)
            cursor = {
                "row": last,
                "counts": asdict(counts),
                "faults": found,
                "kept": kept,
                "later": [o.as_json() for o in later],
            }
            job.progress(counts.rows, total, _said(counts), cursor=cursor)
        _tell(counts.rows, total)
    with transaction.atomic():
        _waiting, left = brought.refer(later, last=True)
        kept = _keep_faults(run, left, kept)
        _finish(job, run, counts, found + len(left), kept)
    return counts


def _whole(job: Run, run: ImportRun) -> Counts:
    """All rows in one transaction, or none of them."""
    brought = engine(job.actor, run)
    total = run.result.get("total") or 0
    if total > CHECKED_TOGETHER:
        raise Refused(
            _("All or nothing works for at most {limit} rows. Split the file, or import without it.").format(
                limit=number_format(CHECKED_TOGETHER, force_grouping=True)
            )
        )
    RowError.objects.filter(run=run).delete()
    counts, faults, later = Counts(), [], []
    try:
        with transaction.atomic():
            for groups, skipped, last in brought.chunks(0, CHUNK):
                chunk = brought.bring(groups, skipped, last)
                counts.add(chunk.counts)
                faults += chunk.faults
                later += _refer_now(brought, chunk.later, faults)
                job.show(counts.rows, total, _said(counts))
                _tell(counts.rows, total)
            _waiting, left = brought.refer(later, last=True)
            faults += left
            if faults:
                raise _TakenBack
            _finish(job, run, counts, 0, 0)
    except _TakenBack:
        with transaction.atomic():
            _keep_faults(run, sorted(faults, key=lambda f: f.row), 0)
        raise Refused(
            _("{failed} rows were refused, so nothing was written. Correct them and import again.").format(
                failed=counts.failed or len(faults)
            )
        ) from None
    return counts


def _finish(job: Run, run: ImportRun, counts: Counts, found: int, kept: int) -> None:
    result = _without(run, "error", "cursor") | {"errors": found, "errors_kept": kept}
    _set(
        job.actor, run, "run", state=ImportRun.State.DONE, result=result, finished_at=timezone.now(), **_numbers(counts)
    )
    job.progress(counts.rows, counts.rows, _said(counts))


# --- undo -------------------------------------------------------------------------------------------------------------


@handler("exchange.undo")
def undo(job: Run) -> None:
    """Take an import back, newest records first; what was changed since stays and is listed."""
    run = ImportRun.objects.get(pk=job.args["run"])
    if run.state != ImportRun.State.UNDOING:
        return
    taking = Undo(job.actor, run.pk)
    cursor = job.cursor
    undone = Undone(**cursor.get("undone", {}))
    total = cursor.get("total") or count(run.pk)
    left = list(cursor.get("left", ()))
    done = cursor.get("done", 0)
    try:
        for chunk in touched(run.pk, cursor.get("before")):
            with transaction.atomic():
                left += [str(o.key) for o in taking.take_back(chunk, undone)]
                done += len(chunk)
                where = {
                    "before": chunk[-1].first,
                    "undone": asdict(undone),
                    "total": total,
                    "left": left,
                    "done": done,
                }
                job.progress(done, total, cursor=where)
            _tell(done, total)
    except (Cancelled, OstojaError) as error:
        _undo_ended(job.job, run, job.actor, error.message if isinstance(error, OstojaError) else "")
        raise
    with transaction.atomic():
        if left:
            waiting = [o for chunk in touched(run.pk) for o in chunk if str(o.key) in set(left)]
            taking.give_up(waiting, undone)
        state = ImportRun.State.UNDONE
        _set(
            job.actor,
            run,
            "undo",
            state=state,
            result=run.result | {"undo": asdict(undone)},
            finished_at=timezone.now(),
        )
        job.progress(total, total)
    job.result(**{k: v for k, v in asdict(undone).items() if k != "kept"})


def _undo_ended(job: Job, run: ImportRun, actor: Actor, error: str = "") -> None:
    """An undo that ended before its end: the import stands with what is left of it, and can be undone again."""
    job.refresh_from_db(fields=["cursor"])
    result = (
        _without(run, "error")
        | {"undo": job.cursor.get("undone", asdict(Undone()))}
        | ({"error": error} if error else {})
    )
    _set(actor, run, "undo", state=ImportRun.State.DONE, result=result)


def _undo_gave_up(job: Job) -> None:
    run = ImportRun.objects.filter(pk=job.args.get("run"), state=ImportRun.State.UNDOING).first()
    if run is not None:
        _undo_ended(
            job, run, Actor.system(), _("The worker died again and again; the rest of the import is still there.")
        )


undo.gave_up = _undo_gave_up


# --- export -----------------------------------------------------------------------------------------------------------


@handler("exchange.export")
def write(job: Run) -> None:
    """Write the file and keep it for a day."""
    run = ExportRun.objects.get(pk=job.args["run"])
    if run.state != ExportRun.State.RUNNING:
        return
    try:
        entry = export.entry_for(job.actor, run.object)
        rows = selected(job.actor, entry, run.query["query"])
        names = export.column_names(job.actor, entry, run.query["columns"])
        with tempfile.TemporaryFile() as out:
            written = export.write(out, job.actor, entry, rows, names, run.format, lambda done: job.progress(done))
            size = out.tell()
            out.seek(0)
            key = files.keep(File(out), run.format)
        export.finish(run, key, size, written, job.actor)
    except (OstojaError, Cancelled):
        export.fail(run, job.actor)
        raise
    job.result(rows=written, size=size)


def _write_gave_up(job: Job) -> None:
    run = ExportRun.objects.filter(pk=job.args.get("run")).first()
    if run is not None:
        export.fail(run, Actor.system())


write.gave_up = _write_gave_up


@every(seconds=900)
def forget_old_files() -> int:
    """Delete the files of exports whose day is over, in all tenants; returns how many."""
    sql = "SELECT id::text FROM {schema}.exchange_exportrun WHERE state = 'done' AND expires_at < %s"
    with platform_context():
        found: dict[str, list[str]] = {}
        for schema, key in over_tenants(connections["owner"], sql, [timezone.now()]):
            found.setdefault(schema, []).append(key)
        tenants = list(Tenant.objects.filter(schema_name__in=found))
    deleted = 0
    for tenant in tenants:
        with tenant_context(tenant):
            for run in ExportRun.objects.filter(pk__in=found[tenant.schema_name]):
                with changing(Actor.system(), "expire"):
                    files.forget(run.file_key)
                    ExportRun.objects.filter(pk=run.pk).update(state=ExportRun.State.GONE, file_key="")
                deleted += 1
    return deleted


@every(seconds=6 * 3600)
def forget_old_uploads() -> int:
    """Delete the files of imports that nobody touched for long, in all tenants; the runs stay. Returns how many."""
    sql = (
        "SELECT id::text FROM {schema}.exchange_importrun WHERE updated_at < %s AND NOT result ? 'file_gone' "
        "AND state NOT IN ('checking', 'running', 'undoing')"
    )
    with platform_context():
        found: dict[str, list[str]] = {}
        for schema, key in over_tenants(connections["owner"], sql, [timezone.now() - UPLOADS_KEPT]):
            found.setdefault(schema, []).append(key)
        tenants = list(Tenant.objects.filter(schema_name__in=found))
    deleted = 0
    for tenant in tenants:
        with tenant_context(tenant):
            for run in ImportRun.objects.filter(pk__in=found[tenant.schema_name]):
                with transaction.atomic():
                    _set(Actor.system(), run, "expire", result=run.result | {"file_gone": True})
                    files.forget(run.file_key)
                deleted += 1
    return deleted
