"""Identifiers: UUIDv7, ordered by time of creation (RFC 9562), made by whoever creates the row."""

from __future__ import annotations

import uuid

import uuid_utils

# A new UUIDv7 in the database's own words, for rows that its rules write; uuidv7() came with PostgreSQL 18.
UUID7_SQL = (
    "encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) placing "
    "substring(int8send((extract(epoch FROM clock_timestamp()) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1), 'hex')::uuid"
)


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
