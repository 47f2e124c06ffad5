"""A tenant is one customer organisation: a schema, host names, a state, a blueprint, a plan."""

from __future__ import annotations

import secrets
import zlib

from django.db import models
from django.utils.translation import gettext_lazy as _
from django_tenants.models import DomainMixin, TenantMixin

from ostoja.kernel.ids import uuid7


def new_schema_name() -> str:
    """An opaque schema name that is never used again: ``t_`` and 26 characters of base32."""
    alphabet = "abcdefghijklmnopqrstuvwxyz234567"
    return "t_" + "".join(secrets.choice(alphabet) for _ in range(26))


class Tenant(TenantMixin):
    """One customer organisation."""

    class State(models.TextChoices):
        BUILDING = "building", _("Building")
        OPEN = "open", _("Open")
        SUSPENDED = "suspended", _("Suspended")
        CATCHING_UP = "catching", _("Catching up")
        DELETED = "deleted", _("Deleted")

    lives_in_public = True
    auto_create_schema = False

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(_("company"), max_length=200)
    slug = models.CharField(_("address"), max_length=40, unique=True)
    state = models.CharField(max_length=12, choices=State, default=State.BUILDING)
    reason = models.TextField(blank=True, default="")
    blueprint = models.CharField(max_length=40, default="general")
    plan = models.CharField(max_length=40, default="standard")
    language = models.CharField(max_length=10, default="en")
    timezone = models.CharField(max_length=64, default="Europe/Warsaw")
    currency = models.CharField(max_length=3, default="PLN")
    release = models.CharField(max_length=64, blank=True, default="")
    migration_error = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(auto_now_add=True)
    deleted_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=models.Q(schema_name__regex=r"^t_[a-z2-7]{26}$"), name="tenant_schema_is_opaque"
            ),
        ]

    def __str__(self):
        return self.name

    def __enter__(self):
        raise TypeError(
            "Open a tenant with `with tenant_context(tenant):`; the library's own way is shared by threads."
        )

    def activate(self):
        """The library's own switch; there is none but the context."""
        raise TypeError("Open a tenant with `with tenant_context(tenant):`.")

    @classmethod
    def deactivate(cls):
        """The library's own switch; there is none but the context."""
        raise TypeError("Open the platform with `with platform_context():`.")

    @property
    def lock_number(self) -> int:
        """The first of the two numbers of this tenant's advisory locks (32-bit, signed)."""
        return zlib.crc32(self.schema_name.encode()) - 2**31


class Domain(DomainMixin):
    """A host name at which a tenant answers."""

    lives_in_public = True

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)


class ReadySchema(models.Model):
    """A schema that waits in the pool with its role, to become a tenant's."""

    lives_in_public = True

    schema_name = models.CharField(primary_key=True, max_length=63)
    release = models.CharField(max_length=64)
    created_at = models.DateTimeField(auto_now_add=True)


class Template(models.Model):
    """The schema of one release as one SQL script, dumped once from a database that was migrated for it."""

    lives_in_public = True

    release = models.CharField(primary_key=True, max_length=64)
    script = models.TextField()
    migrations = models.JSONField()
    finishing = models.JSONField(default=list)
    created_at = models.DateTimeField(auto_now_add=True)


class JournalAnchor(models.Model):
    """The hash of a tenant's journal at a number, kept where the tenant's own role can't write."""

    lives_in_public = True

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE)
    seq = models.BigIntegerField()
    digest = models.CharField(max_length=64)
    at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], name="one_anchor_per_number")]


class HeldName(models.Model):
    """An address or host name of a tenant that was deleted: nobody else may have it yet."""

    lives_in_public = True

    name = models.CharField(primary_key=True, max_length=253)
    until = models.DateTimeField()
