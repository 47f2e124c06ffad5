"""The catalogue: products with their own codes, categories in no circle, costs for those who may see them."""

from decimal import Decimal

import pytest
from django.db import IntegrityError

from ostoja import gate
from ostoja.access.policy import visible_fields
from ostoja.catalog.models import Category, Product, Unit
from ostoja.journal.context import changing
from ostoja.kernel.errors import Refused


@pytest.fixture
def product(tenant, actor):
    """``product("A-1")`` -> a product."""
    return lambda code, **data: gate.perform(actor, Product, "add", {"code": code, "name": f"Product {code}", **data})


def test_a_product_has_a_code_of_its_own_and_the_price_that_was_typed(product, tenant):
    made = product("A-1", list_price="1 234,56789012", standard_cost="7.5")
    assert (made.list_price, made.currency) == (Decimal("1234.56789012"), tenant.currency)
    with pytest.raises(Refused, match="There is a product with this code"):
        product("A-1")


@pytest.mark.parametrize("field", ["list_price", "standard_cost"])
def test_prices_are_not_negative_on_any_path(product, actor, field):
    made = product("A-1")
    with pytest.raises(Refused) as refused:
        gate.perform(actor, made, "change", {field: "-0.01"})
    assert set(refused.value.fields) == {field}
    with pytest.raises(IntegrityError), changing(actor, "attack"):
        Product.objects.filter(pk=made.pk).update(**{field: -1})


def test_categories_are_parts_of_one_another_but_never_of_themselves(tenant, actor):
    bikes = gate.perform(actor, Category, "add", {"name": "Bikes"})
    road = gate.perform(actor, Category, "add", {"name": "Road", "parent": bikes})
    race = gate.perform(actor, Category, "add", {"name": "Race", "parent": road})
    for loop in (bikes, road, race):
        with pytest.raises(Refused, match="part of itself"):
            gate.perform(actor, bikes, "change", {"parent": loop})
    assert gate.perform(actor, race, "change", {"parent": bikes}).parent == bikes


def test_what_is_in_use_stays(product, actor):
    unit = gate.perform(actor, Unit, "add", {"code": "pcs", "name": "Piece"})
    product("A-1", unit=unit)
    with pytest.raises(Refused, match="still used by 1 products"):
        gate.perform(actor, unit, "delete")


def test_costs_are_confidential(product, as_role):
    made = product("A-1", standard_cost="5")
    seller = as_role({"catalog.product": {"view": "all", "change": "all"}}, classes=("public", "internal"))
    assert "standard_cost" not in visible_fields(seller, Product) and "list_price" in visible_fields(seller, Product)
    with pytest.raises(Refused, match="no such field"):
        gate.perform(seller, made, "change", {"standard_cost": "4"})


def test_a_product_is_taken_out_of_the_offer_and_back(product, actor):
    made = gate.perform(actor, product("A-1"), "discontinue")
    assert not made.is_active
    assert gate.perform(actor, made, "offer").is_active
