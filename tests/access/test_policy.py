"""The policy: list, count, search, find, gate and explain agree for every object, verb, role and scope (K-8)."""

import itertools

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from ostoja.access import policy
from ostoja.access.actor_of import actor_of
from ostoja.access.grants import check_grants
from ostoja.access.models import Department, Invitation, Role, SavedView, User, UserRole
from ostoja.access.policy import (
    allowed,
    editing_verbs,
    explain,
    find,
    may,
    require,
    scope_of,
    visible,
    visible_fields,
    writable_fields,
)
from ostoja.gate import perform
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import ALL_CLASSES, Actor
from ostoja.kernel.errors import NoActor, NotAllowed, NotFound, Refused
from ostoja.kernel.ids import uuid7
from ostoja.testing.people import make_actor, make_user

SCOPES = ("own", "team", "all")


@pytest.fixture
def company(tenant):
    """Sales with Sales East below it, and Finance; a person in each."""
    with changing(Actor.system(), "test"):
        sales = Department.objects.create(name="Sales")
        east = Department.objects.create(name="East", parent=sales)
        finance = Department.objects.create(name="Finance")
    return {
        "sales": sales,
        "boss": make_user("Boss", department=sales),
        "east": make_user("East", department=east),
        "finance": make_user("Finance", department=finance),
        "nowhere": make_user("Nowhere"),
    }


def seen(actor, verb="view"):
    """The names of the users over whom the actor may do the verb."""
    return {u.name for u in visible(actor, User, verb)}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [("own", {"Boss"}), ("team", {"Boss", "East"}), ("all", {"Boss", "East", "Finance", "Nowhere"})],
)
@pytest.mark.parametrize("verb", ["view", "change", "deactivate", "delete", "export"])
def test_K_8_list_count_search_find_and_explain_agree(company, scope, expected, verb):
    boss = make_actor({"access.user": {"view": "all", verb: scope}}, user=company["boss"])
    people = [u for u in company.values() if isinstance(u, User)]
    assert seen(boss, verb) == expected
    assert visible(boss, User, verb).count() == len(expected)
    for person in people:
        inside = person.name in expected
        assert bool(explain(boss, person, verb)) is inside
        assert visible(boss, User, verb).filter(name=person.name).exists() is inside
        assert explain(boss, person, verb).reason
        if verb == "view":
            if inside:
                assert find(boss, User, person.pk) == person
            else:
                with pytest.raises(NotFound):
                    find(boss, User, person.pk)
        elif not inside:
            with pytest.raises(NotAllowed):
                require(boss, person, verb)


def test_team_is_nobody_for_who_is_in_no_department(company):
    lonely = make_actor({"access.user": {"view": "team"}}, user=company["nowhere"])
    assert seen(lonely) == set()


@pytest.mark.parametrize("entry", list(registry.entries()), ids=lambda e: e.label)
def test_K_8_every_object_verb_and_scope_is_one_well_formed_query(tenant, entry):
    top = entry
    while top.parent is not None:
        top = top.parent
    for verb, scope in itertools.product(editing_verbs(top), ("", *top.scopes)):
        actor = make_plain({top.label: {verb: scope}} if scope else {})
        asked = verb if top is entry else ("view" if verb == "view" else "change")
        granted = bool(scope) and (top is entry or verb in ("view", "change"))
        granted = granted and asked in editing_verbs(entry)
        assert may(actor, entry, asked) is granted, (verb, scope)
        with CaptureQueriesContext(connection) as queries:
            assert visible(actor, entry.model, asked).count() == 0
        assert len(queries) <= 1
        if not granted:
            assert allowed(actor, entry, asked) == policy.NOTHING
        elif scope == "all":
            assert allowed(actor, entry, asked) is None


def make_plain(grants):
    """An actor who is nobody in the database."""
    key = uuid7()
    return Actor(
        kind="user",
        id=key,
        label="P",
        user_id=key,
        grants=grants,
        classes=frozenset({"public", "internal"}),
        narrowed=frozenset(),
    )


@pytest.mark.parametrize("entry", list(registry.entries()), ids=lambda e: e.label)
def test_without_a_grant_every_verb_is_refused_with_its_reason(tenant, entry):
    nobody = make_plain({})
    record = entry.model()
    for verb in editing_verbs(entry):
        decision = explain(nobody, record, verb)
        assert not decision and verb in decision.reason
    with pytest.raises(NotAllowed):
        perform(nobody, entry.model, "add", {})
    with pytest.raises(NotFound):
        find(nobody, entry.model, uuid7())


@pytest.mark.parametrize("entry", list(registry.entries()), ids=lambda e: e.label)
def test_the_owner_may_everything_and_a_token_only_its_scopes(actor, entry):
    for verb in editing_verbs(entry):
        assert may(actor, entry, verb)
    narrow = Actor(kind="token", id=uuid7(), label="T", superuser=True, classes=ALL_CLASSES, limits=("nothing.at:all",))
    assert not any(may(narrow, entry, verb) for verb in editing_verbs(entry))
    everything = Actor(kind="token", id=uuid7(), label="T", superuser=True, classes=ALL_CLASSES, limits=("*:*",))
    assert all(may(everything, entry, verb) for verb in editing_verbs(entry))
    reader = Actor(kind="token", id=uuid7(), label="T", superuser=True, classes=ALL_CLASSES, limits=("*:view",))
    assert may(reader, entry, "view") and not may(reader, entry, "delete")


