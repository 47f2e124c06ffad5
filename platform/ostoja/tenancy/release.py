"""A release is what a tenant's schema is made by: its migrations, the statements that finish it, its grants; known by a fingerprint."""

from __future__ import annotations

import hashlib
import inspect
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from django.apps import AppConfig, apps
from django.db.migrations.loader import MigrationLoader

from ostoja.kernel import conditions, constraints

from . import grants
from .finishing import finishing_sql


def lives_in_public(config: AppConfig) -> bool:
    """Whether an app's tables are shared by all tenants."""
    return bool(getattr(config, "lives_in_public", False))


def labels(*, public: bool) -> list[str]:
    """The labels of the apps with migrations, shared ones or the tenants'; contenttypes has tables in neither."""
    return sorted(
        config.label
        for config in apps.get_app_configs()
        if config.label != "contenttypes" and lives_in_public(config) is public and migration_files(config)
    )


def migration_files(config: AppConfig) -> list[Path]:
    """The files of an app's migrations, in order."""
    module, _named = MigrationLoader.migrations_module(config.label)
    spec = find_spec(module) if module else None
    places = spec.submodule_search_locations if spec else None
    return sorted(file for place in places or () for file in Path(place).glob("[0-9a-z]*.py"))


def migrations(*, public: bool) -> list[tuple[str, str]]:
    """(app, name) of every migration on disk, without importing one."""
    return [
        (label, file.stem) for label in labels(public=public) for file in migration_files(apps.get_app_config(label))
    ]


@lru_cache(maxsize=4)
def fingerprint(postgres_major: int) -> str:
    """32 hexadecimal digits that differ whenever a new tenant's schema would differ."""
    mark = hashlib.sha256(f"postgres {postgres_major}\n".encode())
    for label in labels(public=False):
        for file in migration_files(apps.get_app_config(label)):
            mark.update(f"{label}.{file.stem}\n".encode() + file.read_bytes())
    for text in (
        *finishing_sql(),
        inspect.getsource(constraints),
        inspect.getsource(conditions),
        inspect.getsource(grants),
    ):
        mark.update(text.encode() + b"\0")
    return mark.hexdigest()[:32]
