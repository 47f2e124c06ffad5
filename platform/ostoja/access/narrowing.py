"""What is out of somebody's sight, or not theirs to decide, whatever their roles say: rooms above declare it, the policy asks it."""

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


@dataclass(frozen=True)
class Elsewhere:
    """Where objects are decided at another place. ``objects`` answers the SQL of an array of their labels in the open tenant, read
    by the query that makes an actor; ``why`` the sentence for whoever would change one of them here.
    """

    objects: Callable[[], str]
    why: Callable[[Entry], str]


_declared: list[Narrowing] = []
_elsewhere: list[Elsewhere] = []


def narrow(objects: str, condition: Callable[[Actor, Entry], Q | None]) -> None:
    """Declare a reason for which records are out of people's sight."""
    _declared.append(Narrowing(objects, condition))


def keep_elsewhere(objects: Callable[[], str], why: Callable[[Entry], str]) -> None:
    """Declare objects of which nothing can be added, changed or deleted here."""
    _elsewhere.append(Elsewhere(objects, why))


def elsewhere_sql() -> str:
    """The SQL of all objects that are decided elsewhere than in the open tenant's database."""
    return " || ".join(f"coalesce(({one.objects()})::text[], {NONE})" for one in _elsewhere) or NONE


def why_elsewhere(entry: Entry) -> str:
    """The sentence for whoever would change here what is decided elsewhere."""
    return next((said for one in _elsewhere if (said := one.why(entry))), "")


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
