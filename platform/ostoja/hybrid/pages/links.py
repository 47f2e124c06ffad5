"""Sites and links: how each link is, in words; inviting a site, comparing both, new keys, opening again and revoking."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja.access.policy import explain, find, may, must, visible
from ostoja.jobs.models import Job
from ostoja.jobs.queue import queue
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError
from ostoja.kernel.record import why_not
from ostoja.web import additions, display, places, says
from ostoja.web.inside import inside
from ostoja.web.views.settings import frame

from .. import enrolment, health
from ..joining import COMPARE, must_dial
from ..models import EnrolmentCode, Link, Site

HERE = "/settings/hybrid/links"
SHOWN = 20  # differences


@additions.in_settings
def place(actor) -> list[additions.Place]:
    """For whoever may see links, also before there is one."""
    return [additions.Place(HERE, "cable", _("Sites and links"))] if may(actor, Link, "view") else []


@require_GET
@inside
def links(request: HttpRequest) -> HttpResponse:
    """``/settings/hybrid/links``: every link of this tenant."""
    return _links(request)


def _links(request: HttpRequest, code: str = "") -> HttpResponse:
    must(request.actor, registry.of(Link), "view")
    here = Site.objects.filter(here=True).first()
    found = visible(request.actor, Link).select_related("site", "progress").order_by("state", "-enrolled_at")
    context = {
        "here": here,
        "here_kind": here.get_kind_display() if here else "",
        "links": [_shown(request, link) for link in found],
        "invite_url": f"{HERE}/invite" if request.actor.superuser and (here is None or here.number == 1) else "",
        "code": code,
        "command": f"ostoja site enrol --url {request.scheme}://{request.get_host()} --code {code}" if code else "",
        "minutes": int(enrolment.VALID_FOR.total_seconds() // 60),
    }
    return render(request, "hybrid/links.html", frame(request, HERE) | context)


def _shown(request: HttpRequest, link: Link) -> dict:
    return {
        "id": link.pk,
        "name": link.site.name,
        "kind": link.site.get_kind_display(),
        "where": link.url if link.dials else _("it dials this site"),
        "icon": {"cloud": "cloud", "desktop": "laptop"}.get(link.site.kind, "building-2"),
        "acts": _acts(request.actor, link),
        "verify_url": f"{HERE}/{link.pk}/verify"
        if link.dials and link.state == Link.State.OPEN and may(request.actor, Link, "rotate")
        else "",
        "state": _state(link),
    }


def _acts(actor, link: Link) -> list[dict]:
    """What can be done with the link now."""
    entry = registry.of(Link)
    return [
        {
            "label": spec.label, "icon": spec.icon, "danger": spec.tone == "danger", "confirm": spec.confirm,
            "url": places.record_of(entry, link.pk, f"do/{spec.name}", {"next": HERE}),
        }
        for spec in entry.verbs.values()
        if not why_not(link, spec) and explain(actor, link, spec.name)
        and (spec.name != "rotate" or link.state == Link.State.OPEN)
    ]  # fmt: skip


@require_GET
@inside
def state(request: HttpRequest, pk) -> HttpResponse:
    """How one link is now; the whole page again when what can be done with it has changed."""
    link = find(request.actor, Link, pk, related=("site", "progress"))
    response = render(request, "hybrid/link_state.html", {"state": _state(link)})
    if request.GET.get("was") not in (None, link.state):
        response["HX-Refresh"] = "true"
    return response


def _state(link: Link) -> dict:
    found = health.health_of(link)
    word, tone = health.word(found.state)
    progress = found.progress
    into, out = found.day
    open_now = link.state == Link.State.OPEN
    return {
        "url": f"{HERE}/{link.pk}/state?was={link.state}", "word": word, "tone": tone, "open": open_now,
        "sentences": health.sentences(found), "equal": found.is_equal, "equal_at": progress.equal_at, "equal_root": progress.equal_root,
        "tiles": [
            _lag(_("To send"), found.to_send),
            _lag(_("To take"), found.to_take),
            {"label": _("Conflicts"), "value": found.conflicts, "tone": "amber" if found.conflicts else "", "url": "/conflicts" if found.conflicts else "", "sub": _("to decide") if found.conflicts else _("none to decide")},
            {"label": _("Parked"), "value": found.parked, "tone": "amber" if found.parked else "", "since": found.parked_at, "sub": _("nothing waits")},
            {"label": _("Being called back"), "value": found.purges, "tone": "amber" if found.purges else "", "since": found.purged_at, "sub": _("all are gone")},
        ] if link.state != Link.State.REVOKED else [],
        "facts": [
            {"icon": "clock", "label": _("Last heard"), "at": progress.seen_at},
            {"icon": "list-ordered", "label": _("Not numbered since"), "at": found.unsequenced_at, "none": _("none")},
            {"icon": "activity", "label": _("Today"), "value": _("{into} in, {out} out").format(into=_bytes(into), out=_bytes(out))},
            {"icon": "timer", "label": _("Clocks differ by"), "value": _skew(found)},
            {"icon": "key-round", "label": _("Keys"), "value": ngettext("{n} day old, generation {g}", "{n} days old, generation {g}", found.key_days).format(n=found.key_days, g=found.use.generation)},
            {"icon": "calendar-days", "label": _("Linked"), "at": link.enrolled_at},
        ],
        "words": link.fingerprint, "compared": _compared(link) if link.dials else None,
    }  # fmt: skip


def _skew(found: health.Health) -> str:
    """How far the clocks are from each other, and whose is ahead where that is certain."""
    said = _duration(abs(found.progress.skew_ms) / 1000)
    if not found.skewed:
        return said
    ahead = _("{n}; the other one is ahead") if found.progress.skew_ms > 0 else _("{n}; this one is ahead")
    return ahead.format(n=said)


def _lag(label: str, lag: health.Lag) -> dict:
    said = _("{n} behind").format(n=_duration(lag.seconds)) if lag.changes else _("up to date")
    return {"label": label, "value": display.number(lag.changes), "tone": "amber" if lag.counts else "", "sub": said}


def _compared(link: Link) -> dict | None:
    """What the last comparison said that somebody asked for."""
    job = Job.objects.filter(kind=COMPARE, args__link=str(link.pk)).order_by("-created_at").first()
    if job is None:
        return None
    if job.state in (Job.State.QUEUED, Job.State.RUNNING):
        return {"running": True}
    if job.state != Job.State.DONE:
        return {"failed": job.error or _("The comparison failed."), "at": job.finished_at}
    differing = [_difference(d) for d in job.result.get("differences", [])[:SHOWN]]
    return {
        "equal": not job.result.get("total"),
        "total": job.result.get("total", 0),
        "rows": differing,
        "at": job.finished_at,
    }


WHY = {
    "different": gettext_lazy("differs"),
    "only here": gettext_lazy("only here"),
    "only there": gettext_lazy("only there"),
    "in conflict": gettext_lazy("in conflict"),
    "parked": gettext_lazy("parked"),
}


def _difference(found: dict) -> dict:
    entry = registry.get(found["model"])
    return {
        "object": str(capfirst(entry.model._meta.verbose_name)) if entry else found["model"],
        "record": found["record"],
        "url": places.record_of(entry, found["record"]) if entry and entry.parent is None and found["why"] != "only there" else "",
        "why": WHY.get(found["why"], found["why"]),
    }  # fmt: skip


def _bytes(count: int) -> str:
    size = count / 1024
    for unit in ("kB", "MB", "GB"):
        if size < 1000 or unit == "GB":
            return f"{display.number(round(size, 1 if size < 100 else 0))} {unit}"
        size /= 1024
    return ""


def _duration(seconds: float) -> str:
    """Seconds as people say them: 0.2 s, 45 s, 3 min, 5 h, 12 days."""
    if seconds < 10:
        return _("{n} s").format(n=display.number(round(seconds, 1)))
    for most, size, said in ((120, 1, _("{n} s")), (7200, 60, _("{n} min")), (172800, 3600, _("{n} h"))):
        if seconds < most:
            return said.format(n=round(seconds / size))
    return _("{n} days").format(n=round(seconds / 86400))


class InviteForm(forms.Form):
    """What kind of site joins."""

    kind = forms.ChoiceField(
        label=gettext_lazy("Kind of site"),
        choices=[(Site.Kind.PREMISES, gettext_lazy("Premises")), (Site.Kind.DESKTOP, gettext_lazy("Desktop"))],
    )


@inside
def invite(request: HttpRequest) -> HttpResponse:
    """Make a one-time code; it is shown this once."""
    must(request.actor, registry.of(Link), "view")
    here = Site.objects.filter(here=True).first()
    if here is not None and here.number != 1:
        raise NotAllowed(_("Sites are invited in the cloud: go to “Sites and links” there."))
    form = InviteForm(request.POST or None)
    words = _("You get a code for one site, good for a quarter of an hour, and the command to type there.")
    if here is None:
        words += " " + _("With it the company lives on two sites, and this one is the cloud.")
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            code = enrolment.invite(request.actor, form.cleaned_data["kind"])
            request.method = "GET"
            response = _links(request, code)
            response["HX-Retarget"], response["HX-Reswap"], response["HX-Reselect"] = "#main", "outerHTML", "#main"
            response["HX-Push-Url"] = HERE
            return response
    context = {
        "form": form, "title": _("Invite another site"), "words": words, "submit": _("Make the code"),
        "action": f"{HERE}/invite", "icon_name": "cable",
    }  # fmt: skip
    return render(request, "ostoja/records/verb_dialog.html", context, status=status)


@require_GET
@inside
def invited(request: HttpRequest) -> HttpResponse:
    """Whether the site that was invited has come: the page again when it has."""
    must(request.actor, registry.of(Link), "view")
    newest = EnrolmentCode.objects.order_by("-expires_at").first()
    response = HttpResponse(status=204)
    if newest is not None and newest.used_at is not None:
        response["HX-Redirect"] = HERE
    return response


@require_POST
@inside
def verify(request: HttpRequest, pk) -> HttpResponse:
    """Compare both sites now, in the background."""
    link = find(request.actor, Link, pk)
    if not explain(request.actor, link, "rotate"):
        raise NotAllowed(_("Your role does not include looking after links."))
    if not link.dials:
        raise NotFound(_("The premises compare: verify there."))
    back = HttpResponseRedirect(HERE)
    try:
        must_dial(str(link.pk))
        queue(request.actor, COMPARE, _("Comparing with {site}").format(site=link.site), link=str(link.pk))
    except OstojaError as error:
        return says.say(back, error.message, "red")
    return says.say(back, _("Both sites are being compared; the result shows up here."), "blue")
