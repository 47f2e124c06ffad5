"""Signatures that hold in one tenant only: a link made in one is worth nothing in another, whatever both contain."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.core import signing

from .context import current_tenant

BadSignature = signing.BadSignature
Expired = signing.SignatureExpired


def salt_of(purpose: str) -> str:
    """The salt of a purpose (``reset``, ``confirm``, ``invite``) in the open tenant. Raises NoTenant."""
    return f"ostoja.{current_tenant().pk}.{purpose}"


def signer(purpose: str) -> signing.Signer:
    """A signer of the open tenant. Raises NoTenant."""
    return signing.Signer(salt=salt_of(purpose))


def timestamp_signer(purpose: str) -> signing.TimestampSigner:
    """A signer of the open tenant whose signatures know their age. Raises NoTenant."""
    return signing.TimestampSigner(salt=salt_of(purpose))


def sign(purpose: str, value: Any) -> str:
    """A URL-safe token of a JSON value, with its time. Raises NoTenant."""
    return signing.dumps(value, salt=salt_of(purpose), compress=False)


def read(purpose: str, token: str, max_age: timedelta) -> Any:
    """The value of a token of the open tenant. Raises BadSignature, or Expired when it is older than ``max_age``."""
    return signing.loads(token, salt=salt_of(purpose), max_age=max_age)
