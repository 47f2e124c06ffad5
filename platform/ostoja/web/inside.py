"""What every page behind the sign-in shares: somebody is signed in, the object exists for them, refusals become pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import NoReturn
from urllib.parse import quote, urlsplit

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.translation import gettext as _

from ostoja.access.policy import ELSEWHERE, may
from ostoja.kernel import registry
from ostoja.kernel.errors import NotFound, OstojaError, SignInNeeded

from . import errors, places

View = Callable[..., HttpResponse]


def is_htmx(request: HttpRequest) -> bool:
    """Whether htmx asked, for a part of a page."""
    return request.headers.get("HX-Request") == "true"


def inside(view: View) -> View:
    """A view for signed-in people; every refusal becomes a page (or, for htmx, a sentence in a header).

    A program's token is nobody here: what it was narrowed to is kept at the API, and only people manage what is theirs.
    """

    @wraps(view)
    def answer(request: HttpRequest, *args, **kwargs) -> HttpResponse:
        try:
            if request.actor is None or request.actor.user is None or request.bearer:
                raise SignInNeeded(_("Sign in first."))
            return view(request, *args, **kwargs)
        except OstojaError as error:
            return refused(request, error)

    return answer


def of_object(view: View) -> View:
    """A view of one kind of object: gets its entry instead of the slug. What may not be seen does not exist."""

    @wraps(view)
    def answer(request: HttpRequest, slug: str, *args, **kwargs) -> HttpResponse:
        entry = registry.by_slug(slug)
        if entry is None or not may(request.actor, entry, "view"):
            raise NotFound(_("There is nothing at this address, or you may not see it."))
        return view(request, entry, *args, **kwargs)

    return inside(answer)


def refused(request: HttpRequest, error: OstojaError) -> HttpResponse:
    """The answer to a refusal: to signing in, a sentence in a header, or a page."""
    if isinstance(error, SignInNeeded):
        if is_htmx(request):
            return HttpResponse(status=401)
        came_from = urlsplit(request.headers.get("Referer", ""))
        is_page = request.method == "GET" or (came_from.netloc == request.get_host() and came_from.path == request.path)
        back = request.get_full_path() if is_page else ""
        return HttpResponseRedirect(places.with_query("/sign-in", {"next": "" if back == "/" else back}))
    if is_htmx(request) or "Ostoja-Board" in request.headers:
        return sentence(error.message, error.status)
    heading = _("Not from here") if error.code == ELSEWHERE else ""
    return errors.page(request, error.status, heading=heading, words=error.message)


def sentence(text: object, status: int) -> HttpResponse:
    """An answer that only says why, for htmx."""
    return HttpResponse(status=status, headers={"Ostoja-Says": quote(str(text)[:600])})


def absent() -> NoReturn:
    """There is no such page."""
    raise Http404
