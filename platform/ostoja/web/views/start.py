"""Getting started: what the owner of a new company does first, how far they are, and samples to look around with."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from ostoja.access.models import Invitation, User
from ostoja.access.policy import may
from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.journal import samples
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed

from .. import places, says
from ..inside import inside

COOKIE = "ostoja_started"
YEAR = 60 * 60 * 24 * 365
ADD, REMOVE = "onboarding.add_samples", "onboarding.remove_samples"


def is_wanted(request: HttpRequest) -> bool:
    """Whether this person has first steps ahead of them: the owner, until all is done or they put it away."""
    return concerns(request) and not all(step["done"] for step in steps(request.actor))


def concerns(request: HttpRequest) -> bool:
    """Whether first steps are shown to this person at all. No query."""
    return bool(request.actor and request.actor.user and request.actor.user.is_owner) and COOKIE not in request.COOKIES


def steps(actor) -> list[dict]:
    """The steps, each with whether it is done. At most four queries."""
    listed = [
        e
        for e in registry.entries()
        if e.surface.group == "crm" and e.parent is None and e.surface.form and may(actor, e, "add")
    ]
    made = []
    if listed:
        first = listed[0]
        made.append(
            {
                "icon": "upload",
                "label": _("Bring your {things}").format(things=first.things),
                "words": _("From a spreadsheet; you see every row before anything is saved, and can undo it."),
                "act": _("Import"),
                "url": places.part_of(first, "import"),
                "done": samples.has_own(first.label),
            }
        )
    board = next((e for e in listed if e.surface.board), None)
    if board is not None:
        made.append(
            {
                "icon": board.surface.icon,
                "label": _("Make your first {thing}").format(thing=board.thing),
                "words": _("Then move it over the board as it goes on."),
                "act": _("New {thing}").format(thing=board.thing),
                "url": places.part_of(board, "new"),
                "done": samples.has_own(board.label),
            }
        )
    made.append(
        {
            "icon": "user-plus",
            "label": _("Invite your colleagues"),
            "words": _("Each sees what their role lets them see."),
            "act": _("Invite"),
            "url": "/settings/people",
            "done": Invitation.objects.exists() or User.objects.all()[:2].count() > 1,
        }
    )
    return made


def _samples() -> dict:
    """Whether samples are there, or are on their way in or out. At most two queries."""
    last = Job.objects.filter(kind__in=(ADD, REMOVE)).order_by("-created_at").first()
    if last is not None and not last.finished:
        return {"busy": True}
    there = samples.were_added() if last is None else last.kind == ADD and last.state == Job.State.DONE
    return {"there": there}


@require_GET
@inside
def start(request: HttpRequest) -> HttpResponse:
    """The page."""
    if not request.actor.user.is_owner:
        return HttpResponseRedirect("/")
    request.place = "/start"
    shown = steps(request.actor)
    done = sum(step["done"] for step in shown)
    nearest = next((step for step in shown if not step["done"]), None)
    context = {"steps": shown, "nearest": nearest, "done": done, "total": len(shown), "samples": _samples()}
    return render(request, "ostoja/start.html", context)


@require_POST
@inside
def sample_data(request: HttpRequest) -> HttpResponse:
    """Add the samples, or take them away: a job does it."""
    if not request.actor.user.is_owner:
        raise NotAllowed(_("Only the owner adds samples or takes them away."))
    if not _samples().get("busy"):
        away = request.POST.get("away") == "1"
        queue(request.actor, REMOVE if away else ADD, _("Taking the samples away") if away else _("Adding samples"))
    return HttpResponseRedirect("/start")


@require_POST
@inside
def put_away(request: HttpRequest) -> HttpResponse:
    """Don't show the first steps any more in this browser."""
    response = HttpResponseRedirect("/")
    response.set_cookie(COOKIE, "1", max_age=YEAR, httponly=True, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE)
    return says.say(response, _("Put away. Everything is in the menus, too."), "blue")
