"""Who may see a sealed record: on its card the list of people, with the ways to let somebody in and to take a name off."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from ostoja.access.policy import find
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry
from ostoja.web import forms, places, says
from ostoja.web.columns import title_of
from ostoja.web.inside import is_htmx, of_object

from .. import sealing
from ..models import Insider, Site
from ..standing import kind_here


def shown(request: HttpRequest, entry: Entry, record) -> dict:
    """The people of the circle as the card shows them."""
    found = sealing.circle_of(record)
    people = []
    if found.owner is not None:
        people.append({"name": found.owner.name, "key": found.owner.pk, "note": _("owner"), "off": False})
    for one in found.insiders:
        if found.owner is not None and one.user_id == found.owner.pk:
            people[0] |= {"note": _("owner, sealed it") if one.sealer else _("owner"), "off": not one.sealer}
            continue
        off = not one.sealer or request.actor.superuser
        people.append({
            "name": one.user.name, "key": one.user_id, "note": _("sealed it") if one.sealer else "", "off": off,
        })  # fmt: skip
    return {
        "people": people, "title": title_of(record), "let_in_url": _url(entry, record.pk, "let-in"),
        "shut_out_url": _url(entry, record.pk, "shut-out"),
    }  # fmt: skip


def _url(entry: Entry, pk, what: str) -> str:
    return f"/hybrid/{entry.slug}/{pk}/{what}"


def _found(request: HttpRequest, entry: Entry, pk):
    if kind_here(request) != Site.Kind.PREMISES:
        raise NotFound(_("There is no such action."))
    return find(request.actor, entry.model, pk)


@require_http_methods(["GET", "POST"])
@of_object
def let_in(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Name somebody: GET asks whom, POST does it."""
    record = _found(request, entry, pk)
    form = forms.plain_form(request.actor, registry.of(Insider), ("user",))
    status = 200
    if request.method == "POST":
        try:
            insider = sealing.let_in(request.actor, record, forms.data_of(form, request.POST).get("user"))
        except Refused as error:
            form = forms.plain_form(request.actor, registry.of(Insider), ("user",), data=request.POST)
            forms.blame(form, error)
            status = 422
        else:
            url, text = places.record_of(entry, pk), _("{name} may see it now.").format(name=insider.user.name)
            if is_htmx(request):
                return says.say(HttpResponse(status=204, headers={"HX-Redirect": url}), text)
            return says.say(HttpResponseRedirect(url), text)
    context = {
        "form": form, "title": _("Let somebody see “{thing}”").format(thing=title_of(record)),
        "words": _("They see and change it as far as their role says, until somebody takes their name off the list."),
        "submit": _("Let in"), "icon_name": "user-plus", "action": _url(entry, pk, "let-in"),
    }  # fmt: skip
    return render(request, "ostoja/records/verb_dialog.html", context, status=status)


@require_POST
@of_object
def shut_out(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Take a name off the list."""
    record = _found(request, entry, pk)
    sealing.shut_out(request.actor, record, request.POST.get("user"))
    url = places.record_of(entry, pk)
    try:
        find(request.actor, entry.model, pk)
    except NotFound:  # they took their own name off
        url = places.list_of(entry)
    return says.say(HttpResponseRedirect(url), _("Their name is off the list."))
