"""Values as people read and write them, in both languages."""

import datetime as dt
from decimal import Decimal

import pytest
from django.utils import timezone, translation

from ostoja.web import display
from ostoja.web.widgets import plain_number


@pytest.mark.parametrize(
    ("language", "amount", "currency", "said"),
    [
        ("pl", "284000", "PLN", "284\u00a0000\u00a0zł"),
        ("pl", "1234.5", "EUR", "1\u00a0234,50\u00a0€"),
        ("en", "284000", "PLN", "PLN\u00a0284,000"),
        ("en", "1234.50", "EUR", "€1,234.50"),
        ("en", "-5", "GBP", "−£5"),
        ("en", "0", "", "0"),
    ],
)
def test_money(language, amount, currency, said):
    with translation.override(language):
        assert display.money(Decimal(amount), currency).replace("\u202f", "\u00a0") == said


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("1 234,50", "1234.50"), ("1234.50", "1234.50"), ("1,234.50", "1234.50"), ("1.234,50", "1234.50"), ("1\u00a0234", "1234"),
        ("-5", "-5"), ("1,5", "1.5"), ("1.234.567", "1234567"), ("abc", "abc"), ("", ""),
    ],
)  # fmt: skip
def test_numbers_as_people_type_them(typed, meant):
    assert plain_number(typed) == meant


def test_dates_of_this_year_need_no_year():
    today = timezone.localdate()
    with translation.override("en"):
        assert display.date(today.replace(month=3, day=5)) == "5 Mar"
        assert display.date(dt.date(1999, 3, 5)) == "5 Mar 1999"
    with translation.override("pl"):
        assert display.date(dt.date(1999, 3, 5)) == "5 mar 1999"


def test_moments_in_words():
    now = timezone.now()
    with translation.override("en"):
        assert ">just now<" in display.ago(now)
        assert ">5 min ago<" in display.ago(now - dt.timedelta(minutes=5, seconds=3))
        assert display.ago(None) == ""


def test_initials():
    assert display.initials("Anna Nowak") == "AN"
    assert display.initials("Łucja Maria Wójcik") == "ŁW"
    assert display.initials("owner@demo.example") == "O"
    assert display.initials("") == "?"
    assert display.initials("<b>") == "?"
