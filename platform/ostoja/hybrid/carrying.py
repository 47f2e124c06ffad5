"""How bytes of files pass a link: a head in JSON, and behind it up to four MiB of one file."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

CHUNK = 4 * 1024 * 1024
LONGEST_HEAD = 512 * 1024


def packed(head: Mapping, content: bytes = b"") -> bytes:
    """Head and content as one message."""
    said = orjson.dumps(dict(head))
    return len(said).to_bytes(4, "big") + said + content


def unpacked(message: bytes) -> tuple[dict, bytes]:
    """Head and content of a message. Raises ValueError when it is none."""
    length = int.from_bytes(message[:4], "big")
    if len(message) < 4 + length or length > LONGEST_HEAD:
        raise ValueError("This message is cut off.")
    head = orjson.loads(message[4 : 4 + length])
    if not isinstance(head, dict):
        raise ValueError("This message has no head.")
    return head, message[4 + length :]
