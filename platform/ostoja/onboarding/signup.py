"""Signing up: a company gives its name, address, e-mail, password, industry and language, and works in its own tenant.

The tenant is made in the state ``building``, with what it is to become kept beside it; building it (blueprint, first
user, opening) is one transaction, so that it is either all done or not begun, and may be tried again by anybody.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from django import forms
from django.conf import settings
from django.core.validators import validate_email
from django.db import models, transaction
from django.utils import timezone, translation
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ostoja.access import links, passwords, signin
from ostoja.access.actor_of import actor_of
from ostoja.access.limits import Limit, network_of
from ostoja.access.models import Role, User, UserRole
from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotAllowed, NotFound, OstojaError, Refused
from ostoja.tenancy import hosts, names, provisioning
from ostoja.tenancy.context import platform_context, tenant_context
from ostoja.tenancy.models import Tenant

from . import applying, blueprints
from .models import SignUp

log = logging.getLogger(__name__)

MANY = 1000 if settings.DEVELOPMENT else 1  # a developer's own machine signs up for tests and benchmarks
FROM_NETWORK = Limit("sign-up-network", 5 * MANY, 60 * 60)
IN_ALL = Limit("sign-up-all", 300 * MANY, 60 * 60)
LOOKS_FROM_NETWORK = Limit("address-network", 120 * MANY, 10 * 60)
OURS = frozenset({"demo"})  # addresses that are the installation's own, though a tenant may have them
FORGET_AFTER = timedelta(days=7)  # what never opened: its password hash goes


class NotBuilt(OstojaError):
    """The tenant was made but could not be finished yet; it is tried again by itself, and by ``resume``."""

    code = "not_built"
    status = 503

    def __init__(self, tenant: Tenant, watch: str = ""):
        super().__init__(
            _("“{name}” could not be finished yet. Nothing is lost: it is tried again by itself.").format(
                name=tenant.name
            )
        )
        self.tenant = tenant
        self.watch = watch


@dataclass(frozen=True)
class SignedUp:
    """A tenant that is open, and the address that signs its first user in, once and within a minute."""

    tenant: Tenant
    user: User
    url: str


@dataclass(frozen=True)
class Answer:
    """What the live check says of an address: free, or the sentence why not; ``address`` as it would be kept."""

    address: str
    free: bool
    sentence: str = ""


class SignUpForm(forms.Form):
    """What a company is asked. ``website`` is a trap that people don't see: who fills it in is a program."""

    company = forms.CharField(label=gettext_lazy("Company"), max_length=200)
    slug = forms.CharField(label=gettext_lazy("Address"), max_length=80)
    email = forms.EmailField(label=gettext_lazy("Your e-mail"), max_length=254)
    password = forms.CharField(
        label=gettext_lazy("Password"), max_length=passwords.LONGEST, strip=False, widget=forms.PasswordInput
    )
    blueprint = forms.ChoiceField(label=gettext_lazy("Industry"))
    language = forms.ChoiceField(label=gettext_lazy("Language"), choices=settings.LANGUAGES)
    website = forms.CharField(required=False, max_length=200)

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        language = translation.get_language() or "en"
        self.fields["blueprint"].choices = [
            (b.code, b.title(language)) for b in map(blueprints.get, blueprints.names())
        ]
        for name, attributes in ATTRIBUTES.items():
            if name in self.fields:
                self.fields[name].widget.attrs |= attributes

    def clean_company(self) -> str:
        """One line, at least two characters."""
        company = " ".join(self.cleaned_data["company"].split())
        if len(company) < 2:
            raise forms.ValidationError(_("Write the name of your company."))
        return company

    def clean_slug(self) -> str:
        """The address, if a new tenant may have it."""
        try:
            return _address(self.cleaned_data["slug"])
        except Refused as error:
            raise forms.ValidationError(error.message) from error

    def clean_email(self) -> str:
        """Kept in lower case, as it is compared when somebody signs in."""
        return self.cleaned_data["email"].strip().lower()

    def clean(self) -> dict:
        """The password is judged with the company and the person in mind."""
        data = super().clean()
        if "password" in data:
            about = (data.get("company", ""), data.get("email", ""), data.get("slug", ""))
            for problem in passwords.problems_of(data["password"], about):
                self.add_error("password", problem)
        return data


ATTRIBUTES = {
    "company": {"autocomplete": "organization"},
    "slug": {
        "autocomplete": "off",
        "autocapitalize": "none",
        "spellcheck": "false",
        "hx-get": "/address",
        "hx-trigger": "input changed delay:250ms",
        "hx-target": "#slug-answer",
    },
    "email": {"autocomplete": "email"},
    "password": {"autocomplete": "new-password"},
    "website": {"autocomplete": "off", "tabindex": "-1"},
}


