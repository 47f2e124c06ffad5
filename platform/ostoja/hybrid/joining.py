"""A tenant of the cloud comes to live here as well: the empty tenant is made, enrolled, and later compared with the cloud."""

from __future__ import annotations

from collections.abc import Callable

from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.kernel.errors import Refused
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import tenant_context
from ostoja.tenancy.models import Tenant

from . import dialling, enrolment, keys, verifying
from .exchange import open_links
from .exchange import repair as send_again
from .manifest import compile_manifest
from .models import Link, Progress
from .sites import new_epoch

COMPARE = "hybrid.compare"
MOST_SHOWN = 200


def join(url: str, code: str, name: str, report: Callable[[str], None] = print) -> tuple[Link, Tenant]:
    """Enrol at the tenant that answers at ``url``; its rows come with the agent's first load.

    Raises Unreachable, or Refused when a tenant of that address is here already; nothing is left over then.
    """
    private, public = keys.new_pair()
    epoch = new_epoch()
    report("Asking the other site …")
    answer = dialling.enrol(url, code, name, public, epoch, compile_manifest().canonical)
    facts = dict(answer["tenant"])
    report(f"Making the tenant “{facts['slug']}” …")
    tenant = provisioning.create(
        facts["name"], facts["slug"], blueprint=facts["blueprint"], language=facts["language"],
        timezone=facts["timezone"], currency=facts["currency"],
    )  # fmt: skip
    link = enrolment.note(tenant, answer, private, public, epoch, url)
    return link, provisioning.open_up(tenant)


def compare_sites(tenant: Tenant, *, repair: bool = False) -> list[dict]:
    """What differs between this site and those that it dials, as {tenant, model, record, why}; notes when all is equal.

    Raises Refused in the cloud, which dials nobody.
    """
    found = []
    with tenant_context(tenant):
        links = [link for link in open_links() if link.dials]
        if not links:
            raise Refused("This site dials no other: compare from the premises.")
        for link in links:
            here = compare_link(dialling.Caller(link, "push"))
            found += [{"tenant": tenant.slug, **one} for one in here]
            if here and repair:
                _repair(link, here)
    return found


def compare_one(link: str) -> list[dict]:
    """What differs over one link of the open tenant. Raises Refused when it is not open, or does not dial."""
    return compare_link(dialling.Caller(must_dial(link), "push"))


def must_dial(link: str) -> Link:
    """The link of the open tenant with this id. Raises Refused when it is not open, or the other site dials it."""
    found = next((one for one in open_links() if str(one.pk) == link and one.dials), None)
    if found is None:
        raise Refused(_("This link is not open, or the other site dials it: compare there."))
    return found


def compare_link(caller: dialling.Caller) -> list[dict]:
    """What differs between this site and the one that the caller dials; that nothing does is noted at both."""
    found = verifying.compare(caller.exchange, caller.ask)
    if not found:
        equal = verifying.root(verifying.roots(caller.exchange))
        Progress.objects.filter(link=caller.link).update(equal_at=timezone.now(), equal_root=equal)
        caller.ask({"of": "equal", "root": equal})
    return found


def _repair(link: Link, differing: list[dict]) -> None:
    send_again(link, [(d["model"], d["record"]) for d in differing if d["why"] != "in conflict"])
