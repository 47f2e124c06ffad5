"""Lists: the table of an object with search, filters, order and paging; what can be done with many records at once."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qsl, urlsplit

from django.db import models
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja import gate
from ostoja.access.models import SavedView, User
from ostoja.access.policy import decided_elsewhere, may, must, visible, visible_fields, writable_fields
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.registry import Entry

from .. import additions, display, forms, held, places, plain, says
from ..columns import Column, columns, entry_of, is_concealed, label_of, row_of, title_field, title_of
from ..concealing import concealed
from ..inside import inside, is_htmx, of_object
from ..reading import NONE, PAGE, Filter, Listing, search
from ..widgets import RelationPicker

MOST_AT_ONCE = 500
SHOWN_OPTIONS = 12


def about(actor, entry: Entry, mode: str = "list") -> dict:
    """What every page of an object shows around its content: names, addresses, and what may be done."""
    name = entry.model._meta.verbose_name
    add = may(actor, entry, "add") and bool(entry.surface.form)
    modes = [{"label": _("List"), "icon": "list", "url": places.list_of(entry), "current": mode == "list"}]
    if entry.surface.board:
        modes.append(
            {"label": _("Board"), "icon": "kanban", "url": places.part_of(entry, "board"), "current": mode == "board"}
        )
    if entry.surface.calendar:
        modes.append(
            {
                "label": _("Calendar"),
                "icon": "calendar-days",
                "url": places.part_of(entry, "calendar"),
                "current": mode == "calendar",
            }
        )
    may_import = may(actor, entry, "import") and bool(entry.surface.form)
    may_export = may(actor, entry, "export")
    more = []
    if may_import:
        more.append({"label": _("Import"), "icon": "upload", "url": places.part_of(entry, "import")})
    if may_export:
        more += [
            {
                "label": _("Export as Excel"),
                "icon": "file-spreadsheet",
                "url": places.part_of(entry, "export.xlsx"),
                "post": True,
            },
            {"label": _("Export as CSV"), "icon": "download", "url": places.part_of(entry, "export.csv"), "post": True},
        ]
    return {
        "entry": entry,
        "plural": label_of(entry),
        "singular": str(name),
        "icon": entry.surface.icon,
        "url": places.list_of(entry),
        "add_url": places.part_of(entry, "new") if add else "",
        "add_label": _("New {thing}").format(thing=entry.thing),
        "import_url": places.part_of(entry, "import") if may_import else "",
        "modes": modes,
        "more": more,
        "elsewhere": decided_elsewhere(actor, entry),
    }


def changed_query(request: HttpRequest, **changes) -> str:
    """This page's address with query parameters changed (None takes one away) and paging started anew."""
    query = request.GET.copy()
    for name in ("after", "before", "n"):
        query.pop(name, None)
    for name, value in changes.items():
        if value is None:
            query.pop(name, None)
        else:
            query[name] = value
    text = query.urlencode()
    return f"{request.path}?{text}" if text else request.path


@require_GET
@of_object
def show(request: HttpRequest, entry: Entry) -> HttpResponse:
    """The list."""
    request.place = places.list_of(entry)
    moved, strange = plain.elsewhere(request, entry)
    if moved:
        return HttpResponseRedirect(moved)
    if held.wholly(entry):
        context = {"object": about(request.actor, entry), "held": held.of_object(request, entry), "modes": True}
        return render(request, "ostoja/records/held.html", context)
    listing = Listing(request.actor, entry, request.GET)
    gone = held.fields(entry)
    names = [n for n in entry.surface.list if n not in gone]
    shown = _with_sorting(request, listing, columns(request.actor, entry, names))
    page = listing.page(shown)
    kept = additions.kept_elsewhere(request, entry, page.records)
    rows = [
        {
            "id": r.pk,
            "url": (url := places.record_of(entry, r.pk)),
            "title": title_of(r),
            "cells": row_of(shown, r, url, kept.get(r.pk, {})),
        }
        for r in page.records
    ]
    start = int(n) if (n := request.GET.get("n", "")).isdigit() and len(n) < 10 else 0
    context = {
        "object": about(request.actor, entry),
        "columns": shown,
        "rows": rows,
        "held": held.of_list(request, entry, [r.pk for r in page.records]),
        "q": listing.q,
        "narrowed": listing.narrowed or bool(request.GET.get("after")),
        "has_filters": bool(listing.filters),
        "filters_url": places.with_query(places.part_of(entry, "filters"), _pairs(request)),
        "chips": chips(request, listing),
        "strange": strange,
        "kept": [(k, v) for k, v in _pairs(request) if k not in ("q", "after", "before", "n")],
        "views": views(request, entry),
        "save_view_url": places.with_query(
            places.part_of(entry, "views/new"),
            [(k, v) for k, v in _pairs(request) if k not in ("after", "before", "n")],
        ),
        "bulk": bulk_actions(request.actor, entry),
        "totals_url": places.with_query(places.part_of(entry, "totals"), _pairs(request)),
        "pager": {
            "said": f"{start + 1}–{start + len(rows)}" if rows else "",
            "previous": _paged(request, "before", page.before, start - PAGE) if page.before else "",
            "next": _paged(request, "after", page.after, start + len(rows)) if page.after else "",
        },
    }
    part = request.headers.get("HX-Target", "").endswith("#list")
    return render(request, "ostoja/records/list_body.html" if part else "ostoja/records/list.html", context)