def check_name(text: str, ip: str) -> Answer:
    """Whether an address is free, while somebody types it. Taken, reserved and too similar sound alike.

    Raises TooMany when one network asks too often, NotNow while the counters can't be reached.
    """
    with platform_context():
        LOOKS_FROM_NETWORK.take(network_of(ip))
    try:
        return Answer(_address(text), free=True)
    except Refused as error:
        return Answer(names.tidy(text)[:80], free=False, sentence=error.message)


def _address(text: str) -> str:
    slug = names.checked(text)
    if slug in OURS:
        sentence = _("This address is taken, or too much like one that is. Choose another.")
        raise Refused(sentence, fields={"slug": [sentence]}, code="address_refused")
    return slug


def is_open() -> bool:
    """Whether companies may sign up here by themselves."""
    return settings.INSTALLATION.signup == "open" and settings.INSTALLATION.kind != "private"


def sign_up(data: Mapping | SignUpForm, ip: str) -> SignedUp:
    """Make a company's tenant and answer where its first user goes, signed in by the link.

    ``data`` is what the form asks for, or the form with it. Raises NotAllowed where sign-up is closed, Refused by field,
    TooMany, NotNow, and NotBuilt when the tenant is there but could not be finished.
    """
    if not is_open():
        raise NotAllowed(_("This installation takes no new companies. Ask whoever runs it."), code="signup_closed")
    given = checked(data if isinstance(data, SignUpForm) else SignUpForm(data))
    with platform_context():
        FROM_NETWORK.take(network_of(ip))
        IN_ALL.take()
    return made(given)


def checked(form: forms.Form) -> dict:
    """What the form accepts. Raises Refused by field."""
    if not form.is_valid():
        fields = {("" if name == "__all__" else name): [str(s) for s in ss] for name, ss in form.errors.items()}
        raise Refused(next(iter(fields.values()))[0], fields=fields)
    if form.cleaned_data.get("website"):
        log.info("A sign-up was refused: it filled in the field that people don't see.")
        raise Refused(_("This could not be accepted. Reload the page and try again."), code="refused")
    return form.cleaned_data


def made(given: Mapping) -> SignedUp:
    """Begin a tenant with what the form accepted, build it, and send its first user the link that confirms the address."""
    watch = secrets.token_urlsafe(24)
    tenant = begin(
        given["company"],
        given["slug"],
        email=given["email"],
        password=given["password"],
        blueprint=given["blueprint"],
        language=given["language"],
        watch=watch,
    )
    try:
        return build(tenant)
    except NotBuilt as error:
        error.watch = watch
        raise


def begin(
    company: str,
    slug: str,
    *,
    email: str,
    password: str,
    blueprint: str,
    language: str,
    person: str = "",
    currency: str = "",
    samples: bool = False,
    watch: str = "",
) -> Tenant:
    """Make a tenant in the state ``building``, with what building it needs. Raises Refused; nothing is left over then."""
    plan = blueprints.get(blueprint)
    encoded = passwords.hashed(password)
    with platform_context(), transaction.atomic():
        tenant = provisioning.create(
            company,
            slug,
            blueprint=plan.code,
            language=language,
            timezone=plan.timezone,
            currency=currency or plan.currency(language),
        )
        SignUp.objects.create(
            tenant=tenant,
            email=email.strip().lower(),
            person=person or person_of(email),
            password=encoded,
            samples=samples,
            watch=digest_of(watch) if watch else "",
        )
    return tenant


def build(tenant: Tenant) -> SignedUp:
    """Finish a tenant that is ``building``: blueprint, first user, opening, in one transaction.

    Several may try at once; one does it. Raises NotBuilt, and the reason is kept with the tenant, when a step fails.
    """
    try:
        with platform_context(), transaction.atomic():
            record = SignUp.objects.select_for_update().select_related("tenant").get(tenant=tenant)
            fresh = record.tenant
            with tenant_context(fresh), translation.override(fresh.language):
                user = _furnished(record) if fresh.state == Tenant.State.BUILDING else _first_user(record)
            if fresh.state == Tenant.State.BUILDING:
                SignUp.objects.filter(pk=record.pk).update(password="", opened_at=timezone.now())
                provisioning.open_up(fresh)
    except SignUp.DoesNotExist:
        raise NotFound(_("Nothing is known of how “{name}” was to be built.").format(name=tenant.name)) from None
    except Exception as error:
        log.exception("Building %s failed.", tenant.slug)
        _failed(tenant, error)
        raise NotBuilt(tenant) from error
    finally:
        hosts.forget()
    return SignedUp(fresh, user, _welcomed(fresh, user))


