"""Who wrote something, as another site is told it: the key of a person, and of a program whose it is; never a name."""

from __future__ import annotations

import uuid
from collections.abc import Iterable

from ostoja.access.models import ApiToken
from ostoja.jobs.models import Job
from ostoja.kernel.ids import parse_uuid

PERSON, PROGRAM = "user", "program"
WEIGHTS = {"user": 2, "token": 1, "job": 1}


def after(before: str, actor: str, op: str) -> str:
    """Who is said to have written a record after another entry of the journal: who made or deleted it; of those who changed it
    the last person, or the last program where there is none."""
    weight = WEIGHTS.get(actor.partition(":")[0], 0)
    if op in "ID":
        return actor if weight else ""
    return actor if weight and weight >= WEIGHTS.get(before.partition(":")[0], 0) else before


def told(actors: Iterable[str]) -> dict[str, str]:
    """{key of an actor: what another site is told}. Tokens and jobs are known here alone: of them it is told whose they are."""
    found: dict[str, str] = {}
    strangers: dict[str, dict[uuid.UUID, str]] = {"token": {}, "job": {}}
    for actor in actors:
        kind, _colon, id = actor.partition(":")
        if kind == "user":
            found[actor] = actor
        elif kind in strangers and (key := parse_uuid(id)) is not None:
            strangers[kind][key] = actor
    if keys := strangers["token"]:
        for key, user in ApiToken.objects.filter(pk__in=keys).values_list("pk", "user_id"):
            found[keys[key]] = f"{PROGRAM}:{user}"
    if keys := strangers["job"]:
        rows = Job.objects.filter(pk__in=keys, user_id__isnull=False).values_list("pk", "user_id", "limits")
        for key, user, limits in rows:
            found[keys[key]] = f"{PERSON if limits is None else PROGRAM}:{user}"
    return found
