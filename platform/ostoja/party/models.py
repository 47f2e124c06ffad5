"""A party is a person or an organisation that the company deals with; it has contact points, addresses, numbers, accounts."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.core.exceptions import ValidationError
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Acyclic, Check, Follows, Frozen, Rule
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.fields import MoneyField, YearField
from ostoja.kernel.record import Record, Thing, verb

from . import identifiers, merging, rules
from .currency import CurrencyField
from .numbers import Numbered


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

    number = models.CharField(_("number"), max_length=40, blank=True, default="", db_default="")
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.ORGANISATION)
    name = models.CharField(_("name"), max_length=200)
    first_name = models.CharField(_("first name"), max_length=80, blank=True)
    last_name = models.CharField(_("last name"), max_length=120, blank=True)
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
    founded = YearField(_("founded in"), null=True, blank=True)
    annual_revenue = MoneyField(_("annual revenue"), null=True, blank=True)
    currency = CurrencyField(_("currency"))
    credit_rating = models.PositiveSmallIntegerField(_("credit rating"), null=True, blank=True)
    website = models.CharField(_("website"), max_length=300, blank=True)
    external_ref = models.CharField(_("external number"), max_length=60, blank=True)
    notes = models.TextField(_("notes"), blank=True)
    merged_into = models.ForeignKey(
        "self",
        models.PROTECT,
        null=True,
        blank=True,
        related_name="merged",
        verbose_name=_("the same as"),
        db_index=False,
    )

    data = Data(
        internal=[
            "number", "kind", "name", "first_name", "last_name", "state", "is_customer", "is_supplier", "parent", "owner", "industry", "city", "country", "employees", "founded",
            "website", "external_ref", "currency", "merged_into",
        ],
        confidential=["annual_revenue", "credit_rating", "notes"],
        keep="6 years after the last document",
        subject="id",
    )  # fmt: skip
    sync = Sync.MERGE
    sync_together = (("name", "first_name", "last_name"),)

    class Meta:
        verbose_name = _("customer")
        verbose_name_plural = _("customers")
        indexes = [
            GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="party_name_part"),
            models.Index(Upper("name"), "id", name="party_by_name"),
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
            Check(~Q(name=""), name="party_has_a_name", field="name", says=_("Give a name.")),
            Acyclic("parent", name="party_is_not_its_own_parent", says=_("A party can't be a subsidiary of itself.")),
            Check(
                Q(merged_into__isnull=True) | Q(state="archived"), name="party_merged_is_archived",
                says=_("This one was merged into another. Separate them first."),
            ),
            Check(~Q(merged_into=F("id")), name="party_is_merged_into_another", field="merged_into", says=_("Choose another one.")),
            models.UniqueConstraint(
                fields=["number"], name="party_number_is_unique", violation_error_message=_("Another party has this number.")
            ),
            Numbered("party.party", "P-", table="party_party", name="party_takes_a_number"),
            Rule(rules.LIVE_OF_PARTY, name="party_frees_its_tax_ids", on="UPDATE"),
            models.UniqueConstraint(
                fields=["external_ref"], condition=~Q(external_ref=""), name="party_external_ref_is_unique",
                violation_error_message=_("Another party has this external number."),
            ),
        ]  # fmt: skip

    def __str__(self):
        return self.name

    def clean(self):
        """A person's last name is the last word unless said otherwise; a website is kept with its scheme."""
        if self.kind == self.Kind.PERSON and not self.first_name and not self.last_name:
            self.first_name, _space, self.last_name = self.name.strip().rpartition(" ")
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
        """The party is kept, out of sight; its tax numbers are free for another."""

    @verb(
        to=State.ARCHIVED, label=_("Merge into …"), asks=["merged_into"], icon="merge", tone="danger",
        confirm=_("Everything that belongs to this one will belong to the other. It can be separated again."),
    )  # fmt: skip
    def merge(self):
        """This is the same as another: what belongs to it belongs to the other from now on, and this one is archived."""

    @verb(to=State.ACTIVE, label=_("Separate again"), icon="split")
    def unmerge(self):
        """Undo a merge: what came from this one goes back to it."""
        merging.separate(self)

    def prepare(self, actor, verb):
        """Only what is the same kind of thing can be merged, and by who may do that to both."""
        if verb == "merge":
            merging.check(actor, self)

    def settled(self, actor, verb, changed):
        """A merge takes along what belongs to the party, and a separation brings it back."""
        if verb == "merge":
            merging.move(self)
        elif verb == "unmerge":
            merging.move_back(self)


