"""Pages that the premises serve into frames of the cloud's pages: values, forms and files that never pass the cloud.

Only the one cloud that the premises are linked with may frame them, nobody keeps them, and what they tell the page around
them is how high they are.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial, wraps
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db.models import Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.template.defaultfilters import filesizeformat
from django.utils import timezone, translation
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ostoja import gate
from ostoja.access.policy import explain, find, may, visible, visible_fields, writable_fields
from ostoja.documents.files import open_file, response, store
from ostoja.kernel import registry
from ostoja.kernel.actors import acting
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.kernel.forms import RelationField
from ostoja.kernel.ids import parse_uuid
from ostoja.kernel.record import SYSTEM_FIELDS
from ostoja.kernel.registry import Entry
from ostoja.web import display, forms, places
from ostoja.web.columns import columns, joined, label_of, may_name, title_field, title_of
from ostoja.web.concealing import concealed
from ostoja.web.inside import inside
from ostoja.web.reading import search as found_by
from ostoja.web.views.files import is_files
from ostoja.web.views.lists import subtitle
from ostoja.web.views.records import ICONS, Panel, panels
from ostoja.web.widgets import RelationPicker

from . import entering
from .core.terms import OPEN
from .models import Label
from .reaching import held_fields, held_wholly, parent_origin
from .sites import Here, here

ROWS = 50
PARTS = 30
HITS = 6
SHORTEST = 2
MOST_FILES = 20

View = Callable[..., HttpResponse]


def framed(view: View, *, asks: int = 200) -> View:
    """A page for frames: the cloud's own pages alone may hold it, and it is for the person who is signed in here.

    ``asks`` is the status of the page that asks everybody else to sign in: one like any other, unless a file was wanted.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        site, parent = _site(), parent_origin()
        if site is None or not parent:
            return sealed(_state(request, "none", 404), "")
        request.parent = parent
        actor = entering.who(request)
        if actor is None:
            with translation.override(_language(request) or translation.get_language()):
                status = asks if request.method == "GET" else 401
                made = _state(request, "enter", status, labels=_labels(request, kwargs.get("slug", "")))
            return sealed(made, parent)
        request.actor, request.user = actor, actor.user
        with ExitStack() as stack:
            stack.enter_context(translation.override(actor.language))
            stack.enter_context(timezone.override(_zone(actor.user.timezone)))
            stack.enter_context(acting(actor))
            try:
                if request.method == "POST":
                    entering.check(request, actor)
                made = view(request, site, *args, **kwargs)
            except OstojaError as error:
                made = _state(request, "denied", error.status if error.status in (403, 404) else 422, error.message)
            return sealed(made, parent)

    answer.csrf_exempt = True  # the cookie that CSRF needs does not go into a frame: `entering.check` stands in for it
    return answer


def _site() -> Here | None:
    try:
        site = here()
    except NotFound:
        return None
    return None if site.in_cloud else site


def _zone(name: str):
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        return timezone.get_default_timezone()


def _language(request: HttpRequest) -> str:
    """The language of the page around, for who is not known here yet; empty when it is none of ours."""
    asked = request.GET.get("lang", "")
    return asked if asked in dict(settings.LANGUAGES) else ""


def _look(request: HttpRequest) -> dict[str, str]:
    """What the page around said of its looks, for the addresses of the frame's own pages."""
    return {"theme": request.GET.get("theme", ""), "lang": _language(request)}


def sealed(made: HttpResponse, parent: str) -> HttpResponse:
    """An answer with the headers of a frame: who may hold it, and that nobody keeps it."""
    if "Content-Security-Policy" not in made.headers:  # a file brings a stricter one
        made._csp_replace = {"frame-ancestors": [parent] if parent else ["'none'"]}
    made.framed_by = parent
    made["Cache-Control"] = "no-store"
    made["Cross-Origin-Resource-Policy"] = "same-origin"
    return made


