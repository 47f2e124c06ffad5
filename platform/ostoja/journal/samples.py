"""The cause under which the journal keeps sample records, so that they can be told from a company's own."""

from __future__ import annotations

import uuid

from ostoja.tenancy.context import current_tenant

from .models import Change


def cause() -> uuid.UUID:
    """The cause of the open tenant's sample records."""
    return uuid.uuid5(current_tenant().pk, "samples")


def were_added() -> bool:
    """Whether samples were ever added. One query."""
    return Change.objects.filter(cause=cause(), op="I").exists()


def has_own(label: str) -> bool:
    """Whether a record of this object was added that is no sample. One query."""
    return Change.objects.filter(model=label, op="I").exclude(cause=cause()).exists()
