"""A private installation has one tenant, made on its first page by whoever holds the code that ``ostoja up`` prints."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Mapping
from itertools import chain

from django import forms
from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ostoja.access.limits import Limit, network_of
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.tenancy import names
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import Tenant

from . import signup

TRIES_FROM_NETWORK = Limit("set-up-network", 10, 15 * 60)
TRIES_IN_ALL = Limit("set-up-all", 100, 60 * 60)
ENDINGS = ("", "-crm", "-erp", "-company-crm")


def is_private() -> bool:
    """Whether this installation is one company's own."""
    return settings.INSTALLATION.kind == "private"


def is_needed() -> bool:
    """Whether the one tenant is still to be made."""
    if not is_private():
        return False
    with platform_context():
        return not Tenant.objects.exclude(state=Tenant.State.DELETED).exists()


def code() -> str:
    """The set-up code: twelve letters and digits in groups of four, the same until the installation's secret changes."""
    digest = hashlib.sha256(settings.DECLARATION.setup_code.encode()).digest()
    letters = base64.b32encode(digest).decode()[:12]
    return "-".join(letters[start : start + 4] for start in (0, 4, 8))


class SetUpForm(signup.SignUpForm):
    """What the first visitor of a private installation is asked: the same as a sign-up, with the code and no address."""

    slug = None
    website = None
    code = forms.CharField(label=gettext_lazy("Set-up code"), max_length=40)

    field_order = ["code", "company", "email", "password", "blueprint", "language"]

    def clean_code(self) -> str:
        """The code as it was printed, in any case, with or without hyphens."""
        given = "".join(c for c in self.cleaned_data["code"].upper() if c.isalnum())
        if not hmac.compare_digest(given.encode(), code().replace("-", "").encode()):
            raise forms.ValidationError(_("This is not the code that “ostoja up” printed."))
        return given


def set_up(data: Mapping | SetUpForm, ip: str) -> signup.SignedUp:
    """Make the one tenant. Raises NotAllowed when there is one, Refused by field, TooMany, NotNow, NotBuilt."""
    if not is_needed():
        raise NotAllowed(_("This installation has its tenant already. Sign in."), code="one_tenant")
    with platform_context():
        TRIES_FROM_NETWORK.take(network_of(ip))
        TRIES_IN_ALL.take()
    given = signup.checked(data if isinstance(data, SetUpForm) else SetUpForm(data))
    return signup.made({**given, "slug": _address_for(given["company"])})


def _address_for(company: str) -> str:
    """An address for the one tenant; nobody types it, for a private installation answers at any host name."""
    stem = names.suggest(company) or "company"
    for candidate in chain((stem + ending for ending in ENDINGS), ("private-company-crm",)):
        try:
            return names.checked(candidate[: names.LONGEST].strip("-"))
        except Refused:
            continue
    raise Refused(_("No address could be made of this name. Write it differently."), fields={"company": [company]})
