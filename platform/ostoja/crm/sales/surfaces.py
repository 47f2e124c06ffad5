"""How pipelines, deals and their lines look."""

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Board, Calendar, Panel, Surface
from ostoja.party.surfaces import PartySurface

from .models import Deal, DealLine, LostReason, Pipeline, Stage, StageChange


@surface(Deal)
class DealSurface(Surface):
    icon = "target"
    group = "crm"
    order = 20
    title = "title"
    subtitle = ["number", "party"]
    list = ["number", "title", "party", "amount", "stage", "state", "closes_on", "owner"]
    sort = ["-id"]
    form = [
        "title",
        ("party", "owner"),
        ("stage", "closes_on"),
        ("amount", "currency"),
        (_("More"), [("number", "source"), "engaged_on", "notes"]),
    ]
    search = ["title", "party__name"]
    codes = ["number"]
    filters = ["state", "stage", "owner", "party", "closes_on", "amount", "lost_reason", "source"]
    views = [
        (_("Open"), {"state": "open"}),
        (_("Won"), {"state": "won"}),
        (_("Lost"), {"state": "lost"}),
        (_("Mine"), {"state": "open", "owner": "me"}),
    ]
    board = Board("stage", total="amount", card=("party", "amount", "closes_on", "owner"))
    calendar = Calendar("closes_on")
    scopes = {"own": Q(owner=ACTOR), "team": Q(owner=ACTOR) | Q(owner__department__in=ACTOR.departments)}
    lines = ["lines"]
    panels = [
        Panel("lines", _("Products"), ("product", "quantity", "price", "discount", "net")),
        Panel("stage_changes", _("Stages"), ("stage", "entered_at", "left_at", "amount")),
    ]
    natural_key = ["number"]
    history = ["state", "closed_at", "lost_reason"]
    badges = {"open": "blue", "won": "green", "lost": "neutral"}


@surface(DealLine)
class DealLineSurface(Surface):
    slug = "deal-lines"
    icon = "list"
    inside = "deal"
    title = "description"
    list = ["deal", "product", "quantity", "price", "discount", "net"]
    sort = ["position"]
    form = ["product", "description", ("quantity", "price", "discount"), "position"]
    search = ["description", "product__name"]
    filters = ["deal", "product"]
    natural_key = ["deal", "position"]


@surface(Pipeline)
class PipelineSurface(Surface):
    icon = "workflow"
    group = "settings"
    order = 40
    title = "name"
    list = ["name", "position"]
    sort = ["position"]
    form = ["name", "position"]
    search = ["name"]
    panels = [Panel("stages", _("Stages"), ("name", "position", "kind", "probability"))]
    natural_key = ["name"]


@surface(Stage)
class StageSurface(Surface):
    icon = "columns-3"
    inside = "pipeline"
    title = "name"
    list = ["pipeline", "name", "position", "kind", "probability", "max_age"]
    sort = ["position"]
    form = ["name", ("position", "kind"), ("probability", "max_age"), "required_fields"]
    search = ["name"]
    filters = ["pipeline", "kind"]
    natural_key = ["pipeline", "name"]
    badges = {"open": "blue", "won": "green", "lost": "neutral"}


@surface(LostReason)
class LostReasonSurface(Surface):
    slug = "lost-reasons"
    icon = "circle-help"
    group = "settings"
    order = 50
    title = "name"
    list = ["name"]
    sort = ["name"]
    form = ["name"]
    search = ["name"]
    natural_key = ["name"]


@surface(StageChange)
class StageChangeSurface(Surface):
    slug = "stage-changes"
    icon = "history"
    inside = "deal"
    title = "stage"
    list = ["deal", "from_stage", "stage", "entered_at", "left_at", "amount", "actor"]
    sort = ["-entered_at"]
    filters = ["deal", "stage", "state", "entered_at", "left_at"]
    badges = {"open": "blue", "won": "green", "lost": "neutral"}
    automatic = True


PartySurface.panels = (
    Panel("deals", _("Deals"), ("title", "amount", "stage", "state", "closes_on")),
    *PartySurface.panels,
)
