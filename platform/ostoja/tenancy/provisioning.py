"""The life of a tenant: made, opened, suspended, resumed, deleted into quarantine, restored, purged."""

from __future__ import annotations

import logging
from datetime import timedelta
from zoneinfo import available_timezones

from babel.numbers import is_currency
from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.kernel.errors import NotFound, Refused

from . import hosts, names, pool, release, template
from .context import platform_context
from .models import Domain, HeldName, Tenant

QUARANTINE = timedelta(days=30)
State = Tenant.State
log = logging.getLogger(__name__)


def create(
    name: str,
    slug: str,
    *,
    blueprint: str = "general",
    language: str = "en",
    timezone: str = "Europe/Warsaw",
    currency: str = "PLN",
    plan: str = "standard",
) -> Tenant:
    """Make a tenant in the state ``building``, with a schema from the pool and its host name.

    Raises Refused with the field at fault; nothing is left over then, and the schema is in the pool again.
    """
    from django.db import connections

    name = " ".join(str(name).split())
    if not 1 <= len(name) <= 200:
        sentence = _("Give the company a name of at most 200 characters.")
        raise Refused(sentence, fields={"name": [sentence]})
    slug = names.checked(slug)
    try:
        with platform_context(), transaction.atomic():
            if settings.INSTALLATION.kind == "private":
                if Tenant.objects.exclude(state=State.DELETED).exists():
                    raise Refused(_("This installation is private: it has its one tenant already."), code="one_tenant")
                Domain.objects.filter(domain=host_of(slug)).delete()  # of a deleted one
            tenant = Tenant.objects.create(
                name=name,
                slug=slug,
                schema_name=pool.claim(),
                release=release.fingerprint(template.postgres_major(connections["default"])),
                blueprint=blueprint,
                language=language,
                timezone=timezone,
                currency=currency,
                plan=plan,
            )
            Domain.objects.create(tenant=tenant, domain=host_of(slug), is_primary=True)
    except IntegrityError as error:
        sentence = _("This address is taken, or too much like one that is. Choose another.")
        raise Refused(sentence, fields={"slug": [sentence]}, code="address_refused") from error
    hosts.forget()
    return tenant


def host_of(slug: str) -> str:
    """The host name of an address in this installation; a private one is its base domain itself."""
    if settings.INSTALLATION.kind == "private":
        return settings.BASE_DOMAIN
    return f"{slug}.{settings.BASE_DOMAIN}"


def find(text: str) -> Tenant:
    """The tenant with this address, host name or schema name, deleted ones too. Raises NotFound."""
    wanted = names.tidy(text)
    with platform_context():
        found = (
            Tenant.objects.filter(slug=wanted).first()
            or Tenant.objects.filter(schema_name=wanted).first()
            or Tenant.objects.filter(domains__domain=wanted).first()
        )
    if found is None:
        raise NotFound(_("There is no tenant “{name}”.").format(name=text))
    return found


def describe(tenant: Tenant, *, name: str, language: str, timezone: str, currency: str, by: str) -> Tenant:
    """Change what a company says of itself; ``by`` is who did it, for the log. The address and the schema stay.

    Raises Refused naming the field at fault; nothing is changed then.
    """
    name = " ".join(str(name).split())
    wrong = {}
    if not 1 <= len(name) <= 200:
        wrong["name"] = [_("Give the company a name of at most 200 characters.")]
    if language not in dict(settings.LANGUAGES):
        wrong["language"] = [_("Choose one of the languages of this installation.")]
    if timezone not in available_timezones():
        wrong["timezone"] = [_("Choose a time zone by its name, such as Europe/Warsaw.")]
    if not is_currency(currency):
        wrong["currency"] = [_("Choose a currency by its three letters, such as EUR.")]
    if wrong:
        raise Refused(next(iter(wrong.values()))[0], fields=wrong)
    values = {"name": name, "language": language, "timezone": timezone, "currency": currency}
    with platform_context():
        Tenant.objects.filter(pk=tenant.pk).update(**values)
    changed = {field: value for field, value in values.items() if getattr(tenant, field) != value}
    for field, value in changed.items():
        setattr(tenant, field, value)
    log.info("Company %s: %s changed by %s.", tenant.slug, ", ".join(changed) or "nothing", by)
    hosts.forget()
    return tenant


