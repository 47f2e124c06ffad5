"""API tokens: keys for programs that act as their user, narrowed to scopes, until they expire or are revoked.

``ost_`` and 40 characters; only the SHA-256 is kept. What a token may do is what its user may do *now* and its scopes
include. A scope is ``object:verb`` (``sales.deal:view``) with ``*`` for either.
"""

from __future__ import annotations

import hashlib
import json
import logging
import secrets
import string
import time
from collections.abc import Iterable
from datetime import datetime, timedelta

from django.db import DatabaseError, connection
from django.db.models import F, QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.kernel.ids import parse_uuid, uuid7
from ostoja.tenancy.context import current_tenant

from . import remembered
from .actor_of import actor_of, build, person_of
from .models import ApiToken, User
from .policy import editing_verbs, scope_of

log = logging.getLogger(__name__)

PREFIX = "ost_"
LENGTH = 40
ALPHABET = string.ascii_letters + string.digits
LONGEST = timedelta(days=3 * 365)
MOST_SCOPES = 200

FIND = """
SELECT t.user_id, t.id, t.scopes::text, t.expires_at FROM access_apitoken t JOIN access_user tu ON tu.id = t.user_id
WHERE t.digest = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > %s) AND tu.is_active
"""
USED = """
INSERT INTO access_tokenuse (id, token_id, at) VALUES (%s, %s, %s)
ON CONFLICT (token_id) DO UPDATE SET at = excluded.at WHERE access_tokenuse.at < excluded.at - interval '1 minute'
"""


def looks_like_one(secret: str) -> bool:
    """Whether a text has the form of a token, so that nonsense costs no query."""
    return len(secret) == len(PREFIX) + LENGTH and secret.startswith(PREFIX) and secret.isascii()


def issue(
    actor: Actor, user: User, name: str, scopes: Iterable[str], expires_at: datetime | None = None
) -> tuple[ApiToken, str]:
    """Make a token of ``user`` and return it with its secret, which is shown this once and never again.

    One makes tokens for oneself; only an owner (or the installation) for others. The scopes must be of objects and verbs
    that exist and that the user may do; ``*`` stands for all that they may do, ``sales.deal`` for all verbs of a deal. ``expires_at`` is an aware time, None for a
    token that does not expire. Raises NotAllowed, Refused by field (``name``, ``scopes``, ``expires_at``).
    """
    if actor.limits is not None:
        raise NotAllowed(_("A token can't make tokens. Sign in and make it in your settings."))
    if user.pk != actor.user_id and not actor.superuser:
        raise NotAllowed(_("You can make tokens for yourself only."))
    theirs = actor if user.pk == actor.user_id else actor_of(user)
    name = str(name or "").strip()
    errors: dict[str, list[str]] = {}
    if not name or len(name) > 80:
        errors["name"] = [_("Give the token a name of at most 80 characters, so that you know it again.")]
    chosen = check_scopes(theirs, scopes, errors)
    now = timezone.now()
    if expires_at is not None and not now < expires_at <= now + LONGEST:
        errors["expires_at"] = [_("Choose a day between tomorrow and three years from now.")]
    if not (theirs.user or user).is_active:
        errors["user"] = [_("This person can't sign in, so a token of theirs would do nothing.")]
    if errors:
        raise Refused(next(iter(errors.values()))[0], fields=errors)
    secret = PREFIX + "".join(secrets.choice(ALPHABET) for _n in range(LENGTH))
    with changing(actor, "issue"):
        token = ApiToken.objects.create(
            user=user,
            name=name,
            prefix=secret[:10],
            digest=_digest(secret),
            scopes=list(chosen),
            expires_at=expires_at,
        )
    return token, secret