def _furnished(record: SignUp) -> User:
    """Blueprint and first user, in the open tenant."""
    system = Actor.system()
    plan = blueprints.get(record.tenant.blueprint)
    with changing(system, "sign_up"):
        placed = applying.apply(plan, system, record.tenant.language)
        user = _first_user(record) or User(email=record.email, name=record.person, is_owner=True)
        if user._state.adding:
            user.language, user.timezone = record.tenant.language, record.tenant.timezone
            user.password = record.password
            user.save(force_insert=True)
            role = placed.get(("roles", plan.owner_role))
            if isinstance(role, Role):
                UserRole.objects.create(user=user, role=role)
        if record.samples:
            applying.add_samples(plan, actor_of(user), record.tenant.language)
    return user


def _first_user(record: SignUp) -> User | None:
    return User.objects.filter(email=record.email).first()


def _failed(tenant: Tenant, error: Exception) -> None:
    """Keep the reason where the operator sees it."""
    reason = error.message if isinstance(error, OstojaError) else f"{type(error).__name__}: {error}"
    with platform_context():
        SignUp.objects.filter(tenant=tenant).update(attempts=models.F("attempts") + 1, tried_at=timezone.now())
    try:
        provisioning.fail(tenant, reason)
    except Refused:
        log.info("%s was opened by somebody else meanwhile.", tenant.slug)


def _welcomed(tenant: Tenant, user: User) -> str:
    """The address that signs the first user in; their mail goes out by the way."""
    with tenant_context(tenant), translation.override(tenant.language):
        if user.email_confirmed_at is None:
            try:
                signin.send_confirmation(user)
            except Exception:  # the person can ask for another mail; the tenant is theirs already
                log.exception("The mail that confirms the address of %s's owner could not be queued.", tenant.slug)
        return links.url_of("welcome", signin.welcome_token(user))


def resume(tenant: Tenant) -> SignedUp | None:
    """Go on with a tenant that stopped while it was built, or open one that was suspended. Raises NotBuilt, Refused."""
    if tenant.state == Tenant.State.BUILDING:
        return build(tenant)
    provisioning.resume(tenant)
    return None


@dataclass(frozen=True)
class Progress:
    """How far a sign-up is: open at ``url``, or still building, with the reason if it stopped."""

    tenant: Tenant
    url: str = ""
    reason: str = ""


def progress(watch: str) -> Progress:
    """How far the sign-up is whose browser holds this secret. Raises NotFound."""
    with platform_context():
        record = SignUp.objects.select_related("tenant").filter(watch=digest_of(watch)).first() if watch else None
        if record is None or record.created_at < timezone.now() - timedelta(hours=1):
            raise NotFound(
                _("There is no such sign-up, or it was long ago. Open the address of your company to sign in.")
            )
    tenant = record.tenant
    if tenant.state != Tenant.State.OPEN:
        return Progress(tenant, reason=tenant.reason)
    with platform_context():
        first = SignUp.objects.filter(pk=record.pk, watch=record.watch).update(watch="")
    if not first:
        raise NotFound(_("There is no such sign-up, or it was long ago. Open the address of your company to sign in."))
    with tenant_context(tenant):
        return Progress(tenant, url=links.url_of("welcome", signin.welcome_token(_first_user(record))))


def resume_stopped() -> int:
    """Try again what stopped, later each time; answers how many opened."""
    now = timezone.now()
    opened = 0
    with platform_context():
        waiting = list(SignUp.objects.select_related("tenant").filter(tenant__state=Tenant.State.BUILDING))
    for record in waiting:
        last = record.tried_at or record.created_at
        if last > now - timedelta(seconds=30 * 2 ** min(record.attempts, 8)):
            continue
        try:
            build(record.tenant)
            opened += 1
        except NotBuilt:
            continue
    return opened


def forget_stopped() -> int:
    """Delete the password hashes of tenants that never opened; resuming one then ends with a link for a new password."""
    with platform_context():
        old = SignUp.objects.filter(created_at__lt=timezone.now() - FORGET_AFTER).exclude(password="")
        return old.update(password="", watch="")


def digest_of(secret: str) -> str:
    """What is kept of a secret of 192 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def check_person(email: str, language: str, currency: str = "") -> None:
    """Raise Refused by field unless address, language and currency are ones, for those who sign up without the form."""
    errors: dict[str, list[str]] = {}
    try:
        validate_email(email)
    except forms.ValidationError as error:
        errors["email"] = list(error.messages)
    if language not in blueprints.languages():
        errors["language"] = [_("Ostoja speaks {languages}.").format(languages=", ".join(blueprints.languages()))]
    if currency and not re.fullmatch(r"[A-Za-z]{3}", currency):
        errors["currency"] = [_("A currency is three letters, such as EUR.")]
    if errors:
        raise Refused(next(iter(errors.values()))[0], fields=errors)


def person_of(email: str) -> str:
    """A first guess at a person's name, which they can change: ``anna.nowak@…`` is Anna Nowak."""
    words = re.split(r"[._+-]+", email.partition("@")[0])
    name = " ".join(word.capitalize() for word in words if word.isalpha())
    return (name or email.partition("@")[0])[:150]
