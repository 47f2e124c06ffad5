"""What apps above tenancy add to every tenant's schema after its migrations: statements that name no schema and may run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable

_sources: list[Callable[[], Iterable[str]]] = []


def after_migrations(statements: Callable[[], Iterable[str]]) -> None:
    """Register a function that answers SQL statements to run, with the tenant's schema at the head of the path, after
    its migrations: in the template of a release, and again in every tenant that is migrated."""
    if statements not in _sources:
        _sources.append(statements)


def finishing_sql() -> list[str]:
    """All registered statements, in the order of registration."""
    return [statement for source in _sources for statement in source()]