def _state(
    request: HttpRequest, state: str, status: int, words: object = "", labels: Sequence[str] = ()
) -> HttpResponse:
    """A page that says why there is nothing to see: nobody is signed in, or it is not permitted."""
    return _render(request, "state", {"state": state, "words": words, "labels": labels}, status)


def _labels(request: HttpRequest, slug: str) -> list[str]:
    """What the fields are called that a page asks for; it knows that itself."""
    entry = registry.by_slug(slug)
    asked = request.GET.get("fields", "").split(",") if entry is not None else []
    return [str(capfirst(entry.fields[n].verbose_name)) for n in asked if n in entry.fields]


def _render(request: HttpRequest, template: str, context: dict, status: int = 200) -> HttpResponse:
    theme = request.GET.get("theme", "")
    shown = {
        "parent": getattr(request, "parent", ""),
        "frame_theme": theme if theme in ("light", "dark") else "system",
        "seal": entering.seal(request, request.actor) if request.actor is not None else "",
    }
    return render(request, f"ostoja/frames/{template}.html", shown | context, status=status)


def _entry(request: HttpRequest, slug: str) -> Entry:
    entry = registry.by_slug(slug)
    if entry is None or not may(request.actor, entry, "view"):
        raise NotAllowed(_("Your role on the premises does not include this."))
    return entry


def _asked(request: HttpRequest, site: Here, entry: Entry) -> list[str]:
    """The fields to show: those that the page asks for, else all that the cloud may not hold; as far as they may be seen."""
    seen = visible_fields(request.actor, entry)
    wanted = request.GET.get("fields", "")
    names = wanted.split(",") if wanted else seen if request.GET.get("whole") else held_fields(site.tables, entry)
    return [n for n in seen if n in names and n not in SYSTEM_FIELDS]


# --- one record -------------------------------------------------------------------------------------------------------


@framed
def record(request: HttpRequest, site: Here, slug: str, pk: uuid.UUID) -> HttpResponse:
    """The values of a record that the cloud may not hold, and its parts of which the cloud has none."""
    entry = _entry(request, slug)
    names = _asked(request, site, entry)
    shown = columns(request.actor, entry, names)
    (found,) = concealed(request.actor, [find(request.actor, entry.model, pk, related=joined(shown))])
    sides = [
        _part(request, site, panel, found) for panel in panels(request.actor, entry)
        if panel.part and held_wholly(site.tables, panel.entry)
    ]  # fmt: skip
    if not shown and not sides:
        raise NotAllowed(_("Your role on the premises does not include these values."))
    edits = bool(set(names) & set(writable_fields(request.actor, entry))) and explain(request.actor, found, "change")
    context = {
        "props": [
            {"icon": ICONS.get(one.kind, ""), "label": one.label, "value": drawn or display.NOTHING}
            for one in shown
            if (drawn := _drawn(one, found)) or not request.GET.get("whole")
        ],
        "sides": sides,
        "edit_url": _inside(request, entry, pk, "edit", names) if edits else "",
        "page": places.record_of(entry, pk),
    }  # fmt: skip
    return _render(request, "record", context)


def _drawn(one, found) -> str:
    return one.html(found) if one.kind != "long" else display.lines(getattr(found, one.name))


def _inside(request: HttpRequest, entry: Entry, pk, part: str, names: list[str]) -> str:
    query = {"fields": ",".join(names)} | _look(request)
    return places.with_query(f"/frame/{entry.slug}/{pk}" + (f"/{part}" if part else ""), query)


