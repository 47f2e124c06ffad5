"""Coming into the frames of the premises: a person signs in there in a window of their own, and their browser gets a second key.

A frame inside a page of the cloud is a third party to the browser, so the usual cookie (SameSite=Lax) does not go with it. The
second key is a cookie of ``/frame/`` alone that does (SameSite=None; Secure), hangs on the person's session and ends with it.
It is not partitioned (CHIPS): a cookie that is set in the window would be invisible in the frame then. Browsers that keep
third parties' cookies back give it to the frame after a click (``requestStorageAccess``).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.access import sessions
from ostoja.access.actor_of import build, person_of
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed
from ostoja.kernel.ids import parse_uuid

COOKIE = "__Secure-ostoja-frame" if settings.USE_HTTPS else "ostoja-frame"
PATH = "/frame/"

FIND = """
SELECT s.user_id, s.id FROM access_session s JOIN access_user su ON su.id = s.user_id
WHERE s.id = %s AND s.payload ->> 'frame' = %s AND s.expires_at > %s AND su.is_active
"""


def give(request: HttpRequest, response: HttpResponse) -> HttpResponse:
    """Let the frames of this browser act as the person who is signed in here."""
    key = secrets.token_urlsafe(32)
    request.session["frame"] = sessions.digest_of(key)
    response.set_cookie(
        COOKIE, f"{request.actor.session_key}.{key}", max_age=int(sessions.LONGEST.total_seconds()), path=PATH, secure=True,
        httponly=True, samesite="None",
    )  # fmt: skip
    return response


def who(request: HttpRequest) -> Actor | None:
    """The person in this frame: by the usual session where the browser sends it, else by the frame's own key."""
    actor = request.actor
    if actor is not None and actor.user is not None:
        return None if request.bearer else actor
    session, _dot, key = request.COOKIES.get(COOKIE, "").partition(".")
    session_id = parse_uuid(session)
    if session_id is None or not key or len(key) > 100:
        return None
    found = person_of(FIND, [session_id, sessions.digest_of(key), timezone.now()], extra=1)
    if found is None:
        return None
    _row, user, rights = found
    return build(user, rights, session_key=str(session_id))


def seal(request: HttpRequest, actor: Actor) -> str:
    """The mark that a frame's form brings back, of this person's session alone."""
    key = f"frame:{settings.SECRET_KEY}".encode()
    return hmac.new(key, f"{request.tenant.schema_name}:{actor.session_key}".encode(), hashlib.sha256).hexdigest()


def check(request: HttpRequest, actor: Actor) -> None:
    """Raise NotAllowed unless this change was sent by a page of this very site to the person whom it was made for."""
    own = f"{request.scheme}://{request.get_host()}"
    if request.headers.get("Origin") != own or not hmac.compare_digest(
        request.POST.get("seal", ""), seal(request, actor)
    ):
        raise NotAllowed(_("This form is too old, or comes from elsewhere. Open it again."), code="seal")
