"""What a field's values look like in JSON: out, in, in a query, and in the schema."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid

import orjson
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.utils.dateparse import parse_date, parse_datetime, parse_time
from django.utils.translation import gettext as _

from ostoja.kernel import registry
from ostoja.kernel.ids import parse_uuid

AMOUNT = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,20})?")
EXACT_DIGITS = 15  # a JSON number with more decimal digits may not be what the sender meant
INTEGER_RANGES = {
    models.SmallIntegerField: (-(2**15), 2**15 - 1),
    models.PositiveSmallIntegerField: (0, 2**15 - 1),
    models.PositiveIntegerField: (0, 2**31 - 1),
    models.BigIntegerField: (-(2**63), 2**63 - 1),
    models.PositiveBigIntegerField: (0, 2**63 - 1),
}


class Wrong(ValueError):
    """A value is not of the field's kind; the message is a sentence for people."""


def entry_of(field: models.Field) -> registry.Entry | None:
    """The entry of the object that a relation points to, or None."""
    try:
        return registry.of(field.related_model) if field.is_relation else None
    except KeyError:
        return None


def is_text(field: models.Field) -> bool:
    """Whether the field holds text that people search in."""
    return isinstance(field, (models.CharField, models.TextField))


def is_number(field: models.Field) -> bool:
    """Whether the field can be summed."""
    return isinstance(field, (models.IntegerField, models.DecimalField))


def is_time(field: models.Field) -> bool:
    """Whether the field can be grouped by month and year."""
    return isinstance(field, models.DateField)


def is_shown(field: models.Field) -> bool:
    """Whether the field has a place in JSON at all."""
    return not isinstance(field, models.BinaryField)


def is_filtered(field: models.Field) -> bool:
    """Whether a list can be narrowed by the field."""
    return is_shown(field) and not isinstance(field, (models.JSONField, ArrayField))


def is_sorted(field: models.Field) -> bool:
    """Whether a list can be sorted by the field: long texts can't, a cursor has to carry the value."""
    return is_filtered(field) and not isinstance(field, models.TextField)


def limits_of(field: models.IntegerField) -> tuple[int, int]:
    """The least and the greatest number that the database keeps in an integer field."""
    for kind, limits in INTEGER_RANGES.items():
        if type(field) is kind or (kind is not models.IntegerField and isinstance(field, kind)):
            return limits
    return -(2**31), 2**31 - 1


# --- from a query -----------------------------------------------------------------------------------------------------


def parse(field: models.Field, text: str) -> object:
    """The value that a query parameter says. Raises Wrong with what was expected."""
    if "\x00" in text or any("\ud800" <= c <= "\udfff" for c in text):
        raise Wrong(_("It has characters that can't be stored."))
    if field.is_relation or isinstance(field, models.UUIDField):
        return _id(text)
    if isinstance(field, models.BooleanField):
        if text.lower() not in ("true", "false", "1", "0"):
            raise Wrong(_("Say true or false."))
        return text.lower() in ("true", "1")
    if isinstance(field, models.IntegerField):
        return _whole(field, text)
    if isinstance(field, models.DecimalField):
        return _exact(field, text)
    if isinstance(field, models.DateTimeField):
        return _moment(text)
    if isinstance(field, models.DateField):
        return _day(text)
    if isinstance(field, models.TimeField):
        return _clock(text)
    if field.choices and text != "":
        known = [str(value) for value, _label in field.flatchoices]
        if text not in known:
            raise Wrong(_("Choose one of: {choices}.").format(choices=", ".join(known)))
    return text


def _id(text: str) -> uuid.UUID:
    found = parse_uuid(text) if len(text) in (32, 36) else None
    if found is None:
        raise Wrong(_("An id (UUID) is expected."))
    return found


def _whole(field: models.Field, text: str) -> int:
    try:
        number = int(text) if len(text) < 21 and text.lstrip("+-").isascii() and text.lstrip("+-").isdigit() else None
    except ValueError:
        number = None
    low, high = limits_of(field)
    if number is None or not low <= number <= high:
        raise Wrong(_("A whole number from {low} to {high} is expected.").format(low=low, high=high))
    return number


def _exact(field: models.DecimalField, text: str) -> decimal.Decimal:
    if not AMOUNT.fullmatch(text):
        raise Wrong(_("A number is expected, e.g. 1054.00."))
    return decimal.Decimal(text)


def _moment(text: str) -> datetime.datetime:
    try:
        found = parse_datetime(text)
        if found is None and (day := parse_date(text)):
            found = datetime.datetime.combine(day, datetime.time())
    except ValueError:
        found = None
    if found is None:
        raise Wrong(_("A time is expected, e.g. 2026-03-31T12:00:00Z."))
    if found.tzinfo is None:
        return found.replace(tzinfo=datetime.UTC)
    try:
        return found.astimezone(datetime.UTC)
    except OverflowError as error:
        raise Wrong(_("A time is expected, e.g. 2026-03-31T12:00:00Z.")) from error


def _day(text: str) -> datetime.date:
    try:
        found = parse_date(text)
    except ValueError:
        found = None
    if found is None:
        raise Wrong(_("A date is expected, e.g. 2026-03-31."))
    return found