def test_nobody_is_no_actor(tenant):
    for ask in (
        lambda: visible(None, User),
        lambda: may(None, User, "view"),
        lambda: explain(None, User(), "view"),
        lambda: visible_fields(None, User),
        lambda: perform(None, User, "add", {}),
    ):
        with pytest.raises(NoActor):
            ask()


@pytest.mark.parametrize(
    "key", ["", "nonsense", None, 7, "00000000-0000-0000-0000-000000000000", "' OR 1=1 --", "\x00"]
)
def test_an_id_that_is_none_is_not_found(actor, key):
    with pytest.raises(NotFound):
        find(actor, User, key)


# --- fields -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", list(registry.entries()), ids=lambda e: e.label)
@pytest.mark.parametrize("classes", [set(), {"internal"}, {"internal", "confidential"}, set(ALL_CLASSES)], ids=len)
def test_A15_fields_of_other_classes_are_absent(entry, classes):
    actor = Actor(kind="user", id=uuid7(), label="P", classes=frozenset(classes | {"public"}))
    shown = set(visible_fields(actor, entry))
    for name in entry.fields:
        may_see = str(entry.class_of(name)) in actor.classes and name not in entry.model.data.secret
        assert (name in shown) is may_see, name
    assert set(writable_fields(actor, entry, history=True)) <= shown
    assert not set(entry.model.data.secret) & set(visible_fields(Actor.system(), entry))


@pytest.mark.parametrize("entry", [e for e in registry.entries() if e.parent is None], ids=lambda e: e.label)
def test_A14_the_gate_refuses_fields_that_may_not_be_set(tenant, entry):
    """Every field that is no part of the actor's form, one by one, is refused by its name."""
    actor = make_plain({entry.label: {"*": "all"}})
    writable = set(writable_fields(actor, entry))
    for name in (*entry.fields, "tenant", "nonsense", "is_staff"):
        if name in writable:
            continue
        with pytest.raises((Refused, NotAllowed)) as error:
            perform(actor, entry.model, "add", {name: "1"})
        if isinstance(error.value, Refused):
            assert name in error.value.fields
    assert entry.model._default_manager.count() == 0


def test_A15_a_hidden_field_can_not_be_changed_even_by_who_may_change_the_record(company):
    blind = make_actor({"access.user": {"*": "all"}}, classes=["public"])
    assert visible_fields(blind, User) == ()
    with pytest.raises(Refused):
        perform(blind, company["east"], "change", {"name": "x"})


# --- what everybody has -------------------------------------------------------------------------------------------------


def test_saved_views_are_ones_own_or_shared(as_role):
    first, second = as_role({}), as_role({})
    mine = perform(first, SavedView, "add", {"name": "Mine", "object": "access.user", "query": {"sort": "name"}})
    shared = perform(first, SavedView, "add", {"name": "All", "object": "access.user", "shared": True})
    assert mine.user_id == first.user_id
    assert set(visible(first, SavedView)) == {mine, shared} and set(visible(second, SavedView)) == {shared}
    with pytest.raises(NotAllowed):
        perform(second, shared, "change", {"name": "x"})
    with pytest.raises(NotFound):
        perform(second, mine, "delete")
    with pytest.raises(Refused):
        perform(second, SavedView, "add", {"name": "x", "object": "no.object"})
    perform(first, mine, "delete")


def test_who_has_no_role_sees_oneself_and_nothing_else(as_role, owner):
    nobody = as_role({})
    assert [u.pk for u in visible(nobody, User)] == [nobody.user_id]
    for model in (Department, Role, Invitation, UserRole):
        assert visible(nobody, model).count() in (0, 1)
    assert not may(nobody, User, "change") and not may(nobody, Role, "view")


def test_the_actor_is_made_by_one_query(as_role):
    user = as_role({"access.user": {"view": "all"}}).user
    with CaptureQueriesContext(connection) as queries:
        assert scope_of(actor_of(user), registry.of(User), "view") == "all"
    assert len(queries) == 1


# --- grants that code does not declare ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("grants", "names"),
    [
        ({"no.object": {"view": "all"}}, "no.object"),
        ({"access.user": {"fly": "all"}}, "fly"),
        ({"access.user": {"view": "galaxy"}}, "galaxy"),
        ({"access.role": {"view": "own"}}, "own"),
        ({"*": {"fly": "all"}}, "fly"),
        ({"*": {"view": "galaxy"}}, "galaxy"),
        ({"access.userrole": {"view": "all"}}, "access.user"),
        ({"access.user": ["view"]}, "access.user"),
        ([], "written"),
        ({7: {"view": "all"}}, "7"),
    ],
)
def test_a_grant_that_code_does_not_declare_is_refused_by_name(actor, grants, names):
    with pytest.raises(Refused, match=names) as error:
        check_grants(grants)
    assert list(error.value.fields) == ["grants"]
    if isinstance(grants, dict) and all(isinstance(k, str) for k in grants):
        with pytest.raises(Refused):
            perform(actor, Role, "add", {"name": "R", "code": "r", "grants": grants})


@pytest.mark.parametrize("classes", [["secret"], "public", 7])
def test_a_class_that_is_none_is_refused(classes):
    with pytest.raises(Refused) as error:
        check_grants({}, classes)
    assert list(error.value.fields) == ["classes"]
