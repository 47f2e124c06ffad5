"""The people of a company: who is here with which roles, inviting, joining, switching off, handing over."""

from __future__ import annotations

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ostoja.access import people as engine
from ostoja.access.links import LinkRefused
from ostoja.access.models import Department, Invitation, User
from ostoja.access.policy import explain, find, may, must, visible
from ostoja.kernel import registry
from ostoja.kernel.errors import OstojaError, Refused

from .. import places, says
from ..forms import blame
from ..inside import inside
from .account import JoinForm
from .settings import frame

TONES = ("violet", "blue", "green", "amber")
HERE = "/settings/people"


@require_GET
@inside
def directory(request: HttpRequest) -> HttpResponse:
    """Everybody, and who was invited."""
    actor = request.actor
    must(actor, registry.of(User), "view")
    context = {
        "people": [_shown(actor, one) for one in engine.directory(actor)],
        "invite_url": f"{HERE}/invite" if may(actor, Invitation, "add") else "",
    }
    return render(request, "ostoja/settings/people.html", frame(request, HERE) | context)


def _shown(actor, one: engine.Person) -> dict:
    roles = [{"label": r.name, "tone": TONES[(r.level or 1) % len(TONES)]} for r in one.roles]
    if one.user is not None and one.user.is_owner:
        roles.insert(0, {"label": _("Owner"), "tone": "violet"})
    shown = {
        "name": one.name or one.email, "email": one.email, "roles": roles, "department": one.department, "seen": one.seen_at,
        "id": (one.user or one.invitation).pk, "url": places.record_of(registry.of(User), one.user.pk) if one.user else "",
        "invited": _("Invited") if one.invitation is not None else "", "off": "", "acts": [],
    }  # fmt: skip
    if one.user is not None:
        shown["off"] = "" if one.user.is_active else _("Switched off")
        shown["acts"] = _acts_of_user(actor, one.user)
    elif one.invitation is not None and may(actor, Invitation, "add"):
        base = f"{HERE}/invitations/{one.invitation.pk}"
        shown["acts"] = [
            {"label": _("Send the invitation again"), "icon": "send", "url": f"{base}/resend", "post": True},
            {"label": _("Take it back"), "icon": "x", "url": f"{base}/withdraw", "post": True, "danger": True},
        ]
    return shown


def _acts_of_user(actor, user: User) -> list[dict]:
    acts = []
    entry = registry.of(User)
    if explain(actor, user, "change"):
        acts.append({"label": _("Roles"), "icon": "shield", "url": f"{HERE}/{user.pk}/roles"})
        acts.append(
            {
                "label": _("Edit"),
                "icon": "pencil",
                "url": places.record_of(entry, user.pk, "edit", {"next": HERE}),
                "link": True,
            }
        )
    for name, active in (("deactivate", True), ("activate", False)):
        spec = entry.verbs.get(name)
        if (
            spec is None
            or user.is_active is not active
            or user.is_owner
            or user.pk == actor.user_id
            or not may(actor, entry, name)
        ):
            continue
        acts.append({
            "label": spec.label, "icon": spec.icon, "url": places.record_of(entry, user.pk, f"do/{name}", {"next": HERE}), "post": True,
            "danger": spec.tone == "danger", "confirm": spec.confirm,
        })  # fmt: skip
    if (
        actor.superuser
        and actor.user is not None
        and actor.user.is_owner
        and user.is_active
        and user.pk != actor.user_id
    ):
        if not user.is_owner:
            acts.append({"label": _("Make them an owner too"), "icon": "shield", "url": f"{HERE}/{user.pk}/co-owner"})
        acts.append({"label": _("Make them the owner"), "icon": "key-round", "url": f"{HERE}/{user.pk}/owner"})
    return acts


class InviteForm(forms.Form):
    """Whom to invite, with which roles."""

    email = forms.EmailField(label=gettext_lazy("E-mail"), max_length=254)
    name = forms.CharField(label=gettext_lazy("Name"), max_length=150, required=False)
    role_codes = forms.MultipleChoiceField(label=gettext_lazy("Roles"), widget=forms.CheckboxSelectMultiple)
    department = forms.ModelChoiceField(
        label=gettext_lazy("Department"), queryset=None, required=False, empty_label="–"
    )

    def __init__(self, data=None, *, actor):
        super().__init__(data)
        self.fields["role_codes"].choices = [(r.code, r.name) for r in engine.givable(actor)]
        self.fields["department"].queryset = visible(actor, Department).order_by("name")


@inside
def invite(request: HttpRequest) -> HttpResponse:
    """Ask a colleague to join."""
    must(request.actor, registry.of(Invitation), "add")
    form = InviteForm(request.POST or None, actor=request.actor)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            given = form.cleaned_data
            try:
                engine.invite(
                    request.actor,
                    given["email"],
                    given["role_codes"],
                    name=given["name"],
                    department=given["department"],
                )
                return _done(_("{email} gets a letter with a link.").format(email=given["email"]))
            except OstojaError as error:
                blame(form, error if isinstance(error, Refused) else Refused(error.message))
    return _dialog(
        request,
        form,
        _("Invite a colleague"),
        _("They get a link that works for seven days."),
        _("Invite"),
        "user-plus",
        status,
    )


