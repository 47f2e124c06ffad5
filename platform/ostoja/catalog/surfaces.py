"""How products, categories and units look."""

from django.utils.translation import gettext_lazy as _

from ostoja.kernel.registry import surface
from ostoja.kernel.surfaces import Surface

from .models import Category, Product, Unit


@surface(Product)
class ProductSurface(Surface):
    icon = "package"
    group = "erp"
    order = 10
    title = "name"
    subtitle = ["code", "category"]
    list = ["name", "code", "category", "list_price", "unit", "is_active"]
    sort = ["name"]
    form = [
        "name",
        ("code", "kind"),
        ("category", "unit"),
        (_("Prices"), [("list_price", "currency"), "standard_cost"]),
        (_("Details"), [("barcode", "color"), ("size", "weight"), "description"]),
    ]
    search = ["name", "code", "barcode"]
    filters = ["category", "kind", "is_active"]
    natural_key = ["code"]
    history = ["is_active"]


@surface(Category)
class CategorySurface(Surface):
    slug = "categories"
    icon = "folder-tree"
    group = "erp"
    order = 80
    title = "name"
    list = ["name", "parent"]
    sort = ["name"]
    form = ["name", "parent"]
    search = ["name"]
    filters = ["parent"]
    natural_key = ["name"]


@surface(Unit)
class UnitSurface(Surface):
    icon = "ruler"
    group = "erp"
    order = 90
    title = "name"
    list = ["name", "code", "decimals"]
    sort = ["code"]
    form = ["name", ("code", "decimals")]
    search = ["name", "code"]
    natural_key = ["code"]
