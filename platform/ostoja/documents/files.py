"""Takes files in, tells what they really are, and gives them out safely."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from pathlib import PurePath
from typing import BinaryIO

import filetype
from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import IntegrityError
from django.http import FileResponse
from django.utils import timezone
from django.utils.translation import gettext as _

from ostoja.access.policy import find, require, visible_fields
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import NotFound, Refused
from ostoja.kernel.ids import uuid7
from ostoja.refusals import refusal
from ostoja.tenancy.context import current_tenant

from .models import Attachment

SHOWN_IN_THE_BROWSER = {"image/png", "image/jpeg", "image/gif", "image/webp"}
PROGRAMS = {"application/x-msdownload", "application/x-executable", "application/x-mach-binary"}
PROGRAM_NAMES = {".exe", ".dll", ".com", ".scr", ".msi", ".bat", ".cmd", ".ps1", ".vbs", ".hta", ".lnk", ".jar", ".apk"}
TEXT_TYPES = {".txt": "text/plain", ".csv": "text/csv", ".md": "text/markdown", ".json": "application/json"}
ODD = re.compile(r"[\x00-\x1f\x7f/\\]")


def kind_for(model: type) -> type[Attachment] | None:
    """The kind of attachment that records of this model may have, or None."""
    for entry in registry.entries():
        if issubclass(entry.model, Attachment) and entry.parent is not None and entry.parent.model is model:
            return entry.model
    return None


def store(actor: Actor, target, upload: BinaryIO, name: str) -> Attachment:
    """Attach a file to a record. Whoever may change the record may attach to it.

    Raises NotFound, NotAllowed, or Refused when the file is empty, too large or a program.
    """
    kind = kind_for(type(target))
    if kind is None:
        raise NotFound(_("Files can't be attached to this."))
    target = find(actor, type(target), target.pk)
    require(actor, target, "change")
    name = clean_name(name)
    head = upload.read(8192)
    mime = content_type(head, name)
    upload.seek(0)
    digest, size = _measure(upload)
    upload.seek(0)
    key = default_storage.save(f"{current_tenant().schema_name}/files/{uuid7()}", File(upload))
    try:
        with changing(actor, "attach"):
            return kind.objects.create(
                **{registry.of(kind).surface.inside: target},
                name=name, size=size, mime=mime, sha256=digest, key=key, uploaded_by_id=actor.user_id,
            )  # fmt: skip
    except IntegrityError as error:
        default_storage.delete(key)
        raise refusal(error) from error
    except BaseException:
        default_storage.delete(key)
        raise


def clean_name(name: str) -> str:
    """The last part of a file's name without control characters. Raises Refused for an empty one and for programs."""
    name = ODD.sub("", name.replace("\\", "/").rsplit("/", 1)[-1]).strip(" .")[-255:]
    if not name:
        raise _refused(_("The file has no name."))
    if PurePath(name.lower()).suffix in PROGRAM_NAMES:
        raise _refused(_("Programs can't be attached. Put it into an archive if it must be sent."))
    return name


def content_type(head: bytes, name: str) -> str:
    """What the bytes are, by the bytes; the name decides only between kinds of plain text. Raises Refused for programs."""
    guess = filetype.guess(head)
    if guess is not None:
        if guess.mime in PROGRAMS:
            raise _refused(_("Programs can't be attached. Put it into an archive if it must be sent."))
        return guess.mime
    try:
        head[:4096].decode("utf-8", errors="strict" if len(head) < 4096 else "ignore")
    except UnicodeDecodeError:
        return "application/octet-stream"
    return TEXT_TYPES.get(PurePath(name.lower()).suffix, "application/octet-stream")


def _measure(upload: BinaryIO) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    while chunk := upload.read(1 << 20):
        digest.update(chunk)
        size += len(chunk)
        if size > settings.MAX_UPLOAD_BYTES:
            limit = settings.MAX_UPLOAD_BYTES // (1024 * 1024)
            raise _refused(_("The file is larger than {limit} MB.").format(limit=limit))
    if not size:
        raise _refused(_("The file is empty."))
    return digest.hexdigest(), size


def _refused(message: str) -> Refused:
    return Refused(message, fields={"file": [message]})


def open_file(actor: Actor, kind: type[Attachment], key) -> tuple[Attachment, BinaryIO]:
    """The attachment and its bytes, if the actor may see the record that it belongs to and what the file is called.

    Raises NotFound.
    """
    attachment = find(actor, kind, key)
    if "name" not in visible_fields(actor, kind):
        raise NotFound(_("There is no such {thing}, or you may not see it.").format(thing=kind._meta.verbose_name))
    if not attachment.key:
        raise NotFound(_("The file is on its way from the other site. Try again in a moment."))
    own = f"{current_tenant().schema_name}/files/"
    if not attachment.key.startswith(own) or not default_storage.exists(attachment.key):
        raise NotFound(_("The file is no longer there."))
    return attachment, default_storage.open(attachment.key, "rb")


def response(attachment: Attachment, content: BinaryIO) -> FileResponse:
    """The file as an HTTP answer: a download that no browser runs; pictures may be looked at."""
    shown = attachment.mime in SHOWN_IN_THE_BROWSER
    answer = FileResponse(content, as_attachment=not shown, filename=attachment.name, content_type=attachment.mime)
    answer["X-Content-Type-Options"] = "nosniff"
    answer["Content-Security-Policy"] = "default-src 'none'; sandbox"
    answer["Cache-Control"] = "private, no-store"
    return answer


_kept: list[Callable[[], Iterable[str]]] = []


def keeps_files(function: Callable[[], Iterable[str]]) -> Callable[[], Iterable[str]]:
    """Declare a function that answers the keys of files of the open tenant that stay although no attachment names them."""
    _kept.append(function)
    return function


def orphans(older_than: timedelta = timedelta(days=1)) -> Iterator[str]:
    """Keys of stored files of the open tenant that no attachment names, and that no upload is just bringing."""
    folder = f"{current_tenant().schema_name}/files"
    if not default_storage.exists(folder):
        return
    kinds = [e.model for e in registry.entries() if issubclass(e.model, Attachment)]
    known = {key for kind in kinds for key in kind.objects.values_list("key", flat=True)}
    known |= {key for asked in _kept for key in asked()}
    before = timezone.now() - older_than
    for name in default_storage.listdir(folder)[1]:
        key = f"{folder}/{name}"
        if key not in known and default_storage.get_modified_time(key) < before:
            yield key


def clean() -> int:
    """Delete the orphans of the open tenant; returns how many there were."""
    found = list(orphans())
    for key in found:
        default_storage.delete(key)
    return len(found)
