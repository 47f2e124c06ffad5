"""Values turns what a cell says, in the manner of whoever wrote it, into what a field's form reads."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from functools import lru_cache
from zoneinfo import ZoneInfo

import orjson
from django.db import models
from django.utils import translation
from django.utils.dateparse import parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

YES = {"1", "true", "yes", "y", "t", "x", "tak", "prawda", "on", "+"}
NO = {"0", "false", "no", "n", "f", "nie", "fałsz", "off", "-", ""}
SYMBOLS = re.compile(
    r"(?:US|CA|AU)?[$€£¥₴₽%]|(?<![^\W\d_])(?:zł|kč|ft|PLN|EUR|USD|GBP|CHF|CZK)(?![^\W\d_])", re.IGNORECASE
)
SPACES = str.maketrans("", "", " \u00a0\u2007\u2009\u202f\t'’_")
MINUSES = str.maketrans("−–—", "---")
DATE = re.compile(r"^(\d{1,4})[\s./-]+(\d{1,2}|[^\W\d_]{3,12})[\s./-]+(\d{1,4})(?:[T\s,]+(.+))?$")
COMPACT = re.compile(r"^(\d{4})(\d{2})(\d{2})$")
TIME = re.compile(
    r"^(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d+))?)?\s*([ap]\.?m\.?)?\s*(Z|[+-]\d{2}:?\d{2})?$", re.IGNORECASE
)
DIGITS = 24  # before the decimal sign; no field holds more
ORDERS = ("dmy", "mdy", "ymd")
MONTHS = {
    name: number
    for number, names in enumerate(
        (
            "jan january sty stycznia styczeń",
            "feb february lut lutego luty",
            "mar march marca marzec",
            "apr april kwi kwietnia kwiecień",
            "may maj maja",
            "jun june cze czerwca czerwiec",
            "jul july lip lipca lipiec",
            "aug august sie sierpnia sierpień",
            "sep sept september wrz września wrzesień",
            "oct october paź października październik",
            "nov november lis listopada listopad",
            "dec december gru grudnia grudzień",
        ),
        1,
    )
    for name in names.split()
}


class Unreadable(Exception):
    """The cell does not say a value of its field's kind; the message is advice."""


def text_of(cell) -> str:
    """A cell as the text that a person sees: no ``.0`` behind whole numbers, dates in ISO."""
    match cell:
        case None:
            return ""
        case str():
            return cell.strip()
        case bool():
            return "true" if cell else "false"
        case Decimal():
            text = format(cell, "f")
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return cell.date().isoformat() if cell.time() == time(0) else cell.isoformat(sep=" ")
        case date():
            return cell.isoformat()
    return str(cell)


def plain(text: object) -> str:
    """Text for comparing: one space between words, no matter of case."""
    return " ".join(unicodedata.normalize("NFKC", text_of(text)).split()).casefold()


def read(field: models.Field, cell, options: Mapping) -> object:
    """The value of ``cell`` for a model field; "" when it is empty.

    ``options``: ``date_order`` (dmy, mdy, ymd), ``decimal`` (``.`` or ``,``), ``multiply``, ``timezone``. Raises Unreadable.
    """
    if cell in ("", None) or (isinstance(cell, str) and not cell.strip()):
        return ""
    match field:
        case models.BooleanField():
            return boolean(cell)
        case models.DecimalField():
            value = number(cell, options)
            if options.get("multiply"):  # a product has more decimals than anybody wrote
                value = value.quantize(Decimal(1).scaleb(-field.decimal_places), ROUND_HALF_UP)
            return value
        case models.IntegerField() if not field.choices:
            value = number(cell, options)
            if value != value.to_integral_value():
                raise Unreadable(_("“{value}” is not a whole number.").format(value=shown(cell)))
            return int(value)
        case models.DateTimeField():
            return moment(cell, options)
        case models.DateField():
            return day(cell, options)
        case models.JSONField():
            return _json(field, cell)
    if field.choices:
        return choice(field, cell)
    return cell if isinstance(cell, str) else text_of(cell)


def boolean(cell) -> bool:
    """Yes or no. Raises Unreadable."""
    if isinstance(cell, bool):
        return cell
    text = plain(cell)
    if text in YES:
        return True
    if text in NO:
        return False
    raise Unreadable(_("“{value}” is neither yes nor no.").format(value=shown(cell)))


