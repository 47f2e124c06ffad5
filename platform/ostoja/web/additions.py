"""What rooms above the web add to its pages: places in the settings and the navigation, parts of cards, words for values kept elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """One entry of a navigation: where it leads, its icon and words, and how many things wait there."""

    url: str
    icon: str
    label: str
    count: int = 0


Asked = Callable[..., Iterable[Place]]
_settings: list[Asked] = []
_navigation: list[Asked] = []


def in_settings(function: Asked) -> Asked:
    """Declare a function of the actor that answers places of the settings which concern them."""
    _settings.append(function)
    return function


def in_navigation(function: Asked) -> Asked:
    """Declare a function of the request that answers what the main navigation shows besides the objects."""
    _navigation.append(function)
    return function


def settings_of(actor) -> list[Place]:
    """The places in the settings that other rooms add for this actor."""
    return [place for asked in _settings for place in asked(actor)]


def navigation_of(request) -> list[Place]:
    """What other rooms add to the main navigation of this request's actor."""
    return [place for asked in _navigation for place in asked(request)]


_doors: list[Callable[..., str]] = []


def at_sign_in(function):
    """Declare a function of the request that answers a sentence for whoever signs in, or nothing."""
    _doors.append(function)
    return function


def said_at_sign_in(request) -> list[str]:
    """What other rooms say to whoever signs in."""
    return [said for asked in _doors if (said := asked(request))]


@dataclass(frozen=True)
class Part:
    """A part of a record's card: a template, which finds ``context`` as ``part``."""

    template: str
    context: Mapping[str, object]


@dataclass(frozen=True)
class Act:
    """One entry of the menu of a record's card: a link."""

    label: object
    icon: str
    url: str


_cards: list[Callable[..., Part | None]] = []
_acts: list[Callable[..., Iterable[Act]]] = []
Elsewhere = Mapping[object, Mapping[str, str]]
_elsewhere: list[Callable[..., Elsewhere]] = []


def on_cards(function):
    """Declare a function of (request, entry, record) that answers what stands on the card besides the fields, or None."""
    _cards.append(function)
    return function


def in_card_menus(function):
    """Declare a function of (request, entry, record) that answers entries of the card's menu."""
    _acts.append(function)
    return function


def elsewhere(function):
    """Declare a function of (request, entry, records) that answers what stands in place of values that are kept elsewhere:
    {record's key: {field: drawn}}.
    """
    _elsewhere.append(function)
    return function


def parts_of(request, entry, record) -> list[Part]:
    """What other rooms put on this card."""
    return [part for asked in _cards if (part := asked(request, entry, record)) is not None]


def acts_of(request, entry, record) -> list[Act]:
    """What other rooms put into the menu of this card."""
    return [act for asked in _acts for act in asked(request, entry, record)]


def kept_elsewhere(request, entry, records) -> Elsewhere:
    """What stands in place of values of these records that are kept elsewhere."""
    out: dict[object, dict[str, str]] = {}
    for asked in _elsewhere:
        for key, fields in asked(request, entry, records).items():
            out.setdefault(key, {}).update(fields)
    return out
