"""Where browsers reach a site: the premises say their address, the cloud frames what it may not hold from there."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, Refused
from ostoja.kernel.registry import Entry
from ostoja.tenancy import hosts
from ostoja.tenancy.context import current_tenant
from ostoja.web.held import tells_the_keeper

from .core.terms import OPEN
from .models import Clock, Link, Site
from .sites import actor_of, manifest_in_force
from .tables import Tables, tables_of

SECONDS = 3.0
MOST = 4096


def origin(url: str) -> str:
    """The origin of an address, as browsers write it: scheme, host and a port that is not the usual one.

    Raises Refused for what is no origin, and for one without encryption that is not this machine.
    """
    parts = urlsplit(url.strip())
    name = hosts.parse(parts.netloc)  # strictly: it becomes a part of a content policy
    plain = not parts.path.strip("/") and not parts.query and not parts.fragment
    if parts.scheme not in ("http", "https") or name is None or not plain:
        raise _refused(_("Write the address like https://office.example.com, without a path."))
    if parts.scheme == "http" and name != "localhost" and not name.endswith(".localhost"):
        raise _refused(_("The address must begin with https://: values that nobody else may see pass there."))
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{name}" + (f":{parts.port}" if parts.port and parts.port != usual else "")


def _refused(sentence: str) -> Refused:
    return Refused(sentence, fields={"address": [sentence]}, code="bad_address")


def set_address(actor: Actor, url: str) -> str:
    """On the premises: say where browsers find this site; empty for nowhere. The cloud is told over the link.

    Raises NotAllowed unless the actor is an owner, Refused for what is no address, and in the cloud.
    """
    if not actor.superuser:
        raise NotAllowed(_("Only an owner of the tenant says where the premises are."))
    site = Site.objects.filter(here=True).first()
    if site is None or site.kind == Site.Kind.CLOUD:
        raise Refused(_("Only a site on the premises has such an address: say it there."))
    site.browser_url = origin(url) if url.strip() else ""
    with changing(actor, "address"):
        site.save(update_fields=["browser_url", "updated_at"])
    return site.browser_url


def own_address() -> str:
    """Where browsers find this site, as it was said; empty when nobody said it."""
    return Site.objects.filter(here=True).values_list("browser_url", flat=True).first() or ""


def heard(link: Link, url: str) -> None:
    """In the cloud: the other site of a link says where browsers find it. Raises Refused for what is no address."""
    url = origin(url) if url.strip() else ""
    if link.site.browser_url != url:
        link.site.browser_url = url
        with changing(actor_of(link), "address"):
            link.site.save(update_fields=["browser_url", "updated_at"])
    forget()


def parent_origin() -> str:
    """The one origin whose pages may frame this site: the cloud that it is linked with; empty without one."""
    urls = Link.objects.filter(state=Link.State.OPEN, dials=True, site__kind=Site.Kind.CLOUD)
    for url in urls.order_by("-enrolled_at").values_list("url", flat=True):
        try:
            return origin(url)
        except Refused:
            continue
    return ""


def held_fields(tables: Tables, entry: Entry) -> frozenset[str]:
    """The fields of an object that the cloud may not hold; none of an object that does not travel at all."""
    table = tables.get(entry.label)
    return frozenset() if table is None else frozenset(table.columns) - frozenset(table.open(OPEN))


def held_wholly(tables: Tables, entry: Entry) -> bool:
    """Whether the cloud can hold no record of an object."""
    table = tables.get(entry.label)
    return table is not None and not table.holdable(OPEN)


@dataclass(frozen=True)
class Premises:
    """The premises as the cloud's pages know them."""

    name: str
    address: str
    tables: Tables

    def fields(self, entry: Entry) -> frozenset[str]:
        """The fields of an object whose values are there only."""
        return held_fields(self.tables, entry)

    def wholly(self, entry: Entry) -> bool:
        """Whether all records of an object are there only."""
        return held_wholly(self.tables, entry)

    def called_back(self, entry: Entry, key: uuid.UUID) -> bool:
        """Whether this record was here and is there only now. One query."""
        return Clock.objects.filter(pk=key, model=entry.label, withheld=True).exists()


_known: dict[tuple, tuple[float, Premises | None]] = {}


@tells_the_keeper
def premises() -> Premises | None:
    """Who keeps what the open tenant may not have here; None elsewhere than in the cloud. At most SECONDS old."""
    tenant = current_tenant()
    place, now = (tenant.schema_name, tenant.pk), time.monotonic()
    known = _known.get(place)
    if known is None or known[0] < now:
        if len(_known) >= MOST:
            _known.clear()
        known = _known[place] = (now + SECONDS, _look())
    return known[1]


def forget() -> None:
    """Look everything up again; other processes do so within SECONDS."""
    _known.clear()


def _look() -> Premises | None:
    here = Site.objects.filter(here=True).first()
    if here is None or here.kind != Site.Kind.CLOUD or not here.withdrawn:  # what is not given up yet is shown here
        return None
    links = Link.objects.filter(state=Link.State.OPEN, site__kind=Site.Kind.PREMISES).select_related("site")
    link = links.order_by("site__number").first()
    if link is None:
        return None
    return Premises(link.site.name, link.site.browser_url, tables_of(manifest_in_force().canonical))
