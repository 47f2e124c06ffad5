"""Values: numbers, dates and choices as people of different countries write them, and no guess where two are possible."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from ostoja.access.models import Department, User
from ostoja.exchange import values
from ostoja.exchange.values import Unreadable

NUMBERS = [
    ("1,234.50", "1234.50"),
    ("1 234,50", "1234.50"),
    ("1\u00a0234,50 zł", "1234.50"),
    ("1.234.567,89", "1234567.89"),
    ("1,234,567", "1234567"),
    ("$4,821.00", "4821.00"),
    ("USD 55", "55"),
    ("12%", "12"),
    ("(1,234.50)", "-1234.50"),
    ("−5", "-5"),
    ("5-", "-5"),
    ("1'000.5", "1000.5"),
    (".5", "0.5"),
    ("12,5", "12.5"),
    ("1e3", "1e3"),
    ("0,125", "0.125"),
]


@pytest.mark.parametrize(("text", "value"), NUMBERS)
def test_numbers(text, value):
    assert values.number(text) == Decimal(value)


@pytest.mark.parametrize("text", ["abc", "1.2.3,4,5", "12 apples", "--5", "nan", "inf", "٣"])
def test_what_is_no_number_is_told(text):
    with pytest.raises(Unreadable, match="not a number"):
        values.number(text)


def test_a_number_with_two_meanings_is_asked_about():
    with pytest.raises(Unreadable, match="two ways"):
        values.number("1,234")
    assert values.number("1,234", {"decimal": "."}) == 1234
    assert values.number("1,234", {"decimal": ","}) == Decimal("1.234")
    assert values.number("1100.04", {"multiply": "1000000"}) == Decimal("1100040000")


DATES = [
    ("2026-03-31", ""),
    ("2026/3/31", ""),
    ("31.03.2026", ""),
    ("3/31/2026", ""),
    ("31-3-26", ""),
    ("31 March 2026", ""),
    ("31 marca 2026", ""),
    ("20260331", ""),
]


@pytest.mark.parametrize(("text", "order"), DATES)
def test_dates(text, order):
    assert values.day(text, {"date_order": order}) == date(2026, 3, 31)


def test_a_date_with_two_meanings_is_asked_about():
    with pytest.raises(Unreadable, match="two ways"):
        values.day("3/4/2026")
    assert values.day("3/4/2026", {"date_order": "mdy"}) == date(2026, 3, 4)
    assert values.day("3/4/2026", {"date_order": "dmy"}) == date(2026, 4, 3)
    for text in ("31/02/2026", "2026-13-01", "yesterday", "12"):
        with pytest.raises(Unreadable, match="2026-03-31"):
            values.day(text, {"date_order": "dmy"})


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-31T12:30:00Z",
        "2026-03-31 14:30",
        "31.03.2026 14:30:00",
        "2026-03-31 14:30:00.000000000",
        "2026-03-31T12:30:00+00:00",
        "3/31/2026 2:30 PM",
    ],
)
def test_moments_are_aware_and_a_missing_zone_is_the_tenants(text):
    assert values.moment(text, {"timezone": "Europe/Warsaw"}) == datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "value"), [("yes", True), ("TAK", True), ("1", True), ("nie", False), ("FALSE", False)]
)
def test_yes_and_no(text, value):
    assert values.boolean(text) is value


def test_yes_and_no_and_nothing_else():
    with pytest.raises(Unreadable):
        values.boolean("maybe")


def test_choices_by_value_and_label():
    language = User._meta.get_field("language")
    assert values.choice(language, " POLSKI ") == "pl" and values.choice(language, "en") == "en"
    with pytest.raises(Unreadable, match="English, Polski"):
        values.choice(language, "Klingon")


def test_the_order_of_dates_and_the_sign_of_decimals_are_found_in_a_column():
    assert values.date_order(["1/2/2026", "3/14/2026"]) == "mdy"
    assert values.date_order(["1/2/2026", "14/3/2026"]) == "dmy"
    assert values.date_order(["1/2/2026"]) == "" == values.date_order(["1/13/2026", "13/1/2026"])
    assert values.decimal_sign(["1 234,50", "7"]) == "," and values.decimal_sign(["1,234.5", "1,234"]) == "."
    assert values.decimal_sign(["1,234"]) == ""


def test_numbers_of_a_workbook_become_text_without_decimals():
    name = Department._meta.get_field("name")
    assert values.read(name, Decimal("500.0"), {}) == "500"
    assert values.read(name, Decimal("0.5"), {}) == "0.5"
