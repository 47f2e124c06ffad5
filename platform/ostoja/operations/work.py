"""Work that is wanted now: runs a tenant's job in this process, unless a worker has it already, while somebody watches."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from threading import Thread

from django.db import connections

from ostoja.jobs.models import Job
from ostoja.jobs.runner import execute
from ostoja.tenancy.context import tenant_context
from ostoja.tenancy.models import Tenant

LOOK_SECONDS = 0.2
TRY_SECONDS = 2.0


def finished(tenant: Tenant, job_id: uuid.UUID, tell: Callable[[Job], None]) -> Job:
    """The job when it has ended, to whatever end; ``tell`` is called with its progress until then.

    The job needs no worker: where none takes it, it runs here, in a thread of its own with connections of its own.
    """
    hand: Thread | None = None
    tried = 0.0
    while True:
        with tenant_context(tenant):
            job = Job.objects.get(pk=job_id)
        tell(job)
        if job.finished and (hand is None or not hand.is_alive()):
            return job
        if (hand is None or not hand.is_alive()) and time.monotonic() - tried > TRY_SECONDS:
            tried = time.monotonic()
            hand = Thread(target=_run, args=(tenant, job_id), daemon=True)
            hand.start()
        time.sleep(LOOK_SECONDS)


def _run(tenant: Tenant, job_id: uuid.UUID) -> None:
    try:
        execute(tenant, job_id)
    finally:
        connections.close_all()
