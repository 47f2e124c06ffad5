"""The demo tenant: a wholesaler with real data of thousands of deals, on development installations only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.access import links
from ostoja.access.models import User
from ostoja.exchange import demo as data
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound
from ostoja.tenancy import provisioning
from ostoja.tenancy.context import tenant_context
from ostoja.tenancy.models import Tenant

from . import signup

ADDRESS = "demo"
EMAIL = "owner@demo.example"
PASSWORD = "ostoja-demo"  # known to everybody, and therefore only where DEVELOPMENT is on


@dataclass(frozen=True)
class Demo:
    """Where the demo is and how one signs in."""

    tenant: Tenant
    url: str
    email: str = EMAIL
    password: str = PASSWORD


def ensure_demo(report: Callable[[str], None] = print) -> Demo:
    """Make the demo tenant and fill it; what is there already is left, what was interrupted goes on.

    Raises NotAllowed outside of development, because its password is known to everybody.
    """
    if not settings.DEVELOPMENT:
        raise NotAllowed(
            _("The demo has a password that everybody knows; it is made on development installations only."),
            code="demo_refused",
        )
    tenant = _tenant(report)
    data.load(tenant, report)
    with tenant_context(tenant):
        _confirm_the_owner()
        return Demo(tenant, links.base_url())


def _confirm_the_owner() -> None:
    """Nobody reads the demo owner's letters: the address counts as confirmed."""
    unconfirmed = User.objects.filter(email=EMAIL, email_confirmed_at__isnull=True)
    with changing(Actor.system("Demo"), "confirm"):
        unconfirmed.update(email_confirmed_at=timezone.now())


def _tenant(report: Callable[[str], None]) -> Tenant:
    try:
        tenant = provisioning.find(ADDRESS)
    except NotFound:
        report("The demo: a company of its own …")
        tenant = signup.begin(
            "Demo Wholesale",
            ADDRESS,
            email=EMAIL,
            password=PASSWORD,
            person="Olivia Owner",
            blueprint="wholesale",
            language="en",
            currency="USD",
        )
    match tenant.state:
        case Tenant.State.BUILDING:
            return signup.build(tenant).tenant
        case Tenant.State.SUSPENDED:
            return provisioning.resume(tenant)
        case Tenant.State.DELETED:
            return provisioning.restore(tenant)
    return tenant
