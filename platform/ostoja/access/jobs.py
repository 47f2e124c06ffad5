"""What access does in the background: letters, forgotten passwords, and clearing away what has ended."""

from __future__ import annotations

from django.db import connections
from django.utils import timezone

from ostoja.jobs.models import Job
from ostoja.jobs.queue import handler
from ostoja.jobs.runner import Run
from ostoja.jobs.schedule import every
from ostoja.tenancy.context import current_tenant, platform_context, tenant_context
from ostoja.tenancy.fleet import over_tenants
from ostoja.tenancy.models import Tenant

from . import mail, sessions, signin
from .models import User


@handler("access.mail")
def deliver(run: Run) -> None:
    """Send one letter. What it said is not kept: a link in it may still be good."""
    args = run.args
    mail.deliver(args["to"], args["template"], args["context"], args["language"], id=str(run.job.pk))
    Job.objects.filter(pk=run.job.pk).update(args={"template": args["template"]})


@handler("access.forgotten")
def forgotten(run: Run) -> None:
    """Mail the link for a new password, if somebody who may sign in has this address."""
    user = User.objects.filter(email=run.args["email"], is_active=True).first()
    Job.objects.filter(pk=run.job.pk).update(args={})
    if user is not None:
        context = {"name": user.name, "link": signin.reset_link(user)}
        mail.send(current_tenant(), user.email, "reset", context, language=user.language)


@every(seconds=3600)
def sweep() -> int:
    """Clear ended sessions away, in all tenants, and old letters of a development installation. Returns how many went."""
    sql = "SELECT 1 FROM {schema}.access_session WHERE expires_at <= %s LIMIT 1"
    with platform_context():
        found = {schema for schema, _one in over_tenants(connections["owner"], sql, [timezone.now()])}
        tenants = list(Tenant.objects.filter(schema_name__in=found))
    gone = mail.sweep()
    for tenant in tenants:
        with tenant_context(tenant):
            gone += sessions.sweep()
    return gone
