"""The scan is proven: it finds a canary in every form in which it may lie, packed, coded or in pieces, and nothing else."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import os
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest
import zstandard

from ostoja.testing.canaries import Canaries

FORMS = {
    "raw": lambda t: t.encode(),
    "upper": lambda t: t.upper().encode(),
    "reversed": lambda t: t[::-1].encode(),
    "hex": lambda t: t.encode().hex().encode(),
    "hex in capitals": lambda t: t.encode().hex().upper().encode(),
    "base64": lambda t: base64.b64encode(t.encode()),
    "base64 one on": lambda t: base64.b64encode(b"x" + t.encode()),
    "base64 two on": lambda t: base64.urlsafe_b64encode(b"xy" + t.encode()),
    "JSON": lambda t: json.dumps({"a": t}).encode(),
    "URL": lambda t: quote(f"?q={t}&b").encode(),
    "UTF-16": lambda t: t.encode("utf-16-le"),
    "UTF-16, the other way": lambda t: t.encode("utf-16-be"),
    "first eight": lambda t: t[:8].encode(),
    "last eight": lambda t: t[-8:].encode(),
    "MD5": lambda t: hashlib.md5(t.encode()).hexdigest().encode(),
    "SHA-1": lambda t: hashlib.sha1(t.encode()).hexdigest().upper().encode(),
    "SHA-256": lambda t: hashlib.sha256(t.lower().encode()).hexdigest().encode(),
}


def zipped(data: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("word/document.xml", data)
    return out.getvalue()


PACKINGS = {
    "plain": lambda d: d,
    "zstd": zstandard.ZstdCompressor().compress,
    "gzip": gzip.compress,
    "gzip in zstd": lambda d: zstandard.ZstdCompressor().compress(gzip.compress(d)),
    "ZIP": zipped,
    "PDF": lambda d: b"%PDF-1.7\n1 0 obj <</Filter /FlateDecode>>\nstream\n" + zlib.compress(d) + b"\nendstream\n",
}


@pytest.mark.parametrize("form", FORMS)
def test_a_word_is_found_in_every_form(form):
    canaries = Canaries()
    word = canaries.text("a name")
    assert canaries.found(b"before " + FORMS[form](word) + b" after"), form


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_word_is_found_in_every_packing(packing):
    canaries = Canaries()
    word = canaries.text("a name")
    packed = PACKINGS[packing](f"before {word} after".encode())
    assert canaries.found(os.urandom(50) + packed if packing in ("zstd", "gzip") else packed) == {"a name"}


def test_typed_values_are_found_as_people_write_them():
    canaries = Canaries()
    iban, nip, day = canaries.iban("an IBAN"), canaries.nip("a NIP"), canaries.day("a date")
    phone, amount = canaries.phone("a phone"), canaries.number("an amount")
    spaced = " ".join(iban[n : n + 4] for n in range(0, len(iban), 4))
    assert canaries.found(f"to {spaced}") == {"an IBAN"}
    assert canaries.found(f"<{iban.lower()}>") == {"an IBAN"}
    assert canaries.found(f"NIP {nip[:3]}-{nip[3:6]}-{nip[6:8]}-{nip[8:]}") == {"a NIP"}
    assert canaries.found(f"{day:%d.%m.%Y}") == {"a date"}
    assert canaries.found(f"{phone[3:6]} {phone[6:9]} {phone[9:]}") == {"a phone"}
    assert canaries.found(f"{amount:,}") == canaries.found(str(amount).replace(".", ",")) == {"an amount"}
    assert canaries.found(base64.b64encode(f"x{iban}".encode())) == {"an IBAN"}


def test_several_sets_are_looked_for_in_one_go_and_told_apart():
    here, there = Canaries(), Canaries()
    one, nip, other = here.text("a name"), here.nip("a NIP"), there.text("a name")
    together = Canaries.together(here=here, there=there)
    assert together.found(f"{one} {nip}") == {"here: a name", "here: a NIP"}
    assert together.found(other[::-1]) == {"there: a name"}
    assert together.found(hashlib.md5(other.encode()).hexdigest()) == {"there: a name (digest)"}
    assert together.found(f"... {one[:8]} ...") == {"here: a piece of some word"}
    assert together.found(Canaries().text("another")) == set()


def test_nothing_is_found_where_nothing_is():
    canaries = Canaries()
    canaries.text("a name"), canaries.nip("a NIP"), canaries.number("an amount"), canaries.iban("an IBAN")
    assert canaries.found(os.urandom(1 << 22)) == set()
    assert canaries.found(base64.b64encode(os.urandom(1 << 20))) == set()
    assert canaries.found(Canaries().text("another")) == set()
    nip = next(iter(canaries.typed))
    assert canaries.found(f"12{nip}34") == set()


def test_a_long_value_that_the_database_compressed_is_found_in_its_file(installation):
    canaries = Canaries()
    word = canaries.text("a note")
    with closing(installation.superuser()) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE public.long_values (t text STORAGE EXTENDED)")
        try:
            cursor.execute("INSERT INTO long_values VALUES (repeat('all work and no play ', 600) || %s)", [word])
            cursor.execute("SELECT pg_column_size(t), current_setting('data_directory') FROM long_values")
            size, place = cursor.fetchone()
            assert size < 2000, "It was not compressed."
            cursor.execute("CHECKPOINT")
            cursor.execute("SELECT pg_relation_filepath('long_values'::regclass)")
            assert canaries.in_file(Path(place) / cursor.fetchone()[0])
        finally:
            cursor.execute("DROP TABLE public.long_values")
