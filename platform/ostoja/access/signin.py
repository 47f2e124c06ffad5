"""Signing in and out, and everything around the password: change it, forget it, confirm an address.

Who does not know the password learns nothing here: unknown, known and inactive people get the same sentence after the
same work; a forgotten password is answered alike for everybody.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
from datetime import timedelta

from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.jobs.queue import queue
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import OstojaError, Refused
from ostoja.kernel.ids import parse_uuid
from ostoja.tenancy.context import current_tenant

from . import links, mail, passwords, sessions
from .actor_of import actor_of
from .limits import Limit, address_of, network_of
from .models import Session, User

log = logging.getLogger(__name__)

TRIES_FOR_ACCOUNT = Limit("sign-in-account", 10, 15 * 60)
TRIES_FROM_NETWORK = Limit("sign-in-network", 50, 15 * 60)
TRIES_IN_TENANT = Limit("sign-in-tenant", 1000, 15 * 60)
RESETS_FOR_ACCOUNT = Limit("reset-account", 5, 60 * 60)
RESETS_FROM_NETWORK = Limit("reset-network", 20, 60 * 60)
RESETS_IN_TENANT = Limit("reset-tenant", 500, 60 * 60)
LINKS_FROM_NETWORK = Limit("links-network", 60, 15 * 60)

RESET_FOR = timedelta(hours=1)
CONFIRM_FOR = timedelta(days=7)
WELCOME_FOR = timedelta(seconds=60)


class NotSignedIn(OstojaError):
    """The address and the password do not let anybody in; the sentence does not say why."""

    code = "not_signed_in"
    status = 401


def warm_up() -> None:
    """Make the stand-in hash before the first sign-in needs it."""
    passwords.stand_in()


def sign_in(request, email: str, password: str) -> Session:
    """Sign a person in on this browser and return the session; the cookie goes with the answer.

    Raises NotSignedIn (one sentence for unknown, wrong and inactive), TooMany with ``retry_after``, NotNow while the
    counters can't be reached.
    """
    email = _address(email)
    _count(request, email)
    user = User.objects.filter(email=email).first()
    right = passwords.is_right(str(password)[: passwords.LONGEST], user.password if user else None)
    if not right or not user.is_active:
        log.info("A sign-in to %s from %s was refused.", current_tenant().slug, address_of(request))
        raise NotSignedIn(_("This e-mail address and password don't belong together, or the account is switched off."))
    TRIES_FOR_ACCOUNT.forget(email)
    return enter(request, user)


def sign_out(request) -> None:
    """End the session of this browser."""
    sessions.end(request)
    request.actor = request.user = None


def welcome_token(user: User) -> str:
    """A token that signs ``user`` in once, within a minute: carries the founder of a tenant from the sign-up to its host."""
    return links.make("welcome", str(user.pk))


def sign_in_by_link(request, token: str) -> Session:
    """Sign in by a ``welcome_token``. Raises LinkRefused when it is old, used, or another tenant's; TooMany."""
    LINKS_FROM_NETWORK.take(network_of(address_of(request)))
    user = _user_of(links.use_once("welcome", token, WELCOME_FOR))
    return enter(request, user)


def change_password(actor: Actor, present: str, new: str) -> None:
    """Change one's own password; all other sessions end. Raises Refused by field (``present``, ``new``), TooMany, NotNow."""
    user = _myself(actor)
    confirm_password(user, present, field="present")
    passwords.check(new, _about(user), field="new")
    if passwords.is_right(new, user.password):
        raise Refused(_("This is the present password."), fields={"new": [_("This is the present password.")]})
    _set_password(actor, user, new, "change_password")
    sessions.end_others(actor)
    context = {"name": user.name, "link": links.url_of("forgotten")}
    mail.send(current_tenant(), user.email, "password_changed", context, language=user.language)


def forgot(request, email: str) -> None:
    """Send a link for a new password, if there is such an account; the caller says the same to everybody.

    The look-up is done by a job, so that the answer takes the same time for everybody. Raises TooMany, NotNow.
    """
    email = _address(email)
    RESETS_FROM_NETWORK.take(network_of(address_of(request)))
    RESETS_FOR_ACCOUNT.take(email)
    RESETS_IN_TENANT.take()
    queue(Actor.system(), "access.forgotten", email=email)


def reset_link(user: User) -> str:
    """The whole address at which ``user`` can set a new password; dead after an hour, and with the old password."""
    return links.url_of("reset", links.make("reset", [str(user.pk), _fingerprint(user)]))


def user_to_reset(token: str) -> User:
    """Whose password the link is for, so that the page can greet them. Raises LinkRefused."""
    value = links.read("reset", token, RESET_FOR)
    user = _user_of(value[0])
    if not hmac.compare_digest(_fingerprint(user), str(value[1])):
        raise links.LinkRefused(_("This link was used already. Ask for a new one."))
    return user


