"""How parties and their parts look."""

from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import ACTOR, Panel, Surface

from .models import EVIDENCE, Address, BankAccount, Consent, ContactPoint, Party, Relation, TaxId


@surface(Party)
class PartySurface(Surface):
    slug = "parties"
    icon = "building-2"
    group = "crm"
    order = 10
    title = "name"
    subtitle = ["industry", "city"]
    list = ["name", "state", "industry", "city", "owner", "employees", "annual_revenue"]
    sort = ["name"]
    form = [
        "name",
        ("first_name", "last_name"),
        ("kind", "number"),
        ("is_customer", "is_supplier"),
        ("owner", "parent"),
        (
            _("Profile"),
            [
                ("industry", "website"),
                ("city", "country"),
                ("employees", "founded"),
                ("annual_revenue", "currency"),
                ("credit_rating", "external_ref"),
            ],
        ),
        (_("Notes"), ["notes"]),
    ]
    search = ["name"]
    codes = ["number"]
    filters = ["state", "kind", "is_customer", "is_supplier", "owner", "industry", "country", "parent"]
    views = [
        (_("Customers"), {"is_customer": "true"}),
        (_("Suppliers"), {"is_supplier": "true"}),
        (_("People"), {"kind": "person"}),
    ]
    scopes = {"own": Q(owner=ACTOR), "team": Q(owner=ACTOR) | Q(owner__department__in=ACTOR.departments)}
    panels = [
        Panel("contact_points", _("Contact"), ("type", "value", "label")),
        Panel("addresses", _("Addresses"), ("type", "line1", "postal_code", "city")),
        Panel("tax_ids", _("Tax numbers"), ("type", "value", "country")),
        Panel("bank_accounts", _("Bank accounts"), ("iban", "currency", "bank")),
        Panel("relations", _("Relations"), ("type", "other", "role")),
        Panel("subsidiaries", _("Subsidiaries"), ("name", "state")),
        Panel("consents", _("Consents"), ("purpose", "channel", "state", "at")),
    ]
    natural_key = ["name"]
    history = ["state"]
    badges = {"prospect": "violet", "active": "green", "blocked": "red", "archived": "neutral"}


class PartOfParty(Surface):
    """What is a part of a party: rights are the party's."""

    inside = "party"


@surface(ContactPoint)
class ContactPointSurface(PartOfParty):
    slug = "contact-points"
    icon = "at-sign"
    title = "value"
    list = ["party", "type", "value", "label", "is_primary"]
    form = [("type", "value"), ("label", "is_primary")]
    search = ["value", "value_normalised"]
    filters = ["type", "party"]
    natural_key = ["party", "value"]


@surface(Address)
class AddressSurface(PartOfParty):
    slug = "addresses"
    icon = "map-pin"
    title = "line1"
    list = ["party", "type", "line1", "postal_code", "city", "country"]
    form = ["type", "line1", "line2", ("postal_code", "city"), ("region", "country")]
    search = ["line1", "city"]
    filters = ["type", "country", "party"]
    natural_key = ["party", "type", "line1"]


@surface(TaxId)
class TaxIdSurface(PartOfParty):
    slug = "tax-ids"
    icon = "hash"
    title = "value"
    list = ["party", "country", "type", "value", "is_branch"]
    form = [("country", "type"), "value", "is_branch"]
    search = ["value"]
    filters = ["type", "country", "party"]
    natural_key = ["country", "type", "value"]


@surface(BankAccount)
class BankAccountSurface(PartOfParty):
    slug = "bank-accounts"
    icon = "landmark"
    title = "iban"
    list = ["party", "iban", "currency", "bank"]
    form = ["iban", ("currency", "bank")]
    search = ["iban"]
    filters = ["currency", "party"]
    natural_key = ["party", "iban"]


@surface(Relation)
class RelationSurface(PartOfParty):
    slug = "relations"
    icon = "link"
    title = "type"
    list = ["party", "type", "other", "role"]
    form = [("type", "other"), "role"]
    search = ["role"]
    filters = ["type", "party", "other"]
    natural_key = ["party", "type", "other"]


@surface(Consent)
class ConsentSurface(PartOfParty):
    slug = "consents"
    icon = "shield-check"
    title = "purpose"
    list = ["party", "purpose", "channel", "state", "at", "source"]
    sort = ["-at"]
    form = [("purpose", "channel"), ("state", "at"), "source", "text_version"]
    search = ["source"]
    filters = ["purpose", "channel", "state", "at", "party"]
    badges = {"given": "green", "withdrawn": "red"}
    lasting = EVIDENCE
