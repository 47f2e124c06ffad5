"""A policy is adopted: triggers and views of the open tenant follow its manifest."""

from __future__ import annotations

from ostoja.tenancy.context import current_tenant

from .install import install
from .sites import here


def adopt() -> None:
    """Bring this site to the manifest in force; may be run again."""
    site = here()
    install(current_tenant(), site.tables, site.number, in_cloud=site.in_cloud)
