"""The life of a tenant: made from the pool, opened, suspended, deleted into quarantine, restored, purged."""

from datetime import timedelta

import pytest
from django.db import connections, transaction
from django.utils import timezone

from ostoja.access.models import Role
from ostoja.kernel.errors import NotFound, Refused
from ostoja.tenancy import hosts, pool, provisioning
from ostoja.tenancy.context import platform_context, role_of, tenant_context
from ostoja.tenancy.models import Domain, HeldName, ReadySchema, Tenant
from ostoja.testing.people import make_role


def exists(schema):
    """Whether a schema and its role exist."""
    with platform_context(), connections["owner"].cursor() as cursor:
        cursor.execute(
            "SELECT to_regnamespace(%s) IS NOT NULL, EXISTS (SELECT FROM pg_roles WHERE rolname = %s)",
            [schema, role_of(schema)],
        )
        return cursor.fetchone()


@pytest.fixture
def built(lender):
    """A tenant that is being built."""
    return provisioning.create("Northwind Traders", "northwind", language="pl")


def test_a_tenant_is_made_building_with_its_own_schema_and_host(built):
    assert built.state == Tenant.State.BUILDING
    assert (built.name, built.slug, built.language) == ("Northwind Traders", "northwind", "pl")
    assert exists(built.schema_name) == (True, True)
    with platform_context():
        assert [d.domain for d in built.domains.all()] == ["northwind.localhost"]
        assert not ReadySchema.objects.filter(schema_name=built.schema_name).exists()


def test_the_pool_is_used_and_filled_again(lender):
    pool.refill(2)
    with platform_context():
        ready = set(ReadySchema.objects.values_list("schema_name", flat=True))
    tenant = provisioning.create("Northwind", "northwind")
    assert tenant.schema_name in ready
    assert pool.refill(len(ready)) == 1
    assert pool.refill(len(ready)) == 0


def test_a_refused_tenant_leaves_nothing_and_gives_its_schema_back(lender, monkeypatch):
    pool.refill(1)
    with platform_context():
        before = set(ReadySchema.objects.values_list("schema_name", flat=True))
        provisioning.create("One", "northwind")
        left = set(ReadySchema.objects.values_list("schema_name", flat=True))
        monkeypatch.setattr(provisioning.names, "checked", lambda slug: slug)  # two at once: both were free when asked
        with pytest.raises(Refused, match="taken"):
            provisioning.create("Two", "northwind")
        assert before > left or not before
        assert set(ReadySchema.objects.values_list("schema_name", flat=True)) >= left
        assert Tenant.objects.count() == 1


def test_a_claim_that_is_rolled_back_is_in_the_pool_again(lender):
    pool.refill(1)
    with platform_context():
        with transaction.atomic():
            schema = pool.claim()
            transaction.set_rollback(True)
        assert ReadySchema.objects.filter(schema_name=schema).exists()


@pytest.mark.parametrize("name", ["", "   ", "x" * 201])
def test_a_tenant_needs_a_name(lender, name):
    with pytest.raises(Refused) as refused:
        provisioning.create(name, "northwind")
    assert "name" in refused.value.fields


def test_states_follow_each_other_and_no_other_way(built):
    assert provisioning.fail(built, "The blueprint has no roles.").reason == "The blueprint has no roles."
    provisioning.open_up(built)
    assert (built.state, built.reason) == ("open", "")
    with pytest.raises(Refused):
        provisioning.open_up(built)
    provisioning.suspend(built, "unpaid")
    with pytest.raises(Refused):
        provisioning.suspend(built)
    provisioning.resume(built)
    with pytest.raises(Refused):
        provisioning.purge(built)
    provisioning.delete(built)
    with pytest.raises(Refused):
        provisioning.resume(built)
    assert provisioning.restore(built).deleted_at is None


def test_deletion_is_a_quarantine_with_the_data_kept(built):
    provisioning.open_up(built)
    with tenant_context(built):
        make_role({})
    provisioning.delete(built)
    assert hosts.place_of("northwind.localhost") is None
    assert exists(built.schema_name) == (True, True)
    with pytest.raises(Refused):
        provisioning.create("Another", "northwind")
    provisioning.restore(built)
    assert hosts.place_of("northwind.localhost").tenant == built
    with tenant_context(built):
        assert Role.objects.count() == 1


def test_purge_destroys_schema_and_role_and_holds_the_names(built):
    provisioning.delete(built)
    provisioning.purge(built)
    assert exists(built.schema_name) == (False, False)
    with platform_context():
        assert not Tenant.objects.exists() and not Domain.objects.exists()
        assert set(HeldName.objects.values_list("name", flat=True)) == {"northwind", "northwind.localhost"}
    with pytest.raises(Refused):
        provisioning.create("Another", "northwind")
    provisioning.purge(built)


def test_a_quarantine_ends_after_thirty_days(built, lender):
    young = provisioning.create("Young", "young-oak")
    for tenant, days in ((built, 31), (young, 29)):
        provisioning.delete(tenant)
        with platform_context():
            Tenant.objects.filter(pk=tenant.pk).update(deleted_at=timezone.now() - timedelta(days=days))
    assert provisioning.purge_due() == 1
    assert exists(built.schema_name) == (False, False)
    assert exists(young.schema_name) == (True, True)
    assert provisioning.create("Another", "northwind").slug == "northwind"


def test_a_private_installation_has_one_tenant(built, settings_with):
    with settings_with(kind="private"), pytest.raises(Refused, match="private"):
        provisioning.create("Second", "second-house")


def test_a_private_installation_can_begin_again(lender, settings_with):
    with settings_with(kind="private"):
        first = provisioning.create("First", "first-house")
        provisioning.delete(first)
        second = provisioning.create("Second", "second-house")
        assert hosts.place_of("whatever.example").tenant == second


@pytest.mark.parametrize("text", ["northwind", "NORTHWIND.localhost"])
def test_find_by_address_or_host(built, text):
    assert provisioning.find(text) == built
    assert provisioning.find(built.schema_name) == built
    with pytest.raises(NotFound):
        provisioning.find("nobody")
