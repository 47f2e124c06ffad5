"""How a value looks to a person: amounts, dates, people, states; in the reader's language, escaped, without styles."""

from __future__ import annotations

import datetime as dt
import zlib
from decimal import Decimal
from functools import lru_cache

from babel import Locale
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_decimal, get_currency_symbol
from django.utils import timezone
from django.utils.html import escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext as _

INKS = 8
NOTHING = mark_safe('<span class="quiet">–</span>')


@lru_cache(maxsize=32)
def _locale(language: str) -> Locale:
    return Locale.parse({"en": "en_GB", "pl": "pl_PL"}.get(language, language), sep="_")


def locale() -> Locale:
    """The Babel locale of the reader's language. English is British: its dates read the same all over Europe."""
    return _locale((get_language() or "en").split("-")[0])


def ink(key: object) -> int:
    """Which of the eight inks belongs to a name; the same one everywhere and always."""
    return zlib.crc32(str(key).encode()) % INKS


def initials(name: object) -> str:
    """Up to two letters, escaped: ``Anna Nowak`` gives ``AN``, an e-mail address its first letter."""
    words = [word for word in str(name).split("@")[0].replace("-", " ").split() if word[:1].isalnum()]
    letters = "".join(word[0] for word in (words[:1] + words[-1:] if len(words) > 1 else words))
    return escape(letters.upper() or "?")


def avatar(name: object, css: str = "", key: object = "") -> SafeString:
    """A round mark with a person's initials."""
    return format_html(
        '<span class="ava {}" data-ink="{}" aria-hidden="true">{}</span>', css, ink(key or name), initials(name)
    )


def logo(name: object, css: str = "", key: object = "") -> SafeString:
    """A square mark with the first letter of an organisation or another record."""
    return format_html(
        '<span class="logo {}" data-ink="{}" aria-hidden="true">{}</span>', css, ink(key or name), initials(name)[:1]
    )


def person(name: object, key: object = "") -> SafeString:
    """A person: mark and name."""
    return format_html('<span class="who">{}<span>{}</span></span>', avatar(name, key=key), name)


def pill(label: object, tone: str = "gray") -> SafeString:
    """A state or stage."""
    return format_html('<span class="pill" data-tone="{}">{}</span>', tone or "gray", label)


def money(value: object, currency: str = "") -> str:
    """An amount with its currency; whole amounts without decimals, so that columns stay calm."""
    if value is None or value == "":
        return ""
    number = value if isinstance(value, Decimal) else Decimal(str(value))
    whole = number == number.to_integral_value()
    pattern = "#,##0" if whole else "#,##0.00"
    said = format_decimal(abs(number), format=pattern, locale=locale())
    sign = "−" if number < 0 else ""
    if not currency:
        return sign + said
    symbol = get_currency_symbol(currency, locale=locale())
    if locale().language != "en":
        return f"{sign}{said}\u00a0{symbol}"
    return f"{sign}{symbol}\u00a0{said}" if symbol[-1:].isalpha() else f"{sign}{symbol}{said}"


def number(value: object) -> str:
    """A number without needless zeros."""
    if value is None or value == "":
        return ""
    return format_decimal(value, format="#,##0.########", locale=locale())


def date(value: dt.date | None) -> str:
    """A date as people write it: ``24 Nov`` in this year, ``14 Jan 2027`` in another."""
    if value is None:
        return ""
    same_year = value.year == timezone.localdate().year
    return format_date(value, "d MMM" if same_year else "d MMM y", locale=locale())


def day(value: dt.date | None) -> str:
    """A date with its year, always: ``31 Dec 2026``."""
    return "" if value is None else format_date(value, "d MMM y", locale=locale())


def moment(value: dt.datetime | None) -> str:
    """A date and time in the reader's time zone."""
    if value is None:
        return ""
    return format_datetime(timezone.localtime(value), "d MMM y, HH:mm", locale=locale())


def ago(value: dt.datetime | None) -> SafeString:
    """A past or coming moment in words, with the exact time for those who look closer."""
    if value is None:
        return mark_safe("")
    local, now = timezone.localtime(value), timezone.localtime()
    seconds = (now - local).total_seconds()
    days = (now.date() - local.date()).days
    if 0 <= seconds < 60:
        said = _("just now")
    elif 0 <= seconds < 3600:
        minutes = int(seconds // 60)
        said = ngettext("%(n)d min ago", "%(n)d min ago", minutes) % {"n": minutes}
    elif 0 <= seconds and days == 0:
        hours = int(seconds // 3600)
        said = ngettext("%(n)d h ago", "%(n)d h ago", hours) % {"n": hours}
    elif days == 1:
        said = _("yesterday, %(time)s") % {"time": format_time(local, "HH:mm", locale=locale())}
    elif days == -1:
        said = _("tomorrow, %(time)s") % {"time": format_time(local, "HH:mm", locale=locale())}
    else:
        said = date(local.date())
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', value.isoformat(timespec="seconds"), moment(value), said
    )


def lines(text: object) -> SafeString:
    """Longer text with its line breaks."""
    return format_html('<span class="whitespace-pre-line">{}</span>', text) if text else mark_safe("")


def safe_join(separator: str, parts: list[str]) -> SafeString:
    """Drawn values beside each other; they are safe already."""
    return mark_safe(separator.join(parts))
