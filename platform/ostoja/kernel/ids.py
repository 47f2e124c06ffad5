"""Identifiers: UUIDv7, ordered by time of creation (RFC 9562), made by whoever creates the row."""

from __future__ import annotations

import uuid

import uuid_utils


def uuid7() -> uuid.UUID:
    """A new UUIDv7 as a standard ``uuid.UUID``."""
    return uuid.UUID(int=uuid_utils.uuid7().int)


def parse_uuid(text: object) -> uuid.UUID | None:
    """The UUID that ``text`` says, or None when it says none."""
    if isinstance(text, uuid.UUID):
        return text
    try:
        return uuid.UUID(str(text))
    except ValueError:
        return None
