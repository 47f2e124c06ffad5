"""The command palette: records found by name, pages to go to, things to do."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from ostoja.access.policy import may, visible
from ostoja.kernel import registry

from .. import places
from ..columns import columns, joined, label_of, title_field, title_of
from ..concealing import concealed
from ..context import GROUPS
from ..inside import inside
from ..reading import search
from .lists import subtitle

HITS = 4
SHORTEST = 2


@require_http_methods(["GET", "POST"])
@inside
def find(request: HttpRequest) -> HttpResponse:
    """What fits to what was typed so far. Where some of the answers are kept elsewhere, the words come in the body: addresses
    are written into logs.
    """
    actor = request.actor
    q = " ".join((request.POST or request.GET).get("q", "")[:100].replace("\x00", "").split())
    groups = []
    mine = [
        e
        for e in registry.entries()
        if e.parent is None and e.surface.group in GROUPS and e.surface.group and may(actor, e, "view")
    ]
    if len(q) >= SHORTEST:
        for entry in mine:
            hits = _hits(actor, entry, q)
            if hits:
                groups.append({"label": label_of(entry), "hits": hits})
    for label, hits in ((_("Go to"), _pages(actor, mine)), (_("Do"), _actions(actor, mine))):
        fitting = [h for h in hits if not q or q.casefold() in h["label"].casefold()]
        if fitting:
            groups.append({"label": label, "hits": fitting[:8]})
    return render(request, "ostoja/parts/palette_results.html", {"groups": groups, "q": q})


def _hits(actor, entry, q: str) -> list[dict]:
    """A few records of an object. One query."""
    if not entry.surface.search:
        return []
    shown = columns(actor, entry, entry.surface.subtitle)
    rows = search(actor, entry, visible(actor, entry.model).select_related(*joined(shown)), q).order_by(
        title_field(entry), "pk"
    )
    return [
        {
            "label": title_of(r),
            "mark": True,
            "key": str(r.pk),
            "sub": subtitle(actor, entry, r),
            "url": places.record_of(entry, r.pk),
        }
        for r in concealed(actor, rows[:HITS])
    ]


def _pages(actor, mine) -> list[dict]:
    pages = [{"label": label_of(e), "icon": e.surface.icon, "url": places.list_of(e)} for e in mine]
    for entry in mine:
        if entry.surface.board:
            pages.append(
                {
                    "label": _("{things}: board").format(things=label_of(entry)),
                    "icon": "kanban",
                    "url": places.part_of(entry, "board"),
                }
            )
        if entry.surface.calendar:
            pages.append(
                {
                    "label": _("{things}: calendar").format(things=label_of(entry)),
                    "icon": "calendar-days",
                    "url": places.part_of(entry, "calendar"),
                }
            )
    return [*pages, {"label": _("Settings"), "icon": "settings", "url": "/settings"}]


def _actions(actor, mine) -> list[dict]:
    made = [
        {"label": _("New {thing}").format(thing=e.thing), "icon": "plus", "url": places.part_of(e, "new")}
        for e in mine
        if e.surface.form and may(actor, e, "add")
    ]
    made += [
        {
            "label": str(capfirst(_("Import {things}").format(things=e.things))),
            "icon": "upload",
            "url": places.part_of(e, "import"),
        }
        for e in mine
        if may(actor, e, "import")
    ]
    return [
        *made,
        {"label": _("Light or dark"), "icon": "moon", "do": "theme"},
        {"label": _("Keyboard shortcuts"), "icon": "keyboard", "do": "keys", "key": "?"},
    ]