def _clock(text: str) -> datetime.time:
    try:
        found = parse_time(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is not None:
        raise Wrong(_("A time of day is expected, e.g. 12:30:00."))
    return found


# --- from a body ------------------------------------------------------------------------------------------------------


def incoming(field: models.Field, value: object) -> object:
    """The value of a JSON body as the form takes it; what is right beyond its type, the form decides. Raises Wrong."""
    if value is None:
        if isinstance(field, models.BooleanField) and not field.null:
            raise Wrong(_("Say true or false."))
        return None
    if field.is_relation:
        if isinstance(value, dict):
            value = value.get("id")
        if value == "":
            return None
        if not isinstance(value, str):
            raise Wrong(_("An id is expected, or an object with an id."))
        return str(_id(value))
    if isinstance(field, models.BooleanField):
        if not isinstance(value, bool):
            raise Wrong(_("Say true or false."))
        return value
    if isinstance(field, models.JSONField):
        return orjson.dumps(value).decode() if isinstance(value, (str, bool)) else value
    if isinstance(field, ArrayField):
        return value
    if isinstance(field, models.IntegerField):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value != int(value):
            raise Wrong(_("A whole number is expected."))
        return _whole(field, str(int(value)))
    if isinstance(field, models.DecimalField):
        return _amount(field, value)
    if not isinstance(value, str):
        raise Wrong(_("A text is expected, in quotes."))
    if value == "":
        return value
    if isinstance(field, models.DateTimeField):
        return _moment(value)
    if isinstance(field, models.DateField):
        return _day(value)
    if isinstance(field, models.TimeField):
        return _clock(value)
    return value


def _amount(field: models.DecimalField, value: object) -> decimal.Decimal | str:
    if value == "":
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Wrong(_("A number is expected, best in quotes: “1054.00”."))
    text = value if isinstance(value, str) else format(decimal.Decimal(repr(value)), "f")
    number = _exact(field, text.strip())
    if isinstance(value, float) and len(number.as_tuple().digits) > EXACT_DIGITS:
        raise Wrong(_("Put numbers of more than {n} digits in quotes, so that none is lost.").format(n=EXACT_DIGITS))
    return number


# --- outgoing, where Python and not the database writes it ---------------------------------------------------------------


def outgoing(value: object) -> object:
    """A value as JSON: amounts as text, never as floating point."""
    if isinstance(value, decimal.Decimal):
        return format(value, "f")
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    return str(value)


def dumps(value: object) -> bytes:
    """JSON as bytes."""
    return orjson.dumps(value, default=outgoing)


# --- in the schema ------------------------------------------------------------------------------------------------------


def schema(field: models.Field, *, reading: bool) -> dict:
    """The JSON Schema of a field, as it is read or as it is written."""
    out = _schema(field, reading)
    if field.verbose_name:
        out["title"] = str(field.verbose_name)
    if field.help_text:
        out["description"] = str(field.help_text)
    nullable = field.null if reading else (field.null or field.blank)
    if nullable and not isinstance(field, models.JSONField):
        if "$ref" in out or "anyOf" in out:
            title = {k: out.pop(k) for k in ("title", "description") if k in out}
            choices = out.pop("anyOf", None) or [out]
            return {"anyOf": [*choices, {"type": "null"}], **title}
        out["type"] = [out["type"], "null"]
        if "enum" in out:
            out["enum"] = [*out["enum"], None]
    return out


def _schema(field: models.Field, reading: bool) -> dict:
    if field.is_relation:
        reference = {"$ref": "#/components/schemas/Reference"}
        return reference if reading else {"anyOf": [{"type": "string", "format": "uuid"}, dict(reference)]}
    if isinstance(field, models.UUIDField):
        return {"type": "string", "format": "uuid"}
    if isinstance(field, models.BooleanField):
        return {"type": "boolean"}
    if isinstance(field, models.JSONField):
        return {}
    if isinstance(field, ArrayField):
        return {"type": "array", "items": _schema(field.base_field, reading)}
    if isinstance(field, models.IntegerField):
        low, high = limits_of(field)
        return {"type": "integer", "minimum": low, "maximum": high}
    if isinstance(field, models.DecimalField):
        out = {"type": "string", "pattern": decimal_pattern(field)}
        return out if reading else {"anyOf": [out, {"type": "number"}]}
    if isinstance(field, models.DateTimeField):
        return {"type": "string", "format": "date-time"}
    if isinstance(field, models.DateField):
        return {"type": "string", "format": "date"}
    if isinstance(field, models.TimeField):
        return {"type": "string", "format": "time"}
    out = {"type": "string"}
    if field.choices:
        out["enum"] = [str(value) for value, _label in field.flatchoices]
        if field.blank and "" not in out["enum"]:
            out["enum"].append("")
        out["x-labels"] = {str(value): str(label) for value, label in field.flatchoices}
        return out
    if field.max_length:
        out["maxLength"] = field.max_length
    return out


def decimal_pattern(field: models.DecimalField) -> str:
    """The regular expression of an amount as text."""
    whole = field.max_digits - field.decimal_places
    return rf"^-?[0-9]{{1,{whole}}}(\.[0-9]{{1,{field.decimal_places}}})?$"