def _part(request: HttpRequest, site: Here, panel: Panel, found) -> dict:
    """The rows of a panel in a few words each."""
    actor, part = request.actor, panel.entry
    shown = columns(actor, part, panel.names)
    rows = concealed(actor, panel.rows(actor, found).select_related(*joined(shown)).order_by("-pk")[:PARTS])
    lead = next((c for c in shown if c.lead), None)
    changes = may(actor, part, "change") and bool(writable_fields(actor, part))
    back = request.get_full_path()
    items = []
    for row in rows:
        words = [str(c.html(row)) for c in shown if c is not lead]
        items.append({
            "title": lead.html(row) if lead else title_of(row), "name": title_of(row),
            "sub": display.safe_join(" · ", [w for w in words if w]),
            "url": places.with_query(f"/frame/{part.slug}/{row.pk}/edit", {"next": back}) if changes else "",
        })  # fmt: skip
    adds = may(actor, part, "add") and part.surface.form and not is_files(part)
    query = {panel.link: found.pk, "next": back} | _look(request)
    return {
        "label": panel.label, "icon": part.surface.icon, "items": items,
        "add_url": places.with_query(f"/frame/{part.slug}/new", query) if adds else "",
    }  # fmt: skip


@framed
def panel(request: HttpRequest, site: Here, slug: str, pk: uuid.UUID, name: str) -> HttpResponse:
    """The related records of one tab of a card, of which the cloud has none."""
    entry = _entry(request, slug)
    found = find(request.actor, entry.model, pk)
    wanted = next((p for p in panels(request.actor, entry) if p.name == name), None)
    if wanted is None:
        raise NotAllowed(_("Your role on the premises does not include this."))
    if is_files(wanted.entry):
        return _render(request, "files", _files(request, entry, wanted, found))
    side = _part(request, site, wanted, found)
    return _render(request, "panel", {"side": side, "page": places.record_of(entry, pk, query={"tab": name})})


# --- many records -----------------------------------------------------------------------------------------------------


@framed
def rows(request: HttpRequest, site: Here, slug: str) -> HttpResponse:
    """Values of many records: of those that a list of the cloud shows (``ids``), in its order, or the first of all."""
    entry = _entry(request, slug)
    asked = [k for k in map(parse_uuid, request.GET.get("ids", "").split(",")) if k][:ROWS]
    names = _asked(request, site, entry) if asked else list(entry.surface.list)
    shown = columns(request.actor, entry, names)
    if not shown:
        raise NotAllowed(_("Your role on the premises does not include these values."))
    relations = joined(shown)
    visible_rows = visible(request.actor, entry.model).select_related(*relations)
    if asked:
        by_key = {r.pk: r for r in concealed(request.actor, visible_rows.filter(pk__in=asked))}
        lines = [(key, by_key.get(key)) for key in asked]
    else:
        first = visible_rows.order_by(*(entry.surface.sort or ("-pk",)))[:ROWS]
        lines = [(r.pk, r) for r in concealed(request.actor, first)]
    context = {
        "columns": shown,
        "aligned": bool(asked),
        "rows": [
            {
                "title": title_of(r) if r is not None else "",
                "cells": [(c, _drawn(c, r)) for c in shown] if r is not None else [],
                "url": places.record_of(entry, key),
            }
            for key, r in lines
        ],
        "page": places.list_of(entry),
        "plural": entry.model._meta.verbose_name_plural,
    }
    return _render(request, "rows", context)


# --- entering values ----------------------------------------------------------------------------------------------------


@framed
def new(request: HttpRequest, site: Here, slug: str) -> HttpResponse:
    """Add a record of which nothing goes to the cloud, or nothing that it can hold."""
    entry = _entry(request, slug)
    if not may(request.actor, entry, "add"):
        raise NotAllowed(_("Your role on the premises does not include adding this."))
    return _form(request, site, entry, None, list(writable_fields(request.actor, entry)))


@framed
def edit(request: HttpRequest, site: Here, slug: str, pk: uuid.UUID) -> HttpResponse:
    """Change the values of a record that the cloud may not hold."""
    entry = _entry(request, slug)
    (found,) = concealed(request.actor, [find(request.actor, entry.model, pk)])
    decision = explain(request.actor, found, "change")
    if not decision:
        raise decision.refusal()
    writable = writable_fields(request.actor, entry)
    names = list(writable) if held_wholly(site.tables, entry) else _asked(request, site, entry)
    return _form(request, site, entry, found, [n for n in writable if n in names])


