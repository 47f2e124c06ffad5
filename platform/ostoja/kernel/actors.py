"""An actor is whoever makes a change: a person, a token, a job, a site or the installation itself; never None."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property

EVERYTHING = "*"


@dataclass(frozen=True)
class Grant:
    """What a role says of one kind of record: verb -> scope (``own``, ``team``, ``all``, or a scope of its surface)."""

    verbs: dict[str, str]


@dataclass(eq=False)
class Actor:
    """Who acts, and what the tenant's roles let them do.

    ``user_id`` is the person on whose behalf it is done (None for the system); ``departments`` are the departments
    whose records count as the team's; ``grants`` maps a model label to {verb: scope}; ``classes`` are the data classes
    that may be seen; ``limits`` is None or the scopes of the API token that narrows the actor; ``narrowed`` are the objects
    of which some records may be out of their sight whatever the roles say (None: nobody asked, so it may be any); ``elsewhere``
    are those that are decided at another place: nothing of them is added, changed or deleted here.
    """

    kind: str
    id: uuid.UUID | None
    label: str
    user_id: uuid.UUID | None = None
    department_id: uuid.UUID | None = None
    departments: tuple[uuid.UUID, ...] = ()
    grants: dict[str, dict[str, str]] = field(default_factory=dict)
    classes: frozenset[str] = frozenset()
    superuser: bool = False
    limits: tuple[str, ...] | None = None
    narrowed: frozenset[str] | None = None
    elsewhere: frozenset[str] = frozenset()
    user: object | None = None
    session_key: str = ""
    language: str = "en"

    @cached_property
    def key(self) -> str:
        """``kind:id``, as the journal keeps it."""
        return f"{self.kind}:{self.id or ''}"

    @classmethod
    def system(cls, label: str = "Ostoja") -> Actor:
        """The installation itself: provisioning, migrations, schedules."""
        return cls(kind="system", id=None, label=label, superuser=True, classes=ALL_CLASSES)

    def as_job(self, job_id: uuid.UUID) -> Actor:
        """The same rights, exercised by a background job; the journal names both."""
        return Actor(
            kind="job",
            id=job_id,
            label=self.label,
            user_id=self.user_id,
            department_id=self.department_id,
            departments=self.departments,
            grants=self.grants,
            classes=self.classes,
            superuser=self.superuser,
            limits=self.limits,
            narrowed=self.narrowed,
            elsewhere=self.elsewhere,
            user=self.user,
            language=self.language,
        )


ALL_CLASSES = frozenset({"public", "internal", "confidential", "restricted"})

_current: ContextVar[Actor | None] = ContextVar("ostoja_actor", default=None)


def current_actor() -> Actor | None:
    """The actor of this request or job, or None outside of both."""
    return _current.get()


@contextmanager
def acting(actor: Actor):
    """Make ``actor`` the one whom this request or job acts for."""
    token = _current.set(actor)
    try:
        yield actor
    finally:
        _current.reset(token)
