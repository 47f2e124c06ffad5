"""Sessions of signed-in browsers: an opaque 256-bit key in a cookie, of which the tenant keeps only the SHA-256.

There is no session before somebody has signed in, so none can be planted; each sign-in makes a new key.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, MutableMapping
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db.models import QuerySet
from django.middleware.csrf import rotate_token
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound
from ostoja.kernel.ids import parse_uuid

from .actor_of import build, person_of
from .limits import address_of
from .models import Session, User

IDLE = timedelta(days=7)  # unused for so long, it ends
LONGEST = timedelta(days=30)  # used or not, it ends
SEEN_EVERY = timedelta(minutes=5)  # how exactly "last seen" is kept

FIND = """
SELECT s.user_id, s.id, s.created_at, s.seen_at FROM access_session s JOIN access_user su ON su.id = s.user_id
WHERE s.key_digest = %s AND s.expires_at > %s AND su.is_active
"""


def digest_of(key: str) -> str:
    """What is kept of a secret key. A key has 256 random bits; a slow hash would add nothing."""
    return hashlib.sha256(key.encode()).hexdigest()


class SessionData(MutableMapping):
    """``request.session``: what a page keeps for the next one (JSON values).

    Read from the database when it is first looked at, written back when it changed. Without a signed-in person it
    lives as long as the request: nothing is stored for strangers.
    """

    def __init__(self, session_id=None):
        self.id = session_id
        self.modified = False
        self._values: dict[str, Any] | None = None if session_id else {}

    @property
    def values_now(self) -> dict[str, Any]:
        """The values, loaded once."""
        if self._values is None:
            payload = Session.objects.filter(pk=self.id).values_list("payload", flat=True).first()
            self._values = payload or {}
        return self._values

    def __getitem__(self, name: str) -> Any:
        return self.values_now[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.values_now[name] = value
        self.modified = True

    def __delitem__(self, name: str) -> None:
        del self.values_now[name]
        self.modified = True

    def __iter__(self) -> Iterator[str]:
        return iter(self.values_now)

    def __len__(self) -> int:
        return len(self.values_now)

    def save(self) -> None:
        """Write what changed; nothing when nothing did or nobody is signed in."""
        if self.modified and self.id is not None:
            Session.objects.filter(pk=self.id).update(payload=self.values_now)
        self.modified = False


def cookie_key(request) -> str:
    """The session key that the browser sent; the empty string for none, and for two (one of them would be planted)."""
    name = settings.SESSION_COOKIE_NAME
    key = request.COOKIES.get(name, "")
    if not key or len(key) > 100:
        return ""
    sent = [pair.partition("=")[0].strip() for pair in request.META.get("HTTP_COOKIE", "").split(";")]
    return "" if sent.count(name) > 1 else key


def find(key: str) -> tuple[Actor, SessionData, bool] | None:
    """The actor and the session of a key in the open tenant, and whether its cookie must be renewed. One query.

    None for a key that is unknown, has ended, or whose user may no longer sign in: all the same to the caller.
    """
    now = timezone.now()
    found = person_of(FIND, [digest_of(key), now], extra=3)
    if found is None:
        return None
    (session_id, created_at, seen_at), user, rights = found
    renewed = now - seen_at >= SEEN_EVERY
    if renewed:
        Session.objects.filter(pk=session_id).update(seen_at=now, expires_at=min(now + IDLE, created_at + LONGEST))
    return build(user, rights, session_key=str(session_id)), SessionData(session_id), renewed


def start(request, user: User) -> Session:
    """Sign ``user`` in on this browser: a new key, the old session of the browser ended, the cookie set with the answer.

    Who calls this has made sure that it is the user: by password, or by a link that works once.
    """
    now = timezone.now()
    old = cookie_key(request)
    if old:
        Session.objects.filter(key_digest=digest_of(old)).delete()
    key = secrets.token_urlsafe(32)
    session = Session.objects.create(
        key_digest=digest_of(key),
        user=user,
        seen_at=now,
        expires_at=now + IDLE,
        agent=request.META.get("HTTP_USER_AGENT", "")[:300],
        address=address_of(request)[:64],
    )
    request.session = SessionData(session.pk)
    request.session_cookie = key
    rotate_token(request)
    return session


def end(request) -> None:
    """Sign this browser out: the session is gone, so is the cookie."""
    key = cookie_key(request)
    if key:
        Session.objects.filter(key_digest=digest_of(key)).delete()
    request.session = SessionData()
    request.session_cookie = ""


def mine(actor: Actor) -> QuerySet[Session]:
    """The actor's own sessions that have not ended, the last used first. The present one has ``str(pk) == actor.session_key``."""
    return Session.objects.filter(user_id=actor.user_id, expires_at__gt=timezone.now()).order_by("-seen_at")


def end_one(actor: Actor, session_id) -> None:
    """End one of the actor's own sessions. Raises NotFound when it is none of theirs."""
    if not Session.objects.filter(pk=parse_uuid(session_id), user_id=actor.user_id).delete()[0]:
        raise NotFound(_("There is no such session."))


def end_others(actor: Actor) -> int:
    """End all of the actor's sessions but the present one; returns how many."""
    others = Session.objects.filter(user_id=actor.user_id)
    if actor.session_key:
        others = others.exclude(pk=actor.session_key)
    return others.delete()[0]


def end_all(user_id) -> int:
    """End every session of a user; returns how many."""
    return Session.objects.filter(user_id=user_id).delete()[0]


def sweep() -> int:
    """Delete sessions of the open tenant that have ended; returns how many."""
    return Session.objects.filter(expires_at__lte=timezone.now()).delete()[0]


def set_cookie(response, key: str) -> None:
    """Give the browser its key, or take it away when ``key`` is empty."""
    if key:
        response.set_cookie(
            settings.SESSION_COOKIE_NAME,
            key,
            max_age=int(IDLE.total_seconds()),
            secure=settings.SESSION_COOKIE_SECURE,
            httponly=True,
            samesite=settings.SESSION_COOKIE_SAMESITE,
        )
    else:
        response.delete_cookie(settings.SESSION_COOKIE_NAME, samesite=settings.SESSION_COOKIE_SAMESITE)
        if settings.SESSION_COOKIE_SECURE:
            response.cookies[settings.SESSION_COOKIE_NAME]["secure"] = True