def _form(request: HttpRequest, site: Here, entry: Entry, found, names: list[str]) -> HttpResponse:
    if not names:
        raise NotAllowed(_("There is nothing here that you may change."))
    post = request.POST if request.method == "POST" else None
    initial = {n: request.GET[n] for n in names if n in request.GET} if found is None else {}
    if found is None and "owner" in names:
        initial.setdefault("owner", request.actor.user_id)
    form = forms.plain_form(request.actor, entry, names, found, data=post, initial=initial)
    _without_pickers(form, initial)
    status = 200
    if post is not None:
        data = forms.data_of(form, post)
        if found is not None:
            data = forms.changed_only(form, data)
        try:
            version = request.POST.get("version", "")
            saved = gate.perform(
                request.actor, found or entry.model, "change" if found else "add", data,
                version=int(version) if version.isdigit() and len(version) < 10 else None,
            )  # fmt: skip
            return HttpResponseRedirect(_back(request, entry, saved, names))
        except Refused as error:
            forms.blame(form, error)
            status = error.status
    context = {
        "form": form,
        "sections": forms.sections(entry, form),
        "version": getattr(found, "version", None),
        "cancel_url": _back(request, entry, found, names),
        "submit": _("Save") if found else _("Create"),
    }
    return _render(request, "form", context, status)


def _without_pickers(form, initial: dict) -> None:
    """Relations with many choices can't be searched in a frame: what is given stays, the rest is for the page itself."""
    for name, one in list(form.fields.items()):
        if isinstance(one, RelationField) and (name in initial or isinstance(one.widget, RelationPicker)):
            if name in initial or one.required:
                one.widget = one.hidden_widget()
            else:
                del form.fields[name]


def _back(request: HttpRequest, entry: Entry, found, names: list[str]) -> str:
    wanted = places.come_back(request, "")
    if wanted.startswith("/frame/"):
        return wanted
    if found is None:
        return places.with_query(f"/frame/{entry.slug}", _look(request))
    return _inside(request, entry, found.pk, "", names)


# --- files --------------------------------------------------------------------------------------------------------------


def _files(request: HttpRequest, entry: Entry, wanted: Panel, found) -> dict:
    """The files of a record with the way to each, and to bring another."""
    rows = wanted.rows(request.actor, found).select_related("uploaded_by").order_by("-pk")[:PARTS]
    may_open = may_name(request.actor, wanted.entry)
    return {
        "files": [
            {
                "name": title_of(r), "size": filesizeformat(r.size) if may_open else "", "at": r.created_at,
                "who": str(r.uploaded_by or ""), "coming": not r.key, "url": f"/frame/{wanted.entry.slug}/{r.pk}/content" if r.key and may_open else "",
            }
            for r in rows
        ],
        "upload_url": places.with_query(f"/frame/{entry.slug}/{found.pk}/files", _look(request))
        if explain(request.actor, found, "change")
        else "",
    }  # fmt: skip


@require_http_methods(["POST"])
@framed
def upload(request: HttpRequest, site: Here, slug: str, pk: uuid.UUID) -> HttpResponse:
    """Attach files to a record; their bytes go from the browser to the premises and nowhere else."""
    entry = _entry(request, slug)
    found = find(request.actor, entry.model, pk)
    wanted = next((p for p in panels(request.actor, entry) if is_files(p.entry)), None)
    if wanted is None:
        raise NotFound(_("Files can't be attached to this."))
    words = ""
    try:
        sent = request.FILES.getlist("file")[:MOST_FILES]
        if not sent:
            raise Refused(_("Choose a file first."))
        for one in sent:
            store(request.actor, found, one, one.name)
    except Refused as error:
        words = error.message
    if not words:
        return HttpResponseRedirect(places.with_query(f"/frame/{entry.slug}/{pk}/part/{wanted.name}", _look(request)))
    return _render(request, "files", _files(request, entry, wanted, found) | {"refused": words}, 422)


