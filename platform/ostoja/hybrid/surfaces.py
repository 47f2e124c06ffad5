"""How sites, links, conflicts, parked changes, purges, labels and the policy look. The link writes them; people decide."""

from django.db.models import Q

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Surface

from .models import Conflict, Insider, Label, Link, Parked, PolicyRule, PurgeCase, Site


class Kept(Surface):
    """Written by the link itself; shown on the pages of the link, not in the navigation."""

    automatic = True


@surface(Site)
class SiteSurface(Kept):
    slug = "sites"
    icon = "server"
    order = 80
    title = "name"
    list = ["number", "name", "kind", "ceiling", "here"]
    form = ["number", "name", "kind", "ceiling", "here"]
    sort = ["number"]
    search = ["name"]


@surface(Link)
class LinkSurface(Kept):
    slug = "links"
    icon = "link"
    order = 81
    title = "site"
    list = ["site", "state", "url", "fingerprint", "enrolled_at", "reason"]
    filters = ["state"]
    badges = {"open": "success", "locked": "danger", "revoked": "neutral"}


@surface(Conflict)
class ConflictSurface(Kept):
    slug = "conflicts"
    icon = "git-compare"
    order = 82
    title = "field"
    list = ["about", "field", "rule", "site", "owner", "state", "created_at"]
    filters = ["state", "about", "rule", "owner"]
    badges = {"open": "warning", "ours": "success", "theirs": "success", "settled": "neutral"}
    scopes = {"own": Q(owner=ACTOR), "team": Q(owner=ACTOR) | Q(owner__department__in=ACTOR.departments)}


@surface(Parked)
class ParkedSurface(Kept):
    slug = "parked"
    icon = "pause"
    order = 83
    title = "about"
    list = ["about", "record", "reason", "attempts", "created_at"]


@surface(PurgeCase)
class PurgeSurface(Kept):
    group = ""  # it has a page of its own in the settings
    slug = "purges"
    icon = "eraser"
    order = 84
    title = "about"
    list = ["about", "record", "link", "sent_at", "gone_at", "backups_until"]


@surface(Label)
class LabelSurface(Kept):
    group = ""  # a record's card shows its label
    slug = "labels"
    icon = "lock"
    order = 85
    title = "model"
    list = ["model", "level", "inherited", "created_at"]


@surface(Insider)
class InsiderSurface(Kept):
    group = ""  # the card of the sealed record shows them
    slug = "insiders"
    icon = "user-check"
    order = 86
    title = "user"
    list = ["label", "user", "sealer", "created_at"]
    filters = ["user"]


@surface(PolicyRule)
class PolicySurface(Surface):
    """Its page in the settings shows what each decision does; here is the list of them."""

    lasting = True
    slug = "policy-rules"
    icon = "shield"
    order = 87
    title = "name"
    list = ["about", "name", "level", "state", "proposed_by", "approved_by"]
    form = [("about", "name"), "level"]
    filters = ["state"]
    badges = {"proposed": "warning", "force": "success", "over": "neutral"}
