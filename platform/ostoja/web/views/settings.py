"""Settings: the company, its people and roles; one's own profile, devices and API tokens."""

from __future__ import annotations

import datetime as dt
import re
from zoneinfo import available_timezones

from django import forms
from django.conf import settings as installation
from django.db.models import Count
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst, slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from ostoja import gate
from ostoja.access import roles as matrix_of
from ostoja.access import sessions as devices_of
from ostoja.access import signin
from ostoja.access import tokens as tokens_of
from ostoja.access.models import Role, User
from ostoja.access.policy import editing_verbs, explain, find, may, must, visible
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.kernel.record import EDITING
from ostoja.tenancy import provisioning

from .. import additions, places, says
from ..columns import label_of
from ..forms import blame, currencies
from ..inside import inside


def frame(request: HttpRequest, here: str) -> dict:
    """The navigation of the settings: what concerns the company where the role includes it, then one's own."""
    actor = request.actor
    user, role = registry.get("access.user"), registry.get("access.role")
    items = []
    if may(actor, user, "change"):
        items.append(("/settings/company", "building-2", _("Company")))
    if may(actor, user, "view"):
        items.append(("/settings/people", "users", _("People")))
    if may(actor, role, "view"):
        items.append(("/settings/roles", "shield", _("Roles")))
    for entry in registry.entries():
        if (
            entry.surface.group == "settings"
            and entry not in (user, role)
            and entry.parent is None
            and may(actor, entry, "view")
        ):
            items.append((places.list_of(entry), entry.surface.icon, label_of(entry)))
    items += [(p.url, p.icon, p.label) for p in additions.settings_of(actor)]
    items += [
        ("/settings/profile", "user", _("Your profile")),
        ("/settings/devices", "monitor", _("Signed-in devices")),
        ("/settings/tokens", "key-round", _("API tokens")),
    ]
    return {
        "settings_nav": [{"url": u, "icon": i, "label": capfirst(text), "current": u == here} for u, i, text in items]
    }


@inside
def start(request: HttpRequest) -> HttpResponse:
    """``/settings``: the first page that concerns this person."""
    return HttpResponseRedirect(frame(request, "")["settings_nav"][0]["url"])


# --- the company ----------------------------------------------------------------------------------------------------------


class CompanyForm(forms.Form):
    """What a company says of itself."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=200)
    language = forms.ChoiceField(
        label=gettext_lazy("Language"),
        choices=installation.LANGUAGES,
        help_text=gettext_lazy("Of mails and of people who join; everybody can choose their own."),
    )
    timezone = forms.ChoiceField(
        label=gettext_lazy("Time zone"), choices=[(z, z) for z in sorted(available_timezones())]
    )
    currency = forms.ChoiceField(
        label=gettext_lazy("Currency"),
        help_text=gettext_lazy("Of new records; what is there keeps the currency that it has."),
    )

    def __init__(self, data=None, *, tenant):
        super().__init__(data, initial={n: getattr(tenant, n) for n in ("name", "language", "timezone", "currency")})
        self.fields["currency"].choices = currencies(tenant.currency)


@inside
def company(request: HttpRequest) -> HttpResponse:
    """What the installation knows of the company; its owner can change it."""
    must(request.actor, registry.get("access.user"), "change")
    tenant, own = request.tenant, request.actor.user.is_owner
    form, status = CompanyForm(request.POST or None, tenant=tenant), 200
    if request.method == "POST":
        if not own:
            raise NotAllowed(_("Only the owner changes what the company says of itself."))
        status = 422
        if form.is_valid():
            try:
                provisioning.describe(tenant, **form.cleaned_data, by=request.actor.label)
                return says.say(HttpResponseRedirect("/settings/company"), _("The company is saved."))
            except Refused as error:
                blame(form, error)
    facts = [
        (_("Address"), request.get_host()),
        (_("Industry"), capfirst(tenant.blueprint)),
        (_("Plan"), capfirst(tenant.plan)),
    ]
    if not own:
        facts = [
            (_("Name"), tenant.name),
            *facts,
            (_("Language"), dict(installation.LANGUAGES).get(tenant.language, tenant.language)),
            (_("Time zone"), tenant.timezone),
            (_("Currency"), tenant.currency),
        ]
    context = {
        "heading": _("Company"),
        "words": _("Your company as it stands on documents and in the navigation."),
        "facts": facts,
        "sections": [{"url": "/settings/company", "form": form, "submit": _("Save")}] if own else [],
    }
    return render(request, "ostoja/settings/form.html", frame(request, "/settings/company") | context, status=status)


# --- roles ----------------------------------------------------------------------------------------------------------------


class RoleForm(forms.Form):
    """Name and level of a role."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=80)
    level = forms.IntegerField(label=gettext_lazy("Level"), min_value=1, max_value=99, initial=5)


