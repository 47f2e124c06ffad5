"""Files of a record: the list on its card, upload, download."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_GET, require_POST

from ostoja.access.policy import explain, find, may
from ostoja.documents.files import kind_for, open_file, response, store
from ostoja.documents.models import Attachment
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.registry import Entry

from .. import places, says
from ..columns import may_name, title_of
from ..inside import of_object

SHOWN = 100
MOST_AT_ONCE = 20


def is_files(entry: Entry) -> bool:
    """Whether an object is a kind of attachment."""
    return issubclass(entry.model, Attachment)


def attached(request: HttpRequest, entry: Entry, panel, record) -> dict:
    """The files that belong to a record, the newest first. Two queries at most."""
    rows = panel.rows(request.actor, record).select_related("uploaded_by").order_by("-pk")[:SHOWN]
    may_delete, may_open = may(request.actor, panel.entry, "delete"), may_name(request.actor, panel.entry)
    here = f"{request.path}?tab={panel.name}"
    files = [
        {
            "name": title_of(r), "size": filesizeformat(r.size) if may_open else "", "at": r.created_at,
            "who": str(r.uploaded_by or ""), "coming": not r.key, "url": places.record_of(panel.entry, r.pk, "content") if r.key and may_open else "",
            "delete_url": places.record_of(panel.entry, r.pk, "delete", {"next": here}) if may_delete else "",
        }
        for r in rows
    ]  # fmt: skip
    may_add = bool(explain(request.actor, record, "change"))
    return {
        "files": files,
        "upload_url": places.record_of(entry, record.pk, "files", {"next": here}) if may_add else "",
    }


@require_POST
@of_object
def upload(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """Attach files to a record."""
    record = find(request.actor, entry.model, pk)
    url = places.come_back(request, places.record_of(entry, pk))
    sent = request.FILES.getlist("file")[:MOST_AT_ONCE]
    try:
        if kind_for(entry.model) is None:
            raise NotFound(_("Files can't be attached to this."))
        if not sent:
            raise Refused(_("Choose a file first."))
        for one in sent:
            store(request.actor, record, one, one.name)
    except Refused as error:
        return says.say(HttpResponseRedirect(url), error.message, "red")
    text = ngettext("{n} file is attached.", "{n} files are attached.", len(sent)).format(n=len(sent))
    return says.say(HttpResponseRedirect(url), text)


@require_GET
@of_object
def content(request: HttpRequest, entry: Entry, pk) -> HttpResponse:
    """The file itself."""
    if not is_files(entry):
        raise NotFound(_("There is no file here."))
    return response(*open_file(request.actor, entry.model, pk))