def check_scopes(actor: Actor, scopes: Iterable[str], errors: dict[str, list[str]] | None = None) -> tuple[str, ...]:
    """The scopes, each once, if objects and verbs exist and the actor may do them.

    What is wrong goes into ``errors["scopes"]``, or raises Refused when ``errors`` is None.
    """
    wrong: list[str] = []
    written = [str(s).strip() for s in ([scopes] if isinstance(scopes, str) else scopes)]
    chosen = tuple(dict.fromkeys(s if ":" in s or not s else f"{s}:*" for s in written))
    if not chosen:
        wrong.append(_("Choose at least one scope, for example “*:view”."))
    if len(chosen) > MOST_SCOPES:
        wrong.append(_("At most {number} scopes fit into one token.").format(number=MOST_SCOPES))
    for scope in chosen[:MOST_SCOPES]:
        reason = _wrong_scope(actor, scope)
        if reason:
            wrong.append(reason)
    if wrong:
        if errors is None:
            raise Refused(wrong[0], fields={"scopes": wrong})
        errors["scopes"] = wrong
    return chosen


def _wrong_scope(actor: Actor, scope: str) -> str | None:
    label, colon, verb = scope.partition(":")
    if not colon or not label or not verb:
        return _("“{scope}” is no scope; write object:verb, for example “sales.deal:view”.").format(scope=scope[:80])
    if label == "*":
        known = {v for entry in registry.entries() for v in editing_verbs(entry)}
        if verb != "*" and verb not in known:
            return _("No object has a verb “{verb}”.").format(verb=verb[:40])
        return None
    entry = registry.get(label)
    if entry is None:
        return _("There is no object “{label}”.").format(label=label[:80])
    if verb == "*":
        return None
    if verb not in editing_verbs(entry):
        return _("“{label}” has no verb “{verb}”.").format(label=label, verb=verb[:40])
    if scope_of(actor, entry, verb) is None:
        return _("Your role does not include “{scope}”, so a token can't.").format(scope=scope)
    return None


def find(secret: str) -> Actor | None:
    """The actor of a token of the open tenant; None when it is unknown, revoked, expired, or its user may not sign in.

    The answer is remembered for two seconds in this process; revoking a token here, or changing rights here, ends that
    at once.
    """
    if not looks_like_one(secret):
        return None
    digest = _digest(secret)
    key = (current_tenant().schema_name, digest)
    actor = remembered.get(key)
    if actor is not None:
        return actor
    generation = remembered.generation()
    now = timezone.now()
    found = person_of(FIND, [digest, now], extra=3)
    if found is None:
        return None
    (token_id, scopes, expires_at), user, rights = found
    actor = build(user, rights, kind="token", id=token_id, limits=tuple(json.loads(scopes)))
    seconds = (expires_at - now).total_seconds() if expires_at else None
    remembered.put(key, actor, generation, seconds)
    _note_use(token_id, now)
    return actor


_noted: dict[object, float] = {}


def _note_use(token_id, now: datetime) -> None:
    """Keep when a token was last used, to the minute. That it can't be kept stops nobody from working."""
    moment = time.monotonic()
    if moment - _noted.get(token_id, -1e9) < 60:
        return
    if len(_noted) > 10_000:
        _noted.clear()
    _noted[token_id] = moment
    try:
        with connection.cursor() as cursor:
            cursor.execute(USED, [uuid7(), token_id, now])
    except DatabaseError as error:
        log.warning("The use of a token could not be kept: %s", error)


def mine(actor: Actor) -> QuerySet[ApiToken]:
    """The actor's own tokens, the newest first, with ``last_used_at``; revoked and expired ones too (``state`` tells)."""
    return ApiToken.objects.filter(user_id=actor.user_id).annotate(last_used_at=F("use__at")).order_by("-created_at")


def revoke(actor: Actor, token: ApiToken | object) -> ApiToken:
    """End a token, at once. One's own, or as owner anybody's. Raises NotFound."""
    key = parse_uuid(getattr(token, "pk", token))
    with changing(actor, "revoke"):
        rows = ApiToken.objects.select_for_update().filter(pk=key)
        if not actor.superuser:
            rows = rows.filter(user_id=actor.user_id)
        found = rows.first()
        if found is None:
            raise NotFound(_("There is no such token."))
        if found.revoked_at is None:
            found.revoke()
            found.save(update_fields=["revoked_at", "updated_at"])
            found.settled(actor, "revoke", frozenset({"revoked_at"}))
    return found


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