def reset_password(request, token: str, new: str) -> Session:
    """Set a new password by the link, end all sessions and sign in. Raises LinkRefused, Refused (``new``), TooMany.

    Who got the mail has the address: it counts as confirmed.
    """
    LINKS_FROM_NETWORK.take(network_of(address_of(request)))
    user = user_to_reset(token)
    passwords.check(new, _about(user), field="new")
    actor = actor_of(user)
    with changing(actor, "reset_password"):
        User.objects.select_for_update().get(pk=user.pk)
        user = user_to_reset(token)  # once more, alone: of two who hold the link, one wins
        _set_password(actor, user, new, "reset_password", confirmed=True)
        sessions.end_all(user.pk)
    TRIES_FOR_ACCOUNT.forget(user.email)
    return enter(request, user)


def send_confirmation(user: User) -> None:
    """Mail the link that confirms the address of ``user``. Raises TooMany."""
    Limit("confirm-account", 5, 60 * 60).take(user.pk)
    link = links.url_of("confirm", links.make("confirm", [str(user.pk), user.email]))
    mail.send(current_tenant(), user.email, "confirm", {"name": user.name, "link": link}, language=user.language)


def confirm_email(token: str) -> User:
    """Confirm, or by a link of ``change_email`` take over, the address that the link was sent to. Raises LinkRefused."""
    value = links.read("confirm", token, CONFIRM_FOR)
    user = _user_of(value[0])
    email = str(value[1])
    is_new = len(value) > 2
    if (is_new and _fingerprint(user) != value[2]) or (not is_new and email != user.email):
        raise links.LinkRefused(_("This link was made for an address that you don't use any more."))
    if user.email_confirmed_at is not None and email == user.email:
        return user
    actor, before = actor_of(user), user.email
    user.email, user.email_confirmed_at = email, timezone.now()
    try:
        with changing(actor, "confirm_email"):
            user.save(update_fields=["email", "email_confirmed_at", "updated_at"])
            user.settled(actor, "confirm_email", frozenset({"email"}))
            if email != before:
                context = {"name": user.name, "email": email}
                mail.send(current_tenant(), before, "email_changed", context, language=user.language)
    except IntegrityError as error:
        raise links.LinkRefused(_("Somebody else uses this address by now.")) from error
    return user


def change_email(actor: Actor, password: str, email: str) -> None:
    """Ask for another address of one's own: it counts once the link sent there is opened.

    Raises Refused by field (``password``, ``email``), TooMany. That the address is somebody's is told to its owner only.
    """
    user = _myself(actor)
    confirm_password(user, password, field="password")
    email = proper_address(email)
    if email == user.email or User.objects.filter(email=email).exists():
        return
    link = links.url_of("confirm", links.make("confirm", [str(user.pk), email, _fingerprint(user)]))
    mail.send(current_tenant(), email, "confirm", {"name": user.name, "link": link}, language=user.language)


def enter(request, user: User) -> Session:
    """Sign a person in who has proved who they are, and make them the actor of this request."""
    session = sessions.start(request, user)
    request.actor = actor_of(user)
    request.actor.session_key = str(session.pk)
    request.user = request.actor.user
    return session


def _count(request, email: str) -> None:
    TRIES_FROM_NETWORK.take(network_of(address_of(request)))
    TRIES_FOR_ACCOUNT.take(email)
    TRIES_IN_TENANT.take()


def confirm_password(user: User, password: str, field: str = "password") -> None:
    """The person at the browser proves once more who they are. Raises Refused (``field``), TooMany, NotNow."""
    TRIES_FOR_ACCOUNT.take(user.email)
    if not passwords.is_right(str(password)[: passwords.LONGEST], user.password):
        raise Refused(_("This is not your password."), fields={field: [_("This is not your password.")]})
    TRIES_FOR_ACCOUNT.forget(user.email)


def _set_password(actor: Actor, user: User, new: str, verb: str, *, confirmed: bool = False) -> None:
    changed = ["password", "updated_at"]
    user.password = passwords.hashed(new)
    if confirmed and user.email_confirmed_at is None:
        user.email_confirmed_at = timezone.now()
        changed.append("email_confirmed_at")
    with changing(actor, verb):
        user.save(update_fields=changed)


def _fingerprint(user: User) -> str:
    """Changes with the password and the address, so that a link made before is worth nothing after."""
    return hashlib.sha256(f"{user.password}|{user.email}".encode()).hexdigest()[:32]


def _user_of(key: object) -> User:
    user = User.objects.filter(pk=parse_uuid(key), is_active=True).first()
    if user is None:
        raise links.LinkRefused(_("This account is switched off. Ask the owner of your organisation."))
    return user


def _myself(actor: Actor) -> User:
    if actor.kind != "user" or actor.user_id is None:
        raise NotSignedIn(_("Sign in to do this."))
    return User.objects.get(pk=actor.user_id)


def _about(user: User) -> list[str]:
    return [user.email, user.name, current_tenant().name, current_tenant().slug]


def proper_address(email: object) -> str:
    """An e-mail address in lower case. Raises Refused (``email``) for what is none."""
    written = str(email or "").strip().lower()
    try:
        validate_email(written)
        if len(written) > 254:
            raise ValidationError("too long")
    except ValidationError as error:
        message = _("This is no e-mail address.")
        raise Refused(message, fields={"email": [message]}) from error
    return written


def _address(email: object) -> str:
    return str(email or "").strip().lower()[:254].replace("\x00", "")
