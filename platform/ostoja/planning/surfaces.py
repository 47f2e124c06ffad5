"""How activities look."""

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.crm.sales.surfaces import DealSurface
from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Calendar, Panel, Surface, Timeline
from ostoja.party.surfaces import PartySurface

from .models import Activity


@surface(Activity)
class ActivitySurface(Surface):
    slug = "activities"
    icon = "activity"
    group = "crm"
    order = 30
    title = "subject"
    subtitle = ["kind", "party"]
    list = ["subject", "kind", "party", "deal", "at", "state", "owner"]
    sort = ["-at"]
    form = [("kind", "direction"), "subject", "body", ("at", "ends_at"), ("party", "deal"), ("owner", "participants")]
    search = ["subject", "body"]
    filters = ["kind", "state", "owner", "party", "deal", "at"]
    views = [
        (_("My open ones"), {"state": "open", "owner": "me"}),
        (_("Tasks"), {"kind": "task", "state": "open"}),
        (_("Meetings"), {"kind": "meeting"}),
    ]
    calendar = Calendar("at", end="ends_at")
    timeline = Timeline(
        "at", title="subject", text="body", kind="kind",
        icons={
            "call": "phone", "sms": "smartphone", "email": "mail", "meeting": "users", "note": "sticky-note", "task": "square-check",
        },
    )  # fmt: skip
    scopes = {"own": Q(owner=ACTOR), "team": Q(owner=ACTOR) | Q(owner__department__in=ACTOR.departments)}
    history = ["state"]
    badges = {"open": "blue", "done": "green", "cancelled": "neutral"}


for told in (PartySurface, DealSurface):  # what was said and agreed comes first on a card
    told.panels = (Panel("activities", _("Activities")), *told.panels)