def _pairs(request: HttpRequest) -> list[tuple[str, str]]:
    return plain.pairs_of(request.GET)


def _paged(request: HttpRequest, side: str, cursor: str, start: int) -> str:
    query = request.GET.copy()
    for name in ("after", "before", "n"):
        query.pop(name, None)
    query[side] = cursor
    if start > 0:
        query["n"] = str(start)
    return f"{request.path}?{query.urlencode()}"


def _with_sorting(request: HttpRequest, listing: Listing, shown: list[Column]) -> list[Column]:
    now = listing.sort or next(iter(listing.entry.surface.sort), "")
    out = []
    for one in shown:
        if not one.sortable:
            out.append(one)
            continue
        mine = now.removeprefix("-") in (one.name, one.sort_path)
        down = mine and now.startswith("-")
        first_down = one.kind in ("money", "number", "date", "moment")
        to = ("" if down else "-") if mine else ("-" if first_down else "")
        out.append(
            replace(
                one,
                sort_url=changed_query(request, sort=f"{to}{one.name}"),
                sorted=("descending" if down else "ascending") if mine else "",
            )
        )
    return out


def chips(request: HttpRequest, listing: Listing) -> list[dict]:
    """The filters that are on, each with the address of the list without it."""
    names = listing.names_of_chosen()
    made = []
    for one in listing.active:
        operator, value = one.said(names.get(one.name, {}))
        without = changed_query(request, **{one.param: None, f"{one.param}.from": None, f"{one.param}.to": None})
        made.append({"label": one.label, "operator": operator, "value": value, "remove_url": without})
    return made


def views(request: HttpRequest, entry: Entry) -> list[dict]:
    """All, the surface's own views, and the saved ones: one's own and those that are shared. One query."""
    now = sorted((k, v) for k, v in _pairs(request) if k not in ("after", "before", "n"))
    every = _("All") if entry.surface.views else _("All {things}").format(things=entry.things)
    made = [{"label": every, "url": places.list_of(entry), "current": not now}]
    for label, asked in entry.surface.views:
        pairs, strange = plain.translated(request.actor, entry, asked.items())
        if not strange:  # somebody may not see a field of it
            made.append({"label": label, "url": places.list_of(entry, pairs), "current": now == sorted(pairs)})
    rows = SavedView.objects.filter(object=entry.label).select_related(None)
    for view in rows.filter(user_id=request.actor.user_id) | rows.filter(shared=True):
        pairs = [(str(k), str(v)) for k, v in view.query.get("pairs", [])] if isinstance(view.query, dict) else []
        made.append(
            {"label": view.name, "url": places.list_of(entry, pairs), "current": now == sorted(pairs), "id": view.pk}
        )
    return made


def bulk_actions(actor, entry: Entry) -> list[dict]:
    """What can be done with the selected records."""
    made = []
    if "owner" in writable_fields(actor, entry) and may(actor, entry, "change"):
        made.append({"label": _("Assign"), "icon": "user-plus", "url": places.part_of(entry, "assign"), "asks": True})
    for verb in entry.verbs.values():
        if may(actor, entry, verb.name):
            made.append(
                {
                    "label": verb.label,
                    "icon": verb.icon,
                    "url": places.part_of(entry, f"do/{verb.name}"),
                    "asks": bool(verb.arguments),
                    "confirm": verb.confirm or _("{verb}: all selected?").format(verb=verb.label),
                    "danger": verb.tone == "danger",
                }
            )
    if may(actor, entry, "export"):
        made.append(
            {"label": _("Export"), "icon": "download", "url": places.part_of(entry, "export.xlsx"), "download": True}
        )
    if may(actor, entry, "delete"):
        made.append(
            {
                "label": _("Delete"),
                "icon": "trash-2",
                "url": places.part_of(entry, "delete"),
                "danger": True,
                "confirm": _("Delete all selected {things}?").format(things=entry.model._meta.verbose_name_plural),
            }
        )
    return made


@require_GET
@of_object
def totals(request: HttpRequest, entry: Entry) -> HttpResponse:
    """How many there are and what they sum up to; asked after the list itself is there."""
    listing = Listing(request.actor, entry, request.GET)
    count, sums = listing.totals(columns(request.actor, entry))
    context = {"count": display.number(count), "sums": sums}
    return render(request, "ostoja/records/totals.html", context)


