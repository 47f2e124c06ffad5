"""Where things are: the addresses of lists, records and what can be done with them; one place that knows their shape."""

from __future__ import annotations

from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.http import url_has_allowed_host_and_scheme

from ostoja.kernel.registry import Entry


def with_query(path: str, query=()) -> str:
    """``path?query``; a mapping or pairs, empty values left out."""
    pairs = [(k, v) for k, v in (query.items() if hasattr(query, "items") else query) if v not in (None, "")]
    return f"{path}?{urlencode(pairs)}" if pairs else path


def list_of(entry: Entry, query=()) -> str:
    """The list of an object: ``/deals``."""
    return with_query(f"/{entry.slug}", query)


def part_of(entry: Entry, part: str, query=()) -> str:
    """A page beside the list: ``/deals/board``, ``/deals/new``, ``/deals/options`` …"""
    return with_query(f"/{entry.slug}/{part}", query)


def record_of(entry: Entry, pk, part: str = "", query=()) -> str:
    """The card of a record or a page of it: ``/deals/<id>``, ``/deals/<id>/edit``, ``/deals/<id>/do/win`` …"""
    return with_query(f"/{entry.slug}/{pk}" + (f"/{part}" if part else ""), query)


def come_back(request: HttpRequest, otherwise: str) -> str:
    """Where ``next`` says to go afterwards, if that is a page of ours; else ``otherwise``."""
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    if wanted.startswith("/") and url_has_allowed_host_and_scheme(wanted, allowed_hosts=None):
        return wanted
    return otherwise
