"""Tags and filters that draw the small things every page repeats: icons, people, pills, fields, amounts, times."""

from __future__ import annotations

import zlib
from functools import cache, lru_cache
from pathlib import Path

from django import template
from django.templatetags.static import static
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _

from ostoja.web import display
from ostoja.web.widgets import control_of, render_field

register = template.Library()


BUILT = Path(__file__).parent.parent / "static" / "ostoja"


@cache
def _asset(name: str) -> str:
    content = Path(f"{BUILT}/{name}").read_bytes()
    return f"{static(f'ostoja/{name}')}?v={zlib.crc32(content):08x}"


@register.simple_tag
def asset(name: str) -> str:
    """The address of a built asset; its content is part of the address, so browsers may keep it for ever."""
    return _asset(name)


@lru_cache(maxsize=512)
def _icon(name: str, css: str, sprite: str) -> SafeString:
    return format_html('<svg class="icon {}" aria-hidden="true"><use href="{}#{}"/></svg>', css, sprite, name)


@register.simple_tag
def icon(name: str, css: str = "") -> SafeString:
    """A Lucide icon from the sprite; decoration only, so put the words beside it or into ``aria-label``."""
    return _icon(str(name), css, _asset("icons.svg"))


@register.simple_tag
def avatar(name: str, css: str = "", key: str = "") -> SafeString:
    """The initials of a person on the colour that belongs to them."""
    return display.avatar(name, css=css, key=key)


@register.simple_tag
def logo(name: str, css: str = "", key: str = "") -> SafeString:
    """The first letter of an organisation or record on a tint of its colour."""
    return display.logo(name, css=css, key=key)


@register.simple_tag
def pill(label: str, tone: str = "gray") -> SafeString:
    """A state or stage as a small label with a dot."""
    return display.pill(label, tone)


@register.simple_tag
def field(bound, css: str = "", **attrs) -> SafeString:
    """A form field with its label, control, help and errors, wired together for screen readers.

    More attributes of the control may be given, with underscores for hyphens: ``data_size="lg"``.
    """
    return render_field(bound, css=css, **_attributes(attrs))


def _attributes(given: dict) -> dict:
    return {name.replace("_", "-"): value for name, value in given.items()}


@register.simple_tag
def control(bound, css: str = "", **attrs) -> SafeString:
    """The control of a form field alone, for a cell of a table; its label is the column's."""
    return control_of(bound, **{"class": css, "aria-label": bound.label, **_attributes(attrs)})


@register.filter
def ago(moment) -> SafeString:
    """A time as people say it (5 min ago, yesterday, 12 Nov), the exact time in the title."""
    return display.ago(moment)


@register.filter
def day(value) -> str:
    """A date with its year (31 Dec 2026)."""
    return display.day(value)


@register.filter
def amount(value, currency: str = "") -> str:
    """An amount of money in the reader's language."""
    return display.money(value, currency)


@register.simple_tag(takes_context=True)
def page_url(context, **changes) -> str:
    """The address of this page with query parameters changed; None takes one away."""
    query = context["request"].GET.copy()
    for name, value in changes.items():
        if value is None or value == "":
            query.pop(name, None)
        else:
            query[name] = value
    return f"?{query.urlencode()}" if query else context["request"].path


@register.inclusion_tag("ostoja/access/scene.html")
def scene() -> dict:
    """The picture beside sign-up and sign-in: a board in miniature."""
    return {
        "lanes": [
            ("violet", _("Qualified"), [("S", 0), ("M", 2), ("O", 4), ("T", 7)]),
            ("blue", _("Proposal"), [("B", 3), ("N", 5), ("G", 1)]),
            ("green", _("Won"), [("H", 6), ("P", 1), ("K", 5)]),
        ]
    }


@register.filter
def initial(name: str) -> SafeString:
    """The first letter, for a mark."""
    return escape(display.initials(name)[:1])