@require_GET
@of_object
def filters(request: HttpRequest, entry: Entry) -> HttpResponse:
    """The filters' controls; asked when the menu is opened."""
    listing = Listing(request.actor, entry, request.GET)
    kept = [(k, v) for k, v in _pairs(request) if not k.startswith("f.") and k not in ("after", "before", "n")]
    made = [_control(request.actor, one) for one in listing.filters]
    return render(
        request,
        "ostoja/records/filters.html",
        {"filters": made, "kept": kept, "object": {"url": places.list_of(entry)}},
    )


def _control(actor, one: Filter) -> dict:
    made = {
        "label": one.label,
        "kind": one.kind,
        "param": one.param,
        "input": one.input,
        "low": one.low,
        "high": one.high,
        "value": "".join(one.chosen[:1]),
    }
    empty = (
        [(NONE, _("empty"), NONE in one.chosen)] if one.field.null or (one.field.blank and one.kind == "choice") else []
    )
    if one.kind == "choice":
        made["options"] = [
            (v, label, str(v) in one.chosen) for v, label in one.field.flatchoices if v not in (None, "")
        ] + empty
    elif one.kind == "bool":
        made["options"] = [("true", _("Yes"), "true" in one.chosen), ("false", _("No"), "false" in one.chosen)]
    elif one.kind == "relation":
        model = one.field.related_model
        related = entry_of(model)
        rows = visible(actor, model) if related else model._default_manager.all()
        few = list(rows.order_by(*(related.surface.sort if related else ()), "pk")[: SHOWN_OPTIONS + 1])
        if len(few) <= SHOWN_OPTIONS or related is None:
            made["kind"] = "choice"
            made["options"] = [(str(r.pk), title_of(r), str(r.pk) in one.chosen) for r in few] + empty
        else:
            names = {str(r.pk): title_of(r) for r in rows.filter(pk__in=[v for v in map(parse_uuid, one.chosen) if v])}
            picker = RelationPicker(
                places.part_of(related, "options"),
                label_of=lambda value: names.get(str(value), ""),
                placeholder=_("Anyone") if model is User else _("Any"),
            )
            made["control"] = picker.render(
                one.param, next(iter(names), ""), {"id": f"id_{one.name}_filter", "aria-label": one.label}
            )
    return made


