"""Files of imports and exports: kept under the tenant's own place in the installation's storage, under names nobody can guess."""

from __future__ import annotations

import secrets

from django.core.files.base import ContentFile, File
from django.core.files.storage import default_storage
from django.utils.translation import gettext as _

from ostoja.kernel.errors import NotFound
from ostoja.tenancy.context import current_tenant


def keep(content: bytes | File, ending: str) -> str:
    """Store the content; returns its key."""
    name = f"{current_tenant().schema_name}/exchange/{secrets.token_hex(16)}.{ending}"
    return default_storage.save(name, ContentFile(content) if isinstance(content, bytes) else content)


def fetch(key: str) -> File:
    """Open a kept file. Raises NotFound when it is gone, or not this tenant's."""
    if not key.startswith(f"{current_tenant().schema_name}/exchange/") or not default_storage.exists(key):
        raise NotFound(_("The file is not kept any more."))
    return default_storage.open(key, "rb")


def read(key: str) -> bytes:
    """The bytes of a kept file. Raises NotFound."""
    with fetch(key) as file:
        return file.read()


def forget(key: str) -> None:
    """Delete a kept file; one that is gone is fine."""
    if key.startswith(f"{current_tenant().schema_name}/exchange/"):
        default_storage.delete(key)
