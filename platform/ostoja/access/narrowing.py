"""What is out of somebody's sight whatever their roles say: rooms above declare it here, and the policy asks it with every question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from django.db.models import Q

from ostoja.kernel.actors import Actor
from ostoja.kernel.registry import Entry

NONE = "'{}'::text[]"
AT_ANY_MOMENT = "*"  # among the objects: here records may begin to be hidden while somebody works


@dataclass(frozen=True)
class Narrowing:
    """One reason. ``objects`` is the SQL of an array of labels: the objects of which it hides anything in the open tenant, read by
    the query that makes an actor, and AT_ANY_MOMENT where it may begin to. ``condition`` answers from (actor, entry) which
    records are left; None when all are.
    """

    objects: str
    condition: Callable[[Actor, Entry], Q | None]


_declared: list[Narrowing] = []


def narrow(objects: str, condition: Callable[[Actor, Entry], Q | None]) -> None:
    """Declare a reason for which records are out of people's sight."""
    _declared.append(Narrowing(objects, condition))


def objects_sql() -> str:
    """The SQL of all objects of which anything is out of anybody's sight in the open tenant."""
    return " || ".join(f"coalesce(({one.objects})::text[], {NONE})" for one in _declared) or NONE


def concerns(actor: Actor) -> bool:
    """Whether anything may be out of this actor's sight. Owners and the installation itself see everything."""
    return not actor.superuser and (actor.narrowed is None or bool(actor.narrowed))


def as_of_now(actor: Actor) -> Actor:
    """The actor as they are asked about before something is written: of what was hidden since they came, too."""
    return replace(actor, narrowed=None) if concerns(actor) else actor


def in_sight(actor: Actor, entry: Entry) -> Q | None:
    """The condition on records of an object that are in this actor's sight; None when all are."""
    if not concerns(actor):
        return None
    found = [q for one in _declared if (q := one.condition(actor, entry)) is not None]
    return Q(*found) if found else None
