"""The people of a tenant: inviting them, giving them roles, handing over ownership; nobody gives more than they hold."""

from __future__ import annotations

import secrets
import zoneinfo
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Max
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.tenancy.context import current_tenant

from . import links, mail, passwords, remembered, sessions, signin
from .actor_of import actor_of
from .grants import beyond, must_hold
from .guards import must_command
from .limits import Limit, address_of, network_of
from .models import Department, Invitation, Role, Session, User, UserRole
from .policy import find, may, require, visible

VALID_FOR = timedelta(days=7)
INVITATIONS = Limit("invitations", 200, 60 * 60)
TAKING = Limit("taking-invitations", 60, 15 * 60)


@dataclass
class Person:
    """A line of the page of people: a user, or somebody who was invited and has not come yet."""

    name: str
    email: str
    user: User | None = None
    invitation: Invitation | None = None
    roles: list[Role] = field(default_factory=list)
    department: Department | None = None
    seen_at: datetime | None = None


def directory(actor: Actor) -> list[Person]:
    """Everybody whom the actor may see, by name, then the open invitations. Four queries, however many they are."""
    seen = dict(Session.objects.values_list("user_id").annotate(last=Max("seen_at")))
    users = visible(actor, User).select_related("department").prefetch_related("roles").order_by("name", "email")
    people = [
        Person(u.name, u.email, user=u, roles=list(u.roles.all()), department=u.department, seen_at=seen.get(u.pk))
        for u in users
    ]
    if may(actor, Invitation, "view"):
        open_ones = visible(actor, Invitation).filter(accepted_at=None).select_related("department").order_by("email")
        by_code = {role.code: role for role in Role.objects.all()}
        for invitation in open_ones:
            roles = [by_code[code] for code in invitation.role_codes if code in by_code]
            people.append(
                Person(
                    invitation.name,
                    invitation.email,
                    invitation=invitation,
                    roles=roles,
                    department=invitation.department,
                )
            )
    return people


# --- invitations ------------------------------------------------------------------------------------------------------


def invite(
    actor: Actor, email: str, role_codes: Iterable[str], *, name: str = "", department: Department | None = None
) -> Invitation:
    """Ask somebody to join: mails a link that works once, for seven days. A new invitation takes the place of an old one.

    Needs the right ``add`` on invitations, and every right of the roles. Raises NotAllowed, Refused by field (``email``,
    ``role_codes``), TooMany.
    """
    if not may(actor, Invitation, "add"):
        raise NotAllowed(_("Your role does not include inviting people."))
    email = signin.proper_address(email)
    roles = _roles(actor, role_codes)
    known = User.objects.filter(email=email).first()
    if known is not None:
        _joinable(actor, known)
    INVITATIONS.take()
    with changing(actor, "invite"):
        Invitation.objects.filter(email=email, accepted_at=None).delete()
        invitation = Invitation(
            email=email,
            name=str(name or (known.name if known else "")).strip()[:150],
            role_codes=[role.code for role in roles],
            department=department or (known.department if known else None),
            invited_by_id=_inviter(actor),
        )
        _mail_link(actor, invitation)
    return invitation


def resend(actor: Actor, invitation: Invitation) -> Invitation:
    """Mail the invitation once more; the earlier link is dead, the seven days begin again. Raises NotFound, NotAllowed, TooMany."""
    found = find(actor, Invitation, invitation.pk)
    if not may(actor, Invitation, "add"):
        raise NotAllowed(_("Your role does not include inviting people."))
    if found.accepted_at is not None:
        raise Refused(_("This invitation was accepted."), code="accepted")
    must_hold_codes(actor, found.role_codes)
    INVITATIONS.take()
    with changing(actor, "resend"):
        found.invited_by_id = _inviter(actor)
        _mail_link(actor, found)
    return found


def withdraw(actor: Actor, invitation: Invitation) -> None:
    """Take an open invitation back; its link is dead. Needs ``delete`` on it, or to have sent it. Raises NotFound, NotAllowed."""
    found = find(actor, Invitation, invitation.pk)
    if found.invited_by_id != actor.user_id:
        require(actor, found, "delete")
    if found.accepted_at is not None:
        raise Refused(_("This invitation was accepted."), code="accepted")
    with changing(actor, "withdraw"):
        found.delete()