@inside
def roles(request: HttpRequest, pk=None) -> HttpResponse:
    """The roles, and the matrix of one of them."""
    must(request.actor, registry.get("access.role"), "view")
    rows = list(visible(request.actor, Role).annotate(n=Count("holders")).order_by("level", "name"))
    role = next((r for r in rows if pk and str(r.pk) == str(pk)), None) if pk else next(iter(rows), None)
    if pk and role is None:
        raise NotFound(_("There is no such role."))
    form, status = RoleForm(request.POST or None, initial={"name": role.name, "level": role.level} if role else {}), 200
    grants, classes = (role.grants, role.classes) if role else ({}, [])
    if request.method == "POST" and role is not None:
        grants, classes, status = matrix_of.grants_of(request.POST, role.grants), request.POST.getlist("classes"), 422
        if form.is_valid():
            data = form.cleaned_data | {"grants": grants, "classes": classes}
            version = request.POST.get("version", "")
            try:
                gate.perform(request.actor, role, "change", data, version=int(version) if version.isdigit() else None)
                return says.say(HttpResponseRedirect(f"/settings/roles/{role.pk}"), _("The role is saved."))
            except OstojaError as error:
                status = error.status
                blame(form, error if isinstance(error, Refused) else Refused(error.message))
    context = {
        "roles": [
            {"label": r.name, "holders": r.n, "url": f"/settings/roles/{r.pk}", "current": role and r.pk == role.pk}
            for r in rows
        ],
        "role": role,
        "form": form,
        "classes": [(name, label, name in classes) for name, label in matrix_of.class_choices()],
        "verbs": [matrix_of.verb_name(None, v) for v in EDITING],
        "matrix": matrix_of.matrix(grants),
        "can_save": role is not None and bool(explain(request.actor, role, "change")),
        "new_url": "/settings/roles/new" if may(request.actor, registry.get("access.role"), "add") else "",
        "delete_url": f"/settings/roles/{role.pk}/delete"
        if role is not None and not role.n and explain(request.actor, role, "delete")
        else "",
    }
    return render(request, "ostoja/settings/roles.html", frame(request, "/settings/roles") | context, status=status)


@require_POST
@inside
def new_role(request: HttpRequest) -> HttpResponse:
    """Add a role without rights, to be filled in."""
    taken = set(visible(request.actor, Role).values_list("code", flat=True))
    name, number = _("New role"), 1
    code = slugify(name) or "role"
    while code in taken:
        number += 1
        code = f"{slugify(name) or 'role'}-{number}"
    role = gate.perform(
        request.actor, Role, "add", {"name": name if number == 1 else f"{name} {number}", "code": code, "level": 5}
    )
    return HttpResponseRedirect(f"/settings/roles/{role.pk}")


@require_POST
@inside
def delete_role(request: HttpRequest, pk) -> HttpResponse:
    """Delete a role that nobody holds."""
    role = find(request.actor, Role, pk)
    gate.perform(request.actor, role, "delete")
    return says.say(HttpResponseRedirect("/settings/roles"), _("“{thing}” is deleted.").format(thing=role.name))


# --- one's own ------------------------------------------------------------------------------------------------------------


class ProfileForm(forms.ModelForm):
    """Name, language and time zone."""

    timezone = forms.ChoiceField(
        label=gettext_lazy("Time zone"), choices=[(z, z) for z in sorted(available_timezones())]
    )

    class Meta:
        model = User
        fields = ("name", "language", "timezone")


