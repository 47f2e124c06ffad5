"""A record's card says whether it is shared with the cloud; it is marked as sensitive, or opened again after a look at what leaves."""

from __future__ import annotations

from collections.abc import Iterable

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ostoja.access.policy import decided_elsewhere, find
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry
from ostoja.web import additions, places, says
from ostoja.web.columns import label_of, title_of
from ostoja.web.inside import of_object

from .. import marking, previewing
from ..core.terms import LOCAL, OPEN, SEALED
from ..models import Absent, Site
from ..standing import kind_here, travelling
from . import circle

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
    decides = kind == Site.Kind.PREMISES
    context = {
        "stands": stands, "tone": TONES[stands.state], "icon": ICONS[stands.state],
        "mark_url": _of_record(entry, record.pk, "mark")
        if decides and stands.state == marking.SHARED and marking.may_mark(request.actor, record) else "",
        "open_url": _of_record(entry, record.pk, "open")
        if decides and stands.marked and not stands.inherited and request.actor.superuser else "",
        "purges_url": "/settings/hybrid/purges" if request.actor.superuser else "",
    }  # fmt: skip
    if decides and not stands.inherited:
        context |= _sealing(request, entry, record, stands)
    return additions.Part("hybrid/state.html", context)


@additions.on_cards
def decided(request: HttpRequest, entry: Entry, record) -> additions.Part | None:
    """Why nothing is offered on the card of what another site decides."""
    said = decided_elsewhere(request.actor, entry)
    return additions.Part("hybrid/elsewhere.html", {"said": said}) if said else None


def _sealing(request: HttpRequest, entry: Entry, record, stands: marking.Standing) -> dict:
    """The way to seal a record; of a sealed one, who sees it, and the way back."""
    sealed, url = stands.state == marking.SEALED_HERE, _of_record(entry, record.pk, "mark")
    marks = marking.may_mark(request.actor, record)
    seals = marks and not marking.why_not_sealed(record, stands, _tables_for(request, Site.Kind.PREMISES))
    return {
        "seal_url": places.with_query(url, {"level": SEALED}) if seals else "",
        "unseal_url": places.with_query(url, {"level": LOCAL}) if sealed and marks else "",
        "circle": circle.shown(request, entry, record) if sealed else None,
    }


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
    if kind != Site.Kind.PREMISES:
        raise Refused(_("The premises decide what is sensitive: mark it there."))


@require_http_methods(["GET", "POST"])
@of_object
def mark(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """What the cloud has of a record and its parts, and the button that calls it back; with ``level=2`` the one that seals it."""
    _premises(request)
    record = find(request.actor, entry.model, pk)
    asked = request.POST if request.method == "POST" else request.GET
    level = SEALED if asked.get("level") == str(SEALED) else LOCAL
    stands = marking.standing_of(record, _tables_for(request, Site.Kind.PREMISES))
    way = _way(stands, level)
    if request.method == "POST":
        marking.mark(request.actor, record, level)
        return says.say(HttpResponseRedirect(places.record_of(entry, pk)), way["done"].format(thing=title_of(record)))
    if not marking.may_mark(request.actor, record):
        raise Refused(_("Whoever may change such records may mark them; you may not change this one."))
    shared = stands.state == marking.SHARED
    return _page(request, entry, record, way | {
        "heading": way["heading"].format(thing=title_of(record)), "hidden": [("level", level)],
        "preview": previewing.Preview(returns=_passing(request, record)) if shared else None, "variant": "primary",
    })  # fmt: skip


def _way(stands: marking.Standing, level: int) -> dict[str, str]:
    """The words for sealing, for taking a seal away, and for marking."""
    if level == SEALED:
        return {
            "heading": _("Seal: {thing}"),
            "words": _("It stays on the premises with all its parts, and only its owner, the owners of the organisation, you, and the people whom one of you names see it. For everybody else it is not there."),
            "submit": _("Seal"), "icon_name": "shield",
            "done": _("“{thing}” is sealed. Name the people who may see it besides you."),
        }  # fmt: skip
    if stands.state == marking.SEALED_HERE:
        return {
            "heading": _("Take the seal away: {thing}"),
            "words": _("It stays on the premises. Everybody whose role shows such records sees it again, and the list of people is forgotten."),
            "submit": _("Take the seal away"), "icon_name": "shield-x",
            "done": _("“{thing}” is not sealed any more; it stays on the premises."),
        }  # fmt: skip
    return {
        "heading": _("Mark as sensitive: {thing}"),
        "words": _("It stays on the premises, with all its parts, and is called back from the cloud."),
        "submit": _("Mark as sensitive"), "icon_name": "lock",
        "done": _("“{thing}” stays on the premises from now on; the cloud gives it up."),
    }  # fmt: skip


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
    return previewing.narrowed(request.actor, previewing.of_record(record, request.actor))


def _page(request: HttpRequest, entry: Entry, record, context: dict) -> HttpResponse:
    request.place = places.list_of(entry)
    context |= {
        "action": request.path, "back_url": places.record_of(entry, record.pk), "title": title_of(record),
        "plural": label_of(entry), "list_url": places.list_of(entry),
    }  # fmt: skip
    return render(request, "hybrid/mark.html", context)
