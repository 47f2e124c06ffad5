"""A currency is three capital letters of ISO 4217; who names none means the currency of the own books."""

from __future__ import annotations

from babel.numbers import is_currency
from django.core.exceptions import ValidationError
from django.db import models
from django.utils.translation import gettext_lazy as _

from ostoja.tenancy.context import opening

USUAL = "PLN"


def own() -> str:
    """The currency in which the open tenant keeps its books."""
    now = opening()
    return now.tenant.currency if now is not None and now.tenant is not None else USUAL


def known(code: str) -> None:
    """Raise ValidationError unless ``code`` is a currency of ISO 4217."""
    if not is_currency(code):
        raise ValidationError(
            _("“%(code)s” is no currency; write three letters as in EUR."), params={"code": code}, code="currency"
        )


class CurrencyField(models.CharField):
    """The currency of the amounts beside it."""

    default_validators = (known,)

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_length", 3)
        kwargs.setdefault("default", own)
        super().__init__(*args, **kwargs)

    def to_python(self, value):
        value = super().to_python(value)
        return value.strip().upper() if isinstance(value, str) else value
