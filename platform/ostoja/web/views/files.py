"""Files of a record: the list on its card."""

from __future__ import annotations

from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat

from ostoja.kernel.registry import Entry

from .. import places

SHOWN = 100


def attached(request: HttpRequest, entry: Entry, panel, record) -> dict:
    """The files that belong to a record, the newest first. One query."""
    rows = panel.rows(request.actor, record).order_by("-pk")[:SHOWN]
    files = [
        {"name": r.name, "size": filesizeformat(r.size), "at": r.created_at, "url": places.record_of(panel.entry, r.pk, "content")} for r in rows
    ]
    return {"files": files, "upload_url": ""}