class PasswordForm(forms.Form):
    """The present password and a new one."""

    present = forms.CharField(
        label=gettext_lazy("Present password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )
    new = forms.CharField(
        label=gettext_lazy("New password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "new-password"}),
        help_text=gettext_lazy("At least 10 characters; a few unusual words work well."),
    )


class EmailForm(forms.Form):
    """Another address, and the password to prove who asks."""

    email = forms.EmailField(label=gettext_lazy("New e-mail"), max_length=254)
    password = forms.CharField(
        label=gettext_lazy("Password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )


@inside
def profile(request: HttpRequest) -> HttpResponse:
    """Name, language, password and address of the person who looks."""
    user = User.objects.get(pk=request.actor.user_id)
    what = request.GET.get("save", "") if request.method == "POST" else ""
    own = ProfileForm(request.POST if what == "profile" else None, instance=user, prefix="own")
    password = PasswordForm(request.POST if what == "password" else None, prefix="password")
    email = EmailForm(request.POST if what == "email" else None, prefix="email")
    status = 422 if what else 200
    try:
        if what == "profile" and own.is_valid():
            with changing(request.actor, "change"):
                own.instance.save(update_fields=[*own.changed_data, "updated_at"])
            return says.say(HttpResponseRedirect("/settings/profile"), _("Your profile is saved."))
        if what == "password" and password.is_valid():
            signin.change_password(request.actor, password.cleaned_data["present"], password.cleaned_data["new"])
            return says.say(
                HttpResponseRedirect("/settings/profile"),
                _("The new password counts; all other devices are signed out."),
            )
        if what == "email" and email.is_valid():
            signin.change_email(request.actor, email.cleaned_data["password"], email.cleaned_data["email"])
            text = _("Open the link that was sent to {email}; then it counts.").format(
                email=email.cleaned_data["email"]
            )
            return says.say(HttpResponseRedirect("/settings/profile"), text, "blue")
    except OstojaError as error:
        status = error.status
        blame(
            {"profile": own, "password": password, "email": email}[what],
            error if isinstance(error, Refused) else Refused(error.message),
        )
    sections = [
        {"url": "/settings/profile?save=profile", "form": own, "submit": _("Save")},
        {
            "label": _("Password"),
            "url": "/settings/profile?save=password",
            "form": password,
            "submit": _("Change the password"),
        },
        {
            "label": _("E-mail: {email}").format(email=user.email),
            "url": "/settings/profile?save=email",
            "form": email,
            "submit": _("Change the address"),
        },
    ]
    context = {"heading": _("Your profile"), "sections": sections}
    return render(request, "ostoja/settings/form.html", frame(request, "/settings/profile") | context, status=status)


@require_GET
@inside
def devices(request: HttpRequest) -> HttpResponse:
    """Where this person is signed in."""
    shown = []
    for one in devices_of.mine(request.actor):
        current = str(one.pk) == request.actor.session_key
        phone = bool(re.search(r"Mobile|Android|iPhone|iPad", one.agent))
        shown.append(
            {
                "icon": "smartphone" if phone else "monitor",
                "said": browser_of(one.agent),
                "address": one.address or "–",
                "seen_at": one.seen_at,
                "current": _("This one") if current else "",
                "end_url": f"/settings/devices/{one.pk}/end",
            }
        )
    context = {"sessions": shown, "others": len(shown) > 1, "end_all_url": "/settings/devices/end"}
    return render(request, "ostoja/settings/sessions.html", frame(request, "/settings/devices") | context)


BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def browser_of(agent: str) -> str:
    """A browser and its system in words."""
    browser = next((name for mark, name in BROWSERS if mark in agent), _("Unknown browser"))
    system = next((name for mark, name in SYSTEMS if mark in agent), "")
    return _("{browser} on {system}").format(browser=browser, system=system) if system else browser


@require_POST
@inside
def end_device(request: HttpRequest, pk) -> HttpResponse:
    """Sign one device out."""
    devices_of.end_one(request.actor, pk)
    return says.say(HttpResponseRedirect("/settings/devices"), _("That device is signed out."))


@require_POST
@inside
def end_others(request: HttpRequest) -> HttpResponse:
    """Sign all other devices out."""
    devices_of.end_others(request.actor)
    return says.say(HttpResponseRedirect("/settings/devices"), _("All other devices are signed out."))


class TokenForm(forms.Form):
    """Name, scopes and last day of a token."""

    name = forms.CharField(label=gettext_lazy("What is it for?"), max_length=80)
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("It may"), help_text=gettext_lazy("Hold Ctrl to choose several. It never may more than you.")
    )
    days = forms.TypedChoiceField(
        label=gettext_lazy("Works for"),
        coerce=int,
        initial=90,
        choices=[
            (30, gettext_lazy("30 days")),
            (90, gettext_lazy("90 days")),
            (365, gettext_lazy("a year")),
            (0, gettext_lazy("ever")),
        ],
    )

    def __init__(self, data=None, *, actor):
        super().__init__(data)
        self.fields["scopes"].choices = scope_choices(actor)
        self.fields["scopes"].widget.attrs["size"] = 8


def scope_choices(actor) -> list:
    """The scopes that a token of this person may have."""
    made: list = [("*:*", _("Everything that I may")), ("*:view", _("See everything that I may see"))]
    for entry in registry.entries():
        if entry.parent is not None:
            continue
        options = [
            (f"{entry.label}:{v}", f"{label_of(entry)}: {matrix_of.verb_name(entry, v)}")
            for v in editing_verbs(entry)
            if may(actor, entry, v)
        ]
        if options:
            made.append((label_of(entry), options))
    return made


@require_GET
@inside
def tokens(request: HttpRequest) -> HttpResponse:
    """The API tokens of this person."""
    return _tokens(request)


def _tokens(request: HttpRequest, secret: str = "") -> HttpResponse:
    now = timezone.now()
    shown = [
        {
            "name": t.name,
            "prefix": t.prefix,
            "scopes": t.scopes,
            "last_used_at": t.last_used_at,
            "expires_at": t.expires_at,
            "revoked": _("Revoked") if t.revoked_at else "",
            "expired": _("Expired") if t.expires_at and t.expires_at < now else "",
            "revoke_url": "" if t.revoked_at else f"/settings/tokens/{t.pk}/revoke",
        }
        for t in tokens_of.mine(request.actor)
    ]
    context = {
        "tokens": shown,
        "secret": secret,
        "new_url": "/settings/tokens/new",
        "empty_heading": _("No tokens yet"),
        "empty_words": _("Make one for each program, so that you can end it without touching the others."),
    }
    return render(request, "ostoja/settings/tokens.html", frame(request, "/settings/tokens") | context)


@inside
def new_token(request: HttpRequest) -> HttpResponse:
    """Make a token; its secret is shown this once."""
    form = TokenForm(request.POST or None, actor=request.actor)
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        expires = timezone.now() + dt.timedelta(days=days) if days else None
        try:
            _token, secret = tokens_of.issue(
                request.actor, request.actor.user, form.cleaned_data["name"], form.cleaned_data["scopes"], expires
            )
            request.method = "GET"
            response = _tokens(request, secret)
            response["HX-Retarget"], response["HX-Reswap"], response["HX-Reselect"] = "#main", "outerHTML", "#main"
            response["HX-Push-Url"] = "/settings/tokens"
            return response
        except Refused as error:
            blame(form, error)
    return render(
        request,
        "ostoja/records/verb_dialog.html",
        {
            "form": form,
            "title": _("New token"),
            "words": _("Give it no more than the program needs."),
            "submit": _("Make the token"),
            "action": "/settings/tokens/new",
            "icon_name": "key-round",
        },
        status=422 if request.method == "POST" else 200,
    )


@require_POST
@inside
def revoke_token(request: HttpRequest, pk) -> HttpResponse:
    """End a token at once."""
    tokens_of.revoke(request.actor, pk)
    return says.say(HttpResponseRedirect("/settings/tokens"), _("The token is revoked."))
