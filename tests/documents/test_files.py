"""Files: whoever sees the record sees its files, and nobody else; nothing that comes in can run."""

import io
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.files.storage import default_storage
from django.db import IntegrityError

from ostoja import gate
from ostoja.documents import files
from ostoja.documents.models import DealFile, PartyFile
from ostoja.journal.context import changing
from ostoja.kernel.errors import NotAllowed, NotFound, Refused
from ostoja.party.models import Party
from ostoja.tenancy.context import tenant_context

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452") + b"\0" * 40
PDF = b"%PDF-1.7\n" + b"x" * 100


@pytest.fixture
def acme(tenant, actor):
    return gate.perform(actor, Party, "add", {"name": "Acme"})


def put(actor, party, content=PDF, name="offer.pdf"):
    return files.store(actor, party, io.BytesIO(content), name)


def test_a_file_goes_in_and_comes_out(acme, actor):
    kept = put(actor, acme)
    assert (kept.mime, kept.size, kept.uploaded_by_id) == ("application/pdf", len(PDF), actor.user_id)
    found, content = files.open_file(actor, PartyFile, kept.pk)
    assert content.read() == PDF and found.name == "offer.pdf"


def test_rights_are_the_records(acme, actor, as_role):
    kept = put(actor, acme)
    reader = as_role({"party.party": {"view": "all"}})
    files.open_file(reader, PartyFile, kept.pk)[1].close()
    with pytest.raises(NotAllowed):
        put(reader, acme)
    for stranger in (as_role({}), as_role({"party.party": {"view": "own"}})):
        with pytest.raises(NotFound):
            files.open_file(stranger, PartyFile, kept.pk)
        with pytest.raises(NotFound):
            put(stranger, acme)


def test_another_tenants_file_is_not_there(acme, actor, other_tenant):
    kept = put(actor, acme)
    with tenant_context(other_tenant), pytest.raises(NotFound):
        files.open_file(actor, PartyFile, kept.pk)


@pytest.mark.parametrize(
    ("content", "name"),
    [(b"", "empty.txt"), (PDF, "   "), (b"MZ" + b"\0" * 80, "letter.pdf"), (b"hello", "run.EXE"), (b"\x7fELF" + b"\0" * 60, "photo.jpg")],
    ids=["empty", "no name", "program as pdf", "program by name", "elf as photo"],
)  # fmt: skip
def test_refused_with_a_sentence_and_nothing_kept(acme, actor, content, name):
    with pytest.raises(Refused) as refused:
        put(actor, acme, content, name)
    assert refused.value.fields["file"] and not PartyFile.objects.exists()


def test_too_large_is_refused(acme, actor, monkeypatch):
    monkeypatch.setattr(settings, "MAX_UPLOAD_BYTES", 1024 * 1024)
    with pytest.raises(Refused, match="larger than 1 MB"):
        put(actor, acme, b"x" * (1024 * 1024 + 1), "big.txt")


@pytest.mark.parametrize(
    ("name", "kept"), [("../../etc/passwd", "passwd"), ("C:\\Users\\a.txt", "a.txt"), ("zażółć\x00.txt", "zażółć.txt")]
)
def test_names_are_only_names(name, kept):
    assert files.clean_name(name) == kept


@pytest.mark.parametrize(
    ("content", "name", "mime", "download"),
    [
        (PNG, "photo.png", "image/png", False),
        (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "logo.svg", "application/octet-stream", True),
        (b"<script>alert(1)</script>", "photo.png", "application/octet-stream", True),
        (b"<html>", "page.html", "application/octet-stream", True),
        (b"a,b\n1,2\n", "table.csv", "text/csv", True),
    ],
)
def test_no_browser_runs_what_comes_out(acme, actor, content, name, mime, download):
    answer = files.response(*files.open_file(actor, PartyFile, put(actor, acme, content, name).pk))
    assert answer["Content-Type"] == mime and answer["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer["Content-Security-Policy"]
    assert answer["Content-Disposition"].startswith("attachment" if download else "inline")


def test_a_file_can_not_be_added_as_a_row(acme, actor):
    with pytest.raises(Refused, match="uploading"):
        gate.perform(actor, PartyFile, "add", {"party": acme.pk, "name": "x"})


def test_orphans_are_thrown_away_after_a_day(acme, actor):
    kept, gone = put(actor, acme), put(actor, acme)
    gate.perform(actor, gone, "delete")
    assert files.clean() == 0
    orphans = set(files.orphans(older_than=timedelta(0)))
    assert gone.key in orphans and kept.key not in orphans
    assert default_storage.exists(kept.key)


def test_files_are_attached_only_to_what_may_have_them(acme, actor, owner):
    with pytest.raises(NotFound):
        files.store(actor, owner, io.BytesIO(PDF), "offer.pdf")
    assert files.kind_for(Party) is PartyFile and DealFile._meta.get_field("deal")


@pytest.mark.parametrize("column", ["key", "sha256", "mime", "size"])
def test_bytes_stay_what_they_are_on_every_path(acme, actor, column):
    kept = put(actor, acme)
    with pytest.raises(IntegrityError, match="refused"), changing(actor, "attack"):
        PartyFile.objects.filter(pk=kept.pk).update(**{column: 7})
    assert gate.perform(actor, kept, "change", {"name": "better.pdf"}).name == "better.pdf"


def test_only_the_installations_own_user_reads_the_files(acme, actor):
    kept = Path(default_storage.path(put(actor, acme).key))
    assert kept.stat().st_mode & 0o777 == 0o600
    assert all(folder.stat().st_mode & 0o777 == 0o700 for folder in (kept.parent, kept.parent.parent))
