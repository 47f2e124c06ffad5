"""What the frame around every page needs: the company, the person, the navigation, running jobs."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from ostoja.access.policy import may
from ostoja.jobs.models import Job
from ostoja.kernel import registry

from . import additions, held, places, says
from .columns import label_of

GROUPS = ("", "crm", "erp", "insight")
THEMES = ("light", "dark")


def shell(request: HttpRequest) -> dict:
    """The context processor; everything is made only when a template asks."""
    theme = request.COOKIES.get("ostoja_theme", "")
    return {
        "request": request,
        "shell": SimpleLazyObject(lambda: frame(request)),
        "theme": theme if theme in THEMES else "",
        "messages": SimpleLazyObject(lambda: says.said(request)),
    }


def frame(request: HttpRequest) -> dict:
    """Company, navigation, person. One query, for jobs that run."""
    tenant = getattr(request, "tenant", None)
    actor = getattr(request, "actor", None)
    base = {"tenant": tenant.name if tenant else "", "host": request.get_host() if tenant else "", "current": ""}
    if actor is None or actor.user is None:
        return base
    sees_settings = may(actor, registry.get("access.user"), "change") or may(
        actor, registry.get("access.role"), "change"
    )
    return base | {
        "current": getattr(request, "place", ""),
        "groups": [*groups(actor), *added(request)],
        "person": {"id": actor.user_id, "name": actor.user.name, "email": actor.user.email},
        "palette_url": "/palette",
        "held": held.place(request, (), "search", kind="search"),
        "settings_url": "/settings" if sees_settings else "/settings/profile",
        "invite_url": "/settings/people" if may(actor, registry.get("access.invitation"), "add") else "",
        "import_url": "/imports" if may(actor, registry.get("exchange.importrun"), "view") else "",
        "start_url": "/start" if actor.user.is_owner and "ostoja_started" not in request.COOKIES else "",
        "profile_url": "/settings/profile",
        "sessions_url": "/settings/devices",
        "sign_out_url": "/sign-out",
        "unconfirmed": actor.user.email if actor.user.email_confirmed_at is None else "",
        "jobs_url": "/jobs/mine",
        "jobs_active": Job.objects.filter(user_id=actor.user_id, state__in=("queued", "running")).exists(),
    }


def added(request: HttpRequest) -> list[dict]:
    """What other rooms put into the navigation: a group without a heading, or nothing."""
    items = [
        {"label": p.label, "icon": p.icon, "url": p.url, "count": p.count} for p in additions.navigation_of(request)
    ]
    return [{"label": "", "items": items}] if items else []


def group_label(group: str) -> str:
    """The heading of a group in the navigation."""
    return {"crm": _("CRM"), "erp": _("ERP"), "insight": _("Insight")}.get(group, "")


def groups(actor) -> list[dict]:
    """The navigation: the objects that the actor may see, in their groups."""
    made: dict[str, list[dict]] = {}
    for entry in registry.entries():
        if entry.surface.group in GROUPS and entry.surface.group and entry.parent is None and may(actor, entry, "view"):
            item = {"label": label_of(entry), "icon": entry.surface.icon, "url": places.list_of(entry)}
            made.setdefault(entry.surface.group, []).append(item)
    order = sorted(made, key=lambda g: GROUPS.index(g) if g in GROUPS else len(GROUPS))
    return [{"label": group_label(g), "items": made[g]} for g in order]
