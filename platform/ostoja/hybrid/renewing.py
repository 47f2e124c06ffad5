"""A site that was restored or copied begins a new incarnation: nobody works there until the others told it what it forgot."""

from __future__ import annotations

import time

from django.db import transaction
from django.db.models.functions import Greatest
from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import current_tenant

from .core.labels import EPOCH_BITS, floor_of
from .models import Link, Progress, Site
from .sites import here, new_epoch


def renew(actor: Actor | None = None) -> int:
    """Take a new epoch for this site of the open tenant and close it to people until it has caught up; answers the epoch.

    Run it after a backup was restored, before anybody signs in. Raises NotAllowed unless the actor is an owner, or the system.
    """
    actor = actor or Actor.system("Sites")
    if not actor.superuser:
        raise NotAllowed(_("Only an owner of the tenant starts a restored site anew."))
    site = here()
    known = [site.epoch, *Progress.objects.values_list("own_epoch", flat=True)]
    # A backup that is restored twice does not know of the first time: the minute makes its incarnation the later one.
    epoch = new_epoch(max(*known, int(time.time() / 60) << EPOCH_BITS))
    linked = Link.objects.filter(state=Link.State.OPEN).exists()
    with changing(actor, "renew"), transaction.atomic():
        floor = floor_of(epoch) if site.is_owner else 0
        Site.objects.filter(here=True).update(
            epoch=epoch, retired=False, restored=linked, label_floor=Greatest("label_floor", floor)
        )
        Progress.objects.update(problem="")
    if linked:
        provisioning.catch_up(current_tenant())
    return epoch


def caught_up() -> None:
    """What the backup forgot is here again: people may come in, once this is committed."""
    tenant = current_tenant()
    Site.objects.filter(here=True).update(restored=False)
    transaction.on_commit(lambda: _open(tenant))


def _open(tenant) -> None:
    if tenant.state == tenant.State.CATCHING_UP:
        provisioning.caught_up(tenant)
