"""How a site joins: the cloud gives a one-time code, the premises bring it with their key, and both note the other."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from datetime import timedelta

from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.tenancy.context import current_tenant, tenant_context
from ostoja.tenancy.models import Tenant

from . import keys
from .core.terms import Manifest
from .install import install
from .models import EnrolmentCode, Link, Progress, Site
from .sites import CLOUD, here, manifest_in_force, new_epoch
from .tables import tables_of

VALID_FOR = timedelta(minutes=15)
FACTS = ("name", "slug", "language", "timezone", "currency", "blueprint")


def invite(actor: Actor, kind: str = Site.Kind.PREMISES) -> str:
    """A one-time code for another site of the open tenant, valid for 15 minutes. The tenant becomes hybrid with it.

    Raises NotAllowed unless the actor is an owner; Refused for any other kind of site.
    """
    if not actor.superuser:
        raise NotAllowed(_("Only an owner of the tenant links another site."))
    if kind not in (Site.Kind.PREMISES, Site.Kind.DESKTOP):
        raise Refused(_("The kind of a site that joins is `premises` or `desktop`."))
    _be_cloud()
    code = "-".join(secrets.token_hex(4) for _part in range(4))
    EnrolmentCode.objects.create(digest=_digest(code), kind=kind, expires_at=timezone.now() + VALID_FOR)
    return code


def _number(ours: int) -> int:
    """The next number for a site below this one; no other site hands out the same."""
    below = range(2, 100) if ours == CLOUD else range(ours * 100 + 1, ours * 100 + 100)
    taken = set(Site.objects.values_list("number", flat=True))
    return next(n for n in below if n not in taken)


def _be_cloud() -> None:
    tenant = current_tenant()
    if Site.objects.filter(here=True).exists():
        return
    with changing(Actor.system("Enrolment"), "enrol"):
        Site.objects.create(
            number=CLOUD, name=_("Cloud"), kind=Site.Kind.CLOUD, ceiling=0, here=True, epoch=new_epoch()
        )
    install(tenant, tables_of(manifest_in_force().canonical), CLOUD, in_cloud=True)


def accept(code: str, public_key: str, name: str, epoch: int, manifest: bytes) -> dict:
    """The upper site's half: burn the code, note the new site, answer all that it needs to know of the open tenant.

    Raises NotAllowed for a code that is unknown, used or too old (all look the same), Refused for what can't be read.
    """
    tenant = current_tenant()
    try:
        Manifest.from_canonical(manifest)
        if len(public_key) > 100 or not 0 < epoch < 2**63:
            raise ValueError("The key or the incarnation is none.")
    except ValueError as error:
        raise Refused(_("The other site speaks another language than this one: update it.")) from error
    with changing(Actor.system("Enrolment"), "enrol"), transaction.atomic():
        now = timezone.now()
        found = (
            EnrolmentCode.objects.select_for_update()
            .filter(digest=_digest(code), used_at=None, expires_at__gt=now)
            .first()
        )
        if found is None:
            raise NotAllowed(_("This code is not valid, or not any more: ask for a new one."), code="bad_code")
        EnrolmentCode.objects.filter(pk=found.pk).update(used_at=now)
        ours = here()
        number = _number(ours.number)
        site = Site.objects.create(number=number, name=name[:120], kind=found.kind, ceiling=1, epoch=epoch)
        private, public = keys.new_pair()
        link = Link.objects.create(
            site=site, private_key=private, peer_key=public_key, fingerprint=keys.fingerprint(public, public_key)
        )
    Progress.objects.create(link=link, peer_manifest=manifest)
    return {
        "link": str(link.pk),
        "tenant": {f: getattr(tenant, f) for f in FACTS},
        "you": {"number": number, "name": site.name, "kind": site.kind},
        "we": {"number": ours.number, "name": ours.name, "kind": ours.kind, "epoch": ours.epoch, "key": public},
        "manifest": ours.manifest.canonical.decode(),
        "fingerprint": link.fingerprint,
    }


def note(tenant: Tenant, answer: Mapping, private_key: str, public_key: str, epoch: int, url: str) -> Link:
    """The lower site's half: make the tenant hybrid, with this answer of the upper site. The tenant must be empty."""
    you, we = answer["you"], answer["we"]
    with tenant_context(tenant):
        with changing(Actor.system("Enrolment"), "enrol"):
            Site.objects.create(
                number=you["number"], name=you["name"], kind=you["kind"], ceiling=1, here=True, epoch=epoch,
                founded=you["kind"] != Site.Kind.PREMISES,
            )  # fmt: skip
            above = Site.objects.create(
                number=we["number"], name=we["name"], kind=we["kind"], ceiling=0 if we["kind"] == Site.Kind.CLOUD else 1,
                epoch=we["epoch"],
            )  # fmt: skip
            link = Link.objects.create(
                id=answer["link"], site=above, dials=True, url=url, private_key=private_key, peer_key=we["key"],
                fingerprint=keys.fingerprint(public_key, we["key"]),
            )  # fmt: skip
            if you["kind"] == Site.Kind.DESKTOP:
                Site.objects.filter(here=True).update(adopted=answer["manifest"])
        install(
            tenant, tables_of(manifest_in_force().canonical), you["number"], in_cloud=False,
            owner=you["kind"] == Site.Kind.PREMISES,
        )  # fmt: skip
        Progress.objects.create(link=link, peer_manifest=answer["manifest"].encode())
    return link


def _digest(code: str) -> str:
    return hashlib.sha256(code.strip().lower().encode()).hexdigest()
