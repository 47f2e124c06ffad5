"""A party is a person or an organisation that the company deals with; it has contact points, addresses, numbers, accounts."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Check, Follows
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.fields import MoneyField
from ostoja.kernel.record import Record, Thing, verb

from . import identifiers


class Counter(Thing):
    """The last number given in a series; moved by ``UPDATE … RETURNING`` inside the transaction that takes the number."""

    code = models.CharField(max_length=60)
    value = models.BigIntegerField(default=0)

    data = Data(internal=["code", "value"])
    sync = Sync.LOCAL

    class Meta:
        constraints = [models.UniqueConstraint(fields=["code"], name="one_counter_per_series")]


class Party(Record):
    """A person or an organisation: customer, supplier, both, or neither yet."""

    class Kind(models.TextChoices):
        ORGANISATION = "org", _("Organisation")
        PERSON = "person", _("Person")

    class State(models.TextChoices):
        PROSPECT = "prospect", _("Prospect")
        ACTIVE = "active", _("Active")
        BLOCKED = "blocked", _("Blocked")
        ARCHIVED = "archived", _("Archived")

    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.ORGANISATION)
    name = models.CharField(_("name"), max_length=200)
    state = models.CharField(_("status"), max_length=10, choices=State, default=State.ACTIVE)
    is_customer = models.BooleanField(_("customer"), default=True)
    is_supplier = models.BooleanField(_("supplier"), default=False)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="subsidiaries", verbose_name=_("subsidiary of")
    )
    owner = models.ForeignKey(
        "access.User", models.PROTECT, null=True, blank=True, related_name="parties", verbose_name=_("owner")
    )
    industry = models.CharField(_("industry"), max_length=80, blank=True)
    city = models.CharField(_("city"), max_length=120, blank=True)
    country = models.CharField(_("country"), max_length=60, blank=True)
    employees = models.PositiveIntegerField(_("employees"), null=True, blank=True)
    founded = models.PositiveSmallIntegerField(_("founded in"), null=True, blank=True)
    annual_revenue = MoneyField(_("annual revenue"), null=True, blank=True)
    currency = models.CharField(_("currency"), max_length=3, default="PLN")
    website = models.CharField(_("website"), max_length=300, blank=True)
    external_ref = models.CharField(_("external number"), max_length=60, blank=True)
    notes = models.TextField(_("notes"), blank=True)

    data = Data(
        internal=[
            "kind", "name", "state", "is_customer", "is_supplier", "parent", "owner", "industry", "city", "country", "employees", "founded",
            "website", "external_ref", "currency",
        ],
        confidential=["annual_revenue", "notes"],
        keep="6 years after the last document",
        subject="id",
    )  # fmt: skip
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        indexes = [
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="party_name_part"),
            models.Index(Upper("name"), "id", name="party_by_name"),
            models.Index(fields=["owner"], name="party_of_owner"),
        ]
        constraints = [
            Follows(
                "state",
                {
                    "prospect": ["active", "blocked", "archived"],
                    "active": ["prospect", "blocked", "archived"],
                    "blocked": ["active", "archived"],
                    "archived": ["active"],
                },
                start=["prospect", "active", "blocked", "archived"],
                name="party_follows_its_states",
            ),
            Check(
                ~Q(parent=F("id")), name="party_is_not_its_own_part", field="parent",
                says=_("A party can't be a subsidiary of itself."),
            ),
            models.UniqueConstraint(
                fields=["external_ref"], condition=~Q(external_ref=""), name="party_external_ref_is_unique",
                violation_error_message=_("Another party has this external number."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return self.name

    def clean(self):
        """A website is kept with its scheme."""
        if self.website:
            try:
                self.website = identifiers.web(self.website)
            except ValidationError as error:
                raise ValidationError({"website": error.messages}) from error

    @verb(to=State.ACTIVE, label=_("Activate"), icon="circle-check")
    def activate(self):
        """Business with the party goes on."""

    @verb(to=State.BLOCKED, label=_("Block"), icon="ban", tone="danger")
    def block(self):
        """No new business with the party."""

    @verb(to=State.ARCHIVED, label=_("Archive"), icon="archive")
    def archive(self):
        """The party is kept, out of sight."""


class ContactPoint(Record):
    """A way to reach a party: e-mail, phone, mobile, web page."""

    class Type(models.TextChoices):
        EMAIL = "email", _("E-mail")
        PHONE = "phone", _("Phone")
        MOBILE = "mobile", _("Mobile")
        WEB = "web", _("Web page")

    party = models.ForeignKey(Party, models.PROTECT, related_name="contact_points", verbose_name=_("party"))
    type = models.CharField(_("type"), max_length=8, choices=Type)
    value = models.CharField(_("value"), max_length=254)
    value_normalised = models.CharField(max_length=254, editable=False)
    label = models.CharField(_("label"), max_length=60, blank=True)
    is_primary = models.BooleanField(_("main one"), default=False)

    data = Data(
        internal=["party", "type", "label", "is_primary"], confidential=["value", "value_normalised"], subject="party"
    )
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("contact point")
        verbose_name_plural = _("contact points")
        indexes = [models.Index(fields=["value_normalised"], name="contact_point_value")]
        constraints = [
            models.UniqueConstraint(
                fields=["party", "value_normalised"], name="contact_point_once_per_party",
                violation_error_message=_("The party has this contact point already."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return self.value

    def clean(self):
        """The normal form finds the same number or address however it was typed."""
        check = {
            "email": identifiers.email,
            "phone": identifiers.phone,
            "mobile": identifiers.phone,
            "web": identifiers.web,
        }
        if self.type in check and self.value:
            try:
                self.value_normalised = check[self.type](self.value)
            except ValidationError as error:
                raise ValidationError({"value": error.messages}) from error


class Address(Record):
    """A postal address of a party."""

    class Type(models.TextChoices):
        SEAT = "seat", _("Registered seat")
        INVOICE = "invoice", _("Invoices")
        DELIVERY = "delivery", _("Deliveries")
        OTHER = "other", _("Other")

    party = models.ForeignKey(Party, models.PROTECT, related_name="addresses", verbose_name=_("party"))
    type = models.CharField(_("type"), max_length=10, choices=Type, default=Type.SEAT)
    line1 = models.CharField(_("street and number"), max_length=200)
    line2 = models.CharField(_("addition"), max_length=200, blank=True)
    postal_code = models.CharField(_("postal code"), max_length=16, blank=True)
    city = models.CharField(_("city"), max_length=120)
    region = models.CharField(_("region"), max_length=120, blank=True)
    country = models.CharField(_("country code"), max_length=2, default="PL")

    data = Data(
        internal=["party", "type", "city", "region", "country"],
        confidential=["line1", "line2", "postal_code"],
        subject="party",
    )
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("address")
        verbose_name_plural = _("addresses")

    def __str__(self):
        return f"{self.line1}, {self.postal_code} {self.city}"


class TaxId(Record):
    """A number under which an authority knows the party."""

    class Type(models.TextChoices):
        NIP = "nip", "NIP"
        VAT = "vat", _("EU VAT number")
        REGON = "regon", "REGON"
        PESEL = "pesel", "PESEL"
        OTHER = "other", _("Other")

    party = models.ForeignKey(Party, models.PROTECT, related_name="tax_ids", verbose_name=_("party"))
    country = models.CharField(_("country code"), max_length=2, default="PL")
    type = models.CharField(_("type"), max_length=8, choices=Type, default=Type.NIP)
    value = models.CharField(_("number"), max_length=32)
    is_branch = models.BooleanField(
        _("branch"), default=False, help_text=_("A branch shares the number of its organisation.")
    )

    data = Data(internal=["party", "country", "type", "is_branch"], confidential=["value"], subject="party")
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("tax number")
        verbose_name_plural = _("tax numbers")
        constraints = [
            models.UniqueConstraint(
                fields=["country", "type", "value"], condition=Q(is_branch=False), name="tax_id_has_one_owner",
                violation_error_message=_("Another party has this number; mark this one as a branch if it shares it."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return self.value

    def clean(self):
        """The number is kept in its compact form, its checksum verified."""
        if self.value:
            try:
                self.value = identifiers.tax_id(self.country, self.type, self.value)
            except ValidationError as error:
                raise ValidationError({"value": error.messages}) from error


class BankAccount(Record):
    """A bank account of a party."""

    party = models.ForeignKey(Party, models.PROTECT, related_name="bank_accounts", verbose_name=_("party"))
    iban = models.CharField("IBAN", max_length=34)
    currency = models.CharField(_("currency"), max_length=3, default="PLN")
    bank = models.CharField(_("bank"), max_length=120, blank=True)

    data = Data(internal=["party", "currency"], restricted=["iban", "bank"], subject="party")
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("bank account")
        verbose_name_plural = _("bank accounts")
        constraints = [
            models.UniqueConstraint(
                fields=["party", "iban"], name="bank_account_once_per_party",
                violation_error_message=_("The party has this account already."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return f"{self.iban[:4]} … {self.iban[-4:]}"

    def clean(self):
        """The IBAN is kept compact, its checksum verified."""
        if self.iban:
            try:
                self.iban = identifiers.iban(self.iban)
            except ValidationError as error:
                raise ValidationError({"iban": error.messages}) from error


class Relation(Record):
    """How one party stands to another: works for, subsidiary of, partner of."""

    class Type(models.TextChoices):
        WORKS_FOR = "works_for", _("Works for")
        SUBSIDIARY_OF = "subsidiary_of", _("Subsidiary of")
        PARTNER_OF = "partner_of", _("Partner of")
        REFERRED_BY = "referred_by", _("Referred by")

    party = models.ForeignKey(Party, models.PROTECT, related_name="relations", verbose_name=_("party"))
    type = models.CharField(_("relation"), max_length=16, choices=Type, default=Type.WORKS_FOR)
    other = models.ForeignKey(Party, models.PROTECT, related_name="related_from", verbose_name=_("to"))
    role = models.CharField(_("function"), max_length=120, blank=True)

    data = Data(internal=["party", "type", "other", "role"], subject="party")
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("relation")
        verbose_name_plural = _("relations")
        constraints = [
            Check(
                ~Q(party=F("other")),
                name="relation_has_two_ends",
                field="other",
                says=_("A party has no relation to itself."),
            ),
            models.UniqueConstraint(
                fields=["party", "type", "other"],
                name="relation_once",
                violation_error_message=_("This relation is there already."),
            ),
        ]

    def __str__(self):
        return f"{self.get_type_display()} {self.other}"
