"""Conflicts: what two sites wrote against each other, both values readable, the rule that applied, and the ways to turn it around."""

from __future__ import annotations

import copy
import datetime as dt
from collections import Counter

from django.core.exceptions import ObjectDoesNotExist
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja import gate
from ostoja.access.models import User
from ostoja.access.policy import explain, find, may, must, visible, visible_fields, writable_fields
from ostoja.journal.models import Change
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import SYSTEM_FIELDS, why_not
from ostoja.web import additions, display, places, says
from ostoja.web.columns import column, title_of
from ostoja.web.inside import inside

from .. import clashes, disputes
from ..models import Conflict
from ..resolving import taken_along, value_of
from ..standing import kind_here
from .authors import said as said_of

HERE = "/conflicts"
PAGE = 50
TONES = {"open": "amber", "ours": "green", "theirs": "green", "settled": "gray"}


@additions.in_navigation
def waiting(request: HttpRequest) -> list[additions.Place]:
    """The open conflicts that concern whoever looks, while there are any."""
    actor = request.actor
    if not may(actor, Conflict, "view") or not kind_here(request):
        return []
    count = disputes.concerning(actor).count()
    return [additions.Place(HERE, "git-compare", _("Conflicts"), count)] if count or request.path == HERE else []


@additions.on_cards
def on_card(request: HttpRequest, entry, record) -> additions.Part | None:
    """A line on the card of a record that has open conflicts."""
    if entry.model is Conflict or not may(request.actor, Conflict, "view") or not kind_here(request):
        return None
    keys = list(disputes.concerning(request.actor).filter(record=record.pk).values_list("pk", flat=True)[: PAGE + 1])
    if not keys:
        return None
    said = ngettext("{n} conflict", "{n} conflicts", len(keys)).format(n=len(keys))
    url = places.record_of(registry.of(Conflict), keys[0]) if len(keys) == 1 else f"{HERE}?record={record.pk}"
    return additions.Part("hybrid/conflict_note.html", {"said": said, "url": url})


@require_GET
@inside
def conflicts(request: HttpRequest) -> HttpResponse:
    """``/conflicts``: what waits for a decision of whoever looks; of one record where ``record`` names it."""
    must(request.actor, registry.of(Conflict), "view")
    request.place = HERE
    rows = disputes.concerning(request.actor).select_related("site", "owner").order_by("-created_at", "-pk")
    counts = Counter(rows.values_list("about", flat=True))
    wanted = request.GET.get("object", "")
    if wanted in counts:
        rows = rows.filter(about=wanted)
    if only := parse_uuid(request.GET.get("record", "")):
        rows = rows.filter(record=only)
    page = Paginator(rows, PAGE).get_page(request.GET.get("page"))
    tabs = [{"label": _("All"), "count": sum(counts.values()), "url": HERE, "current": wanted not in counts}]
    for label, count in sorted(counts.items()):
        entry = registry.get(label)
        name = str(capfirst(entry.model._meta.verbose_name_plural)) if entry else label
        tabs.append({"label": name, "count": count, "url": f"{HERE}?object={label}", "current": wanted == label})
    names = _names(request.actor, page.object_list)
    context = {"tabs": tabs if len(counts) > 1 else [], "page": page, "rows": [_row(request.actor, c, names) for c in page.object_list]}  # fmt: skip
    return render(request, "hybrid/conflicts.html", context)


def _row(actor, conflict: Conflict, names: dict) -> dict:
    ours, theirs = _both(actor, conflict)
    return {
        "url": places.record_of(registry.of(Conflict), conflict.pk), "name": names.get(conflict.record) or _("(not here any more)"),
        "about": disputes.said(conflict), "what": disputes.headline(conflict), "ours": ours, "theirs": theirs,
        "site": conflict.site.name, "at": conflict.created_at, "owner": str(conflict.owner or ""), "id": conflict.record,
    }  # fmt: skip


def _names(actor, found) -> dict:
    """{record: its name} of the records that may be seen; those that were deleted here by what is kept of them."""
    wanted: dict[str, list] = {}
    for one in found:
        wanted.setdefault(one.about, []).append(one.record)
    names = {}
    for label, keys in wanted.items():
        entry = registry.get(label)
        if entry is not None:
            names |= {r.pk: title_of(r) for r in visible(actor, entry.model).filter(pk__in=keys)}
    for one in found:
        entry = registry.get(one.about)
        if one.record in names or entry is None:
            continue
        if disputes.record_of(one) is not None:
            names[one.record] = _("(not visible)")
        else:
            kept = _kept(actor, one)
            names[one.record] = kept.get(entry.surface.title) or _name_before(actor, entry, one)
    return names


def _kept(actor, found: Conflict) -> dict:
    """What is kept of a record that was deleted at one site and changed at the other, as far as it may be seen."""
    values = disputes.values(actor, found)
    return next((v for v in (values["ours"], values["theirs"]) if isinstance(v, dict)), {})


