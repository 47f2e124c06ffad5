"""What another site of the tenant keeps: pages of this one say so, and a frame that the other one serves shows it."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlencode

from django.http import HttpRequest
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from ostoja.access.policy import may, visible_fields
from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

from . import places


class Keeper(Protocol):
    """The other site, as pages need to know it: ``address`` is its origin for browsers, empty when nobody said it."""

    name: str
    address: str

    def fields(self, entry: Entry) -> frozenset[str]:
        """The fields of an object whose values are there only."""

    def wholly(self, entry: Entry) -> bool:
        """Whether all records of an object are there only."""

    def called_back(self, entry: Entry, key: uuid.UUID) -> bool:
        """Whether this record was here and is there only now."""


@dataclass(frozen=True)
class Held:
    """One place of a page: what is kept elsewhere, the address of the frame that shows it, and of the page for it alone."""

    labels: tuple[str, ...]
    address: str
    url: str
    page: str
    title: str
    kind: str = "block"


_asked: list[Callable[[], Keeper | None]] = []


def tells_the_keeper(function: Callable[[], Keeper | None]) -> Callable[[], Keeper | None]:
    """Declare the function that answers who keeps what is not here; None where everything is here."""
    _asked.append(function)
    return function


def keeper() -> Keeper | None:
    """Who keeps what is not on this site; None when everything of the open tenant is here."""
    return next((found for asked in _asked if (found := asked()) is not None), None)


def fields(entry: Entry) -> frozenset[str]:
    """The fields of an object whose values are not here."""
    other = keeper()
    return other.fields(entry) if other else frozenset()


def wholly(entry: Entry) -> bool:
    """Whether no record of an object is here."""
    other = keeper()
    return other is not None and other.wholly(entry)


def place(
    request: HttpRequest, labels: Iterable[object], path: str, query=(), page: str = "", kind: str = "block"
) -> Held | None:
    """A place for what the keeper shows at ``/frame/<path>``; None without a keeper. The page may frame it from now on."""
    other = keeper()
    if other is None:
        return None
    if other.address:
        request.frames_from = other.address
    pairs = [(k, v) for k, v in (query.items() if hasattr(query, "items") else query) if v not in (None, "")]
    url = f"{other.address}/frame/{path}" + (f"?{urlencode(pairs)}" if pairs else "") if other.address else ""
    return Held(
        tuple(dict.fromkeys(str(capfirst(str(label))) for label in labels)), other.address, url,
        f"{other.address}{page}" if other.address and page else "", title(), kind,
    )  # fmt: skip


def title() -> str:
    """The heading of a place: where the things are."""
    other = keeper()
    return _("Held on premises: {site}").format(site=other.name) if other and other.name else _("Held on premises")


def of_record(
    request: HttpRequest, entry: Entry, key, parts: Iterable[Entry] = (), also: Iterable[str] = ()
) -> Held | None:
    """The place on a card for the values of a record that are not here, and for its ``parts`` of which none is here.

    ``also`` are more of its fields that point to what is not here.
    """
    names = [*names_for(request.actor, entry), *also]
    labels = [entry.fields[n].verbose_name for n in names]
    labels += [p.model._meta.verbose_name_plural for p in parts if wholly(p) and may(request.actor, p, "view")]
    if not labels:
        return None
    return place(request, labels, f"{entry.slug}/{key}", {"fields": ",".join(names)}, page=f"/{entry.slug}/{key}")


def of_list(request: HttpRequest, entry: Entry, keys: Iterable[object]) -> Held | None:
    """The place beside a list for the columns that are not here: one frame for all rows, which it knows by their keys."""
    gone = names_for(request.actor, entry)
    names, ids = [n for n in entry.surface.list if n in gone], ",".join(str(k) for k in keys)
    if not names or not ids:
        return None
    labels = [entry.fields[n].verbose_name for n in names]
    return place(
        request, labels, entry.slug, {"ids": ids, "fields": ",".join(names)}, places.list_of(entry), kind="rows"
    )


def of_object(request: HttpRequest, entry: Entry, part: str = "", query=()) -> Held:
    """The place for all records of an object of which none is here, or for a form that adds one (``part`` is ``new``)."""
    path = f"{entry.slug}/{part}" if part else entry.slug
    return place(request, [entry.model._meta.verbose_name_plural], path, query, places.list_of(entry))


def names_for(actor: Actor, entry: Entry) -> list[str]:
    """The fields of an object that this actor may see and that are not here, in the order of the model."""
    gone = fields(entry)
    return [n for n in visible_fields(actor, entry) if n in gone] if gone else []