def invitation_of(token: str) -> Invitation:
    """The invitation that a link is for. Raises LinkRefused when it is unknown here, accepted or too old."""
    found = (
        Invitation.objects.select_related("invited_by", "department")
        .filter(digest=sessions.digest_of(str(token)[:200]), accepted_at=None)
        .first()
    )
    if found is None:
        raise links.LinkRefused(_("This invitation is not valid here, was used or was taken back. Ask for a new one."))
    if found.expires_at <= timezone.now() or not found.invited_by.is_active:
        raise links.LinkRefused(_("This invitation is too old. Ask for a new one."))
    return found


def accept(request, token: str, name: str, password: str, *, language: str = "") -> Session:
    """Join: make the user with the invitation's roles, and sign in. The address counts as confirmed.

    Raises LinkRefused, Refused by field (``name``, ``password``), TooMany. Roles that whoever invited does not hold any more
    are not given: the invitation is refused.
    """
    TAKING.take(network_of(address_of(request)))
    invitation_of(token)
    name = " ".join(str(name or "").split())
    if not 0 < len(name) <= 150:
        raise Refused(_("Tell us your name."), fields={"name": [_("Tell us your name.")]})
    with changing(Actor.system(_("Invitation")), "accept"):
        Invitation.objects.select_for_update().filter(digest=sessions.digest_of(str(token)[:200])).first()
        invitation = invitation_of(token)
        passwords.check(password, [invitation.email, name, current_tenant().name, current_tenant().slug])
        user = _joined(invitation, name, password, language)
        invitation.accepted_at = timezone.now()
        invitation.save(update_fields=["accepted_at", "updated_at"])
    remembered.forget()
    return signin.enter(request, user)


def _joined(invitation: Invitation, name: str, password: str, language: str) -> User:
    inviter = actor_of(invitation.invited_by)
    try:
        roles = _roles(inviter, invitation.role_codes)
        user = User.objects.select_for_update().filter(email=invitation.email).first()
        if user is not None:
            _joinable(inviter, user)
    except (NotAllowed, Refused) as error:
        raise links.LinkRefused(_("This invitation does not hold any more. Ask for a new one.")) from error
    user = user or User(email=invitation.email, language=current_tenant().language, timezone=current_tenant().timezone)
    user.name, user.department, user.is_active = name, invitation.department, True
    user.language = language if language in dict(User._meta.get_field("language").choices) else user.language
    user.password, user.email_confirmed_at = passwords.hashed(password), timezone.now()
    user.save()
    for role in roles:
        UserRole.objects.get_or_create(user=user, role=role)
    return user


def _joinable(actor: Actor, user: User) -> None:
    """Whether somebody who is known already may be invited: only who never had a password, and is not above the actor."""
    if user.has_usable_password() and user.password:
        message = (
            _("{name} works here already.").format(name=user.name)
            if user.is_active
            else _("{name} was switched off. Switch them on again.").format(name=user.name)
        )
        raise Refused(message, fields={"email": [message]}, code="known")
    must_command(actor, user)


def _mail_link(actor: Actor, invitation: Invitation) -> None:
    secret = secrets.token_urlsafe(32)
    invitation.digest = sessions.digest_of(secret)
    invitation.expires_at = timezone.now() + VALID_FOR
    invitation.save()
    context = {
        "inviter": actor.label,
        "name": invitation.name,
        "days": VALID_FOR.days,
        "link": links.url_of("invite", secret),
    }
    mail.send(current_tenant(), invitation.email, "invite", context)


def _inviter(actor: Actor):
    if actor.user_id is None:
        raise NotAllowed(_("An invitation comes from a person."))
    return actor.user_id


# --- roles, ownership, profile ------------------------------------------------------------------------------------------


def _roles(actor: Actor, codes: Iterable[str]) -> list[Role]:
    wanted = list(dict.fromkeys(str(c) for c in codes))
    found = {role.code: role for role in Role.objects.filter(code__in=wanted)}
    unknown = [code for code in wanted if code not in found]
    if unknown:
        message = _("There is no role “{role}”.").format(role=unknown[0][:80])
        raise Refused(message, fields={"role_codes": [message]})
    for role in found.values():
        must_hold(actor, role.grants, role.classes)
    return [found[code] for code in wanted]


def must_hold_codes(actor: Actor, codes: Iterable[str]) -> None:
    """Raise NotAllowed when one of these roles is above the actor's own rights."""
    _roles(actor, [code for code in codes if Role.objects.filter(code=code).exists()])


def givable(actor: Actor) -> list[Role]:
    """The roles that the actor may give: those whose every right they hold."""
    return [r for r in Role.objects.order_by("level", "name") if not beyond(actor, r.grants, r.classes)]


