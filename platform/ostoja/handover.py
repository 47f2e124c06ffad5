"""Handing over: everything that one person owns becomes another's, record by record through the gate, as a job."""

from __future__ import annotations

from collections.abc import Iterator

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from ostoja.access.models import User
from ostoja.access.policy import find, may, name_for, visible
from ostoja.gate import perform
from ostoja.jobs.models import Job
from ostoja.jobs.queue import handler, queue
from ostoja.jobs.runner import Run
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

KIND = "handover"
CHUNK = 100
MOST_REASONS = 50


def objects() -> Iterator[Entry]:
    """The objects whose records have an owner whom people choose."""
    for entry in registry.entries():
        field = entry.fields.get("owner")
        if field is not None and field.related_model is User and "owner" in entry.surface.form_fields():
            yield entry


def owned(actor: Actor, user: User) -> dict[str, int]:
    """How many records of each object the user owns that the actor may change: label -> number. For the question before."""
    return {e.label: n for e in objects() if may(actor, e, "change") and (n := _rows(actor, e, user.pk).count())}


def start(actor: Actor, user: User, to: User) -> Job:
    """Queue the hand-over of all that ``user`` owns and the actor may change. Raises NotFound, NotAllowed, Refused (``to``).

    The job's result: ``moved`` (a number), ``kept`` (records that a rule kept, by object and id with the reason).
    """
    user, to = find(actor, User, user.pk), find(actor, User, to.pk)
    if user.pk == to.pk:
        raise Refused(_("Choose somebody else."), fields={"to": [_("Choose somebody else.")]})
    if not to.is_active:
        message = _("{name} is switched off and can't take anything over.").format(name=to.name)
        raise Refused(message, fields={"to": [message]})
    if not any(may(actor, entry, "change") for entry in objects()):
        raise NotAllowed(_("Your role does not include changing anything that has an owner."))
    title = _("What {name} owns goes to {other}").format(name=user.name, other=to.name)
    return queue(actor, KIND, title, user=str(user.pk), to=str(to.pk))


@handler(KIND)
def run(run: Run) -> None:
    """Move what is left to move, in the order of ids. Done again after a crash, it goes on: what moved is not found any more."""
    user, to = parse_uuid(run.args["user"]), parse_uuid(run.args["to"])
    find(run.actor, User, to)
    done, moved, kept = run.cursor.get("done", 0), run.cursor.get("moved", 0), list(run.cursor.get("kept", []))
    total = moved + sum(_rows(run.actor, e, user).count() for e in objects() if may(run.actor, e, "change"))
    after = dict(run.cursor.get("after", {}))
    for entry in objects():
        if not may(run.actor, entry, "change"):
            continue
        while rows := list(_rows(run.actor, entry, user, after.get(entry.label))[:CHUNK]):
            with transaction.atomic():
                for record in rows:
                    reason = _move(run, record, to)
                    if reason is None:
                        moved += 1
                    elif len(kept) < MOST_REASONS:
                        kept.append(
                            {
                                "object": entry.label,
                                "id": str(record.pk),
                                "label": name_for(run.actor, record)[:200],
                                "why": reason,
                            }
                        )
                done += len(rows)
                after[entry.label] = str(rows[-1].pk)
                cursor = {"done": done, "moved": moved, "kept": kept, "after": after}
                run.progress(done, max(total, done), str(entry.model._meta.verbose_name_plural), cursor=cursor)
    run.result(moved=moved, kept=kept, kept_count=done - moved)


def _move(run: Run, record, to) -> str | None:
    """Give one record its new owner; the sentence why not, when a rule or somebody's right keeps it."""
    try:
        with transaction.atomic():
            perform(run.actor, record, "change", {"owner": to}, cause=run.job.pk)
    except (Refused, NotAllowed, NotFound) as error:
        return error.message
    return None


def _rows(actor: Actor, entry: Entry, user, after: str | None = None) -> QuerySet:
    rows = visible(actor, entry.model, "change").filter(owner=user).order_by("pk")
    return rows.filter(pk__gt=after) if after else rows