def number(cell, options: Mapping = {}) -> Decimal:
    """A number as written in any country. Raises Unreadable, also when ``1,234`` could mean two things."""
    if isinstance(cell, Decimal):
        value = cell
    elif isinstance(cell, bool):
        value = Decimal(cell)
    else:
        value = _number(cell, options.get("decimal") or "")
    multiply = options.get("multiply")
    if multiply:
        value *= Decimal(str(multiply))
    if not value.is_finite() or value.adjusted() > DIGITS:
        raise Unreadable(_("“{value}” is too large.").format(value=shown(cell)))
    return value


def _number(cell, decimal: str) -> Decimal:
    text = SYMBOLS.sub("", str(cell).strip().translate(MINUSES)).translate(SPACES)
    negative = False
    if text.startswith("(") and text.endswith(")"):
        negative, text = True, text[1:-1]
    elif text.endswith("-"):
        negative, text = True, text[:-1]
    last_comma, last_dot = text.rfind(","), text.rfind(".")
    if decimal:
        text = text.replace("," if decimal == "." else ".", "")
    elif last_comma >= 0 and last_dot >= 0:
        text = text.replace("." if last_comma > last_dot else ",", "")
    elif last_comma >= 0 and text.count(",") > 1:
        text = text.replace(",", "")
    elif last_dot >= 0 and text.count(".") > 1:
        text = text.replace(".", "")
    elif last_comma >= 0 and re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", text):
        raise Unreadable(
            _("“{value}” may be read in two ways. Tell which sign stands before the decimals.").format(
                value=shown(cell)
            )
        )
    text = text.replace(",", ".")
    if not re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d{1,3})?", text, re.IGNORECASE | re.ASCII):
        raise Unreadable(_("“{value}” is not a number.").format(value=shown(cell)))
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise Unreadable(_("“{value}” is not a number.").format(value=shown(cell))) from error
    return -value if negative else value


def day(cell, options: Mapping = {}) -> date:
    """A day. Raises Unreadable."""
    if isinstance(cell, datetime):
        return cell.date()
    if isinstance(cell, date):
        return cell
    if isinstance(cell, Decimal):
        cell = text_of(cell)
    return _day(str(cell).strip(), options.get("date_order") or "", cell)[0]


