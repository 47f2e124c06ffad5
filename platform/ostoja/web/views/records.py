"""Records: the card with its panels and its story, the form, verbs, deletion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_POST

from ostoja import gate
from ostoja.access.models import User
from ostoja.access.policy import explain, find, may, must, visible, visible_fields, writable_fields
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, Refused, Stale
from ostoja.kernel.record import SYSTEM_FIELDS, why_not
from ostoja.kernel.registry import Entry

from .. import additions, display, forms, held, places, says
from ..columns import (
    Column,
    column,
    columns,
    entry_of,
    joined,
    label_of,
    may_see,
    row_of,
    title_field,
    title_of,
    tone_of,
    tone_of_related,
)
from ..concealing import concealed
from ..inside import is_htmx, of_object
from ..story import story
from .files import attached, is_files
from .lists import about, subtitle

SIDE_ROWS = 8
TAB_ROWS = 30
BUTTONS = 3
ICONS = {
    "text": "tag",
    "long": "file-text",
    "json": "tags",
    "person": "user",
    "relation": "link",
    "money": "banknote",
    "number": "hash",
    "date": "calendar-days",
    "moment": "clock",
    "choice": "circle-dot",
    "email": "mail",
    "url": "globe",
    "bool": "circle-check",
}


@dataclass
class Panel:
    """Related records on a card: which, how they are related, and the columns to show."""

    name: str
    label: str
    entry: Entry
    link: str  # the field of the related record that points here
    part: bool  # it is a part of the record: shown at its side
    names: tuple[str, ...] = field(default_factory=tuple)

    def rows(self, actor, record) -> models.QuerySet:
        """The related records that may be seen."""
        return visible(actor, self.entry.model).filter(**{self.link: record})


def panels(actor, entry: Entry) -> list[Panel]:
    """The panels of an object's card that the actor may see."""
    made = []
    for declared in entry.surface.panels:
        relation = next(
            (r for r in entry.model._meta.related_objects if r.get_accessor_name() == declared.related), None
        )
        related = entry_of(relation.related_model) if relation is not None else None
        if related is None or not may(actor, related, "view"):
            continue
        part = (
            related.surface.inside == relation.field.name
            and declared.related not in entry.surface.lines
            and not is_files(related)
        )
        names = declared.columns or tuple(n for n in related.surface.list if n != relation.field.name)
        label = str(capfirst(declared.label)) if declared.label else label_of(related)
        made.append(Panel(declared.related, label, related, relation.field.name, part, names))
    return sorted(made, key=lambda p: p.entry.surface.timeline is None)  # what happened comes first