class ContactPoint(Record):
    """A way to reach a party: e-mail, phone, mobile, web page."""

    class Type(models.TextChoices):
        EMAIL = "email", _("E-mail")
        PHONE = "phone", _("Phone")
        MOBILE = "mobile", _("Mobile")
        WEB = "web", _("Web page")

    party = models.ForeignKey(
        Party, models.PROTECT, related_name="contact_points", verbose_name=_("party"), db_index=False
    )
    type = models.CharField(_("type"), max_length=8, choices=Type)
    value = models.CharField(_("value"), max_length=254)
    value_normalised = models.CharField(_("value for comparing"), max_length=254, editable=False)
    label = models.CharField(_("label"), max_length=60, blank=True)
    is_primary = models.BooleanField(_("main one"), default=False)

    data = Data(
        internal=["party", "type", "label", "is_primary"], confidential=["value", "value_normalised"], subject="party"
    )
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("contact point")
        verbose_name_plural = _("contact points")
        indexes = [
            models.Index(fields=["value_normalised"], name="contact_point_value"),
            GinIndex(OpClass(Upper("value"), name="gin_trgm_ops"), name="contact_point_part"),
        ]
        constraints = [
            Check(~Q(value_normalised=""), name="contact_point_has_a_value", field="value", says=_("Give a value.")),
            Rule(rules.ONE_PRIMARY, name="contact_point_main_is_one", on="INSERT OR UPDATE"),
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
    live = models.BooleanField(_("in use"), default=True, db_default=True, editable=False)

    data = Data(internal=["party", "country", "type", "is_branch", "live"], confidential=["value"], subject="party")
    sync = Sync.MERGE

    class Meta:
        verbose_name = _("tax number")
        verbose_name_plural = _("tax numbers")
        constraints = [
            models.UniqueConstraint(
                fields=["country", "type", "value"], condition=Q(live=True), name="tax_id_has_one_owner",
                violation_error_message=_("Another party has this number; mark this one as a branch if it shares it."),
            ),
            Rule(
                rules.TAX_ID, name="tax_id_is_valid", on="INSERT OR UPDATE", timing="BEFORE",
                says=_("This number is not valid: check its digits."),
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

    party = models.ForeignKey(
        Party, models.PROTECT, related_name="bank_accounts", verbose_name=_("party"), db_index=False
    )
    iban = models.CharField("IBAN", max_length=34)
    currency = CurrencyField(_("currency"))
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

    party = models.ForeignKey(Party, models.PROTECT, related_name="relations", verbose_name=_("party"), db_index=False)
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


EVIDENCE = _("A consent is evidence and can't be changed. Add what was said later as another one.")


class Consent(Record):
    """What somebody agreed to or withdrew: evidence that is only added to; the latest for purpose and channel counts."""

    class Purpose(models.TextChoices):
        MARKETING = "marketing", _("Marketing")
        PROFILING = "profiling", _("Profiling")
        PARTNERS = "partners", _("Passing on to partners")

    class Channel(models.TextChoices):
        EMAIL = "email", _("E-mail")
        PHONE = "phone", _("Phone")
        SMS = "sms", _("SMS")
        POST = "post", _("Post")

    class State(models.TextChoices):
        GIVEN = "given", _("Given")
        WITHDRAWN = "withdrawn", _("Withdrawn")

    party = models.ForeignKey(Party, models.PROTECT, related_name="consents", verbose_name=_("party"))
    purpose = models.CharField(_("purpose"), max_length=12, choices=Purpose, default=Purpose.MARKETING)
    channel = models.CharField(_("channel"), max_length=8, choices=Channel, default=Channel.EMAIL)
    state = models.CharField(_("state"), max_length=10, choices=State)
    at = models.DateTimeField(_("when"), default=timezone.now)
    source = models.CharField(_("how we know"), max_length=200)
    text_version = models.CharField(_("version of the text"), max_length=60, blank=True)

    data = Data(
        internal=["party", "purpose", "channel", "state", "at"], confidential=["source", "text_version"],
        keep="6 years after the last contact", subject="party",
    )  # fmt: skip
    sync = Sync.APPEND

    class Meta:
        verbose_name = _("consent")
        verbose_name_plural = _("consents")
        constraints = [
            Frozen(
                when=Q(version__gte=1), free=["party"], name="consent_is_evidence",
                says=EVIDENCE,
            ),
            rules.KeepsParty(name="consent_stays_with_its_party", says=_("A consent stays with who gave it.")),
        ]  # fmt: skip

    def __str__(self):
        return f"{self.get_purpose_display()}, {self.get_channel_display()}: {self.get_state_display()}"

    @classmethod
    def holds(cls, party, purpose: str, channel: str, at=None) -> bool:
        """Whether the party may be addressed for this purpose on this channel, now or at a time: the latest word counts."""
        said = cls.objects.filter(party=party, purpose=purpose, channel=channel, at__lte=at or timezone.now())
        latest = said.order_by("-at", "-id").first()
        return latest is not None and latest.state == cls.State.GIVEN


class Moved(Thing):
    """One row that a merge took from a party to another, so that it can be brought back."""

    party = models.ForeignKey(Party, models.CASCADE, related_name="+")
    model = models.CharField(max_length=80)
    field = models.CharField(max_length=60)
    record = models.UUIDField(db_index=True)

    data = Data(internal=["party", "model", "field", "record"])
    sync = Sync.LOCAL
