"""The journal is written by the database, in the same transaction, append-only, and its chain shows any tampering."""

import pytest
from django.db import DatabaseError, connection, connections, transaction

from ostoja import gate
from ostoja.access.models import Department, User
from ostoja.journal import chain
from ostoja.journal.context import changing
from ostoja.journal.history import history
from ostoja.journal.models import Change
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NoActor
from ostoja.tenancy.context import schema_context


def changes(record):
    return list(Change.objects.filter(record=record.pk).order_by("id"))


def test_every_change_leaves_one_row_with_who_what_and_what_was(tenant, actor):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    gate.perform(actor, sales, "change", {"name": "Selling"})
    gate.perform(actor, sales, "delete")
    added, changed, deleted = changes(sales)
    assert (added.op, added.verb, added.actor, added.fields, added.old) == ("I", "add", actor.key, [], None)
    assert (changed.op, changed.verb, changed.fields, changed.old) == ("U", "change", ["name"], {"name": "Sales"})
    assert (deleted.op, deleted.verb, deleted.old["name"]) == ("D", "delete", "Selling")


@pytest.mark.parametrize("path", ["save", "update", "bulk_update", "sql", "delete"])
def test_a_change_without_an_actor_is_refused_by_any_path(tenant, actor, path):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    sales.name = "Other"
    with pytest.raises(DatabaseError, match="No actor, no change"), transaction.atomic():
        match path:
            case "save":
                sales.save()
            case "update":
                Department.objects.filter(pk=sales.pk).update(name="Other")
            case "bulk_update":
                Department.objects.bulk_update([sales], ["name"])
            case "delete":
                Department.objects.filter(pk=sales.pk).delete()
            case "sql":
                with connection.cursor() as cursor:
                    cursor.execute("UPDATE access_department SET name = 'Other'")
    assert Department.objects.get().name == "Sales"


def test_a_change_without_an_actor_does_not_pass_the_gate(tenant):
    with pytest.raises(NoActor):
        gate.perform(None, Department, "add", {"name": "Sales"})


def test_a_bulk_delete_is_journalled_row_by_row(tenant, actor):
    for name in "abc":
        gate.perform(actor, Department, "add", {"name": name})
    with changing(actor, "tidy"):
        Department.objects.filter(name__in="ab").delete()
    assert Change.objects.filter(verb="tidy", op="D").count() == 2


def test_secrets_are_never_in_the_journal(tenant, owner):
    with changing(Actor.system(), "change"):
        owner.set_password("another password")
        owner.save()
    assert changes(owner)[-1].fields == ["password"]
    assert "argon2" not in str(list(Change.objects.values("old", "fields", "verb")))


def test_nothing_changed_leaves_no_row_and_no_version(tenant, actor):
    sales = gate.perform(actor, Department, "add", {"name": "Sales"})
    again = gate.perform(actor, sales, "change", {"name": "Sales"})
    assert (again.version, len(changes(sales))) == (1, 1)


def test_a_rolled_back_change_leaves_no_row(tenant, actor):
    with pytest.raises(ZeroDivisionError), changing(actor, "add"):
        gate.perform(actor, Department, "add", {"name": "Sales"})
        raise ZeroDivisionError
    assert not Change.objects.filter(model="access.department").exists()


def test_the_cause_is_inherited_by_what_is_done_inside(tenant, actor):
    cause = User(name="x").pk
    with changing(actor, "import", cause):
        gate.perform(actor, Department, "add", {"name": "Sales"})
    assert Change.objects.get(model="access.department").cause == cause


def test_the_tenants_own_role_can_not_rewrite_the_journal(tenant, actor):
    gate.perform(actor, Department, "add", {"name": "Sales"})
    for attempt in ("UPDATE journal_change SET verb = 'x'", "DELETE FROM journal_change", "TRUNCATE journal_change"):
        with (
            pytest.raises(DatabaseError, match="permission denied"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(attempt)


def tamper(tenant, sql):
    """Do as the owner of the schema could."""
    with schema_context(tenant.schema_name), connections["owner"].cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def numbered(tenant, actor):
    for name in ("a", "b", "c"):
        gate.perform(actor, Department, "add", {"name": name})
    assert chain.anchor(tenant) == Change.objects.count()
    return tenant


def test_an_untouched_chain_is_whole(numbered):
    verdict = chain.verify(numbered)
    assert verdict and verdict.head == Change.objects.count()


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE journal_change SET actor = 'user:somebody-else' WHERE seq = 2",
        "DELETE FROM journal_change WHERE seq = 2",
        "UPDATE journal_change SET seq = 1000 WHERE seq = 2",
        "DELETE FROM journal_change WHERE seq = (SELECT max(seq) FROM journal_change)",
        "UPDATE journal_change SET digest = sha256('x') WHERE seq = (SELECT max(seq) FROM journal_change)",
    ],
    ids=["edit", "hole", "reorder", "tail cut", "rewritten head"],
)
def test_tampering_is_seen(numbered, sql):
    tamper(numbered, sql)
    assert not chain.verify(numbered)


def test_history_tells_before_and_after_and_hides_what_may_not_be_seen(tenant, actor):
    sales = gate.perform(actor, Department, "add", {"name": "One"})
    for name in ("Two", "Three"):
        sales = gate.perform(actor, sales, "change", {"name": name})
    events = history(sales, {"name"})
    assert [e.fields for e in events] == [[("name", "Two", "Three")], [("name", "One", "Two")], []]
    assert [e.hidden for e in history(sales, set())] == [1, 1, 0]
