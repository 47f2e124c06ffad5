"""Field types that the domain needs beyond Django's: money, quantities, prices, years, objects."""

from __future__ import annotations

from django.db import models


class MoneyField(models.DecimalField):
    """An amount of money in the currency that the record's ``currency`` field names; 18 digits, 2 of them decimals.

    FA(3) ``TKwotowy`` has the same precision.
    """

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 18)
        kwargs.setdefault("decimal_places", 2)
        super().__init__(*args, **kwargs)


class YearField(models.PositiveSmallIntegerField):
    """A year of the calendar: a number that is told without separators. To the database it is a small integer like any."""

    def deconstruct(self):
        """As the integer that it is, so that declaring a year changes no table."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.PositiveSmallIntegerField", args, kwargs


class ObjectField(models.CharField):
    """The label of an object, such as ``sales.deal``; people read its name. To the database it is text like any."""

    def deconstruct(self):
        """As the text that it is, so that declaring an object changes no table."""
        name, _path, args, kwargs = super().deconstruct()
        return name, "django.db.models.CharField", args, kwargs


class PriceField(models.DecimalField):
    """A unit price: 22 digits, 8 of them decimals (FA(3) ``TKwotowy2``)."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 22)
        kwargs.setdefault("decimal_places", 8)
        super().__init__(*args, **kwargs)


class QuantityField(models.DecimalField):
    """A quantity in a unit of measure: 22 digits, 6 of them decimals (FA(3) ``TIlosci``)."""

    def __init__(self, *args, **kwargs):
        kwargs.setdefault("max_digits", 22)
        kwargs.setdefault("decimal_places", 6)
        super().__init__(*args, **kwargs)
