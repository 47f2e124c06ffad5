"""The bytes of files across sites: what the cloud may not keep goes up and is deleted there; open files travel both ways.

The premises ask, chunk by chunk and always for the file of one record that both know; nobody is ever asked whether it has
certain bytes. A part that came stays where it is when the line breaks, and the whole counts only when its SHA-256 is right.
"""

from __future__ import annotations

import hashlib
import time
import uuid
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings
from django.core.files.base import File
from django.core.files.storage import default_storage
from django.db import connection, transaction
from django.db.models import Q, QuerySet
from django.utils.translation import gettext as _

from ostoja.documents.files import keeps_files
from ostoja.documents.models import Attachment
from ostoja.journal.context import changing
from ostoja.kernel import registry
from ostoja.kernel.errors import Refused
from ostoja.kernel.ids import uuid7
from ostoja.tenancy.context import current_tenant

from . import reaching
from .carrying import CHUNK
from .core.terms import OPEN
from .install import view_of
from .models import Clock, Link, Parcel
from .sending import as_sender
from .sites import actor_of, here
from .tables import Tables

AGAIN = 60.0  # seconds until a file is asked for again that the other site did not have
LOOK = 15.0  # seconds between two questions what the cloud lacks, or still keeps


def kinds() -> dict[str, type[Attachment]]:
    """Every kind of attachment by its label."""
    return {e.label: e.model for e in registry.entries() if issubclass(e.model, Attachment)}


# --- bytes on their way -----------------------------------------------------------------------------------------------


class Part:
    """The bytes of one file that have come so far, in a file beside the tenant's others."""

    def __init__(self, record: uuid.UUID | str):
        self.path = Path(default_storage.path(f"{current_tenant().schema_name}/parts/{uuid.UUID(str(record))}"))

    @property
    def size(self) -> int:
        """How many bytes are there."""
        return self.path.stat().st_size if self.path.exists() else 0

    def add(self, offset: int, content: bytes) -> int:
        """Put a chunk behind what is there, if that is where it belongs; answers how many bytes are there now."""
        if offset == 0 and content:
            self.drop()
        if offset != self.size:
            return self.size
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(content)
        return self.size

    def drop(self) -> None:
        """Throw away what came."""
        self.path.unlink(missing_ok=True)

    def finish(self, kind: type[Attachment], record, link: Link) -> bool:
        """Make the part the bytes of its record, when they are the right ones; else throw them away."""
        with self.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        with changing(actor_of(link), "carry"), transaction.atomic():
            row = kind.objects.select_for_update().filter(pk=record, key="").first()
            if row is None or digest != row.sha256 or self.size != row.size:
                self.drop()
                return False
            with self.path.open("rb") as file:
                key = default_storage.save(f"{current_tenant().schema_name}/files/{uuid7()}", File(file))
            kind.objects.filter(pk=record).update(key=key)
            transaction.on_commit(self.drop)
        return True


def _chunk(key: str, offset: int) -> bytes:
    with default_storage.open(key, "rb") as file:
        file.seek(offset)
        return file.read(CHUNK)


# --- the cloud --------------------------------------------------------------------------------------------------------


def answer(link: Link, head: dict, content: bytes) -> tuple[dict, bytes]:
    """What the cloud answers to a question of the site that dials. Raises Refused, ValueError, KeyError, TypeError."""
    match head.get("ask"):
        case "address":
            reaching.heard(link, str(head["url"]))
            return {}, b""
        case "get":
            return _get(link, str(head["model"]), uuid.UUID(head["id"]), int(head["offset"]))
        case "have":
            for one in list(head["ids"])[:1000]:
                _is_there(uuid.UUID(one))
            return {}, b""
        case "lacking":
            return {"files": _lacking()}, b""
        case "left":
            waiting = Parcel.objects.filter(there=False).order_by("id")[:200] if link.site.ceiling > OPEN else ()
            return {"files": [[p.model, str(p.pk)] for p in waiting]}, b""
        case "put":
            return {"have": _put(link, str(head["model"]), uuid.UUID(head["id"]), int(head["offset"]), content)}, b""
    raise ValueError("Nobody asks that.")


