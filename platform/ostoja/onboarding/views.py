"""The pages at an installation's own address: sign-up with its live check, the first page of a private installation."""

from __future__ import annotations

from urllib.parse import urlsplit

from csp.decorators import csp_update
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import get_language
from django.views.decorators.http import require_GET, require_http_methods

from ostoja.access.limits import address_of
from ostoja.kernel.errors import NotFound, OstojaError

from . import blueprints, private, signup

# A browser asks form-action again for the address that the answer to a form leads to: here, the new tenant's host.
TENANTS = f"{'https' if settings.USE_HTTPS else 'http'}://*.{settings.BASE_DOMAIN}{'' if settings.USE_HTTPS else ':*'}"
FORM = "ostoja/signup/form.html"


@csp_update({"form-action": ["'self'", TENANTS]})
@require_http_methods(["GET", "HEAD", "POST"])
def start(request: HttpRequest) -> HttpResponse:
    """``/``: a company signs up; in a private installation the one company is set up."""
    if private.is_private():
        return _form(request, private.SetUpForm, private.set_up)
    if not signup.is_open():
        return render(request, FORM, {"closed": True})
    return _form(request, signup.SignUpForm, signup.sign_up)


def _form(request: HttpRequest, form_class, act) -> HttpResponse:
    if request.method != "POST":
        code = request.GET.get("code", "")[:40]
        return _shown(request, form_class(initial={"language": get_language(), "code": code}))
    form = form_class(request.POST)
    try:
        done = act(form, address_of(request))
    except signup.NotBuilt as error:
        return HttpResponseRedirect(f"/building/{error.watch}")
    except OstojaError as error:
        return _refused(request, form, error)
    return HttpResponseRedirect(_from_here(done.url))


def _refused(request: HttpRequest, form, error: OstojaError) -> HttpResponse:
    """The form as it came, with the sentences where they belong."""
    if form.is_valid():  # it was not the form that refused
        for name, sentences in (getattr(error, "fields", None) or {"": [error.message]}).items():
            for sentence in sentences:
                form.add_error(name if name in form.fields else None, sentence)
    response = _shown(request, form, error.status)
    if retry_after := getattr(error, "retry_after", None):
        response["Retry-After"] = str(retry_after)
    return response


def _shown(request: HttpRequest, form, status: int = 200) -> HttpResponse:
    chosen = form["blueprint"].value() or blueprints.names()[0]
    language = get_language() or "en"
    choices = [
        {
            "value": b.code,
            "label": b.title(language),
            "words": b.words(language),
            "icon": b.icon,
            "checked": b.code == chosen,
        }
        for b in map(blueprints.get, blueprints.names())
    ]
    context = {
        "form": form,
        "blueprints": choices,
        "base_domain": settings.BASE_DOMAIN,
        "private": private.is_private(),
    }
    return render(request, FORM, context, status=status)


@require_GET
def address(request: HttpRequest) -> HttpResponse:
    """``/address?slug=…``: whether an address is free, while somebody types it."""
    try:
        answer = signup.check_name(request.GET.get("slug", "")[:80], address_of(request))
    except OstojaError as error:
        answer = signup.Answer("", free=False, sentence=error.message)
    context = {
        "free": answer.free,
        "address": f"{answer.address}.{settings.BASE_DOMAIN}",
        "errors": [answer.sentence] if answer.sentence else [],
    }
    return render(request, "ostoja/signup/address.html", context)


@require_GET
def building(request: HttpRequest, watch: str) -> HttpResponse:
    """``/building/<secret>``: a tenant that could not be finished at once; the page goes there when it is."""
    try:
        now = signup.progress(watch)
    except NotFound as error:
        return render(request, "ostoja/signup/building.html", {"failed": error.message}, status=404)
    if not now.url:
        return render(request, "ostoja/signup/building.html", {"progress_url": request.path})
    url = _from_here(now.url)
    if request.headers.get("HX-Request"):
        return HttpResponse(headers={"HX-Redirect": url})
    return HttpResponseRedirect(url)


@require_GET
def not_yet(request: HttpRequest, token: str) -> HttpResponse:
    """``/welcome/<token>`` on the platform's side: this process does not know yet that the one tenant is there."""
    if not private.is_private():
        raise Http404
    response = render(request, "ostoja/signup/building.html", {"progress_url": request.path})
    response["Refresh"] = "1"
    return response


def _from_here(url: str) -> str:
    """Where the browser goes; in a private installation it stays at the host by which it came, whichever that was."""
    return urlsplit(url).path if private.is_private() else url