@require_GET
@of_object
def options(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Records to choose from, for a relation picker."""
    words = " ".join(request.GET.get("q", "")[:100].replace("\x00", "").split())
    rows = visible(request.actor, entry.model)
    if words:
        rows = search(request.actor, entry, rows, words)
    if "is_active" in entry.fields:
        rows = rows.filter(is_active=True)
    seen = visible_fields(request.actor, entry)
    for name in request.GET:  # narrowed by another field of the form, e.g. the stages of one pipeline
        if name in seen and entry.fields[name].is_relation and (key := parse_uuid(request.GET[name])):
            rows = rows.filter(**{entry.fields[name].attname: key})
    found = concealed(request.actor, rows.order_by(title_field(entry), "pk")[:8])
    made = [{"id": r.pk, "label": title_of(r), "sub": subtitle(request.actor, entry, r)} for r in found]
    return render(request, "ostoja/parts/options.html", {"options": made, "q": words})


def subtitle(actor, entry: Entry, record) -> str:
    """A few words under a record's name, of the fields that may be seen and need no further query."""
    said = []
    for one in columns(actor, entry, entry.surface.subtitle):
        if one.kind in ("person", "relation") and one.field.name not in record._state.fields_cache:
            continue
        value = getattr(record, one.field.name)
        if value in (None, "") or (isinstance(value, models.Model) and is_concealed(value)):
            continue
        said.append(str(getattr(record, f"get_{one.name}_display")()) if one.kind == "choice" else str(value))
    return " · ".join(words for words in said if words != title_of(record))


# --- many at once -----------------------------------------------------------------------------------------------------


def chosen_ids(request: HttpRequest) -> list:
    """The ids of the records that were ticked."""
    given = request.POST.getlist("id") or request.GET.getlist("id")
    return list(dict.fromkeys(k for k in map(parse_uuid, given) if k))


def _chosen(request: HttpRequest, entry: Entry) -> list:
    ids = chosen_ids(request)
    if not ids:
        raise Refused(_("Select some {things} first.").format(things=entry.model._meta.verbose_name_plural))
    if len(ids) > MOST_AT_ONCE:
        raise Refused(_("At most {number} records can be changed at once.").format(number=MOST_AT_ONCE))
    found = list(visible(request.actor, entry.model).filter(pk__in=ids))
    if not found:
        raise NotFound(_("There are no such {things}, or you may not see them.").format(things=entry.things))
    return found


def perform_on_all(request: HttpRequest, entry: Entry, verb: str, data: dict | None = None) -> HttpResponse:
    """Do one thing with every selected record; those that refuse stay as they are and the reason is told."""
    done, reasons = 0, []
    for record in _chosen(request, entry):
        try:
            gate.perform(request.actor, record, verb, dict(data or {}))
            done += 1
        except (Refused, NotAllowed, NotFound) as error:
            reasons.append(error.message)
    text = ngettext("{n} record done.", "{n} records done.", done).format(n=done)
    if reasons:
        text += " " + ngettext("{n} was refused: {why}", "{n} were refused: {why}", len(reasons)).format(
            n=len(reasons), why=reasons[0]
        )
    tone = "green" if not reasons else "amber" if done else "red"
    back = request.headers.get("HX-Current-URL") or request.headers.get("Referer") or ""
    url = places.list_of(entry, _query_of(back, request))
    if is_htmx(request):
        response = HttpResponse(status=204, headers={"HX-Redirect": url})
    else:
        response = HttpResponseRedirect(url)
    return says.say(response, text, tone)


def _query_of(url: str, request: HttpRequest):
    """The query of the list from which somebody came, if it was ours."""
    parts = urlsplit(url)
    if parts.netloc != request.get_host():
        return []
    return parse_qsl(parts.query)[:100]


@of_object
def do_on_all(request: HttpRequest, entry: Entry, verb: str) -> HttpResponse:
    """A verb on the selected records: GET asks for its arguments, POST does it."""
    spec = entry.verbs.get(verb)
    if spec is None or not may(request.actor, entry, verb):
        raise NotFound(_("There is no such action."))
    chosen = _chosen(request, entry)
    form = forms.verb_form(request.actor, entry, chosen[0], spec) if spec.arguments else None
    if request.method == "GET":
        return _dialog(request, entry, form, spec.label, chosen, places.part_of(entry, f"do/{verb}"), spec.icon)
    return perform_on_all(request, entry, verb, forms.data_of(form, request.POST) if form else {})


@of_object
def assign(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Give the selected records another owner."""
    if "owner" not in writable_fields(request.actor, entry):
        raise NotFound(_("There is no such action."))
    must(request.actor, entry, "change")
    chosen = _chosen(request, entry)
    form = forms.plain_form(request.actor, entry, ("owner",))
    if request.method == "GET":
        return _dialog(request, entry, form, _("Assign"), chosen, places.part_of(entry, "assign"), "user-plus")
    data = forms.data_of(form, request.POST)
    if not data.get("owner"):
        raise Refused(_("Choose who is to own them."))
    return perform_on_all(request, entry, "change", data)


def _dialog(request: HttpRequest, entry: Entry, form, title, chosen: list, action: str, icon: str) -> HttpResponse:
    said = ngettext("{n} {thing} is selected.", "{n} {things} are selected.", len(chosen)).format(
        n=len(chosen), thing=entry.thing, things=entry.things
    )
    return render(
        request,
        "ostoja/records/verb_dialog.html",
        {
            "form": form,
            "title": title,
            "words": said,
            "submit": title,
            "action": action,
            "ids": [r.pk for r in chosen],
            "icon_name": icon,
        },
    )


@require_POST
@of_object
def delete_all(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Delete the selected records."""
    return perform_on_all(request, entry, "delete")


# --- saved views --------------------------------------------------------------------------------------------------------


@of_object
def new_view(request: HttpRequest, entry: Entry) -> HttpResponse:
    """Keep this list's search, filters and order under a name."""
    action = places.with_query(places.part_of(entry, "views/new"), _pairs(request))
    form = forms.ViewForm(
        request.POST if request.method == "POST" else None, may_share=may(request.actor, entry, "change")
    )
    if request.method == "POST" and form.is_valid():
        pairs = [(k, v) for k, v in _pairs(request) if k == "q" or k == "sort" or k.startswith("f.")]
        forms.save_view(request.actor, entry, form.cleaned_data["name"], pairs, form.cleaned_data.get("shared", False))
        response = HttpResponse(status=204, headers={"HX-Redirect": places.list_of(entry, pairs)})
        return says.say(response, _("The view is saved."))
    return render(
        request,
        "ostoja/records/verb_dialog.html",
        {
            "form": form,
            "title": _("Save this view"),
            "words": _("Search, filters and order, under a name."),
            "submit": _("Save"),
            "action": action,
            "icon_name": "save",
        },
        status=422 if request.method == "POST" else 200,
    )


@require_POST
@inside
def forget_view(request: HttpRequest, pk) -> HttpResponse:
    """Take one of one's own saved views away."""
    url = forms.forget_view(request.actor, pk)
    return says.say(HttpResponseRedirect(url), _("The view is gone."))