def set_roles(actor: Actor, user: User, role_codes: Iterable[str]) -> list[Role]:
    """Give a user exactly these roles. Needs ``change`` on the user and every right of each role given or taken away.

    Raises NotFound, NotAllowed, Refused (``role_codes``).
    """
    user = find(actor, User, user.pk)
    require(actor, user, "change")
    wanted = list(dict.fromkeys(str(c) for c in role_codes))
    with changing(actor, "set_roles"):
        User.objects.select_for_update().get(pk=user.pk)
        held = {h.role.code: h for h in UserRole.objects.filter(user=user).select_related("role")}
        new = _roles(actor, [code for code in wanted if code not in held])
        gone = [h for code, h in held.items() if code not in wanted]
        for holding in gone:
            must_hold(actor, holding.role.grants, holding.role.classes)
        for holding in gone:
            holding.delete()
        for role in new:
            UserRole.objects.create(user=user, role=role)
    remembered.forget()
    return list(Role.objects.filter(holders__user=user).order_by("level", "name"))


def transfer_ownership(actor: Actor, to: User, password: str) -> None:
    """Make somebody else the owner instead of the actor, who proves with the password that it is really they.

    Raises NotAllowed, NotFound, Refused (``password``, ``user``), TooMany.
    """
    with _as_owner(actor, to, password, "transfer_ownership") as (present, new):
        if not new.is_owner:
            new.is_owner = True
            new.save(update_fields=["is_owner", "updated_at"])
        present.is_owner = False
        present.save(update_fields=["is_owner", "updated_at"])
    remembered.forget()


def share_ownership(actor: Actor, to: User, password: str) -> None:
    """Make somebody an owner beside the actor, who proves with the password that it is really they.

    Raises NotAllowed, NotFound, Refused (``password``, ``user``), TooMany.
    """
    with _as_owner(actor, to, password, "share_ownership") as (_present, new):
        if new.is_owner:
            message = _("{name} is an owner already.").format(name=new.name)
            raise Refused(message, fields={"user": [message]})
        new.is_owner = True
        new.save(update_fields=["is_owner", "updated_at"])
    remembered.forget()


@contextmanager
def _as_owner(actor: Actor, to: User, password: str, verb: str) -> Iterator[tuple[User, User]]:
    """The actor and the other person, held, in a transaction; the actor is an owner who gave the password."""
    if actor.kind != "user" or not actor.superuser:
        raise NotAllowed(_("Only the owner hands the ownership over."))
    signin.confirm_password(User.objects.get(pk=actor.user_id), password)
    with changing(actor, verb):
        both = {u.pk: u for u in User.objects.select_for_update().filter(pk__in=[actor.user_id, to.pk]).order_by("pk")}
        present, new = both[actor.user_id], both.get(to.pk)
        if new is None:
            raise NotFound(_("There is no such person."))
        if new.pk == present.pk or not present.is_owner:
            raise Refused(_("Choose somebody else."), fields={"user": [_("Choose somebody else.")]})
        if not new.is_active or not new.password or not new.has_usable_password():
            message = _("{name} can't sign in yet, and an owner must.").format(name=new.name)
            raise Refused(message, fields={"user": [message]})
        yield present, new


def set_profile(actor: Actor, *, name: str | None = None, language: str | None = None, zone: str | None = None) -> User:
    """Change one's own name, language and time zone; what is None stays. Raises Refused by field (``name``, ``language``, ``timezone``)."""
    if actor.user_id is None or actor.limits is not None:
        raise NotAllowed(_("Sign in to change your profile."))
    errors: dict[str, list[str]] = {}
    changes: dict[str, str] = {}
    if name is not None:
        changes["name"] = " ".join(str(name).split())
        if not 0 < len(changes["name"]) <= 150 or "\x00" in name:
            errors["name"] = [_("Tell us your name.")]
    if language is not None:
        changes["language"] = language
        if language not in dict(User._meta.get_field("language").choices):
            errors["language"] = [_("Choose one of the languages.")]
    if zone is not None:
        changes["timezone"] = zone
        if zone not in zoneinfo.available_timezones():
            errors["timezone"] = [_("There is no such time zone. An example: Europe/Warsaw.")]
    if errors:
        raise Refused(next(iter(errors.values()))[0], fields=errors)
    with changing(actor, "set_profile"):
        user = User.objects.select_for_update().get(pk=actor.user_id)
        for field_name, value in changes.items():
            setattr(user, field_name, value)
        user.save(update_fields=[*changes, "updated_at"])
    remembered.forget()
    return user


def user_of(actor: Actor, key: object) -> User:
    """The user with this id whom the actor may see. Raises NotFound."""
    return find(actor, User, parse_uuid(key))
