"""A product is anything the company buys, makes or sells: goods or a service, with its unit, category and prices."""

from __future__ import annotations

from django.contrib.postgres.indexes import GinIndex, OpClass
from django.db import models
from django.db.models import Q
from django.db.models.functions import Upper
from django.utils.translation import gettext_lazy as _

from ostoja.kernel.constraints import Acyclic, Check
from ostoja.kernel.data import Data, Sync
from ostoja.kernel.fields import PriceField
from ostoja.kernel.record import Record, verb
from ostoja.party.currency import CurrencyField


class Unit(Record):
    """A unit of measure, e.g. piece, kilogram, hour."""

    code = models.CharField(_("code"), max_length=12)
    name = models.CharField(_("name"), max_length=60)
    decimals = models.PositiveSmallIntegerField(_("decimals"), default=0)

    data = Data(public=["code", "name", "decimals"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("unit")
        verbose_name_plural = _("units")
        constraints = [
            models.UniqueConstraint(
                fields=["code"],
                name="unit_code_is_unique",
                violation_error_message=_("There is a unit with this code."),
            ),
            Check(
                Q(decimals__lte=6),
                name="unit_has_six_decimals_at_most",
                field="decimals",
                says=_("Quantities have at most six decimals."),
            ),
        ]

    def __str__(self):
        return self.name


class Category(Record):
    """A group of products; groups may be parts of groups."""

    name = models.CharField(_("name"), max_length=120)
    parent = models.ForeignKey(
        "self", models.PROTECT, null=True, blank=True, related_name="parts", verbose_name=_("part of")
    )

    data = Data(public=["name", "parent"])
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("category")
        verbose_name_plural = _("categories")
        constraints = [
            models.UniqueConstraint(
                fields=["name"],
                name="category_name_is_unique",
                violation_error_message=_("There is a category of this name."),
            ),
            Acyclic("parent", name="category_is_in_no_circle", says=_("A category can't be a part of itself.")),
        ]

    def __str__(self):
        return self.name


class Product(Record):
    """Goods or a service with its prices."""

    class Kind(models.TextChoices):
        GOODS = "goods", _("Goods")
        SERVICE = "service", _("Service")

    code = models.CharField(_("code"), max_length=40)
    name = models.CharField(_("name"), max_length=200)
    kind = models.CharField(_("kind"), max_length=8, choices=Kind, default=Kind.GOODS)
    category = models.ForeignKey(
        Category, models.PROTECT, null=True, blank=True, related_name="products", verbose_name=_("category")
    )
    unit = models.ForeignKey(
        Unit, models.PROTECT, null=True, blank=True, related_name="products", verbose_name=_("unit")
    )
    list_price = PriceField(_("list price"), default=0)
    currency = CurrencyField(_("currency"))
    standard_cost = PriceField(_("standard cost"), null=True, blank=True)
    barcode = models.CharField(_("barcode"), max_length=40, blank=True)
    color = models.CharField(_("colour"), max_length=40, blank=True)
    size = models.CharField(_("size"), max_length=20, blank=True)
    weight = models.DecimalField(_("weight (kg)"), max_digits=12, decimal_places=4, null=True, blank=True)
    description = models.TextField(_("description"), blank=True)
    is_active = models.BooleanField(_("sold"), default=True)

    data = Data(
        public=["code", "name", "kind", "category", "unit", "barcode", "color", "size", "weight", "description"],
        internal=["list_price", "currency", "is_active"],
        confidential=["standard_cost"],
    )
    sync = Sync.PREMISES

    class Meta:
        verbose_name = _("product")
        verbose_name_plural = _("products")
        indexes = [GinIndex(OpClass(Upper("name"), name="gin_trgm_ops"), name="product_name_part")]
        constraints = [
            models.UniqueConstraint(
                fields=["code"],
                name="product_code_is_unique",
                violation_error_message=_("There is a product with this code."),
            ),
            Check(
                Q(list_price__gte=0),
                name="product_price_is_not_negative",
                field="list_price",
                says=_("A price can't be negative."),
            ),
            Check(
                Q(standard_cost__gte=0),
                name="product_cost_is_not_negative",
                field="standard_cost",
                says=_("A cost can't be negative."),
            ),
        ]

    def __str__(self):
        return self.name

    @verb(label=_("Stop selling"), icon="circle-off")
    def discontinue(self):
        """The product is kept, and no longer offered."""
        self.is_active = False

    @verb(label=_("Sell again"), icon="circle-check")
    def offer(self):
        """The product is offered again."""
        self.is_active = True