def moment(cell, options: Mapping = {}) -> datetime:
    """A moment, aware; without a zone it is taken in ``options["timezone"]``. Raises Unreadable."""
    zone = ZoneInfo(options.get("timezone") or "UTC")
    if isinstance(cell, datetime):
        value = cell
    elif isinstance(cell, date):
        value = datetime.combine(cell, time(0))
    else:
        text = str(cell).strip()
        try:
            value = parse_datetime(text)
        except ValueError:
            value = None
        if value is None:
            value = _moment(text, options, cell)
    try:
        return (value if value.tzinfo else value.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError as error:
        raise Unreadable(_("“{value}” is not a time.").format(value=shown(cell))) from error


def _moment(text: str, options: Mapping, cell) -> datetime:
    found, rest = _day(text, options.get("date_order") or "", cell)
    if not rest:
        return datetime.combine(found, time(0))
    clock = TIME.match(rest.strip())
    if clock is None:
        raise Unreadable(_("“{value}” is not a time.").format(value=shown(cell)))
    hour, minute, second, fraction, half, offset = clock.groups()
    hours = int(hour)
    if half:
        hours = hours % 12 + (12 if half[0] in "pP" else 0)
    iso = f"{hours:02d}:{minute}:{second or '00'}.{(fraction or '0')[:6]:0<6}"
    try:
        value = datetime.combine(found, time.fromisoformat(iso))
        if offset:
            value = datetime.fromisoformat(f"{value.isoformat()}{'+00:00' if offset in 'Zz' else offset}")
    except ValueError as error:
        raise Unreadable(_("“{value}” is not a time.").format(value=shown(cell))) from error
    return value


def _day(text: str, order: str, cell) -> tuple[date, str]:
    """The day and what stands behind it."""
    compact = COMPACT.match(text)
    found = DATE.match(text) if compact is None else None
    if compact is not None:
        parts, rest = [int(p) for p in compact.groups()], ""
        order = "ymd"
    elif found is not None:
        first, middle, last, rest = found.groups()
        word = MONTHS.get(middle.casefold().rstrip("."))
        if not middle.isdigit() and word is None:
            raise Unreadable(_("“{value}” is not a date. Write it as 2026-03-31.").format(value=shown(cell)))
        parts = [int(first), int(middle) if word is None else word, int(last)]
        if len(first) > 2:
            order = "ymd"
        elif word is not None:
            order = "dmy"
        elif order not in ("dmy", "mdy"):
            order = _only_order(parts, cell)
    else:
        raise Unreadable(_("“{value}” is not a date. Write it as 2026-03-31.").format(value=shown(cell)))
    values = dict(zip(order, parts, strict=True))
    year = values["y"]
    if year < 100:
        year += 2000 if year < 70 else 1900
    try:
        return date(year, values["m"], values["d"]), rest or ""
    except ValueError as error:
        raise Unreadable(
            _("“{value}” is not a date in the order {order}. Write it as 2026-03-31.").format(
                value=shown(cell), order=ORDER_NAMES[order]
            )
        ) from error


ORDER_NAMES = {
    "dmy": gettext_lazy("day, month, year"),
    "mdy": gettext_lazy("month, day, year"),
    "ymd": gettext_lazy("year, month, day"),
}


def _only_order(parts: list[int], cell) -> str:
    first, second = parts[0], parts[1]
    if first > 12 >= second:
        return "dmy"
    if second > 12 >= first:
        return "mdy"
    if first == second:
        return "dmy"
    raise Unreadable(_("“{value}” may be read in two ways. Tell the order of day and month.").format(value=shown(cell)))


def date_order(cells: Iterable) -> str:
    """The one order in which all these cells are dates; "" when they leave it open or are none."""
    possible = {"dmy", "mdy"}
    seen = 0
    for cell in cells:
        if not isinstance(cell, str):
            continue
        found = DATE.match(cell.strip())
        if found is None or len(found[1]) > 2 or not found[2].isdigit():
            continue
        seen += 1
        if int(found[1]) > 12:
            possible.discard("mdy")
        if int(found[2]) > 12:
            possible.discard("dmy")
    return possible.pop() if seen and len(possible) == 1 else ""


def decimal_sign(cells: Iterable) -> str:
    """The sign before the decimals in all these cells; "" when they leave it open."""
    told = set()
    for cell in cells:
        if not isinstance(cell, str):
            continue
        text = SYMBOLS.sub("", cell).translate(SPACES)
        comma, dot = text.rfind(","), text.rfind(".")
        if comma >= 0 and dot >= 0:
            told.add("," if comma > dot else ".")
        elif comma >= 0 and text.count(",") > 1:
            told.add(".")
        elif dot >= 0 and text.count(".") > 1:
            told.add(",")
        elif comma >= 0 and not re.search(r",\d{3}$", text):
            told.add(",")
        elif dot >= 0 and not re.search(r"\.\d{3}$", text):
            told.add(".")
    return told.pop() if len(told) == 1 else ""


def choice(field: models.Field, cell) -> object:
    """The stored value of a choice, told by itself or by its label in any of our languages. Raises Unreadable."""
    found = _choices(field).get(plain(cell))
    if found is not None:
        return found
    raise Unreadable(
        _("“{value}” is none of: {choices}.").format(
            value=shown(cell), choices=", ".join(str(label) for _value, label in field.flatchoices[:20])
        )
    )


@lru_cache(maxsize=512)
def _choices(field: models.Field) -> dict[str, object]:
    known: dict[str, object] = {}
    for language in ("en", "pl"):
        with translation.override(language):
            for value, label in field.flatchoices:
                known.setdefault(plain(str(label)), value)
    return known | {plain(str(value)): value for value, _label in field.flatchoices}


def _json(field: models.Field, cell) -> object:
    text = text_of(cell)
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if field.default is list:
            return [part.strip() for part in text.split(",") if part.strip()]
        raise Unreadable(_("“{value}” is not JSON.").format(value=shown(cell))) from error


def shown(cell) -> str:
    """A cell as a message quotes it: short, and on one line."""
    text = " ".join(text_of(cell).replace("\x00", "\u2400").split())
    return text if len(text) <= 80 else text[:79] + "…"
