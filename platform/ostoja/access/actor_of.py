"""Makes the actor of a user, a token or a job: one query that brings the person, the roles and the departments."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from django.db import connection

from ostoja.kernel.actors import ALL_CLASSES, Actor

from .models import User

ROLES = """
WITH RECURSIVE below(id) AS (
  SELECT department_id FROM access_user WHERE id = %s AND department_id IS NOT NULL
  UNION
  SELECT d.id FROM access_department d JOIN below b ON d.parent_id = b.id
)
SELECT
  (SELECT coalesce(jsonb_agg(jsonb_build_array(r.grants, r.classes)), '[]')
     FROM access_userrole ur JOIN access_role r ON r.id = ur.role_id WHERE ur.user_id = %s),
  (SELECT coalesce(array_agg(id::text), '{}') FROM below)
"""

WIDTH = {"own": 1, "team": 2, "all": 9}


def merged(grants: Iterable[dict]) -> dict[str, dict[str, str]]:
    """The union of several roles' grants; where two grant the same verb the wider scope wins."""
    out: dict[str, dict[str, str]] = {}
    for grant in grants:
        for label, verbs in grant.items():
            mine = out.setdefault(label, {})
            for verb, scope in verbs.items():
                if WIDTH.get(scope, 3) > WIDTH.get(mine.get(verb, ""), 0):
                    mine[verb] = scope
    return out


def actor_of(
    user: User, *, kind: str = "user", id: uuid.UUID | None = None, limits: tuple[str, ...] | None = None
) -> Actor:
    """The actor that a user is, by their roles as they stand now. One query."""
    import json

    with connection.cursor() as cursor:
        cursor.execute(ROLES, [user.pk, user.pk])
        rows, departments = cursor.fetchone()
    rows = json.loads(rows) if isinstance(rows, str) else rows
    classes = ALL_CLASSES if user.is_owner else frozenset(c for _grants, cs in rows for c in cs) | {"public"}
    return Actor(
        kind=kind,
        id=id or user.pk,
        label=user.name,
        user_id=user.pk,
        department_id=user.department_id,
        departments=tuple(uuid.UUID(d) for d in departments),
        grants=merged(g for g, _classes in rows),
        classes=classes,
        superuser=user.is_owner,
        limits=limits,
        user=user,
        language=user.language,
    )
