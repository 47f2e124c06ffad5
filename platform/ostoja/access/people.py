"""The people of a tenant: who may change whom."""

from __future__ import annotations

from django.utils.translation import gettext as _

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed

from .actor_of import actor_of
from .grants import beyond
from .models import User

GUARDED = ("email", "is_owner", "is_active", "department_id", "password")


def guard_change(actor: Actor, user: User, verb: str) -> None:
    """Raise NotAllowed when the change would give somebody power that they don't have.

    One's own address and department, and being an owner, are not changed by editing; people with more rights than the
    actor are not taken over through their address, nor switched off or on.
    """
    before = User.objects.filter(pk=user.pk).values(*GUARDED).first()
    if before is None:
        if user.is_owner and not actor.superuser:
            raise NotAllowed(_("Only an owner makes somebody an owner."))
        return
    changed = {name for name in GUARDED if getattr(user, name) != before[name]}
    if not changed:
        return
    if "is_owner" in changed:
        raise NotAllowed(_("Ownership is handed over on the page of the people, not by editing."))
    himself = user.pk == actor.user_id
    if himself and "is_active" in changed:
        raise NotAllowed(_("You can't switch yourself off. Ask another owner."))
    if himself and "email" in changed:
        raise NotAllowed(_("You change your own address in your profile, with your password."))
    if himself and "department_id" in changed and not actor.superuser:
        raise NotAllowed(_("You can't move yourself to another department. Ask the owner of your organisation."))
    if not himself and not actor.superuser:
        theirs = actor_of(user)
        if theirs.superuser or beyond(actor, theirs.grants, theirs.classes):
            raise NotAllowed(
                _("{name} has rights that you don't have, so you can't change this. Ask the owner.").format(name=user.name),
                code="beyond_own_rights",
            )