def _name_before(actor, entry, found: Conflict) -> str:
    """What a record was called when it was deleted here, if that may be seen."""
    if entry.surface.title not in visible_fields(actor, entry):
        return ""
    gone = Change.objects.filter(record=found.record, op="D", old__isnull=False).order_by("-id").first()
    return str(gone.old.get(entry.surface.title) or "") if gone is not None else ""


def _both(actor, conflict: Conflict) -> tuple[str, str]:
    """Both values as the field draws them; empty where they are not of one field."""
    if not conflict.field:
        return "", ""
    if conflict.field not in disputes.seen_fields(actor, conflict):
        return _("(not visible)"), _("(not visible)")
    record = disputes.record_of(conflict)
    return tuple(_drawn(actor, conflict, record, conflict.field, text) for text in (conflict.ours, conflict.theirs))


def _drawn(actor, conflict: Conflict, record, name: str, text) -> str:
    """One value as the field draws it on a card."""
    entry = registry.get(conflict.about)
    one = column(actor, entry, name) if entry is not None else None
    if one is None:
        return _("(not visible)")
    holder = copy.copy(record) if record is not None else entry.model()
    if record is not None:
        holder._state = copy.copy(record._state)
        holder._state.fields_cache = {}
    try:
        value = value_of(one.field, text)
        if one.field.is_relation and value is not None:
            related = one.field.related_model
            rows = visible(actor, related) if related is not User else User.objects.all()
            if not rows.filter(pk=value).exists():
                return _("(not visible)")
        setattr(holder, one.field.attname, value)
        drawn = _exactly(value, one, holder)
    except (Refused, ValueError, ObjectDoesNotExist):
        return str(text)
    return drawn or display.NOTHING


def _exactly(value, one, holder) -> str:
    """A value as its field draws it; a moment by date and time, which two of one day can be told apart by."""
    if isinstance(value, dt.datetime):
        return display.moment(value)
    return display.lines(value) if one.kind == "long" else one.html(holder)


@require_GET
@inside
def conflict(request: HttpRequest, pk) -> HttpResponse:
    """``/conflicts/<id>``: everything about one conflict."""
    found = find(request.actor, Conflict, pk, related=("site", "owner"))
    request.place = HERE
    return _page(request, found)


def _page(request: HttpRequest, found: Conflict, refused: str = "", status: int = 200) -> HttpResponse:
    actor, entry = request.actor, registry.get(found.about)
    kind, record = disputes.kind_of(found), disputes.record_of(found)
    seen = record is not None and visible(actor, type(record)).filter(pk=record.pk).exists()
    ours, theirs = disputes.authors(found)
    deletion = disputes.deletion(found, ours, theirs)
    values = _both(actor, found)
    stands, along = _stands(found, record), _along(actor, found)
    context = {
        "conflict": found, "title": _names(actor, [found]).get(found.record) or _("(not here any more)"),
        "about": disputes.said(found), "headline": disputes.headline(found), "rule": disputes.rule_in_words(found),
        "way_out": disputes.way_out(found) if stands != "theirs" or kind == disputes.BOTH else "", "reason": disputes.values(actor, found)["reason"] if _says_more(found) else "",
        "state": found.get_state_display(), "tone": TONES[found.state], "is_open": found.state == Conflict.State.OPEN,
        "record_url": places.record_of(entry, record.pk) if seen and entry.parent is None else "",
        "sides": [
            _side(_("Ours"), values[0], ours, stands == "ours", along[0]), _side(_("Theirs"), values[1], theirs, stands == "theirs", along[1]),
        ] if kind not in (disputes.DELETED, disputes.KEPT, disputes.BOTH) else [],
        "fields": _fields(actor, found) if kind == disputes.DELETED else [],
        "deletion": {"label": deletion[0], "author": said_of(deletion[1])} if deletion else None,
        "author": said_of(theirs if found.ours is None else ours), "kept": _("As it was changed there") if found.ours is None else _("As it was here"), "twins": _twins(actor, found, record) if kind == disputes.BOTH else [],
        "acts": _acts(actor, found, stands) if found.state == Conflict.State.OPEN else [], "refused": refused,
    }  # fmt: skip
    return render(request, "hybrid/conflict.html", context, status=status)


def _along(actor, found: Conflict) -> tuple[list, list]:
    """What a step took along: [(field, value)] of ours and of theirs."""
    told = [(disputes.field_label(registry.get(o.about), o.field), *_both(actor, o)) for o in taken_along(found)]
    return [(label, ours) for label, ours, _theirs in told], [(label, theirs) for label, _ours, theirs in told]


def _says_more(found: Conflict) -> bool:
    """Whether the reason of a conflict says more than the rule does in words: it is a rule's own sentence then."""
    return found.rule not in (disputes.DELETED, disputes.BOTH) and found.reason not in clashes.WORDS.values()


def _stands(found: Conflict, record) -> str:
    """Whose value the record has now: ``ours``, ``theirs``, or nothing where it has moved on or is about no field."""
    if record is None or not found.field:
        return ""
    field = record._meta.get_field(found.field)
    for side in ("ours", "theirs"):
        try:
            if getattr(record, field.attname) == value_of(field, getattr(found, side)):
                return side
        except Refused:
            continue
    return ""


