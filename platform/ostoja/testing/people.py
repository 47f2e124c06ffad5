"""People for tests: an owner, and anybody with the rights that a test names."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from ostoja.access.actor_of import actor_of
from ostoja.access.models import Department, Role, User, UserRole
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor

PASSWORD = "Korzenie-7-drzewa"
_numbers = itertools.count(1)


def make_user(name: str = "", *, owner: bool = False, department: Department | None = None, **fields) -> User:
    """A user of the open tenant who may sign in with ``PASSWORD``."""
    number = next(_numbers)
    values = {"email": f"person{number}@example.com", "name": name or f"Person {number}"} | fields
    user = User(is_owner=owner, department=department, **values)
    user.password = _hashed(PASSWORD)
    with changing(Actor.system("Test"), "add"):
        user.save()
    return user


def make_role(grants: dict, classes: Iterable[str] = ("public", "internal", "confidential")) -> Role:
    """A role of the open tenant: ``grants`` is {object label: {verb: scope}}."""
    number = next(_numbers)
    with changing(Actor.system("Test"), "add"):
        return Role.objects.create(name=f"Role {number}", code=f"role-{number}", grants=grants, classes=list(classes))


def make_actor(
    grants: dict | None = None,
    *,
    classes: Iterable[str] = ("public", "internal", "confidential"),
    department: Department | None = None,
    user: User | None = None,
) -> Actor:
    """The actor of a user (a new one unless named) who holds one role with these grants."""
    user = user or make_user(department=department)
    role = make_role(grants or {}, classes)
    with changing(Actor.system("Test"), "add"):
        UserRole.objects.create(user=user, role=role)
    return actor_of(user)


_hashes: dict[str, str] = {}


def _hashed(password: str) -> str:
    """Argon2 takes its time; once per password is enough for tests."""
    if password not in _hashes:
        from django.contrib.auth.hashers import make_password

        _hashes[password] = make_password(password)
    return _hashes[password]
