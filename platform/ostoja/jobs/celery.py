"""The Celery app: it carries a job's tenant and id to a worker; a message without a tenant is refused."""

from __future__ import annotations

import logging
import os
import uuid

from celery import Celery
from celery.exceptions import Reject

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ostoja.settings")

app = Celery("ostoja")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": 24 * 3600, "socket_connect_timeout": 2, "socket_timeout": 10},
    task_publish_retry=False,
    timezone="UTC",
)
log = logging.getLogger(__name__)


@app.task(name="ostoja.run_job", bind=True)
def run_job(task, schema: str = "", job_id: str = ""):
    """Run one job of one tenant."""
    from ostoja.tenancy.context import platform_context
    from ostoja.tenancy.models import Tenant

    from .runner import execute

    with platform_context():
        tenant = Tenant.objects.filter(schema_name=schema, state__in=["open", "building"]).first() if schema else None
    if tenant is None:
        log.error("A message without an open tenant was refused: schema=%r job=%r", schema, job_id)
        raise Reject("no tenant", requeue=False)
    execute(tenant, uuid.UUID(job_id))