def open_up(tenant: Tenant) -> Tenant:
    """A tenant that was built opens. Raises Refused from any other state."""
    return _move(tenant, State.OPEN, {State.BUILDING}, reason="")


def fail(tenant: Tenant, reason: str) -> Tenant:
    """Building stopped: the tenant stays ``building``, with the reason; whoever builds it can go on."""
    return _move(tenant, State.BUILDING, {State.BUILDING}, reason=str(reason)[:2000])


def suspend(tenant: Tenant, reason: str = "") -> Tenant:
    """Close a tenant's door; its data stay. Web processes know within hosts.SECONDS seconds."""
    return _move(tenant, State.SUSPENDED, {State.OPEN}, reason=str(reason)[:2000])


def resume(tenant: Tenant) -> Tenant:
    """Open a suspended tenant again."""
    return _move(tenant, State.OPEN, {State.SUSPENDED}, reason="")


def catch_up(tenant: Tenant) -> Tenant:
    """Close a restored tenant to people until its other sites have told it what it forgot; those can still reach it."""
    return _move(tenant, State.CATCHING_UP, {State.OPEN, State.CATCHING_UP}, reason="")


def caught_up(tenant: Tenant) -> Tenant:
    """The other sites have told everything: people can come in again."""
    return _move(tenant, State.OPEN, {State.CATCHING_UP}, reason="")


def delete(tenant: Tenant) -> Tenant:
    """Put a tenant into quarantine: its host no longer answers, its schema and its name stay for 30 days."""
    allowed = {State.BUILDING, State.OPEN, State.SUSPENDED, State.CATCHING_UP}
    return _move(tenant, State.DELETED, allowed, reason="", deleted_at=timezone.now())


def restore(tenant: Tenant) -> Tenant:
    """Take a tenant out of quarantine; it opens as it was."""
    return _move(tenant, State.OPEN, {State.DELETED}, reason="", deleted_at=None)


def purge(tenant: Tenant) -> None:
    """Destroy a deleted tenant: rows, schema and role. Its names stay held until 30 days after the deletion.

    Raises Refused for a tenant that is not deleted. May be repeated after a crash.
    """
    with platform_context():
        fresh = Tenant.objects.filter(pk=tenant.pk).first()
        if fresh is None:
            return
        if fresh.state != State.DELETED:
            raise Refused(_("Only a deleted tenant can be purged: delete it first."), code="not_deleted")
        with transaction.atomic():
            until = fresh.deleted_at + QUARANTINE
            for held in [fresh.slug, *fresh.domains.values_list("domain", flat=True)]:
                HeldName.objects.update_or_create(name=held, defaults={"until": until})
        pool.drop(fresh.schema_name)
        fresh.delete()
    hosts.forget()


def purge_due() -> int:
    """Purge tenants whose quarantine is over, and forget names that are held no longer. Answers how many were purged."""
    now = timezone.now()
    with platform_context():
        due = list(Tenant.objects.filter(state=State.DELETED, deleted_at__lte=now - QUARANTINE))
        for tenant in due:
            purge(tenant)
        HeldName.objects.filter(until__lte=now).delete()
    return len(due)


def _move(tenant: Tenant, to: State, allowed: set[State], **values) -> Tenant:
    """Change the state in one statement if it is one of ``allowed``. Raises Refused otherwise."""
    with platform_context():
        moved = Tenant.objects.filter(pk=tenant.pk, state__in=allowed).update(state=to, **values)
        fresh = Tenant.objects.filter(pk=tenant.pk).first()
    if fresh is None:
        raise NotFound(_("There is no tenant “{name}”.").format(name=tenant.slug))
    if not moved:
        raise Refused(
            _("“{name}” is in the state “{state}”; this is not possible from there.").format(
                name=fresh.slug, state=fresh.get_state_display()
            ),
            code="wrong_state",
        )
    for field, value in {"state": to, **values}.items():
        setattr(tenant, field, value)
    hosts.forget()
    return tenant
