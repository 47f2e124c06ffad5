"""Coming in: signing in and out, the forgotten password, invitations, the first steps after sign-up; the language."""

from __future__ import annotations

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import check_for_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from ostoja.access import signin
from ostoja.access.links import LinkRefused
from ostoja.access.policy import may
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import OstojaError, Refused

from .. import errors, places, says
from ..additions import said_at_sign_in
from ..forms import blame
from ..inside import inside
from . import start

LARGE = {"data-size": "lg"}
YEAR = 60 * 60 * 24 * 365


class SignInForm(forms.Form):
    """E-mail and password."""

    email = forms.CharField(
        label=gettext_lazy("E-mail"),
        max_length=254,
        widget=forms.EmailInput({**LARGE, "autocomplete": "username", "autofocus": True}),
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput({**LARGE, "autocomplete": "current-password"}),
    )


class ForgottenForm(forms.Form):
    """The address whose password was forgotten."""

    email = forms.EmailField(
        label=gettext_lazy("E-mail"),
        max_length=254,
        widget=forms.EmailInput({**LARGE, "autocomplete": "username", "autofocus": True}),
    )


class NewPasswordForm(forms.Form):
    """A new password."""

    new = forms.CharField(
        label=gettext_lazy("New password"),
        max_length=1000,
        strip=False,
        help_text=gettext_lazy("At least 10 characters; a few unusual words work well."),
        widget=forms.PasswordInput({**LARGE, "autocomplete": "new-password", "autofocus": True}),
    )


class JoinForm(forms.Form):
    """Name and password of somebody who was invited."""

    name = forms.CharField(
        label=gettext_lazy("Your name"), max_length=150, widget=forms.TextInput({**LARGE, "autocomplete": "name"})
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=1000,
        strip=False,
        help_text=gettext_lazy("At least 10 characters; a few unusual words work well."),
        widget=forms.PasswordInput({**LARGE, "autocomplete": "new-password"}),
    )


@inside
def home(request: HttpRequest) -> HttpResponse:
    """``/``: first steps where they are ahead, else the first list that this person may see."""
    if start.is_wanted(request):
        return HttpResponseRedirect("/start")
    for entry in registry.entries():
        if entry.surface.group in ("crm", "erp") and entry.parent is None and may(request.actor, entry, "view"):
            return HttpResponseRedirect(places.list_of(entry))
    return HttpResponseRedirect("/settings/profile")


@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Sign in by e-mail and password."""
    after = places.come_back(request, "/")
    if request.actor is not None and request.method != "POST":
        return HttpResponseRedirect(after)
    form = SignInForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                signin.sign_in(request, form.cleaned_data["email"], form.cleaned_data["password"])
                return HttpResponseRedirect(after)
            except OstojaError as error:
                status = error.status
                blame(form, Refused(error.message))
    context = {
        "form": form, "forgotten_url": "/forgotten", "next": places.come_back(request, ""), "said": said_at_sign_in(request)
    }  # fmt: skip
    return render(request, "ostoja/access/sign_in.html", context, status=status)


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Sign out."""
    signin.sign_out(request)
    return HttpResponseRedirect("/sign-in")


@require_http_methods(["GET", "HEAD", "POST"])
def forgotten(request: HttpRequest) -> HttpResponse:
    """Ask for a link to set a new password; the answer is the same for everybody."""
    form = ForgottenForm(request.POST or None)
    status, sent = 200, False
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                signin.forgot(request, form.cleaned_data["email"])
                status, sent = 200, True
            except OstojaError as error:
                status = error.status
                blame(form, Refused(error.message))
    context = {"form": form, "sent": sent, "sign_in_url": "/sign-in"}
    return render(request, "ostoja/access/forgotten.html", context, status=status)


@require_http_methods(["GET", "HEAD", "POST"])
def new_password(request: HttpRequest, token: str) -> HttpResponse:
    """Set a new password by the link of a mail."""
    context = {"heading": _("A new password"), "submit": _("Save and sign in"), "sign_in_url": "/sign-in"}
    form = NewPasswordForm(request.POST or None)
    status = 200
    try:
        user = signin.user_to_reset(token)
        context["words"] = _("For {email}. All other devices are signed out.").format(email=user.email)
        if request.method == "POST":
            status = 422
            if form.is_valid():
                signin.reset_password(request, token, form.cleaned_data["new"])
                return says.say(HttpResponseRedirect("/"), _("The new password counts from now on."))
    except LinkRefused as error:
        return render(
            request, "ostoja/access/new_password.html", context | {"refused": error.message}, status=error.status
        )
    except OstojaError as error:
        status = error.status
        blame(form, error if isinstance(error, Refused) else Refused(error.message))
    return render(request, "ostoja/access/new_password.html", context | {"form": form}, status=status)


def confirm(request: HttpRequest, token: str) -> HttpResponse:
    """The link that confirms an e-mail address."""
    try:
        signin.confirm_email(token)
    except OstojaError as error:
        return errors.page(request, error.status, heading=_("This link no longer works"), words=error.message)
    return says.say(HttpResponseRedirect("/"), _("Thank you, the address is confirmed."))


@require_POST
@inside
def confirm_again(request: HttpRequest) -> HttpResponse:
    """Send the letter with the confirmation link once more."""
    response = HttpResponseRedirect("/")
    try:
        signin.send_confirmation(request.actor.user)
    except OstojaError as error:
        return says.say(response, error.message, "amber")
    return says.say(response, _("The letter is on its way again."))


def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """Carries the founder of a company from the sign-up to its own host, signed in."""
    try:
        signin.sign_in_by_link(request, token)
    except OstojaError as error:
        if request.actor is not None:
            return HttpResponseRedirect("/")
        return says.say(HttpResponseRedirect("/sign-in"), error.message, "amber")
    return says.say(HttpResponseRedirect("/"), _("Welcome! Your company is ready."))


@require_POST
def language(request: HttpRequest) -> HttpResponse:
    """Choose the language: of the person who is signed in, else of this browser."""
    wanted = request.POST.get("language", "")
    response = HttpResponseRedirect(places.come_back(request, "/"))
    if wanted not in dict(settings.LANGUAGES) or not check_for_language(wanted):
        return response
    actor = getattr(request, "actor", None)
    if actor is not None and actor.user is not None and not request.bearer:
        with changing(actor, "change"):
            actor.user.language = wanted
            actor.user.save(update_fields=["language", "updated_at"])
    response.set_cookie(
        settings.LANGUAGE_COOKIE_NAME,
        wanted,
        max_age=YEAR,
        samesite="Lax",
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
    )
    return response
