"""Addresses: malformed, reserved, taken and look-alike ones are refused politely."""

from datetime import timedelta

import pytest
from django.utils import timezone, translation

from ostoja.kernel.errors import Refused
from ostoja.tenancy import names
from ostoja.tenancy.context import platform_context
from ostoja.tenancy.models import HeldName


@pytest.mark.parametrize("text", ["acme", "demo", "Acme ", "north-wind", "3m-polska", "a1b", "x" * 40, "ACME\n"])
def test_a_good_address_is_tidied_and_accepted(platform, text):
    assert names.checked(text) == text.strip().lower()


@pytest.mark.parametrize(
    "text",
    ["", "ab", "x" * 41, "-acme", "acme-", "ac--me", "xn--acme", "12345", "1-2-3", "ac_me", "ac.me", "ac me", "pg_acme", "acme'; --",
     "a/b", "../etc", "акме", "аcme", "żółw!", "a\u200bcme", "public ", "acme\x00", "🦫🦫🦫"],
)  # fmt: skip
def test_a_malformed_address_is_refused_with_a_sentence(platform, text):
    with pytest.raises(Refused) as refused:
        names.checked(text)
    (sentence,) = refused.value.fields["slug"]
    assert sentence.endswith(".") and sentence[0].isupper()


@pytest.mark.parametrize(
    "text",
    ["www", "admin", "admins", "Admin", "api", "apis", "mail", "support", "billing", "policies", "companies", "adm1n", "supp0rt", "ma1l",
     "ostoja", "0stoja", "ostojas", "information-schema", "pg-catalog", "root", "status", "s-t-a-t-u-s", "public", "postgres", "autodiscover",
     "noreply", "no-reply", "adrnin", "vvww"],
)  # fmt: skip
def test_a_reserved_address_its_plural_and_its_look_alikes_are_refused(platform, text):
    with pytest.raises(Refused, match="taken, or too much like"):
        names.checked(text)


@pytest.mark.parametrize(
    "text",
    [
        "northwind",
        "Northwind",
        "north-wind",
        "n0rthwind",
        "northwlnd",
        "northvvind",
        "nortwhind",
        "northwin",
        "northwindd",
    ],
)
def test_a_taken_address_and_its_look_alikes_are_refused_with_one_sentence(platform, lender, text):
    lender.lend(slug="northwind")
    with pytest.raises(Refused, match="taken, or too much like"):
        names.checked(text)


@pytest.mark.parametrize("text", ["southwind", "northwind-sklep", "northwind2", "wind"])
def test_an_address_that_nobody_would_mistake_is_free(platform, lender, text):
    lender.lend(slug="northwind")
    lender.lend(slug="alfa1")
    assert names.checked(text) == text
    assert names.checked("alfa7") == "alfa7"


@pytest.mark.parametrize(
    ("one", "other", "near"),
    [
        ("northwind", "northwlnd", True),
        ("northwind", "nortwhind", True),
        ("northwind", "northwin", True),
        ("northwind", "northwinds", True),
        ("northwind", "northbind", False),
        ("polmax", "polmex", False),
        ("grupa-azoty-pulawy", "grupa-azoty-pulawa", True),
        ("hotel-1", "hotel-2", False),
        ("modern", "modem", True),
        ("abc", "abd", False),
    ],
)
def test_how_near_is_too_near(one, other, near):
    assert names.is_near(one, other) is names.is_near(other, one) is near


def test_a_held_address_is_free_again_after_its_time(platform):
    now = timezone.now()
    HeldName.objects.create(name="northwind", until=now + timedelta(days=1))
    HeldName.objects.create(name="eastwind", until=now - timedelta(seconds=1))
    with pytest.raises(Refused):
        names.checked("northwind")
    assert names.checked("eastwind") == "eastwind"


@pytest.mark.parametrize(
    ("company", "address"),
    [
        ("Zakłady Drzewne „Łoś” Sp. z o.o.", "zaklady-drzewne-los-sp-z-o-o"),
        ("Müller & Söhne", "muller-sohne"),
        ("  ACME, Inc. ", "acme-inc"),
        ("!!!", ""),
        ("12", ""),
    ],
)
def test_an_address_is_suggested_from_a_name(company, address):
    assert names.suggest(company) == address


def test_the_sentences_are_translated_at_the_time_of_asking(platform):
    with translation.override("pl"), pytest.raises(Refused) as refused:
        names.checked("-")
    assert refused.value.fields["slug"]


def test_a_host_is_free_unless_it_is_somebodys_or_held(lender):
    lender.lend(slug="northwind")
    with platform_context():
        HeldName.objects.create(name="crm.example.com", until=timezone.now() + timedelta(days=1))
    assert not names.host_is_free("northwind.localhost")
    assert not names.host_is_free("crm.example.com")
    assert names.host_is_free("crm2.example.com")
