"""Normal forms and validity of what identifies a party: phone, e-mail, NIP, EU VAT number, IBAN."""

from __future__ import annotations

import phonenumbers
from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email
from django.utils.translation import gettext as _
from schwifty import IBAN
from schwifty.exceptions import SchwiftyException
from stdnum.eu import vat
from stdnum.exceptions import ValidationError as NumberError
from stdnum.pl import nip, pesel, regon

CHECKERS = {("PL", "nip"): nip, ("PL", "regon"): regon, ("PL", "pesel"): pesel}


def phone(text: str, region: str = "PL") -> str:
    """A phone number in E.164, e.g. ``+48226959000``; numbers without a country code are taken as Polish.

    Raises ValidationError.
    """
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException as error:
        raise ValidationError(_("This is no phone number; write it as +48 22 695 90 00.")) from error
    if not phonenumbers.is_possible_number(number):
        raise ValidationError(_("This phone number has too many or too few digits."))
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)


def email(text: str) -> str:
    """An e-mail address in lower case. Raises ValidationError."""
    text = text.strip().lower()
    validate_email(text)
    return text


def web(text: str) -> str:
    """A web address with its scheme. Raises ValidationError."""
    text = text.strip()
    text = text if "://" in text else f"https://{text}"
    URLValidator(schemes=["http", "https"])(text)
    return text


def tax_id(country: str, kind: str, text: str) -> str:
    """A tax or registration number in its compact form, its checksum verified where its country defines one.

    NIP, REGON and PESEL by the rules of the Polish registers; ``vat`` by the format of the EU member state.
    Raises ValidationError.
    """
    try:
        if kind == "vat":
            compact = vat.validate(text if text[:2].isalpha() else country + text)
            return compact
        checker = CHECKERS.get((country, kind))
        return checker.validate(text) if checker else "".join(text.split()).upper()
    except NumberError as error:
        raise ValidationError(_("This number is not valid: check its digits.")) from error


def iban(text: str) -> str:
    """An IBAN in its compact form; a Polish account may be written without PL. Raises ValidationError."""
    compact = "".join(text.split()).upper()
    if len(compact) == 26 and compact.isdigit():
        compact = f"PL{compact}"
    try:
        return str(IBAN(compact))
    except (SchwiftyException, ValueError) as error:
        raise ValidationError(_("This is no valid IBAN: check its digits.")) from error
