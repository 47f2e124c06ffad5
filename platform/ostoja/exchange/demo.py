"""The demo brings the files of ``tenants/demo`` into a tenant through the same import that everybody uses."""

from __future__ import annotations

import time
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from django.utils.translation import gettext as _

from ostoja.access.actor_of import actor_of
from ostoja.access.models import User
from ostoja.jobs import runner
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import OstojaError
from ostoja.tenancy.context import tenant_context

from . import runs
from .jobs import listening
from .models import ImportRun

PATIENCE = 600  # seconds to wait for a worker that took a step over


class NotLoaded(OstojaError):
    """A step of the demo failed; the message says which and why."""

    code = "demo"
    status = 500


@dataclass(frozen=True)
class Step:
    """One file on its way into one object."""

    title: str
    object: str
    file: Path
    mapping: dict


def directory() -> Path:
    """Where the demo is: in ``tenants/`` of a checkout, else in what was installed."""
    checkout = Path(__file__).parents[3] / "tenants" / "demo"
    return checkout if checkout.is_dir() else Path(__file__).parents[1] / "_tenants" / "demo"


def steps(where: Path | None = None) -> list[Step]:
    """The steps of the demo in order. Raises NotLoaded when a file is missing or can't be read."""
    where = where or directory()
    try:
        listed = tomllib.loads((where / "demo.toml").read_text("utf-8"))["import"]
        return [
            Step(
                title=one["title"],
                object=one["object"],
                file=where / "data" / one["file"],
                mapping=tomllib.loads((where / "mappings" / one["mapping"]).read_text("utf-8")),
            )
            for one in listed
        ]
    except (OSError, KeyError, tomllib.TOMLDecodeError) as error:
        raise NotLoaded(_("The demo in {where} can't be read: {why}").format(where=where, why=error)) from error


def load(tenant, report: Callable[[str], None] = print) -> None:
    """Fill the tenant; steps that are done are left alone, one that was interrupted goes on. Raises NotLoaded."""
    with tenant_context(tenant):
        owner = User.objects.filter(is_owner=True).order_by("created_at").first()
        actor = actor_of(owner) if owner else Actor.system("Demo")
        for step in steps():
            _take(tenant, actor, step, report)


def _take(tenant, actor: Actor, step: Step, report: Callable[[str], None]) -> None:
    run = ImportRun.objects.filter(object=step.object, name=step.title).exclude(state=ImportRun.State.UNDONE).last()
    if run is not None and run.state == ImportRun.State.DONE:
        return
    if run is None:
        run = runs.start(
            actor, step.object, step.file.read_bytes(), step.file.name, mapping=step.mapping, name=step.title
        )
    if run.state != ImportRun.State.RUNNING:
        run = runs.go(actor, run)
    report(f"{step.title} …")
    token = listening.set(lambda done, total: report(f"{step.title}: {done:,} / {total:,}"))
    try:
        run = execute(tenant, run)
    finally:
        listening.reset(token)
    if run.state != ImportRun.State.DONE:
        job = run.job
        raise NotLoaded(
            _("“{title}” of the demo is {state}: {why}").format(
                title=step.title,
                state=run.get_state_display(),
                why=run.result.get("error") or (job.error if job else ""),
            )
        )
    if run.failed:
        first = next(iter(runs.errors(run, 1)), None)
        why = f"{first.row}, {first.column}: {first.message}" if first else ""
        raise NotLoaded(
            _("“{title}” of the demo refused {count} rows, first {why}").format(
                title=step.title, count=run.failed, why=why
            )
        )


def execute(tenant, run: ImportRun) -> ImportRun:
    """Do the run's job in this process, or wait for the worker that was quicker; returns the run as it is then."""
    run.refresh_from_db()
    deadline = time.monotonic() + PATIENCE
    while not runner.execute(tenant, run.job_id):
        job = run.job
        if job is None or job.finished:
            break
        if time.monotonic() > deadline:
            raise NotLoaded(_("A worker holds the job for too long; look at its log."))
        time.sleep(0.2)
    run.refresh_from_db()
    return run