@require_GET
@of_object
def card(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Everything about one record on one page."""
    request.place = places.list_of(entry)
    actor = request.actor
    gone = held.fields(entry)
    shown = columns(actor, entry, [n for n in visible_fields(actor, entry) if n not in SYSTEM_FIELDS and n not in gone])
    try:
        record = find(actor, entry.model, pk, related=joined(shown))
    except NotFound:
        return _elsewhere(request, entry, pk)
    concealed(actor, [record])
    related = panels(actor, entry)
    tabs = [p for p in related if not p.part]
    names = [p.name for p in tabs] + ["history"]
    wanted = request.GET.get("tab", "")
    current = wanted if wanted in names else names[0]
    url = places.record_of(entry, pk)
    tab = next((p for p in tabs if p.name == current), None)
    context = _content(request, entry, tab, record)
    only_tab = request.headers.get("HX-Target", "").endswith("#record-tabs")
    view = {
        "id": record.pk,
        "title": title_of(record),
        "version": record.version,
        "created": record.created_at,
        "updated": record.updated_at,
        "tabs": [
            {"name": p.name, "label": p.label, "url": f"{url}?tab={p.name}", "current": p.name == current} for p in tabs
        ]
        + [{"name": "history", "label": _("History"), "url": f"{url}?tab=history", "current": current == "history"}],
        "tab": {"name": current, "template": context["template"]},
    }
    if not only_tab:
        kept = additions.kept_elsewhere(request, entry, [record]).get(record.pk, {})
        view |= _details(actor, entry, record, shown, kept) | {
            "held": held.of_record(
                request, entry, pk, [p.entry for p in related if p.part], [c.name for c in shown if c.name in kept]
            ),
            "sides": [_side(actor, p, record, url) for p in related if p.part and not held.wholly(p.entry)],
            "right": [
                _right(actor, p, record)
                for p in tabs
                if p is not tab and p.entry.surface.board and not held.wholly(p.entry)
            ][:2],
            **_split(verbs(actor, entry, record)),
            "edit_url": places.record_of(entry, pk, "edit")
            if entry.surface.form and explain(actor, record, "change")
            else "",
            "more": _more(request, entry, record),
            "parts": additions.parts_of(request, entry, record),
        }
    template = "ostoja/records/card_tabs.html" if only_tab else "ostoja/records/card.html"
    return render(request, template, context | {"object": about(actor, entry), "record": view})


def _elsewhere(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """The page of a record that was here and is kept elsewhere now. Raises NotFound for any other that is not here."""
    other = held.keeper()
    if other is None or not (other.wholly(entry) or other.called_back(entry, pk)):
        raise NotFound(
            _("There is no such {thing}, or you may not see it.").format(thing=entry.model._meta.verbose_name)
        )
    place = held.place(
        request, [entry.model._meta.verbose_name], f"{entry.slug}/{pk}", {"whole": "1"}, places.record_of(entry, pk)
    )
    return render(request, "ostoja/records/held.html", {"object": about(request.actor, entry), "held": place})


def _details(actor, entry: Entry, record, shown: list[Column], kept: Mapping[str, str]) -> dict:
    """Name, pills and the values of the fields, arranged as in the form; empty ones are left out, but not those ``kept`` elsewhere."""
    by_name = {c.name: c for c in shown}
    pills, used = [], {title_field(entry), "currency"}
    told = _told_by_lane(record, shown)
    for one in shown:
        if one.kind == "choice" and str(getattr(record, one.name)) in entry.surface.badges:
            if str(getattr(record, one.name)) not in told:
                pills.append(one.html(record))
            used.add(one.name)
        elif one.pill and getattr(record, one.field.attname) is not None:
            pills.append(display.pill(title_of(getattr(record, one.name)), tone_of_related(getattr(record, one.name))))
            used.add(one.name)
    sections = []
    form = forms.plain_layout(entry)
    rest = [n for n in by_name if all(n not in names for _label, names in form)]
    for label, names in [*form, ("", rest)]:
        props = []
        for name in names:
            one = by_name.get(name)
            if one is None or name in used:
                continue
            used.add(name)
            if name in kept:
                props.append({"icon": ICONS.get(one.kind, ""), "label": one.label, "value": kept[name]})
                continue
            if one.kind == "bool" and not getattr(record, name):
                continue
            value = one.html(record) if one.kind != "long" else display.lines(getattr(record, one.name))
            if value:
                props.append({"icon": ICONS.get(one.kind, ""), "label": one.label, "value": value})
        if not props:
            continue
        if sections and not label:
            sections[-1]["props"] += props
        else:
            sections.append({"label": label or _("Details"), "props": props})
    return {
        "pills": pills,
        "sections": sections,
        "subtitle": subtitle(actor, entry, record),
        "is_person": entry.model is User or getattr(record, "kind", "") == "person",
    }


def _told_by_lane(record, shown: list[Column]) -> set[str]:
    """The states that a lane stands for: a deal in the stage “Won” need not say a second time that it is won."""
    lanes = [getattr(record, c.name) for c in shown if c.pill and c.kind == "relation"]
    return {str(getattr(lane, f.attname)) for lane in lanes if lane for f in lane._meta.concrete_fields if f.choices}


def _side(actor, panel: Panel, record, url: str) -> dict:
    """Parts of a record in a few lines: contact points, addresses …"""
    shown = columns(actor, panel.entry, panel.names)
    rows = concealed(actor, panel.rows(actor, record).select_related(*joined(shown)).order_by("pk")[:SIDE_ROWS])
    lead = next((c for c in shown if c.lead), None)
    items = []
    can_change = may(actor, panel.entry, "change")
    for row in rows:
        words = [str(c.html(row)) for c in shown if c is not lead and c.kind in ("text", "choice")]
        words.append(" – ".join(said for c in shown if c.kind in ("date", "moment") and (said := str(c.html(row)))))
        items.append(
            {
                "id": row.pk,
                "name": title_of(row),
                "title": lead.html(row) if lead else title_of(row),
                "sub": display.safe_join(" · ", [w for w in words if w]),
                "url": places.record_of(panel.entry, row.pk, "edit", {"next": url}) if can_change else "",
                "card_url": places.record_of(panel.entry, row.pk),
                "icon": panel.entry.surface.icon,
            }
        )
    add = may(actor, panel.entry, "add") and panel.entry.surface.form
    return {
        "label": panel.label,
        "items": items,
        "add_url": places.part_of(panel.entry, "new", {panel.link: record.pk, "next": url}) if add else "",
    }


def _right(actor, panel: Panel, record) -> dict:
    """Records of a board at the right: what is going on."""
    board = panel.entry.surface.board
    rows = panel.rows(actor, record)
    if board.within is not None:
        rows = rows.filter(board.within)
    lane = column(actor, panel.entry, board.field)
    total = column(actor, panel.entry, board.total) if board.total else None
    rows = concealed(actor, rows.select_related(*joined([lane] if lane else [])).order_by("-pk")[:4])
    items = [
        {
            "title": title_of(r),
            "url": places.record_of(panel.entry, r.pk),
            "value": total.html(r) if total else "",
            "pill": lane.html(r) if lane else "",
        }
        for r in rows
    ]
    return {"label": _("Latest {things}").format(things=panel.entry.model._meta.verbose_name_plural), "items": items}


def _related(request: HttpRequest, panel: Panel, record) -> dict:
    """The rows of a panel's tab."""
    actor = request.actor
    shown = columns(actor, panel.entry, panel.names)
    order = (*panel.entry.surface.sort, "-pk")
    rows = panel.rows(actor, record).select_related(*joined(shown)).order_by(*order)[: TAB_ROWS + 1]
    rows = concealed(actor, rows)
    line = panel.entry.surface.inside == panel.link
    add = may(actor, panel.entry, "add") and panel.entry.surface.form and not line
    here = request.path + f"?tab={panel.name}"
    made = []
    kept = additions.kept_elsewhere(request, panel.entry, rows)
    for row in rows[:TAB_ROWS]:
        url = (
            places.record_of(panel.entry, row.pk)
            if not line
            else places.record_of(registry.of(type(record)), record.pk, "edit")
        )
        made.append({"url": url, "cells": row_of(shown, row, url, kept.get(row.pk, {}))})
    filtered = panel.link in panel.entry.surface.filters
    return {
        "rows": made,
        "columns": shown,
        "empty_icon": panel.entry.surface.icon,
        "add_url": places.part_of(panel.entry, "new", {panel.link: record.pk, "next": here}) if add else "",
        "add_label": _("New {thing}").format(thing=panel.entry.thing),
        "more_url": places.list_of(panel.entry, {f"f.{panel.link}": record.pk})
        if filtered and len(rows) > TAB_ROWS
        else "",
    }


def _content(request: HttpRequest, entry: Entry, tab: Panel | None, record) -> dict:
    """What the open tab shows, and the template that shows it."""
    if tab is None:
        told = story(request.actor, entry, record)
        return {
            "template": "ostoja/records/tab_history.html",
            "timeline": told,
            "timeline_empty": _("Changes show up here as they happen."),
        }
    if held.wholly(tab.entry):
        labels, part = [tab.label], f"{entry.slug}/{record.pk}/part/{tab.name}"
        return {"template": "ostoja/records/tab_held.html", "held": held.place(request, labels, part)}
    if tab.entry.surface.timeline is not None:
        return {"template": "ostoja/records/tab_activity.html"} | _timeline(request, tab, record)
    if is_files(tab.entry):
        return {"template": "ostoja/records/tab_files.html"} | attached(request, entry, tab, record)
    return {"template": "ostoja/records/tab_related.html"} | _related(request, tab, record)


def _timeline(request: HttpRequest, panel: Panel, record) -> dict:
    """Related records told as a story, and a place to write the next one."""
    actor, part = request.actor, panel.entry
    declared = part.surface.timeline
    seen = {
        n for n in (declared.at, declared.title, declared.text, declared.kind, "owner") if n and may_see(actor, part, n)
    }
    people = ("owner",) if "owner" in seen else ()
    rows = panel.rows(actor, record).select_related(*people).order_by(f"-{declared.at}", "-pk")[:TAB_ROWS]
    kind = part.fields[declared.kind] if declared.kind in seen else None
    labels = dict(kind.flatchoices) if kind is not None else {}
    told = []
    for row in rows:
        value = getattr(row, declared.kind) if kind is not None else ""
        title = getattr(row, declared.title) if declared.title in seen else ""
        who = str(row.owner) if people and row.owner_id else ""
        badge = next(
            (f for f in part.fields.values() if f.choices and str(getattr(row, f.attname)) in part.surface.badges), None
        )
        state = str(getattr(row, f"get_{badge.name}_display")()) if badge is not None else ""
        told.append(
            {
                "at": getattr(row, declared.at),
                "icon": declared.icons.get(value, part.surface.icon),
                "tone": tone_of(part, getattr(row, badge.attname)) if badge is not None else "blue",
                "title": title or str(labels.get(value, part.model._meta.verbose_name)),
                "url": places.record_of(part, row.pk),
                "note": " · ".join(w for w in (str(labels.get(value, "")) if title else "", who, state) if w),
                "text": getattr(row, declared.text) if declared.text in seen else "",
            }
        )
    writes = may(actor, part, "add") and {declared.title, declared.text} <= set(writable_fields(actor, part))
    here = f"{request.path}?tab={panel.name}"
    composer = {
        "url": places.part_of(part, "write", {panel.link: record.pk, "next": here}),
        "kinds": [(v, label, declared.icons.get(v, part.surface.icon)) for v, label in labels.items()],
    }
    return {
        "timeline": told,
        "timeline_empty": _("Write down the first call, meeting or note above.") if writes else "",
        "composer": composer if writes else None,
    }


@require_POST
@of_object
def write(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Add an entry to a timeline from the few words typed on a card: the first line is its headline."""
    declared = entry.surface.timeline
    if declared is None:
        raise NotFound(_("There is no timeline here."))
    must(request.actor, entry, "add")
    words = request.POST.get("text", "").strip()
    first, _newline, rest = words.partition("\n")
    longest = entry.fields[declared.title].max_length or 200
    if len(first) > longest:
        first, rest = first[: longest - 1] + "…", words
    data = {declared.title: first.strip(), declared.text: rest.strip()}
    if declared.kind and request.POST.get("kind"):
        data[declared.kind] = request.POST["kind"]
    for name in writable_fields(request.actor, entry):
        if name in request.GET:
            data[name] = request.GET[name]
    url = places.come_back(request, places.list_of(entry))
    try:
        gate.perform(request.actor, entry.model, "add", data)
    except Refused as error:
        return says.say(HttpResponseRedirect(url), error.message, "red")
    return HttpResponseRedirect(url)


def _more(request: HttpRequest, entry: Entry, record) -> list[dict]:
    made = [{"label": a.label, "icon": a.icon, "url": a.url} for a in additions.acts_of(request, entry, record)]
    if explain(request.actor, record, "delete"):
        made.append(
            {
                "label": _("Delete"),
                "icon": "trash-2",
                "post": True,
                "url": places.record_of(entry, record.pk, "delete"),
                "confirm": _("Delete “{thing}”?").format(thing=title_of(record)),
            }
        )
    return made


def verbs(actor, entry: Entry, record) -> list[dict]:
    """The buttons: those the role includes; greyed with the reason when the record's state is against it."""
    made = []
    for spec in entry.verbs.values():
        if not may(actor, entry, spec.name):
            continue
        reason = why_not(record, spec)
        if not reason:
            decision = explain(actor, record, spec.name)
            reason = "" if decision else decision.reason
        made.append(
            {
                "name": spec.name,
                "label": spec.label,
                "icon": spec.icon,
                "url": places.record_of(entry, record.pk, f"do/{spec.name}"),
                "why_not": reason,
                "asks": bool(spec.arguments),
                "confirm": spec.confirm,
                "variant": "primary" if spec.tone in ("primary", "success", "positive") else "outline",
            }
        )
    return made


def _split(found: list[dict]) -> dict[str, list[dict]]:
    """What is possible now stands in the head of the page; the rest, and what is not possible with its reason, in the menu."""
    possible = [v for v in found if not v["why_not"]][:BUTTONS]
    return {"verbs": possible, "other_verbs": [v for v in found if v not in possible]}


@of_object
def do(request: HttpRequest, entry: Entry, pk, verb: str) -> HttpResponse:
    """A verb on one record: GET asks for its arguments, those in the address filled in; POST does it."""
    spec = entry.verbs.get(verb)
    if spec is None or not may(request.actor, entry, verb):
        raise NotFound(_("There is no such action."))
    (record,) = concealed(request.actor, [find(request.actor, entry.model, pk)])
    choices = forms.Choices(request.actor)
    form = forms.verb_form(request.actor, entry, record, spec, given=request.GET) if spec.arguments else None
    if request.method == "GET":
        return _verb_dialog(request, entry, record, spec, form)
    try:
        data = forms.data_of(form, request.POST) if form else {}
        gate.perform(request.actor, record, verb, data, version=_version(request))
    except Refused as error:
        if form is None or not is_htmx(request):
            raise
        asked = forms.verb_form(request.actor, entry, record, spec, request.POST, choices)
        return _verb_dialog(request, entry, record, spec, forms.blame(asked, error), 422)
    url = places.come_back(request, places.record_of(entry, pk))
    text = _("{verb}: done.").format(verb=spec.label)
    if is_htmx(request):
        return says.say(HttpResponse(status=204, headers={"HX-Redirect": url}), text)
    return says.say(HttpResponseRedirect(url), text)


def _verb_dialog(request: HttpRequest, entry: Entry, record, spec, form, status: int = 200) -> HttpResponse:
    return render(
        request,
        "ostoja/records/verb_dialog.html",
        {
            "form": form,
            "title": f"{spec.label}: {title_of(record)}",
            "words": spec.confirm,
            "submit": spec.label,
            "icon_name": spec.icon,
            "action": places.with_query(
                places.record_of(entry, record.pk, f"do/{spec.name}"), {"next": request.GET.get("next", "")}
            ),
            "version": record.version,
            "variant": "danger" if spec.tone == "danger" else "primary",
        },
        status=status,
    )


def _version(request: HttpRequest) -> int | None:
    version = request.POST.get("version", "")
    return int(version) if version.isdigit() and len(version) < 10 else None


@require_POST
@of_object
def delete(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Delete one record."""
    (record,) = concealed(request.actor, [find(request.actor, entry.model, pk)])
    name = title_of(record)
    back = places.list_of(entry)
    if entry.parent is not None:
        back = places.record_of(entry.parent, getattr(record, entry.fields[entry.surface.inside].attname))
    try:
        gate.perform(request.actor, record, "delete")
    except (Refused, NotAllowed) as error:
        return says.say(HttpResponseRedirect(places.record_of(entry, pk)), error.message, "red")
    return says.say(
        HttpResponseRedirect(places.come_back(request, back)), _("“{thing}” is deleted.").format(thing=name)
    )


# --- the form -------------------------------------------------------------------------------------------------------------


@of_object
def new(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Add a record."""
    must(request.actor, entry, "add")
    if held.wholly(entry):
        given = {n: request.GET[n] for n in writable_fields(request.actor, entry) if n in request.GET}
        place = held.of_object(request, entry, "new", given)
        return render(request, "ostoja/records/held.html", {"object": about(request.actor, entry), "held": place})
    return _edit(request, entry, None)


@of_object
def edit(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Change a record."""
    relations = [f.name for f in entry.fields.values() if isinstance(f, models.ForeignKey)]
    (record,) = concealed(request.actor, [find(request.actor, entry.model, pk, related=tuple(relations))])
    decision = explain(request.actor, record, "change")
    if not decision:
        raise decision.refusal()
    return _edit(request, entry, record)


def _edit(request: HttpRequest, entry: Entry, record) -> HttpResponse:
    request.place = places.list_of(entry)
    actor, gone = request.actor, held.fields(entry)
    names = tuple(n for n in writable_fields(actor, entry) if n not in gone)
    if not names:
        raise NotAllowed(
            _("There is nothing in {things} that you may change by hand.").format(
                things=entry.model._meta.verbose_name_plural
            )
        )
    choices = forms.Choices(actor)
    post = request.POST if request.method == "POST" else None
    initial = _initial(request, entry, names) if record is None else {}
    form = forms.plain_form(actor, entry, names, record, data=post, initial=initial, choices=choices)
    if record is not None:
        for name in additions.kept_elsewhere(request, entry, [record]).get(record.pk, {}).keys() & form.fields.keys():
            form.fields[name].help_text = _(
                "It names what is kept elsewhere. Leave it empty to keep that; a choice replaces it."
            )
    lines = [
        forms.Lines(actor, name, part, record, choices, post)
        for name, part in entry.lines.items()
        if may(actor, part, "view")
    ]
    status, version = 200, getattr(record, "version", None)
    if post is not None:
        data = forms.data_of(form, post)
        if record is not None:
            data = forms.changed_only(form, data)
        data |= {one.name: one.rows for one in lines}
        try:
            saved = gate.perform(
                actor, record or entry.model, "change" if record else "add", data, version=_version(request)
            )
            return _saved(request, entry, saved, record is None)
        except Stale as error:
            forms.blame(
                form,
                Refused(_("{why} What you typed is kept below; saving again overwrites.").format(why=error.message)),
            )
            status = 412
        except Refused as error:
            forms.blame(form, error)
            for one in lines:
                one.blame(error)
            status, version = 422, _version(request)
    heading = title_of(record) if record else _("New {thing}").format(thing=entry.thing)
    back = places.record_of(entry, record.pk) if record else places.list_of(entry)
    if entry.parent is not None and (parent := initial.get(entry.surface.inside)):
        back = places.record_of(entry.parent, parent)
    return render(
        request,
        "ostoja/records/form.html",
        {
            "object": about(actor, entry),
            "heading": heading,
            "form": form,
            "sections": forms.sections(entry, form),
            "line_sets": lines,
            "held": _held_values(request, entry, record),
            "version": version,
            "is_new": record is None and post is None,
            "submit": _("Save") if record else _("Create"),
            "cancel_url": places.come_back(request, back),
            "next": places.come_back(request, ""),
            "can_add_another": record is None and entry.parent is None,
            "delete_url": places.record_of(entry, record.pk, "delete")
            if record and entry.parent and explain(actor, record, "delete")
            else "",
        },
        status=status,
    )


def _held_values(request: HttpRequest, entry: Entry, record) -> held.Held | None:
    """Where the values that are kept elsewhere are entered: in a form of the other site; a new record has them once it is saved."""
    names = [n for n in held.names_for(request.actor, entry) if n in writable_fields(request.actor, entry)]
    if not names:
        return None
    labels = [entry.fields[n].verbose_name for n in names]
    if record is None:
        return held.Held(tuple(str(capfirst(label)) for label in labels), "", "", "", held.title(), kind="later")
    return held.place(request, labels, f"{entry.slug}/{record.pk}/edit", {"fields": ",".join(names)})


def _initial(request: HttpRequest, entry: Entry, names: tuple[str, ...]) -> dict:
    """What a link already filled in (``?party=<id>``), and whoever adds a record as its owner."""
    initial: dict[str, object] = {n: request.GET[n] for n in names if n in request.GET}
    if "owner" in names:
        initial.setdefault("owner", request.actor.user_id)
    return initial


def _saved(request: HttpRequest, entry: Entry, record, fresh: bool) -> HttpResponse:
    text = _("“{thing}” is created.") if fresh else _("“{thing}” is saved.")
    if request.POST.get("another"):
        url = request.get_full_path()
    else:
        url = places.record_of(entry, record.pk)
        if entry.parent is not None:
            url = places.record_of(entry.parent, getattr(record, entry.fields[entry.surface.inside].attname))
        url = places.come_back(request, url)
    return says.say(HttpResponseRedirect(url), text.format(thing=title_of(record)))
