"""Who may change whom: the rules that keep people from taking over the rights of others."""

from __future__ import annotations

from django.utils.translation import gettext as _

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed

from .actor_of import actor_of
from .grants import beyond

GUARDED = ("email", "is_owner", "is_active", "department_id")


def must_command(actor: Actor, user) -> None:
    """Raise NotAllowed when the user has rights that the actor does not have."""
    if actor.superuser:
        return
    theirs = actor_of(user)
    if theirs.superuser or beyond(actor, theirs.grants, theirs.classes):
        raise NotAllowed(
            _("{name} has rights that you don't have, so you can't change this. Ask the owner.").format(name=user.name),
            code="beyond_own_rights",
        )


def guard_change(actor: Actor, user, verb: str) -> None:
    """Raise NotAllowed when an edit of a user would give somebody power that the actor does not have.

    One's own address and department, and being an owner, are not changed by editing; people with more rights than the
    actor are not taken over through their address, nor moved, nor switched off or on.
    """
    before = None if user._state.adding else type(user).objects.filter(pk=user.pk).values(*GUARDED).first()
    if before is None:
        if user.is_owner and not actor.superuser:
            raise NotAllowed(_("Only an owner makes somebody an owner."))
        return
    changed = {name for name in GUARDED if getattr(user, name) != before[name]}
    if not changed:
        return
    if "is_owner" in changed:
        raise NotAllowed(_("Ownership is handed over on the page of the people, not by editing."))
    oneself = user.pk == actor.user_id
    if oneself and "is_active" in changed:
        raise NotAllowed(_("You can't switch yourself off. Ask another owner."))
    if oneself and "email" in changed:
        raise NotAllowed(_("You change your own address in your profile, with your password."))
    if oneself and not actor.superuser:
        raise NotAllowed(_("You can't move yourself to another department. Ask the owner of your organisation."))
    if not oneself:
        must_command(actor, user)
