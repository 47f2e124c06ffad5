"""Makes the actor of a user, a session or a token: one query that brings the person, the roles and the departments."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from django.db import connection
from django.utils.translation import gettext as _

from ostoja.kernel.actors import ALL_CLASSES, Actor
from ostoja.kernel.errors import NotAllowed

from .models import User
from .narrowing import as_of_now, elsewhere_sql, objects_sql

# What everybody may do without a role: with what is their own, and nothing else.
EVERYBODY = {
    "access.user": {"view": "own"},
    "access.apitoken": {"view": "own", "revoke": "own"},
    "access.savedview": {"view": "shared", "add": "own", "change": "own", "delete": "own"},
    # An import or export asks besides for that verb on the object that it is about.
    "exchange.importrun": {"*": "own"},
    "exchange.exportrun": {"view": "own"},
    "exchange.savedmapping": {"view": "all", "add": "own", "change": "own", "delete": "own"},
}
WIDTH = {"own": 1, "shared": 2, "team": 2, "all": 9}

# The person is what `who` selects; departments are their own and those below it.
PERSON = """
, below(id) AS (
  SELECT u.department_id FROM access_user u JOIN who ON who.user_id = u.id WHERE u.department_id IS NOT NULL
  UNION
  SELECT d.id FROM access_department d JOIN below b ON d.parent_id = b.id
)
SELECT who.*, {columns},
  (SELECT coalesce(jsonb_agg(jsonb_build_array(r.grants, r.classes)), '[]')
     FROM access_userrole ur JOIN access_role r ON r.id = ur.role_id WHERE ur.user_id = u.id)::text,
  (SELECT coalesce(array_agg(b.id::text), '{{}}') FROM below b),
  {narrowed}, {elsewhere}
FROM who JOIN access_user u ON u.id = who.user_id
"""


class Rights(NamedTuple):
    """What the query tells of somebody's rights: roles as JSON, departments, the objects of which something is out of sight, and
    those that are decided elsewhere.
    """

    roles: str
    departments: list[str]
    narrowed: list[str]
    elsewhere: list[str]


@lru_cache(maxsize=1)
def _columns() -> tuple[str, ...]:
    return tuple(f.attname for f in User._meta.concrete_fields if f.name not in User.data.secret)


def person_of(who: str, params: Sequence, extra: int) -> tuple[tuple, User, Rights] | None:
    """One query: the row of ``who`` (its ``extra`` columns beside ``user_id``, which is the first), the user and their rights.

    ``who`` is a SELECT; None when it finds nobody. Secrets such as the password are left out and load when asked for.
    """
    names = _columns()
    sql = f"WITH RECURSIVE who AS ({who})" + PERSON.format(
        columns=", ".join(f'u."{n}"' for n in names), narrowed=objects_sql(), elsewhere=elsewhere_sql()
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        row = cursor.fetchone()
    if row is None:
        return None
    start = 1 + extra
    user = User.from_db("default", names, row[start : start + len(names)])
    return row[1:start], user, Rights(*row[-4:])


@lru_cache(maxsize=512)
def _rights(roles: str) -> tuple[dict[str, dict[str, str]], frozenset[str]]:
    """Grants and classes of the roles that this JSON holds."""
    held = json.loads(roles)
    classes = frozenset(c for _grants, cs in held for c in cs) | {"public"}
    return merged([*(g for g, _classes in held), EVERYBODY]), classes


def merged(grants: Iterable[Mapping]) -> dict[str, dict[str, str]]:
    """The union of several roles' grants; where two grant the same verb the wider scope wins.

    Within one role the more exact line counts (``sales.deal`` before ``*``, ``view`` before ``*``); a second role can
    only add to what the first one gives.
    """
    roles = [g for g in grants if g]
    out: dict[str, dict[str, str]] = {}
    for label in sorted({label for role in roles for label in role}):
        verbs = {verb for role in roles for where in (label, "*") for verb in role.get(where, ())} | {"*"}
        for verb in verbs:
            scope = max((_said(role, label, verb) for role in roles), key=width)
            if scope:
                out.setdefault(label, {})[verb] = scope
    return out


def _said(role: Mapping, label: str, verb: str) -> str:
    """The scope that one role gives; the empty string when none."""
    for where in (label, "*"):
        verbs = role.get(where)
        if verbs:
            scope = verbs.get(verb) or verbs.get("*")
            if scope:
                return scope
    return ""


def width(scope: str | None) -> int:
    """How wide a scope is, for comparing: nothing, own, team, a surface's own scope, all."""
    return WIDTH.get(scope, 3) if scope else 0


def build(
    user: User,
    rights: Rights,
    *,
    kind: str = "user",
    id: uuid.UUID | None = None,
    limits: tuple[str, ...] | None = None,
    session_key: str = "",
) -> Actor:
    """The actor of a user from what the query brought."""
    grants, classes = _rights(rights.roles)
    return Actor(
        kind=kind,
        id=id or user.pk,
        label=user.name,
        user_id=user.pk,
        department_id=user.department_id,
        departments=tuple(uuid.UUID(d) for d in rights.departments),
        grants=grants,
        classes=ALL_CLASSES if user.is_owner else classes,
        superuser=user.is_owner,
        limits=limits,
        narrowed=frozenset(rights.narrowed),
        elsewhere=frozenset(rights.elsewhere),
        user=user,
        session_key=session_key,
        language=user.language,
    )


def actor_of(
    user: User | uuid.UUID, *, kind: str = "user", id: uuid.UUID | None = None, limits: tuple[str, ...] | None = None
) -> Actor:
    """The actor that a user is, by their roles as they stand now. One query. Raises User.DoesNotExist.

    It does not ask whether the user may still sign in: ask ``actor.user.is_active`` where that matters.
    """
    found = person_of("SELECT %s::uuid AS user_id", [getattr(user, "pk", user)], extra=0)
    if found is None:
        raise User.DoesNotExist(f"There is no user {user}.")
    _extra, fresh, rights = found
    return build(fresh, rights, kind=kind, id=id, limits=limits)


def job_actor(job) -> Actor:
    """Whom a job acts for: the person who queued it, with the rights they have now. Raises NotAllowed when they may not act."""
    found = person_of("SELECT %s::uuid AS user_id", [job.user_id], extra=0)
    if found is None or not found[1].is_active:
        raise NotAllowed(
            _(
                "{name} can't sign in any more, so this was not done. Start it again yourself if it is still wanted."
            ).format(name=job.actor_label or _("Who started this"))
        )
    _extra, user, rights = found
    limits = None if job.limits is None else tuple(job.limits)
    return as_of_now(build(user, rights, limits=limits).as_job(job.pk))  # jobs are long
