"""No tenant, no query; with one, exactly its own rows."""

import threading

import pytest
from django.db import connection

from ostoja.access.models import Role
from ostoja.kernel.errors import NoTenant
from ostoja.tenancy.context import current_tenant, opening, tenant_context
from ostoja.tenancy.models import Tenant
from ostoja.testing.people import make_role


def test_without_a_tenant_no_query(installation):
    with pytest.raises(NoTenant):
        Role.objects.count()
    with pytest.raises(NoTenant):
        Tenant.objects.count()
    with pytest.raises(NoTenant):
        current_tenant()


def test_a_fresh_tenant_is_empty_and_open(tenant):
    assert current_tenant() == tenant
    assert Role.objects.count() == 0
    make_role({})
    assert Role.objects.count() == 1


def test_the_next_test_sees_nothing_of_it(tenant):
    assert Role.objects.count() == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM journal_change")
        assert cursor.fetchone() == (0,)


def test_two_tenants_see_their_own_rows(tenant, other_tenant):
    make_role({})
    with tenant_context(other_tenant):
        assert Role.objects.count() == 0
        make_role({})
        make_role({})
        assert Role.objects.count() == 2
    assert Role.objects.count() == 1


def test_a_thread_starts_without_a_tenant(tenant):
    seen = []
    thread = threading.Thread(target=lambda: seen.append(opening()))
    thread.start()
    thread.join()
    assert seen == [None]
