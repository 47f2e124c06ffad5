"""What was called back from the cloud: when it was told, when it was gone, until when backups hold it, and when that was verified."""

from __future__ import annotations

import datetime as dt
from datetime import timedelta

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja.access.policy import may, visible
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, OstojaError
from ostoja.tenancy.context import current_tenant
from ostoja.web import places, says
from ostoja.web.inside import inside
from ostoja.web.views.settings import frame

from ..core.terms import OPEN
from ..joining import compare_sites
from ..models import Clock, Label, Link, PurgeCase, Site
from ..standing import travelling
from ..tables import Tables
from .policy import hybrid_only

HERE = "/settings/hybrid/purges"
PAGE = 50
SILENCE = timedelta(minutes=2)


@require_GET
@inside
def purges(request: HttpRequest) -> HttpResponse:
    """``/settings/hybrid/purges``: every case, the newest first."""
    kind = hybrid_only(request)
    calls = kind == Site.Kind.PREMISES
    cases = PurgeCase.objects.select_related("link__progress", "link__site").order_by("-created_at", "-pk")
    pages = Paginator(cases, PAGE)
    page = pages.get_page(request.GET.get("page"))
    names = _names(request.actor, page.object_list)
    opened = _opened(page.object_list, travelling(kind))
    progress = [link.progress for link in Link.objects.filter(state=Link.State.OPEN).select_related("progress")]
    waiting = cases.filter(gone_at=None).count()
    context = {
        "calls": calls,
        "cases": [_case(c, names, c.pk in opened) for c in page.object_list],
        "page": page,
        "tiles": _tiles(cases, waiting, progress) if kind != Site.Kind.DESKTOP else [],
        "silent_since": _silent_since(progress) if waiting and calls else None,
        "verify_url": "" if kind == Site.Kind.CLOUD or not progress else f"{HERE}/verify",
    }
    return render(request, "hybrid/purges.html", frame(request, HERE) | context)


def _tiles(cases, waiting: int, progress) -> list[dict]:
    today = timezone.localdate()
    in_backups = cases.filter(backups_until__gte=today).count()
    equal = max((p.equal_at for p in progress if p.equal_at), default=None)
    return [
        {"label": _("Waiting for the cloud"), "value": waiting, "tone": "amber" if waiting else ""},
        {"label": _("Gone from live data"), "value": cases.exclude(gone_at=None).count(), "tone": ""},
        {"label": _("Still in backups of the cloud"), "value": in_backups, "tone": ""},
        {"label": _("Last found equal"), "at": equal, "tone": ""},
    ]


def _silent_since(progress) -> dt.datetime | None:
    """When the cloud was last heard, if that is a while ago; None when it answers."""
    heard = [p.seen_at for p in progress if p.seen_at]
    if not heard:
        return None
    return max(heard) if timezone.now() - max(heard) > SILENCE else None


def _opened(cases, tables: Tables) -> set:
    """Those of the cases whose record was opened again since: a later label counts, and it lets the record be shared."""
    keys = [case.record for case in cases]
    versions = dict(Clock.objects.filter(pk__in=keys).values_list("pk", "label_ver"))
    marked = set(Label.objects.filter(pk__in=keys, level__gt=OPEN).values_list("pk", flat=True))
    return {
        case.pk for case in cases
        if versions.get(case.record, 0) > case.label_ver and case.record not in marked
        and (table := tables.get(case.about)) is not None and table.holdable(OPEN)
    }  # fmt: skip


def _case(case: PurgeCase, names: dict, opened: bool) -> dict:
    model = next((m for m in registry.records() if m._meta.label_lower == case.about), None)
    name, url = names.get((case.about, case.record), ("", ""))
    progress = case.link.progress
    verified = progress.equal_at if case.gone_at and progress.equal_at and progress.equal_at > case.gone_at else None
    if opened:
        state, tone = _("Opened again since"), "blue"
    elif case.gone_at is None:
        state, tone = _("Waiting for the cloud"), "amber"
    elif case.backups_until and case.backups_until < timezone.localdate():
        state, tone = _("Gone, also from backups"), "green"
    else:
        state, tone = _("Gone"), "green"
    return {
        "name": name or _("(a record that is not here)"), "url": url, "state": state, "tone": tone,
        "object": str(capfirst(model._meta.verbose_name)) if model else case.about,
        "told_at": case.sent_at or case.created_at, "gone_at": case.gone_at, "backups_until": case.backups_until,
        "verified_at": verified,
    }  # fmt: skip


def _names(actor, cases) -> dict:
    """{(object, record): (name, address)} of the records that are here. One query for each object."""
    wanted: dict[str, list] = {}
    for case in cases:
        wanted.setdefault(case.about, []).append(case.record)
    found = {}
    for label, keys in wanted.items():
        entry = registry.get(label)
        if entry is None or not may(actor, entry, "view"):
            continue
        for record in visible(actor, entry.model).filter(pk__in=keys):
            found[label, record.pk] = (str(record), places.record_of(entry, record.pk))
    return found


@require_POST
@inside
def verify(request: HttpRequest) -> HttpResponse:
    """Compare both sides now: equal means that nothing which was called back is there any more."""
    if hybrid_only(request) == Site.Kind.CLOUD:
        raise NotAllowed(_("The premises compare: verify there."))
    back = HttpResponseRedirect(HERE)
    try:
        found = compare_sites(current_tenant())
    except OstojaError as error:
        return says.say(back, error.message, "red")
    if found:
        text = ngettext("{n} record differs.", "{n} records differ.", len(found)).format(n=len(found))
        return says.say(back, f"{text} {found[0]['model']}: {found[0]['why']}", "amber")
    return says.say(back, _("Verified: both sides hold the same, and nothing that was called back."))
