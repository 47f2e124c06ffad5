"""Which tenant is open: one context variable, from which the database connection's role and path are derived."""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from ostoja.kernel.errors import NoTenant

PLATFORM = "public"


@dataclass(frozen=True)
class Opening:
    """What a connection must be switched to: a tenant's schema and role, or the tables that all share."""

    schema: str
    role: str
    tenant: object | None = None
    timeout_ms: int = 0


_open: ContextVar[Opening | None] = ContextVar("ostoja_tenant", default=None)
_platform = Opening(PLATFORM, "none")


def role_of(schema: str) -> str:
    """The database role that may use a tenant's schema, and nothing else."""
    return f"r_{schema}"


def opening() -> Opening | None:
    """What is open now, or None."""
    return _open.get()


def current_tenant():
    """The open tenant. Raises NoTenant when none is."""
    now = _open.get()
    if now is None or now.tenant is None:
        raise NoTenant("No tenant is open. Open one with `with tenant_context(tenant):`.")
    return now.tenant


@contextmanager
def tenant_context(tenant):
    """Open a tenant for the block; queries go to its schema under its role."""
    token = _open.set(Opening(tenant.schema_name, role_of(tenant.schema_name), tenant))
    try:
        yield tenant
    finally:
        _open.reset(token)


@contextmanager
def platform_context():
    """Open the tables that all tenants share (tenants, domains, pool), for the block."""
    token = _open.set(_platform)
    try:
        yield
    finally:
        _open.reset(token)


@contextmanager
def schema_context(schema: str, role: str = "none"):
    """Open a schema that is no tenant yet (template, pool), for provisioning as the owner."""
    token = _open.set(Opening(schema, role))
    try:
        yield
    finally:
        _open.reset(token)
