"""A record's card says whether it is shared with the cloud; it is marked as sensitive, or opened again after a look at what leaves."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ostoja.access.policy import find
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry
from ostoja.web import additions, places, says
from ostoja.web.columns import label_of, title_of
from ostoja.web.inside import of_object

from .. import marking, previewing
from ..core.terms import LOCAL, OPEN, SEALED
from ..models import Absent, Site
from ..standing import kind_here, travelling

TONES = {marking.SHARED: "blue", marking.STAYS: "green", marking.SEALED_HERE: "violet"}
ICONS = {marking.SHARED: "cloud", marking.STAYS: "lock", marking.SEALED_HERE: "shield"}


def _of_record(entry: Entry, pk, what: str) -> str:
    return f"/hybrid/{entry.slug}/{pk}/{what}"


def _tables_for(request: HttpRequest, kind: str):
    """What may travel, worked out once for a request."""
    if not hasattr(request, "hybrid_tables"):
        request.hybrid_tables = travelling(kind)
    return request.hybrid_tables


# --- on the card ----------------------------------------------------------------------------------------------------------


@additions.on_cards
def state(request: HttpRequest, entry: Entry, record) -> additions.Part | None:
    """Whether the record is shared with the cloud; only on the premises, and only of what can travel."""
    kind = kind_here(request)
    if kind in ("", Site.Kind.CLOUD) or entry.model.sync == "local":
        return None
    stands = request.hybrid_standing = marking.standing_of(record, _tables_for(request, kind))
    context = {
        "stands": stands, "tone": TONES[stands.state], "icon": ICONS[stands.state],
        "mark_url": _of_record(entry, record.pk, "mark")
        if stands.state == marking.SHARED and marking.may_mark(request.actor, record) else "",
        "open_url": _of_record(entry, record.pk, "open")
        if stands.marked and not stands.inherited and request.actor.superuser else "",
        "purges_url": "/settings/hybrid/purges" if request.actor.superuser else "",
    }  # fmt: skip
    return additions.Part("hybrid/state.html", context)


@additions.elsewhere
def held(request: HttpRequest, entry: Entry, records: Iterable) -> additions.Elsewhere:
    """In the cloud: what stands for fields and references whose values are on the premises. One query for all records."""
    records = list(records)
    if not records or kind_here(request) != Site.Kind.CLOUD:
        return {}
    table = _tables_for(request, Site.Kind.CLOUD).get(entry.label)
    if table is None:
        return {}
    kept = {r.pk: {} for r in records}
    closed = [entry.fields[n] for n in table.columns if n not in table.open(OPEN)]
    for record in records:
        for field in closed:
            if _is_empty(field, getattr(record, field.attname)):
                kept[record.pk][field.name] = placeholder(entry.label, record.pk, field.name)
    for absent in Absent.objects.filter(record__in=[r.pk for r in records]):
        state = "held" if absent.alias else "coming"
        kept[absent.record][absent.field] = placeholder(entry.label, absent.record, absent.field, state)
    return kept


def _is_empty(field, value) -> bool:
    return value in (None, "", False, [], {}) or (field.has_default() and value == field.get_default())


def placeholder(label: str, record, field: str, state: str = "held") -> str:
    """What stands in place of a value that is not here: ``held`` on the premises, or ``coming`` from there."""
    return render_to_string("hybrid/held.html", {"object": label, "record": record, "field": field, "state": state})


# --- marking and opening --------------------------------------------------------------------------------------------------


def _premises(request: HttpRequest) -> None:
    kind = kind_here(request)
    if not kind:
        raise NotFound(_("This tenant lives on one site only."))
    if kind == Site.Kind.CLOUD:
        raise Refused(_("The premises decide what is sensitive: mark it there."))


@require_http_methods(["GET", "POST"])
@of_object
def mark(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """What the cloud has of a record and its parts, and the button that calls it back."""
    _premises(request)
    record = find(request.actor, entry.model, pk)
    url = places.record_of(entry, pk)
    if request.method == "POST":
        marking.mark(request.actor, record, SEALED if request.POST.get("level") == "2" else LOCAL)
        text = _("“{thing}” stays on the premises from now on; the cloud gives it up.").format(thing=title_of(record))
        return says.say(HttpResponseRedirect(url), text)
    if not marking.may_mark(request.actor, record):
        raise Refused(_("Whoever may change a record may mark it; you may not change this one."))
    return _page(request, entry, record, {
        "heading": _("Mark as sensitive: {thing}").format(thing=title_of(record)),
        "words": _("It stays on the premises, with all its parts, and is called back from the cloud."),
        "preview": previewing.Preview(returns=_passing(request, record)),
        "submit": _("Mark as sensitive"), "icon_name": "lock", "variant": "primary",
    })  # fmt: skip


@require_http_methods(["GET", "POST"])
@of_object
def open_again(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Exactly what leaves when a record is opened again, and the button that opens it."""
    _premises(request)
    record = find(request.actor, entry.model, pk)
    if request.method == "POST":
        marking.open_again(request.actor, record)
        text = _("“{thing}” is shared with the cloud again.").format(thing=title_of(record))
        return says.say(HttpResponseRedirect(places.record_of(entry, pk)), text)
    reason = marking.why_not_opened(request.actor, record)
    if reason:
        raise Refused(reason)
    return _page(request, entry, record, {
        "heading": _("Open again: {thing}").format(thing=title_of(record)),
        "words": _("It leaves the premises as it is now, with its parts; nothing older goes along."),
        "preview": previewing.Preview(leaves=_passing(request, record)),
        "submit": _("Open it: let this leave"), "icon_name": "lock-open", "variant": "danger",
    })  # fmt: skip


def _passing(request: HttpRequest, record) -> list[previewing.Passing]:
    return previewing.narrowed(request.actor, previewing.of_record(record))


def _page(request: HttpRequest, entry: Entry, record, context: dict) -> HttpResponse:
    request.place = places.list_of(entry)
    context |= {
        "action": request.path, "back_url": places.record_of(entry, record.pk), "title": title_of(record),
        "plural": label_of(entry), "list_url": places.list_of(entry),
    }  # fmt: skip
    return render(request, "hybrid/mark.html", context)
