"""A canary is a value that nothing but itself can be: it is entered where a value is closed, and looked for where it may not be."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import random
import re
import secrets
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote

import zstandard
from django.db import models

LETTERS = "ghjkmnpqrstvwxyz"  # no hexadecimal digit among them, so that no digest or key looks like a canary
ENDS, MIDDLE = 8, 32  # letters: 128 bits between two ends that all canaries of a set share
DIGEST = re.compile(rb"[0-9a-fA-F]{32,64}")
PACKED = re.compile(rb"\x28\xb5\x2f\xfd|\x1f\x8b\x08")
CHUNK, OVERLAP = 1 << 23, 4096
MOST_UNPACKED = 1 << 26


def words(text: str) -> set[bytes]:
    """A text in all the ways in which it may lie in a file: plain, in other cases, coded, escaped, in pieces, backwards."""
    raw = text.encode()
    plain = {raw, text.lower().encode(), text.upper().encode(), raw[::-1], text[::-1].encode()}
    escaped = {json.dumps(text)[1:-1].encode(), quote(text, safe="").encode(), quote(text, safe="").lower().encode()}
    wide = {text.encode("utf-16-le"), text.encode("utf-16-be")}
    return plain | escaped | wide | {raw.hex().encode(), raw.hex().upper().encode()} | base64s(raw)


def base64s(raw: bytes) -> set[bytes]:
    """What the bytes become in base64, wherever in a longer run they begin."""
    found = set()
    for shift in range(3):
        start, end = -(-shift * 8 // 6), (shift + len(raw)) * 8 // 6
        for code in (base64.b64encode, base64.urlsafe_b64encode):
            found.add(code(b"\0" * shift + raw + b"\0\0")[start:end])
    return found


def toasted(text: str) -> set[bytes]:
    """What a text may become in a value that PostgreSQL has compressed: a control byte stands before every eight letters."""
    raw = text.encode()
    return {raw[:n] + b"\0" + raw[n:] for n in range(1, len(raw))}


def _pieces(end: str) -> set[bytes]:
    return words(end) | toasted(end)


def digests(text: str) -> set[str]:
    """Digests of a text without a key, by which whoever has a list of values would find it."""
    kinds = (hashlib.md5, hashlib.sha1, hashlib.sha256)
    return {kind(form.encode()).hexdigest() for form in (text, text.lower(), text.upper()) for kind in kinds}


def number_words(value: Decimal) -> set[bytes]:
    """A number in all the ways in which it is written, and as PostgreSQL keeps it in a row."""
    whole, _point, part = f"{value:f}".partition(".")
    grouped = f"{int(whole):,}"
    texts = {whole, f"{whole}.{part}", f"{whole},{part}"} | {
        grouped.replace(",", s) for s in (",", ".", " ", "\xa0", "\u202f")
    }
    padded = whole.zfill(-(-len(whole) // 4) * 4) + part.ljust(-(-len(part) // 4) * 4, "0")
    groups = [int(padded[n : n + 4]) for n in range(0, len(padded), 4)]
    while groups and not groups[-1]:
        groups.pop()
    kept = struct.pack(f"<{len(groups)}h", *groups)
    return set().union(*(words(t) for t in texts)) | ({kept} if len(kept) >= 8 else set())


def pattern(needles: Iterable[bytes]) -> re.Pattern[bytes]:
    """One expression for all of them, which looks at each byte once: what begins alike is tried together."""
    tree: dict = {}
    for needle in sorted(needles, key=len):
        node = tree
        for byte in needle:
            if None in node:
                break  # a shorter one tells it already
            node = node.setdefault(byte, {})
        else:
            node.clear()
            node[None] = None

    def written(node: dict) -> bytes:
        if None in node:
            return b""
        branches = [re.escape(bytes([byte])) + written(below) for byte, below in node.items()]
        return branches[0] if len(branches) == 1 else b"(?:" + b"|".join(branches) + b")"

    return re.compile(written(tree), re.S)


class Canaries:
    """The canaries of one test. Each has a name; ``found(data)`` are the names of those that are in the data in any form."""

    def __init__(self, seed: int | None = None):
        self.chance = random.Random(secrets.randbits(64) if seed is None else seed)
        self.head, self.tail = self._letters(ENDS), self._letters(ENDS)
        self.ends = dict.fromkeys((self.head, self.tail), "")  # what all words share -> the set that they are of
        self.texts: dict[str, str] = {}  # word -> name
        self.typed: dict[str, tuple[str, set[bytes]]] = {}  # value as text -> (name, forms)
        self.digests: dict[bytes, str] = {}
        self._pattern: re.Pattern[bytes] | None = None

    @classmethod
    def together(cls, **some: Canaries) -> Canaries:
        """The canaries of several sets, each behind the name of its set and a colon; they are looked for in one go."""
        made = cls()
        made.ends = {end: f"{name}: " for name, one in some.items() for end in one.ends}
        for name, one in some.items():
            made.texts |= {word: f"{name}: {said}" for word, said in one.texts.items()}
            made.typed |= {text: (f"{name}: {said}", forms) for text, (said, forms) in one.typed.items()}
            made.digests |= {digest: f"{name}: {said}" for digest, said in one.digests.items()}
        return made

    def _letters(self, count: int) -> str:
        return "".join(self.chance.choice(LETTERS) for _ in range(count))

    def __len__(self) -> int:
        return len(self.texts) + len(self.typed)

    # what is entered

    def text(self, name: str, limit: int | None = None) -> str:
        """A word of 128 random bits between the two ends; of a short field as much as it holds."""
        word = self.head + self._letters(MIDDLE) + self.tail
        word = word[: limit or None]
        if len(word) < ENDS + 2:
            raise ValueError(f"{name} is too short for a canary.")
        self.texts[word] = name
        self._know(word, name)
        return word

    def email(self, name: str) -> str:
        """An e-mail address."""
        address = f"{self.text(name)}@example.com"
        self._know(address, name)
        return address

    def number(self, name: str, digits: int = 14, places: int = 2) -> Decimal:
        """A number of so many digits."""
        value = Decimal(self.chance.randrange(10 ** (digits - 1), 10**digits) | 1).scaleb(-places)
        return self._typed(name, value, str(value), number_words(value))

    def iban(self, name: str) -> str:
        """A Polish IBAN with its check digits."""
        account = f"10901014{self.chance.randrange(10**16):016d}"
        value = f"PL{98 - int(f'{account}252100') % 97:02d}{account}"
        spaced = " ".join(value[n : n + 4] for n in range(0, len(value), 4))
        return self._typed(name, value, value, words(value) | words(spaced) | words(account))

    def nip(self, name: str) -> str:
        """A Polish tax number with its check digit."""
        while True:
            body = f"{self.chance.randrange(110_000_000, 999_999_999)}"
            check = sum(int(d) * w for d, w in zip(body, (6, 5, 7, 2, 3, 4, 5, 6, 7), strict=True)) % 11
            if check < 10:
                break
        value = f"{body}{check}"
        dashed = f"{value[:3]}-{value[3:6]}-{value[6:8]}-{value[8:]}"
        return self._typed(name, value, value, words(value) | words(dashed))

    def phone(self, name: str) -> str:
        """A Polish mobile number."""
        value = f"+4860{self.chance.randrange(10**7):07d}"
        body = value[3:]
        spaced = {f"{body[:3]} {body[3:6]} {body[6:]}", f"{body[:3]}-{body[3:6]}-{body[6:]}"}
        return self._typed(name, value, value, set().union(*(words(t) for t in {value, body, *spaced})))

    def day(self, name: str) -> date:
        """A date so far away that nobody else means it."""
        value = date(2190, 1, 1) + timedelta(days=self.chance.randrange(200_000))
        texts = {value.isoformat(), f"{value:%d.%m.%Y}", f"{value:%d/%m/%Y}", f"{value:%Y%m%d}"}
        return self._typed(name, value, value.isoformat(), set().union(*(words(t) for t in texts)))

    def of(self, field: models.Field, name: str):
        """A value of a field's type; None where a field can't hold one that is told from all others."""
        if field.is_relation or field.choices or isinstance(field, models.BooleanField | models.UUIDField):
            return None
        if isinstance(field, models.DecimalField):
            return self.number(name, field.max_digits, field.decimal_places)
        if isinstance(
            field,
            models.DateTimeField | models.BinaryField | models.SmallIntegerField | models.PositiveSmallIntegerField,
        ):
            return None
        if isinstance(field, models.DateField):
            return self.day(name)
        if isinstance(field, models.JSONField):
            return [self.text(name)]
        if isinstance(field, models.IntegerField):
            return int(self.number(name, 18 if isinstance(field, models.BigIntegerField) else 9, 0))
        if isinstance(field, models.CharField | models.TextField) and (field.max_length or 99) >= ENDS + 2:
            return self.text(name, field.max_length)
        return None

    def _typed(self, name: str, value, text: str, forms: set[bytes]):
        self.typed[text] = (name, forms)
        self._know(text, name)
        return value

    def _know(self, text: str, name: str) -> None:
        self.digests |= {d.encode(): name for d in digests(text)}
        self._pattern = None

    # what is looked for

    @property
    def pattern(self) -> re.Pattern[bytes]:
        """What is looked for: the ends that all words share (the first and last eight letters, too, tell a word), and numbers."""
        if self._pattern is None:
            shared = set().union(*map(_pieces, self.ends))
            self._pattern = pattern(shared.union(*(forms for _name, forms in self.typed.values())))
        return self._pattern

    def found(self, data: bytes | str) -> set[str]:
        """The names of the canaries that are in the data, in any form, packed or as a digest."""
        data = data.encode("utf-8", "surrogateescape") if isinstance(data, str) else data
        found = self._plainly(data)
        for inner in unpacked(data):
            found |= self._plainly(inner)
        return found

    def _plainly(self, data: bytes) -> set[str]:
        found: set[str] = set()
        for match in self.pattern.finditer(data):
            if not _inside_a_number(data, match.start(), match[0]):
                found |= self._whose(match[0], data, match.start())
        if self.digests:
            for match in DIGEST.finditer(data):
                if (name := self.digests.get(match[0].lower())) is not None:
                    found.add(f"{name} (digest)")
        return found

    def _whose(self, needle: bytes, data: bytes, at: int) -> set[str]:
        mine = {name for name, forms in self.typed.values() if any(needle in form for form in forms)}
        if mine:
            return mine
        around = data[max(0, at - 300) : at + 300]
        found = {name for word, name in self.texts.items() if any(form in around for form in words(word))}
        return found or {f"{of}a piece of some word" for end, of in self.ends.items() if needle in _pieces(end)}

    def in_file(self, path: Path) -> set[str]:
        """The names of the canaries that are in a file."""
        found: set[str] = set()
        with path.open("rb") as file:
            tail = b""
            while chunk := file.read(CHUNK):
                found |= self.found(tail + chunk)
                tail = chunk[-OVERLAP:]
        return found

    def in_files(self, root: Path, *, but: Iterable[Path] = ()) -> dict[str, set[str]]:
        """{file: names} of all files below a directory in which canaries are."""
        left_out = tuple(but)
        out = {}
        for path in sorted(root.rglob("*")):
            if any(one == path or one in path.parents for one in left_out) or path.is_symlink() or not path.is_file():
                continue
            try:
                names = self.in_file(path)
            except FileNotFoundError:  # a running database removes files
                continue
            if names:
                out[str(path.relative_to(root))] = names
        return out


def _inside_a_number(data: bytes, at: int, needle: bytes) -> bool:
    """Whether the digits that were found are a part of longer ones, which say something else."""
    if not needle.isdigit():
        return False
    before, after = data[max(0, at - 1) : at], data[at + len(needle) : at + len(needle) + 1]
    return before.isdigit() or after.isdigit()


def unpacked(data: bytes, depth: int = 0) -> Iterator[bytes]:
    """What is packed in the data by zstd, gzip, or as a ZIP (DOCX, XLSX) or PDF stream; and what is packed in that."""
    inner: list[bytes] = []
    for match in PACKED.finditer(data):
        inner += _one(data[match.start() :])
    if data[:4] == b"PK\x03\x04":
        inner += _zipped(data)
    for match in re.finditer(rb"stream\r?\n(.*?)endstream", data, re.S) if b"%PDF" in data[:1024] else ():
        inner += _inflated(match[1])
    for one in inner:
        yield one
        if depth < 3:
            yield from unpacked(one, depth + 1)


def _one(data: bytes) -> list[bytes]:
    try:
        if data[:2] == b"\x1f\x8b":
            return [zlib.decompressobj(wbits=31).decompress(data, MOST_UNPACKED)]
        return [zstandard.ZstdDecompressor().decompressobj().decompress(data)[:MOST_UNPACKED]]
    except (zlib.error, zstandard.ZstdError):
        return []


def _zipped(data: bytes) -> list[bytes]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as file:
            return [file.read(name) for name in file.namelist()]
    except (zipfile.BadZipFile, OSError):
        return []


def _inflated(data: bytes) -> list[bytes]:
    try:
        return [zlib.decompressobj().decompress(data, MOST_UNPACKED)]
    except zlib.error:
        return []
