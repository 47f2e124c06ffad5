"""What rooms above the web add to its pages: places in the settings and groups in the navigation, asked of each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
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
