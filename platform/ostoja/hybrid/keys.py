"""Keys of a link: Ed25519 pairs, signatures over requests and answers, and a fingerprint that two people compare aloud."""

from __future__ import annotations

import base64
import hashlib

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

# 64 short words that sound different in English and Polish alike.
WORDS = (
    "alfa bank bravo delta dolar echo euro fala foto gama gitara golf hotel idea jazz judo kajak kanion karta kino klub kobra "
    "lampa lider limba lotos mango maraton metro mikro minus motor muzeum nektar oliwa opera optyka orbita ozon panda papaja "
    "park pasta piano pilot plus polo radar radio robot rondo rugby salsa sauna sonata tango taxi tempo tenis totem tuba "
    "tulipan turbo wanilia"
).split()


def new_pair() -> tuple[str, str]:
    """(private, public), in base64."""
    private = Ed25519PrivateKey.generate()
    return _text(private.private_bytes_raw()), _text(private.public_key().public_bytes_raw())


def sign(private: str, *parts: object) -> str:
    """The signature of these parts."""
    return _text(Ed25519PrivateKey.from_private_bytes(base64.b64decode(private)).sign(_joined(parts)))


def is_signed(public: str, signature: str, *parts: object) -> bool:
    """Whether the owner of this key signed these parts."""
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public)).verify(base64.b64decode(signature), _joined(parts))
    except (InvalidSignature, ValueError):
        return False
    return True


def public_of(private: str) -> str:
    """The public key of a private one."""
    return _text(Ed25519PrivateKey.from_private_bytes(base64.b64decode(private)).public_key().public_bytes_raw())


def is_key(public: str) -> bool:
    """Whether this is a public key at all."""
    try:
        Ed25519PublicKey.from_public_bytes(base64.b64decode(public, validate=True))
    except ValueError:
        return False
    return True


def fingerprint(one: str, other: str) -> str:
    """Six words of two public keys: the same on both sites, or somebody is in between."""
    mark = hashlib.sha256("|".join(sorted((one, other))).encode()).digest()
    return " ".join(WORDS[byte % len(WORDS)] for byte in mark[:6])


def digest(body: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(body).hexdigest()


def _joined(parts: tuple) -> bytes:
    return "\n".join(str(p) for p in parts).encode()


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