def _side(label: str, value, author: disputes.Author, stands: bool, along: list) -> dict:
    return {"label": label, "value": value, "author": said_of(author), "stands": stands, "along": along}


def _fields(actor, found: Conflict) -> list[dict]:
    """What the deleted record was, field by field, as far as it may be seen."""
    entry = registry.get(found.about)
    out = []
    for name, text in _kept(actor, found).items():
        if text not in (None, "") and name not in SYSTEM_FIELDS:
            out.append({"label": disputes.field_label(entry, name), "value": _drawn(actor, found, None, name, text)})
    return out


def _twins(actor, found: Conflict, record) -> list[dict]:
    """Both records of a clash, with what can be done about each."""
    made = []
    both = [t for t in (record, disputes.twin_of(found)) if t and visible(actor, type(t)).filter(pk=t.pk).exists()]
    for one in both:
        entry = registry.of(type(one))
        renames = found.field in writable_fields(actor, entry) and bool(explain(actor, one, "change"))
        merge = entry.verbs.get("merge")
        made.append({
            "title": title_of(one), "id": one.pk, "url": places.record_of(entry, one.pk),
            "value": getattr(one, found.field) if found.field in visible_fields(actor, entry) else _("(not visible)"),
            "rename": str(entry.fields[found.field].verbose_name) if renames else "", "key": found.field,
            "merge_url": _merge_url(found, entry, one, both) if merge and not why_not(one, merge) and explain(actor, one, "merge") else "",
            "created": one.created_at,
        })  # fmt: skip
    return made


def _merge_url(found: Conflict, entry, one, both: list) -> str:
    """Where a record is merged into the other one, which is filled in; and back to the conflict."""
    into = next(n for n in entry.verbs["merge"].asks if entry.fields[n].related_model is entry.model)
    other = next((str(t.pk) for t in both if t is not one), "")
    given = {into: other, "next": places.record_of(registry.of(Conflict), found.pk)}
    return places.record_of(entry, one.pk, "do/merge", given)


def _labels(found: Conflict, stands: str) -> dict[str, str]:
    """{verb: what it does here}: the one that leaves what stands first, whoever wrote that."""
    labels = dict(disputes.verbs_for(found))
    if stands != "theirs" or "take_theirs" not in labels:
        return labels
    return {**labels, "take_theirs": _("Leave theirs"), "keep_ours": _("Put ours back")}


def _acts(actor, found: Conflict, stands: str) -> list[dict]:
    """The verbs that make sense, the one that leaves what stands first; with the reason where they may not be done."""
    entry, record = registry.of(Conflict), disputes.record_of(found)
    labels, made = _labels(found, stands), []
    leaves = {"ours": "keep_ours", "theirs": "take_theirs"}.get(stands) or next(iter(labels))
    if found.rule == disputes.BOTH:
        leaves = "settle"
    moved_on = bool(found.field) and not stands
    order = sorted(labels, key=lambda verb: verb != leaves)
    for verb in order:
        decision = explain(actor, found, verb)
        if decision and record is not None:
            decision = explain(actor, record, "change")
        look = verb if verb == "settle" else "keep_ours" if verb == leaves else "take_theirs"
        made.append({
            "label": labels[verb], "icon": entry.verbs[look].icon, "url": f"{HERE}/{found.pk}/decide", "verb": verb,
            "primary": verb == leaves and not moved_on, "why_not": "" if decision else decision.reason,
        })  # fmt: skip
    return made


@require_POST
@inside
def decide(request: HttpRequest, pk) -> HttpResponse:
    """Turn a conflict around, or leave it; where a rule stands against it, its sentence is shown with both values."""
    found = find(request.actor, Conflict, pk, related=("site", "owner"))
    verb = request.POST.get("verb", "")
    label = _labels(found, _stands(found, disputes.record_of(found))).get(verb)
    if label is None:
        raise NotFound(_("There is no such action."))
    try:
        gate.perform(request.actor, found, verb)
    except OstojaError as error:
        return _page(request, found, error.message, error.status)
    return says.say(HttpResponseRedirect(HERE), _("{verb}: done, at every site.").format(verb=label))


@require_POST
@inside
def rename(request: HttpRequest, pk) -> HttpResponse:
    """Give one of two records with the same value another one; with that it is no conflict any more."""
    found = find(request.actor, Conflict, pk, related=("site", "owner"))
    if found.rule != disputes.BOTH or found.state != Conflict.State.OPEN:
        raise Refused(_("There is nothing to rename here."))
    one = next((t for t in (disputes.record_of(found), disputes.twin_of(found)) if t and str(t.pk) == request.POST.get("record")), None)  # fmt: skip
    if one is None:
        raise NotAllowed(_("The record is not here any more, or you may not see it."))
    try:
        gate.perform(request.actor, one, "change", {found.field: request.POST.get("value", "").strip()})
        gate.perform(request.actor, found, "settle")
    except OstojaError as error:
        return _page(request, found, error.message, error.status)
    return says.say(
        HttpResponseRedirect(places.record_of(registry.of(Conflict), found.pk)), _("Renamed; it is settled with that.")
    )
