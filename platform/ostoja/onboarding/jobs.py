"""Onboarding's work in the background: building goes on where it stopped, and samples come and go."""

from __future__ import annotations

from django.db import transaction
from django.utils.translation import gettext as _

from ostoja.jobs.queue import handler
from ostoja.jobs.runner import Run
from ostoja.jobs.schedule import every
from ostoja.tenancy.context import current_tenant

from . import applying, blueprints, signup


@every(seconds=15)
def resume_stopped() -> int:
    """Try again what stopped while it was built."""
    return signup.resume_stopped()


@every(seconds=3600)
def forget_stopped() -> int:
    """Delete the password hashes of tenants that never opened."""
    return signup.forget_stopped()


@handler("onboarding.add_samples")
def add_samples(run: Run) -> None:
    """Add the sample records of the tenant's blueprint, as the person who asked for them."""
    tenant = current_tenant()
    with transaction.atomic():
        added = applying.add_samples(blueprints.get(tenant.blueprint), run.actor, tenant.language)
        run.progress(added, added, _("Samples are there."))
    run.result(added=added)


@handler("onboarding.remove_samples")
def remove_samples(run: Run) -> None:
    """Take the sample records away; ``result["stayed"]`` says which had to stay, and why."""
    run.result(stayed=applying.remove_samples(run.actor))
