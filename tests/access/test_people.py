"""People: invitations work once and give no more than the inviter holds; nobody climbs, whatever door they try."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from django.utils import timezone

from ostoja.access import people, signin, tokens
from ostoja.access.actor_of import actor_of, merged
from ostoja.access.grants import beyond
from ostoja.access.links import LinkRefused
from ostoja.access.models import Department, Invitation, Role, Session, User, UserRole
from ostoja.access.policy import may, visible
from ostoja.gate import Many, perform
from ostoja.journal.context import changing
from ostoja.journal.models import Change
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.tenancy.context import current_tenant, tenant_context
from ostoja.testing.people import PASSWORD, make_role, make_user

NEW = "Wrona-kracze-o-swicie-9"
MANAGER = {
    "access.user": {"*": "all"},
    "access.role": {"*": "all"},
    "access.department": {"*": "all"},
    "access.invitation": {"*": "all"},
}


def link_in(letter):
    """The token at the end of the only link of a letter."""
    return next(line for line in letter.text.splitlines() if line.startswith("http")).rpartition("/")[2]


@pytest.fixture
def manager(as_role):
    """Manages people, and nothing else."""
    return as_role(MANAGER, classes=["public", "internal"])


@pytest.fixture
def strong(tenant):
    """A role with rights that the manager does not have."""
    return make_role({"access.department": {"view": "all"}, "access.savedview": {"*": "all"}})


# --- invitations ------------------------------------------------------------------------------------------------------


def test_an_invited_colleague_joins_with_roles_department_and_a_confirmed_address(actor, work, browse):
    role = make_role({"access.department": {"view": "all"}})
    sales = perform(actor, Department, "add", {"name": "Sales"})
    invitation = people.invite(actor, " Nina@Example.com ", [role.code], name="Nina", department=sales)
    letter = work()[0]
    assert (letter.to, letter.subject) == ("nina@example.com", f"Olga Owner invites you to {current_tenant().name}")
    token = link_in(letter)
    assert people.invitation_of(token) == invitation
    for wrong in ({"name": "", "password": NEW}, {"name": "Nina Nowak", "password": "password123"}):
        with pytest.raises(Refused):
            browse(lambda r, w=wrong: people.accept(r, token, **w))
    assert not User.objects.filter(email="nina@example.com").exists()
    request, _ = browse(lambda r: people.accept(r, token, "Nina  Nowak", NEW, language="pl") and None)
    nina = User.objects.get(email="nina@example.com")
    assert request.actor.user_id == nina.pk and may(request.actor, Department, "view")
    assert (nina.name, nina.department, nina.language) == ("Nina Nowak", sales, "pl")
    assert nina.email_confirmed_at and nina.is_active and not nina.is_owner
    with pytest.raises(LinkRefused):
        browse(lambda r: people.accept(r, token, "Again", NEW))
    assert browse(lambda r: signin.sign_in(r, "nina@example.com", NEW) and None)[0].actor


def test_A7_an_invitation_of_one_tenant_is_worth_nothing_in_another(actor, other_tenant, work):
    people.invite(actor, "nina@example.com", [])
    token = link_in(work()[0])
    with tenant_context(other_tenant), pytest.raises(LinkRefused):
        people.invitation_of(token)


def test_resending_kills_the_earlier_link_and_withdrawing_all(actor, work):
    invitation = people.invite(actor, "nina@example.com", [])
    first = link_in(work()[0])
    people.resend(actor, invitation)
    second = link_in(work()[0])
    with pytest.raises(LinkRefused):
        people.invitation_of(first)
    assert people.invitation_of(second) == invitation
    people.withdraw(actor, invitation)
    with pytest.raises(LinkRefused):
        people.invitation_of(second)


def test_inviting_again_takes_the_place_of_the_first(actor, work):
    people.invite(actor, "nina@example.com", [])
    people.invite(actor, "NINA@example.com", [])
    assert Invitation.objects.count() == 1


def test_an_invitation_grows_old_and_falls_with_its_inviter(actor, work, browse):
    inviter = make_user("Ivo")
    role = make_role(MANAGER, classes=["internal"])
    people.set_roles(actor, inviter, [role.code])
    ivo = actor_of(inviter)
    people.invite(ivo, "a@example.com", [])
    people.invite(ivo, "b@example.com", [role.code])
    late, lost = (link_in(letter) for letter in reversed(work()))
    with changing(Actor.system(), "test"):
        Invitation.objects.filter(email="a@example.com").update(expires_at=timezone.now() - timedelta(seconds=1))
    with pytest.raises(LinkRefused, match="too old"):
        people.invitation_of(late)
    people.set_roles(actor, inviter, [])
    with pytest.raises(LinkRefused, match="does not hold"):
        browse(lambda r: people.accept(r, lost, "Bea", NEW))
    perform(actor, inviter, "deactivate")
    with pytest.raises(LinkRefused):
        people.invitation_of(lost)
    assert not User.objects.filter(email="b@example.com").exists()


def test_who_was_imported_without_a_password_can_be_invited_and_who_works_here_not(actor, manager, work, browse):
    with changing(Actor.system(), "test"):
        agent = User.objects.create(name="Agent", email="agent@example.com", is_active=False)
    people.invite(manager, "agent@example.com", [])
    browse(lambda r: people.accept(r, link_in(work()[0]), "Agent Smith", NEW) and None)
    agent.refresh_from_db()
    assert agent.is_active and agent.name == "Agent Smith"
    with pytest.raises(Refused, match="works here"):
        people.invite(manager, "agent@example.com", [])
    perform(actor, agent, "deactivate")
    with pytest.raises(Refused, match="switched off"):
        people.invite(manager, "agent@example.com", [])


@pytest.mark.parametrize(
    "email", ["", "nonsense", "a@b@c", "x@example.com\nBcc: y@example.com", "x" * 250 + "@example.com"]
)
def test_wrong_addresses_are_refused(actor, email):
    with pytest.raises(Refused) as error:
        people.invite(actor, email, [])
    assert list(error.value.fields) == ["email"]


def test_inviting_needs_the_right_and_the_rights_of_the_roles(manager, as_role, strong):
    with pytest.raises(NotAllowed, match="inviting"):
        people.invite(as_role({}), "nina@example.com", [])
    with pytest.raises(NotAllowed) as error:
        people.invite(manager, "nina@example.com", [strong.code])
    assert error.value.code == "beyond_own_rights" and "access.savedview" in error.value.message
    with pytest.raises(Refused, match="no role"):
        people.invite(manager, "nina@example.com", ["unknown"])
    assert not Invitation.objects.exists()


def test_the_gate_sends_no_invitations(actor):
    with pytest.raises((NotAllowed, Refused)):
        perform(actor, Invitation, "add", {"email": "x@example.com", "role_codes": ["owner"]})


def test_the_directory(actor, manager, work):
    people.invite(actor, "nina@example.com", [], name="Nina")
    seen = people.directory(actor)
    assert (
        [p.name for p in seen][-1] == "Nina"
        and seen[-1].invitation
        and {p.email for p in seen} >= {"owner@example.com"}
    )
    assert [len(p.roles) for p in seen if p.user and p.user.pk == manager.user_id] == [1]


# --- nobody climbs ------------------------------------------------------------------------------------------------------


def test_giving_oneself_a_role_through_every_door(manager, strong):
    me = User.objects.get(pk=manager.user_id)
    with pytest.raises(NotAllowed):
        people.set_roles(manager, me, [strong.code])
    with pytest.raises(NotAllowed):
        perform(manager, UserRole, "add", {"user": me.pk, "role": strong.pk})
    (outcome,) = Many(manager, UserRole).add([{"user": me.pk, "role": strong.pk}])
    assert not outcome.ok and outcome.code == "beyond_own_rights"
    mine = UserRole.objects.get(user=me)
    with pytest.raises((NotAllowed, Refused)):
        perform(manager, mine, "change", {"role": strong.pk})
    assert [r.pk for r in me.roles.all()] == [mine.role_id]


def test_widening_the_role_that_one_holds(manager):
    mine = UserRole.objects.get(user_id=manager.user_id).role
    wider = {**mine.grants, "access.savedview": {"delete": "all"}}
    for data in ({"grants": wider}, {"grants": {"*": {"*": "all"}}}, {"classes": ["public", "internal", "restricted"]}):
        with pytest.raises(NotAllowed):
            perform(manager, mine, "change", data)
    with pytest.raises(NotAllowed):
        perform(manager, Role, "add", {"name": "Mine", "code": "mine", "grants": {"access.apitoken": {"view": "all"}}})
    assert perform(manager, mine, "change", {"name": "People"}).name == "People"
    narrower = perform(manager, Role, "add", {"name": "N", "code": "n", "grants": {"access.user": {"view": "own"}}})
    assert narrower.grants == {"access.user": {"view": "own"}}


def test_emptying_a_role_above_oneself(manager, strong):
    with pytest.raises(NotAllowed):
        perform(manager, strong, "change", {"grants": {}})
    with pytest.raises(NotAllowed):
        perform(manager, strong, "delete")


def test_becoming_an_owner_through_every_door(manager, actor):
    me = User.objects.get(pk=manager.user_id)
    for who in (manager, actor):
        with pytest.raises((NotAllowed, Refused)):
            perform(who, me, "change", {"is_owner": True})
        with pytest.raises((NotAllowed, Refused)):
            perform(who, me, "change", {"is_owner": True}, history=True)
        with pytest.raises((NotAllowed, Refused)):
            perform(who, User, "add", {"name": "X", "email": "x@example.com", "is_owner": True}, history=True)
    with pytest.raises(NotAllowed):
        people.transfer_ownership(manager, me, PASSWORD)
    assert User.objects.filter(is_owner=True).count() == 1


def test_taking_over_somebody_with_more_rights_through_their_address(manager, owner):
    with pytest.raises(NotAllowed):
        perform(manager, owner, "change", {"email": "mine@example.com"})
    with pytest.raises(NotAllowed):
        perform(manager, owner, "deactivate")
    with pytest.raises(NotAllowed):
        perform(manager, owner, "delete")
    weak = make_user("Weak")
    assert perform(manager, weak, "change", {"email": "other@example.com"}).email == "other@example.com"
    assert not perform(manager, weak, "deactivate").is_active


def test_the_password_hash_is_no_field_of_any_door(actor, owner):
    with pytest.raises(Refused):
        perform(actor, owner, "change", {"password": "argon2$x"})
    with pytest.raises(Refused):
        perform(actor, owner, "change", {"email_confirmed_at": "2030-01-01"})


def test_oneself(actor, owner, manager):
    me = User.objects.get(pk=manager.user_id)
    for change in ({"email": "x@example.com"}, {"department": perform(actor, Department, "add", {"name": "Top"}).pk}):
        with pytest.raises(NotAllowed):
            perform(manager, me, "change", change)
    for record, who in ((me, manager), (owner, actor)):
        with pytest.raises((NotAllowed, Refused)):
            perform(who, record, "deactivate")
        with pytest.raises(NotAllowed):
            perform(who, record, "delete")
    assert perform(manager, me, "change", {"name": "New name"}).name == "New name"


def test_a_department_is_not_drawn_below_ones_own(actor, as_role):
    mine = perform(actor, Department, "add", {"name": "Mine"})
    other = perform(actor, Department, "add", {"name": "Other"})
    boss = as_role({"access.department": {"*": "all"}}, department=mine)
    with pytest.raises(NotAllowed):
        perform(boss, other, "change", {"parent": mine.pk})
    assert perform(boss, Department, "add", {"name": "New", "parent": mine.pk}).parent_id == mine.pk
    perform(actor, other, "change", {"parent": mine.pk})
    with pytest.raises(Refused, match="part of itself"):
        perform(actor, mine, "change", {"parent": other.pk})


def test_taking_a_role_away_needs_its_rights_too(manager, actor, strong):
    worker = make_user("Wanda")
    people.set_roles(actor, worker, [strong.code])
    with pytest.raises(NotAllowed):
        people.set_roles(manager, worker, [])
    with pytest.raises(NotAllowed):
        perform(manager, UserRole.objects.get(user=worker), "delete")
    assert [r.code for r in people.set_roles(actor, worker, [])] == []


def test_a_token_narrows_what_may_be_given(manager):
    mine = UserRole.objects.get(user_id=manager.user_id).role
    narrow = tokens.find(tokens.issue(manager, manager.user, "x", ["access.user:*", "access.role:*"])[1])
    with pytest.raises(NotAllowed):
        people.set_roles(narrow, make_user("Wanda"), [mine.code])


def test_who_may_not_see_a_user_finds_none(as_role, owner):
    stranger = as_role({})
    assert [u.pk for u in visible(stranger, User)] == [stranger.user_id]
    with pytest.raises(NotFound):
        people.set_roles(stranger, owner, [])


# --- owners -----------------------------------------------------------------------------------------------------------


def test_handing_the_ownership_over(actor, owner):
    heir = make_user("Heir")
    with pytest.raises(Refused) as error:
        people.transfer_ownership(actor, heir, "wrong")
    assert list(error.value.fields) == ["password"]
    people.transfer_ownership(actor, heir, PASSWORD)
    assert list(User.objects.filter(is_owner=True)) == [heir]
    assert not actor_of(owner).superuser and actor_of(heir).superuser
    assert {c.record for c in Change.objects.filter(verb="transfer_ownership")} == {owner.pk, heir.pk}


def test_an_owner_makes_somebody_an_owner_beside_them(actor, owner, manager):
    second = make_user("Second")
    with pytest.raises(Refused) as error:
        people.share_ownership(actor, second, "wrong")
    assert list(error.value.fields) == ["password"]
    with pytest.raises(NotAllowed):
        people.share_ownership(manager, second, PASSWORD)
    people.share_ownership(actor, second, PASSWORD)
    assert actor_of(owner).superuser and actor_of(second).superuser
    assert {c.record for c in Change.objects.filter(verb="share_ownership")} == {second.pk}
    with pytest.raises(Refused, match="already"):
        people.share_ownership(actor, second, PASSWORD)
    people.transfer_ownership(actor_of(second), owner, PASSWORD)
    assert list(User.objects.filter(is_owner=True)) == [owner]


def test_an_heir_must_be_able_to_sign_in(actor):
    with changing(Actor.system(), "test"):
        agent = User.objects.create(name="Agent", email="agent@example.com")
    with pytest.raises(Refused, match="can't sign in"):
        people.transfer_ownership(actor, agent, PASSWORD)
    with pytest.raises(Refused):
        people.transfer_ownership(actor, actor.user, PASSWORD)


@pytest.mark.parametrize("statement", ["UPDATE access_user SET is_owner = false", "DELETE FROM access_user"])
def test_the_last_owner_stays_whoever_asks(owner, statement):
    with pytest.raises(IntegrityError) as error, changing(Actor.system(), "test"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert error.value.__cause__.diag.constraint_name == "user_an_owner_remains"
    assert User.objects.filter(is_owner=True).exists()


def test_one_of_two_owners_may_go(owner):
    make_user("Second", owner=True)
    with changing(Actor.system(), "test"):
        User.objects.filter(pk=owner.pk).update(is_owner=False)
    assert User.objects.filter(is_owner=True).count() == 1


# --- profile ----------------------------------------------------------------------------------------------------------


def test_the_profile(as_role):
    me = as_role({})
    assert people.set_profile(me, name=" Nowa  Nazwa ", language="pl", zone="Europe/London").name == "Nowa Nazwa"
    for wrong in ({"name": " "}, {"language": "xx"}, {"zone": "Mars/Base"}):
        with pytest.raises(Refused):
            people.set_profile(me, **wrong)


# --- grants -----------------------------------------------------------------------------------------------------------


def test_a_second_role_only_adds():
    everything = {"*": {"view": "all"}}
    own = {"sales.deal": {"view": "own", "change": "own"}}
    assert merged([everything, own])["sales.deal"] == {"view": "all", "change": "own"}
    assert merged([own])["sales.deal"] == {"view": "own", "change": "own"}
    exception = {"*": {"*": "all"}, "sales.deal": {"view": "own"}}
    assert merged([exception])["sales.deal"] == {"view": "own", "*": "all"}
    assert merged([exception, own])["sales.deal"] == {"view": "own", "change": "all", "*": "all"}


@pytest.mark.parametrize(
    ("held", "given", "missing"),
    [
        ({"access.user": {"view": "all"}}, {"access.user": {"view": "own"}}, False),
        ({"access.user": {"view": "own"}}, {"access.user": {"view": "all"}}, True),
        ({"access.user": {"*": "all"}}, {"access.user": {"*": "all"}}, False),
        ({"access.user": {"*": "all"}}, {"access.user": {"deactivate": "own"}}, False),
        ({"access.user": {"view": "all", "add": "all"}}, {"access.user": {"*": "own"}}, True),
        ({"*": {"*": "all"}}, {"*": {"*": "all"}}, False),
        ({"*": {"*": "all"}}, {"access.role": {"*": "all"}}, False),
        ({"*": {"view": "all"}}, {"*": {"view": "all"}}, False),
        ({"*": {"view": "all"}}, {"*": {"*": "own"}}, True),
        ({"*": {"view": "all"}, "access.role": {"view": "own"}}, {"*": {"view": "all"}}, True),
        ({"*": {"*": "all"}, "access.role": {"*": "own"}}, {"access.role": {"view": "all"}}, True),
        ({"access.user": {"*": "all"}}, {"*": {"view": "own"}}, True),
        ({}, {}, False),
    ],
)
def test_what_is_beyond_ones_rights(as_role, held, given, missing):
    assert bool(beyond(as_role(held), given)) is missing


def test_classes_beyond_ones_own(as_role, actor):
    clerk = as_role({}, classes=["internal"])
    assert beyond(clerk, {}, ["internal", "public"]) == [] and beyond(clerk, {}, ["restricted"]) == ["restricted"]
    assert beyond(actor, {"*": {"*": "all"}}, ["restricted"]) == []


def test_switching_off_ends_the_sessions(actor, browse):
    worker = make_user("Wanda")
    browse(lambda r: signin.sign_in(r, worker.email, PASSWORD) and None)
    assert Session.objects.count() == 1
    perform(actor, worker, "deactivate")
    assert Session.objects.count() == 0 and browse()[0].actor is None


def test_a_token_gives_what_comes_tomorrow_only_when_it_may_do_everything(actor):
    later = {"access.user": {"*": "own"}}
    for scopes, missing in ((("*:*",), False), (("access.user:*", "access.role:*"), True), (("*:view",), True)):
        assert bool(beyond(replace(actor, limits=scopes), later)) is missing