def _get(link: Link, model: str, record: uuid.UUID, offset: int) -> tuple[dict, bytes]:
    """A chunk of a file: of a record that is here, or of one that has left for the premises."""
    kind = kinds().get(model)
    row = kind.objects.filter(pk=record).exclude(key="").first() if kind is not None else None
    if row is None and link.site.ceiling > OPEN:
        row = Parcel.objects.filter(pk=record, model=model, there=False).first()
    if row is None or offset < 0 or not default_storage.exists(row.key):
        return {"found": False}, b""
    return {"found": True, "size": row.size}, _chunk(row.key, offset)


def _lacking() -> list[list]:
    """Files whose record is here and whose bytes are not, with how much of them came."""
    found = []
    for label, kind in kinds().items():
        found += [
            [label, str(pk), Part(pk).size] for pk in kind.objects.filter(key="").values_list("pk", flat=True)[:100]
        ]
    return found


def _put(link: Link, model: str, record: uuid.UUID, offset: int, content: bytes) -> int:
    """Take a chunk of a file whose record is here; answers how much is here, -1 when nothing more is wanted."""
    kind = kinds().get(model)
    row = kind.objects.filter(pk=record, key="").first() if kind is not None else None
    if row is None:
        return -1
    if len(content) > CHUNK or offset + len(content) > min(row.size, settings.MAX_UPLOAD_BYTES):
        raise Refused(_("This is more than the file has."), code="bad_message")
    part = Part(record)
    size = part.add(offset, content)
    if size < row.size:
        return size
    if not part.finish(kind, record, link):
        return 0
    Parcel.objects.update_or_create(
        pk=record, defaults={"model": model, "sha256": row.sha256, "size": row.size, "key": "", "there": True}
    )
    return -1


@transaction.atomic
def _is_there(record: uuid.UUID) -> None:
    """The premises hold the bytes of this file: what waited here for them goes."""
    parcel = Parcel.objects.select_for_update().filter(pk=record).first()
    for label, kind in kinds().items():
        row = kind.objects.filter(pk=record).first()
        if row is not None:
            known = {"model": label, "sha256": row.sha256, "size": row.size, "key": row.key, "there": True}
            Parcel.objects.update_or_create(pk=record, defaults=known)
            return
    if parcel is not None:
        _delete_bytes(parcel.key)
        parcel.delete()


def forget(records: Iterable[uuid.UUID]) -> int:
    """In the cloud, in the transaction of a purge and before its rows go: give up the bytes of these records and of their files.

    What the premises hold is deleted with the commit; what they do not have yet waits for them and for nobody else. Answers
    how many files that were.
    """
    keys = list(records)
    count = 0
    for kind in kinds().values():
        inside = registry.of(kind).surface.inside
        count += _let_go(kind.objects.filter(Q(pk__in=keys) | Q(**{f"{inside}__in": keys})))
    return count


def withdraw(tables: Tables | None = None) -> int:
    """In the cloud, before it gives up what it may not hold (by ``tables``, else by the manifest in force): do so with the bytes
    of all files that are such. May be repeated.
    """
    tables = tables or here().tables
    closed = [k for label, k in kinds().items() if (t := tables.get(label)) is None or not t.holdable(OPEN)]
    with transaction.atomic():
        return sum(_let_go(kind.objects.all()) for kind in closed)


def _let_go(rows: QuerySet) -> int:
    count = 0
    for row in rows:
        Part(row.pk).drop()
        if not row.key:
            continue
        count += 1
        known = Parcel.objects.filter(pk=row.pk, there=True)
        if known.exists():
            _delete_bytes(row.key)
            known.delete()
        else:
            waits = {"model": row._meta.label_lower, "sha256": row.sha256, "size": row.size, "key": row.key}
            Parcel.objects.get_or_create(pk=row.pk, defaults=waits)
    return count


def _delete_bytes(key: str) -> None:
    if key:
        transaction.on_commit(lambda: default_storage.delete(key))


