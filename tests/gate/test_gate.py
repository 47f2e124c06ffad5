"""The gate: one way in, with form, permission, rules and advice."""

import threading

import pytest

from ostoja import gate
from ostoja.access.models import Department, Role, User
from ostoja.access.policy import find, visible
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, Refused, Stale
from ostoja.tenancy.context import tenant_context

ALL = {"view": "all", "add": "all", "change": "all", "delete": "all"}


def test_the_form_refuses_with_the_field_and_a_sentence(tenant, actor):
    with pytest.raises(Refused) as refused:
        gate.perform(actor, User, "add", {"name": "", "email": "not an address"})
    assert set(refused.value.fields) == {"name", "email"}


@pytest.mark.parametrize("value", ["", "nope"])
def test_a_wrong_field_is_told_once(tenant, actor, value):
    party = gate.perform(actor, registry.get("party.party").model, "add", {"name": "Acme"})
    with pytest.raises(Refused) as refused:
        data = {"party": party, "type": "email", "value": value}
        gate.perform(actor, registry.get("party.contactpoint").model, "add", data)
    assert len(refused.value.fields["value"]) == 1


@pytest.mark.parametrize(
    "field", ["id", "version", "created_at", "is_owner", "password", "no_such_field", "held_roles"]
)
def test_a_field_that_may_not_be_set_is_refused_by_name(tenant, actor, field):
    with pytest.raises(Refused) as refused:
        gate.perform(actor, User, "add", {"name": "A", "email": "a@example.com", field: "x"})
    assert field in refused.value.fields


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "nul \x00", "half \ud800"])
def test_values_that_no_column_can_hold_are_refused(tenant, actor, value):
    with pytest.raises(Refused) as refused:
        gate.perform(actor, Department, "add", {"name": value})
    assert "name" in refused.value.fields


def test_a_constraint_speaks_its_own_sentence(tenant, actor):
    gate.perform(actor, Department, "add", {"name": "Sales"})
    with pytest.raises(Refused, match="There is a department of this name"):
        gate.perform(actor, Department, "add", {"name": "SALES"})
    sales = Department.objects.get()
    with pytest.raises(Refused, match="part of itself"):
        gate.perform(actor, sales, "change", {"parent": sales.pk})


def test_two_at_once_and_the_database_decides(tenant, actor):
    told = []

    def add():
        with tenant_context(tenant):
            try:
                told.append(gate.perform(actor, Department, "add", {"name": "Sales"}).name)
            except Refused as error:
                told.append(error.code)
            finally:
                from django.db import connection

                connection.close()

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told)[0] == "Sales" and told.count("Sales") == 1 and Department.objects.count() == 1


def test_what_is_still_used_can_not_be_deleted_and_says_by_what(tenant, actor):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    gate.perform(actor, User, "add", {"name": "Anna", "email": "anna@example.com", "department": sales.pk})
    with pytest.raises(Refused, match="1 users"):
        gate.perform(actor, sales, "delete")


def test_a_stale_version_is_refused(tenant, actor):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    gate.perform(actor, sales, "change", {"name": "Selling"}, version=1)
    with pytest.raises(Stale):
        gate.perform(actor, sales, "change", {"name": "Sold"}, version=1)
    assert Department.objects.get().version == 2


def test_permission_has_a_reason_and_absent_looks_like_forbidden(tenant, actor, as_role):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    reader = as_role({"access.department": {"view": "all"}})
    with pytest.raises(NotAllowed, match="Your role does not include"):
        gate.perform(reader, sales, "change", {"name": "Mine"})
    with pytest.raises(NotAllowed):
        gate.perform(reader, Department, "add", {"name": "Mine"})
    stranger = as_role({})
    with pytest.raises(NotFound) as forbidden:
        find(stranger, Department, sales.pk)
    with pytest.raises(NotFound) as absent:
        find(stranger, Department, Role().pk)
    assert forbidden.value.message == absent.value.message


def test_one_may_point_only_to_what_one_may_see(tenant, actor, as_role):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    people = as_role({"access.user": ALL})
    with pytest.raises(Refused) as refused:
        gate.perform(people, User, "add", {"name": "Anna", "email": "a@example.com", "department": str(sales.pk)})
    assert "department" in refused.value.fields


def test_a_record_of_another_tenant_does_not_exist(tenant, other_tenant, actor):
    with tenant_context(other_tenant):
        theirs = gate.perform(actor, Department, "add", {"name": "Theirs"})
    with pytest.raises(NotFound):
        gate.perform(actor, theirs, "change", {"name": "Ours"})
    assert not visible(actor, Department).exists()


def test_many_rows_go_in_together_and_bad_ones_are_told_by_row(tenant, actor):
    rows = [{"name": "A"}, {"name": ""}, {"name": "B"}, {"name": "a"}, {"name": "C", "colour": "red"}]
    outcomes = gate.Many(actor, Department).add(rows)
    assert [o.ok for o in outcomes] == [True, False, True, False, False]
    assert [set(o.errors) for o in outcomes[1::2]] == [{"name"}, {"name"}] and set(outcomes[4].errors) == {"colour"}
    assert sorted(Department.objects.values_list("name", flat=True)) == ["A", "B"]


def test_many_rows_cost_few_queries(tenant, actor):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        gate.Many(actor, Department).add([{"name": f"Department {n}"} for n in range(200)])
    assert len(queries) <= 9


def test_many_rows_ask_the_guards_too(tenant, actor, as_role):
    helper = as_role({"access.role": ALL, "access.department": ALL})
    outcomes = gate.Many(helper, Role).add(
        [
            {"name": "Small", "code": "small", "grants": {}},
            {"name": "All", "code": "all", "grants": {"*": {"*": "all"}}},
        ]
    )
    assert [o.ok for o in outcomes] == [True, False] and Role.objects.filter(code="all").count() == 0
    mighty = gate.perform(actor, Role, "add", {"name": "Mighty", "code": "mighty", "grants": {"*": {"*": "all"}}})
    assert not gate.Many(helper, Role).delete([mighty])[0].ok and Role.objects.filter(pk=mighty.pk).exists()
    assert not gate.Many(helper, Role).put_back([(mighty, {"name": "Mine"})])[0].ok
    assert gate.Many(actor, Role).delete([mighty])[0].ok