@partial(framed, asks=401)
def content(request: HttpRequest, site: Here, slug: str, pk: uuid.UUID) -> HttpResponse:
    """The bytes of a file, always as a download."""
    entry = _entry(request, slug)
    if not is_files(entry):
        raise NotFound(_("There is no file here."))
    attachment, bytes_of_it = open_file(request.actor, entry.model, pk)
    made = response(attachment, bytes_of_it)
    made.as_attachment = True
    made.set_headers(bytes_of_it)
    return made


# --- search -------------------------------------------------------------------------------------------------------------


@framed
def search(request: HttpRequest, site: Here) -> HttpResponse:
    """The half of a search that the premises answer. The browser brings the words straight here; no cloud sees them on the way."""
    if request.method != "POST":
        return _render(request, "search", {})
    words = " ".join(request.POST.get("q", "")[:100].replace("\x00", "").split())
    groups = []
    if len(words) >= SHORTEST:
        for entry in registry.entries():
            hits = _hits(request, site, entry, words)
            if hits:
                groups.append({"label": label_of(entry), "hits": hits})
    return _render(request, "found", {"groups": groups, "q": words})


def _hits(request: HttpRequest, site: Here, entry: Entry, words: str) -> list[dict]:
    """What the cloud can't find: objects and records of which it has nothing, and records that refer to such."""
    actor, table = request.actor, site.tables.get(entry.label)
    if table is None or not entry.surface.search or not may(actor, entry, "view"):
        return []
    rows = visible(actor, entry.model)
    marked = Label.objects.filter(level__gt=OPEN)
    if not held_wholly(site.tables, entry) and not set(entry.surface.search) & held_fields(site.tables, entry):
        heads = {path.partition("__")[0] for path in entry.surface.search if "__" in path}
        only = Q(pk__in=marked.filter(model=entry.label).values("pk"))
        for name in heads & table.columns.keys():
            only |= Q(**{f"{name}__in": marked.values("pk")})
        rows = rows.filter(only)
    top = entry.surface.inside
    shown = columns(actor, entry, entry.surface.subtitle)
    related = joined(shown) + ((top,) if top else ())
    rows = found_by(actor, entry, rows.select_related(*related), words).order_by(title_field(entry), "pk")[:HITS]
    found = concealed(actor, rows)
    withheld = set(marked.filter(pk__in=[r.pk for r in found]).values_list("pk", flat=True))
    hits = []
    for one in found:
        shown_one, of_it = (getattr(one, top), entry.parent) if top else (one, entry)
        there = one.pk not in withheld and not held_wholly(site.tables, of_it)
        url = places.record_of(of_it, shown_one.pk)
        hits.append({
            "label": title_of(one), "sub": title_of(shown_one) if top else subtitle(actor, entry, one), "icon": entry.surface.icon,
            "url": f"{request.parent}{url}" if there else url, "there": there,
        })  # fmt: skip
    return hits


# --- coming in ----------------------------------------------------------------------------------------------------------


@require_http_methods(["GET", "POST"])
@inside
def enter(request: HttpRequest) -> HttpResponse:
    """The window in which a person lets the frames of this browser act as them. It is a page of its own, never in a frame."""
    parent = parent_origin() if _site() is not None else ""
    if not parent:
        raise NotFound(_("This company has no cloud that shows pages of these premises."))
    shown = render(request, "ostoja/frames/enter.html", {"parent": parent, "done": request.method == "POST"})
    return entering.give(request, shown) if request.method == "POST" else shown


def entered(request: HttpRequest) -> HttpResponse:
    """Whether the frame is somebody by now. It is asked again and again, so the answer is no error while it is not."""
    known = _site() is not None and entering.who(request) is not None
    return sealed(JsonResponse({"entered": known}), parent_origin())