@keeps_files
def waiting() -> Iterable[str]:
    """Files that no record names any more and that the premises have not fetched."""
    return Parcel.objects.filter(there=False).values_list("key", flat=True)


# --- the site that dials ----------------------------------------------------------------------------------------------


class Carrier:
    """Carries files between this site and the one that it dials; the tenant must be open."""

    def __init__(self, caller):
        self.caller, self.link = caller, caller.link
        self.told: str | None = None
        self.later: dict[uuid.UUID, float] = {}
        self.looked = {"lacking": 0.0, "left": 0.0}

    def work(self) -> bool:
        """Do one piece of work; answers whether there was any. Raises Unreachable."""
        return self._tell() or self._fetch() or self._bring() or self._confirm()

    def _tell(self) -> bool:
        """Say where browsers find this site, when that is new."""
        address = reaching.own_address()
        if address == self.told or not address and self.told is None:
            return False
        self.caller.carry({"ask": "address", "url": address})
        self.told = address
        return True

    def _fetch(self) -> bool:
        """The next chunk of a file whose record is here and whose bytes are not."""
        now = time.monotonic()
        for label, kind in kinds().items():
            for pk, size in kind.objects.filter(key="").order_by("pk").values_list("pk", "size")[:200]:
                if self.later.get(pk, 0.0) > now:
                    continue
                part = Part(pk)
                if part.size > size:
                    part.drop()
                said, content = self.caller.carry({"ask": "get", "model": label, "id": str(pk), "offset": part.size})
                if not said.get("found") or not content and part.size < size:
                    self.later[pk] = now + AGAIN
                    continue
                if part.add(part.size, content) >= size:
                    if part.finish(kind, pk, self.link):
                        self.caller.carry({"ask": "have", "ids": [str(pk)]})
                    else:
                        self.later[pk] = now + AGAIN
                return True
        return False

    def _bring(self) -> bool:
        """The files that the cloud lacks, as far as their records may be there now; each whole."""
        tables = self.caller.exchange.tables
        open_kinds = {label: k for label, k in kinds().items() if (t := tables.get(label)) and t.holdable(OPEN)}
        if not open_kinds or not self._due("lacking"):
            return False
        said, _content = self.caller.carry({"ask": "lacking"})
        brought = False
        for label, key, size in said["files"]:
            kind = open_kinds.get(label)
            row = kind.objects.filter(pk=key).exclude(key="").first() if kind is not None else None
            if row is not None and self._may_leave(tables.get(label), row.pk):
                brought = self._send(label, row, int(size)) or brought
        return brought

    def _may_leave(self, table, record) -> bool:
        """Whether the role that reads what may leave sees this record."""
        with as_sender(OPEN), connection.cursor() as cursor:
            cursor.execute(f'SELECT 1 FROM "{view_of(table, OPEN)}" WHERE id = %s', [str(record)])
            return cursor.fetchone() is not None

    def _send(self, label: str, row: Attachment, offset: int) -> bool:
        while 0 <= offset < row.size:
            head = {"ask": "put", "model": label, "id": str(row.pk), "offset": offset}
            said, _content = self.caller.carry(head, _chunk(row.key, offset))
            if said["have"] != -1 and said["have"] <= offset:
                return False
            offset = int(said["have"])
        return True

    def _confirm(self) -> bool:
        """What still waits in the cloud although it is here, or although its record is deleted: it may go there."""
        if not self._due("left"):
            return False
        said, _content = self.caller.carry({"ask": "left"})
        done = []
        for label, key in said["files"]:
            kind = kinds().get(label)
            row = kind.objects.filter(pk=key).first() if kind is not None else None
            cl = Clock.objects.filter(pk=key).values_list("cl", flat=True).first()
            if (row is not None and row.key) or (row is None and cl is not None and cl % 2 == 0):
                done.append(key)
        if done:
            self.caller.carry({"ask": "have", "ids": done})
        return bool(done)

    def _due(self, what: str) -> bool:
        now = time.monotonic()
        if self.looked[what] and now - self.looked[what] < LOOK:
            return False
        self.looked[what] = now
        return True
