"""Files of exports and imports are copies of records: they go when a record may not be here any more."""

from __future__ import annotations

import uuid
from collections.abc import Collection
from functools import partial

from django.db import connection, transaction
from django.db.models import Q

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor

from . import files
from .models import ExportRun, ImportRun, RowError

RUNNING = (ImportRun.State.CHECKING, ImportRun.State.RUNNING, ImportRun.State.UNDOING)


def forget_exports(actor: Actor) -> int:
    """Delete the files of all exports, for one export names records of many objects; one that is written now ends without
    a file. Answers how many were deleted."""
    state = ExportRun.State
    with changing(actor, "expire"):
        ExportRun.objects.filter(state=state.RUNNING).update(state=state.FAILED)
        runs = list(ExportRun.objects.filter(state=state.DONE).select_for_update())
        for run in runs:
            transaction.on_commit(partial(files.forget, run.file_key))
        ExportRun.objects.filter(pk__in=[run.pk for run in runs]).update(state=state.GONE, file_key="")
    return len(runs)


def forget_uploads(actor: Actor, objects: Collection[str], records: Collection[uuid.UUID | str] = ()) -> int:
    """Delete the files of imports of these objects, and of those that wrote one of these records, with the values that
    were refused; the runs stay, but for one that is under way. Answers how many were deleted."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT cause::text FROM journal_change WHERE record = ANY(%s::uuid[]) AND cause IS NOT NULL",
            [[str(key) for key in records]],
        )
        causes = [row[0] for row in cursor.fetchall()]
    found = ImportRun.objects.filter(Q(object__in=list(objects)) | Q(pk__in=causes)).exclude(state__in=RUNNING)
    with changing(actor, "expire"):
        runs = [run for run in found.select_for_update() if not run.result.get("file_gone")]
        for run in runs:
            kept = {name: value for name, value in run.result.items() if name not in ("cursor", "error")}
            ImportRun.objects.filter(pk=run.pk).update(result=kept | {"file_gone": True})
            transaction.on_commit(partial(files.forget, run.file_key))
        RowError.objects.filter(run__in=[run.pk for run in runs]).delete()
    return len(runs)
