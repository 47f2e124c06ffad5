"""The demo: real files, their dirt included, come in through the import and add up to the figures that are known of them."""

from decimal import Decimal

import pytest
from django.db.models import Count, Sum

from ostoja.access.models import Department, User
from ostoja.exchange import demo
from ostoja.exchange.models import ImportRun
from ostoja.kernel import registry
from ostoja.tenancy.context import tenant_context
from ostoja.testing.people import make_user


@pytest.fixture(scope="module")
def filled(module_tenant):
    """A tenant with the demo in it."""
    with tenant_context(module_tenant):
        make_user("Olga Owner", owner=True, email="owner@demo.example")
        demo.load(module_tenant, lambda line: None)
    return module_tenant


@pytest.fixture
def opened(filled):
    with tenant_context(filled):
        yield filled


def rows(label):
    return registry.get(label).model.objects.all()


def test_deals_add_up(opened):
    deals = rows("sales.deal")
    assert deals.count() == 8800
    by_stage = dict(deals.values_list("stage__name").annotate(n=Count("pk")))
    assert by_stage == {"Won": 4238, "Lost": 2473, "Engaging": 1589, "Prospecting": 500}
    assert dict(deals.values_list("state").annotate(n=Count("pk"))) == {"won": 4238, "lost": 2473, "open": 2089}
    assert deals.filter(state="won").aggregate(t=Sum("amount"))["t"] == Decimal(10_005_534)
    assert deals.filter(party=None).count() == 1425
    assert deals.filter(lines__product__name="GTX Pro").count() == 1480
    assert deals.filter(lines=None).count() == 0


def test_the_best_seller(opened):
    best = rows("sales.deal").filter(state="won").values("owner__name").annotate(t=Sum("amount")).order_by("-t").first()
    assert best == {"owner__name": "Darcel Schlecht", "t": Decimal(1_153_214)}


def test_accounts_and_their_parents(opened):
    accounts = rows("party.party").filter(is_customer=True)
    assert accounts.count() == 85 and accounts.exclude(parent=None).count() == 15
    assert not accounts.filter(industry="technolgy").exists() and accounts.filter(industry="technology").count() == 12
    assert accounts.get(name="Kan-code").annual_revenue == Decimal("11698030000")


def test_people_in_teams(opened):
    assert (
        User.objects.filter(is_owner=False).count() == 41
        and not User.objects.filter(is_owner=False, is_active=True).exists()
    )
    darcel = User.objects.get(name="Darcel Schlecht")
    assert (darcel.department.name, darcel.department.parent.name) == ("Melvin Marxen’s team", "Central office")
    assert Department.objects.count() == 9


def test_the_bicycle_maker(opened):
    parties, products = rows("party.party"), rows("catalog.product")
    assert parties.filter(is_supplier=True).count() == 104
    assert parties.filter(state="prospect").count() == 701
    bicycles = products.exclude(
        code__in=["GTX-BASIC", "GTX-PRO", "MG-SPECIAL", "MG-ADVANCED", "GTX-PLUS-PRO", "GTX-PLUS-BASIC", "GTK-500"]
    )
    assert bicycles.count() == 504 and bicycles.filter(is_active=False).count() == 98
    assert bicycles.exclude(weight=None).count() == 205
    assert products.get(code="FR-R92B-58").category.name == "Road Frames"


def test_loading_again_does_nothing(opened):
    before = list(ImportRun.objects.values_list("pk", "version", "state"))
    demo.load(opened, lambda line: pytest.fail(f"It said: {line}"))
    assert list(ImportRun.objects.values_list("pk", "version", "state")) == before
