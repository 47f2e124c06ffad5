"""Links that are sent by mail: signed for one tenant and one purpose, for a time, and where it matters for one use.

The pages behind them are the web's; their addresses are here, because the mails are.
"""

from __future__ import annotations

import hashlib
import secrets
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.cache import cache
from django.utils.translation import gettext as _

from ostoja.kernel.errors import OstojaError
from ostoja.tenancy import signing
from ostoja.tenancy.context import current_tenant, platform_context
from ostoja.tenancy.models import Domain

PATHS = {
    "reset": "/password/{token}",
    "confirm": "/confirm/{token}",
    "invite": "/invitation/{token}",
    "welcome": "/welcome/{token}",
    "sign_in": "/sign-in",
    "forgotten": "/forgotten",
}


class LinkRefused(OstojaError):
    """The link is not ours, too old, used, or was made for somebody else; the message says what to do."""

    code = "link_refused"
    status = 410


def base_url(tenant=None) -> str:
    """``https://acme.example.com`` of a tenant (the open one unless named), from its own record; no slash at the end."""
    tenant = tenant or current_tenant()
    with platform_context():
        host = (
            Domain.objects.filter(tenant=tenant)
            .order_by("-is_primary", "domain")
            .values_list("domain", flat=True)
            .first()
        )
    host = host or f"{tenant.slug}.{settings.BASE_DOMAIN}"
    usual = 443 if settings.USE_HTTPS else 80
    port = "" if settings.PUBLIC_PORT in (0, usual) else f":{settings.PUBLIC_PORT}"
    return f"{'https' if settings.USE_HTTPS else 'http'}://{host}{port}"


def url_of(purpose: str, token: str = "") -> str:
    """The whole address of a page that a mail links to."""
    return base_url() + PATHS[purpose].format(token=token)


def make(purpose: str, value: Any) -> str:
    """A token of a JSON value for the open tenant; no two are the same."""
    return signing.sign(purpose, [value, secrets.token_urlsafe(9)])


def read(purpose: str, token: str, max_age: timedelta) -> Any:
    """The value of a token of the open tenant. Raises LinkRefused."""
    try:
        value, _nonce = signing.read(purpose, str(token)[:2000], max_age)
        return value
    except signing.Expired as error:
        raise LinkRefused(_("This link is too old. Ask for a new one.")) from error
    except (signing.BadSignature, ValueError, TypeError) as error:
        raise LinkRefused(
            _("This link is not valid here. Open it from the mail once more, or ask for a new one.")
        ) from error


def use_once(purpose: str, token: str, max_age: timedelta) -> Any:
    """Like ``read``, and the token is worth nothing afterwards. Without the cache, which remembers that, it is refused."""
    value = read(purpose, token, max_age)
    name = f"used:{purpose}:{hashlib.sha256(str(token).encode()).hexdigest()}"
    try:
        first = cache.add(name, 1, int(max_age.total_seconds()) + 60)
    except Exception as error:  # the cache may be away in any way
        raise LinkRefused(_("This is not possible at the moment. Please try again in a minute.")) from error
    if not first:
        raise LinkRefused(_("This link was used already."))
    return value