class RolesForm(forms.Form):
    """The roles of a person."""

    role_codes = forms.MultipleChoiceField(
        label=gettext_lazy("Roles"), widget=forms.CheckboxSelectMultiple, required=False
    )

    def __init__(self, data=None, *, actor, user: User):
        held = list(user.roles.order_by("level", "name"))
        super().__init__(data, initial={"role_codes": [r.code for r in held]})
        known = {r.code: r.name for r in [*engine.givable(actor), *held]}
        self.fields["role_codes"].choices = list(known.items())


@inside
def roles(request: HttpRequest, pk) -> HttpResponse:
    """Give somebody roles."""
    user = engine.user_of(request.actor, pk)
    form = RolesForm(request.POST if request.method == "POST" else None, actor=request.actor, user=user)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                engine.set_roles(request.actor, user, form.cleaned_data["role_codes"])
                return _done(_("The roles of {name} are changed.").format(name=user.name))
            except OstojaError as error:
                blame(form, error if isinstance(error, Refused) else Refused(error.message))
    words = _("Somebody with several roles has the widest of their rights.")
    return _dialog(request, form, _("Roles of {name}").format(name=user.name), words, _("Save"), "shield", status)


class OwnerForm(forms.Form):
    """The owner's own password."""

    password = forms.CharField(
        label=gettext_lazy("Your password"),
        max_length=1000,
        strip=False,
        widget=forms.PasswordInput({"autocomplete": "current-password"}),
    )


@inside
def owner(request: HttpRequest, pk) -> HttpResponse:
    """Hand the ownership over."""
    user = engine.user_of(request.actor, pk)
    words = _("You stay here with your roles, but only {name} decides about everything then.").format(name=user.name)
    return _with_password(
        request, user, engine.transfer_ownership, _("{name} is the owner now."),
        (_("Make {name} the owner").format(name=user.name), words, _("Hand over"), "key-round"), "danger",
    )  # fmt: skip


@inside
def co_owner(request: HttpRequest, pk) -> HttpResponse:
    """Make somebody an owner beside oneself."""
    user = engine.user_of(request.actor, pk)
    words = _("You both decide about everything then; some decisions need two owners.")
    return _with_password(
        request, user, engine.share_ownership, _("{name} is an owner as well now."),
        (_("Make {name} an owner too").format(name=user.name), words, _("Make an owner"), "shield"), "primary",
    )  # fmt: skip


def _with_password(request, user: User, do, done: str, shown: tuple, variant: str) -> HttpResponse:
    """What the owner's own password is asked for: ``do`` it, and say what is ``done``."""
    form = OwnerForm(request.POST or None)
    status = 200
    if request.method == "POST":
        status = 422
        if form.is_valid():
            try:
                do(request.actor, user, form.cleaned_data["password"])
                return _done(done.format(name=user.name))
            except OstojaError as error:
                blame(form, error if isinstance(error, Refused) else Refused(error.message))
    return _dialog(request, form, *shown, status, variant)


def _dialog(request, form, title, words, submit, icon, status=200, variant="primary") -> HttpResponse:
    context = {
        "form": form,
        "title": title,
        "words": words,
        "submit": submit,
        "action": request.path,
        "icon_name": icon,
        "variant": variant,
    }
    return render(request, "ostoja/records/verb_dialog.html", context, status=status)


def _done(text: str) -> HttpResponse:
    return says.say(HttpResponse(status=204, headers={"HX-Redirect": HERE}), text)


@require_POST
@inside
def resend(request: HttpRequest, pk) -> HttpResponse:
    """Send an invitation again."""
    engine.resend(request.actor, find(request.actor, Invitation, pk))
    return says.say(HttpResponseRedirect(HERE), _("The letter is on its way again."))


@require_POST
@inside
def withdraw(request: HttpRequest, pk) -> HttpResponse:
    """Take an invitation back."""
    engine.withdraw(request.actor, find(request.actor, Invitation, pk))
    return says.say(HttpResponseRedirect(HERE), _("The invitation is taken back."))


@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    """The link of an invitation: name, password, and in."""
    form = JoinForm(request.POST or None)
    context = {
        "heading": _("Join {company}").format(company=request.tenant.name),
        "submit": _("Join"),
        "sign_in_url": "/sign-in",
    }
    status = 200
    try:
        invitation = engine.invitation_of(token)
        if not form.is_bound:
            form.initial["name"] = invitation.name
        context["words"] = _("{who} asks you to work together. Choose a password and you are in as {email}.").format(
            who=invitation.invited_by.name, email=invitation.email
        )
        if request.method == "POST":
            status = 422
            if form.is_valid():
                given = form.cleaned_data
                engine.accept(request, token, given["name"], given["password"], language=get_language() or "")
                return says.say(HttpResponseRedirect("/"), _("Welcome, {name}!").format(name=given["name"]))
    except LinkRefused as error:
        return render(
            request, "ostoja/access/new_password.html", context | {"refused": error.message}, status=error.status
        )
    except OstojaError as error:
        status = error.status
        blame(form, error if isinstance(error, Refused) else Refused(error.message))
    return render(request, "ostoja/access/new_password.html", context | {"form": form}, status=status)
