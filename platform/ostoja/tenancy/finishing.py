"""What apps above tenancy add to every tenant's schema after its migrations: statements that name no schema and may run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .models import Tenant

_sources: list[Callable[[], Iterable[str]]] = []
_functions: list[Callable[[Tenant], None]] = []


def after_migrations(statements: Callable[[], Iterable[str]]) -> None:
    """Register a function that answers SQL statements to run, with the tenant's schema at the head of the path, after
    its migrations: in the template of a release, and again in every tenant that is migrated."""
    if statements not in _sources:
        _sources.append(statements)


def in_every_tenant(function: Callable[[Tenant], None]) -> None:
    """Register what is to be done for every tenant that was brought to another release, when its schema is there already."""
    if function not in _functions:
        _functions.append(function)


def finish(tenant: Tenant) -> None:
    """Do it for this tenant."""
    for function in _functions:
        function(tenant)


def finishing_sql() -> list[str]:
    """All registered statements, in the order of registration."""
    return [statement for source in _sources for statement in source()]
