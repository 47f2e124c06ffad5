"""One exchange over a link: what this site has to say goes out as sealed envelopes, what came in is applied, each in one transaction."""

from __future__ import annotations

import hashlib
import time
import uuid
from dataclasses import dataclass, field

import orjson
import zstandard
from django.db import connection, transaction
from django.db.models import F
from django.utils import timezone

from ostoja.journal.context import changing
from ostoja.kernel.errors import OstojaError

from .core.wire import CONTROL, DATA, Ack, Corrupt, Envelope, Op, Purge, decode, encode
from .models import Link, Progress, PurgeCase
from .receiving import Counts, Receiver, control_ops, settle, told
from .sending import Batch, Sender, forget_held, mark_held, send_again
from .sites import Here, actor_of, agreed, head, here

MOST_BYTES = 64 * 1024 * 1024
LEVEL = 6
UNKNOWN_MANIFEST = "The other site does not know our manifest yet."


class BadMessage(OstojaError):
    """A message that this site does not take; the sentence says why."""

    code = "bad_message"
    status = 400


@dataclass
class Message:
    """What passes a link at once: envelopes, and where a first load stands.

    ``load`` is (model, key) of the last part of a first load that is in here, or that the sender has; None without one.
    ``knows`` is the hash of the receiver's manifest that the sender has; ``manifest`` the sender's own, sent along when
    the other side does not know it yet.
    """

    envelopes: list[Envelope] = field(default_factory=list)
    load: tuple[str, str] | None = None
    wants_load: bool = False
    manifest: bytes = b""
    knows: str = ""

    def pack(self) -> bytes:
        """The message as bytes: sealed envelopes behind a head, compressed."""
        parts = [encode(e) for e in self.envelopes]
        head = orjson.dumps(
            {
                "load": self.load,
                "wants_load": self.wants_load,
                "manifest": self.manifest.decode(),
                "knows": self.knows,
                "parts": [len(p) for p in parts],
            }
        )
        return zstandard.ZstdCompressor(level=LEVEL).compress(len(head).to_bytes(4, "big") + head + b"".join(parts))

    @classmethod
    def unpack(cls, packed: bytes) -> Message:
        """The message in these bytes. Raises BadMessage."""
        try:
            raw = zstandard.ZstdDecompressor().decompress(packed, max_output_size=MOST_BYTES)
            length = int.from_bytes(raw[:4], "big")
            said = orjson.loads(raw[4 : 4 + length])
            at, envelopes = 4 + length, []
            for size in said["parts"]:
                envelopes.append(decode(raw[at : at + size]))
                at += size
            load = tuple(said["load"]) if said["load"] else None
            return cls(envelopes, load, bool(said["wants_load"]), said["manifest"].encode(), said["knows"])
        except (zstandard.ZstdError, Corrupt, KeyError, TypeError, ValueError) as error:
            raise BadMessage("The message was damaged on its way; it is sent again.") from error


class Exchange:
    """One link of the open tenant."""

    def __init__(self, link: Link):
        self.link = link
        self.here: Here = here()
        self.progress: Progress = link.progress
        self.tables = agreed(self.here.manifest, self.progress)
        self.sender = Sender(self.here, link, self.tables)

    # out

    def waiting(self) -> bool:
        """Whether there is anything to say: changes that were not acknowledged, or something beside the stream."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM journal_change WHERE seq IS NULL) OR EXISTS (SELECT FROM journal_change WHERE seq > %s)",
                [self.progress.acked],
            )
            return cursor.fetchone()[0] or bool(control_ops(self.link))

    def outgoing(
        self, *, load_after: tuple[str, str] | None = None, load: bool = False, silent: bool = False
    ) -> Message:
        """What this site has to say now. ``load``: the other site wants (the next part of) everything."""
        self._fresh()
        theirs = bytes(self.progress.peer_manifest)
        message = Message(knows=hashlib.sha256(theirs).hexdigest() if theirs else "")
        if not theirs or self.progress.problem == UNKNOWN_MANIFEST:
            message.manifest = self.here.manifest.canonical
        if silent:
            message.envelopes.append(self._envelope(CONTROL, Batch(), []))
            return message
        ops: list[Op] = control_ops(self.link)
        held: list[uuid.UUID] = []
        if load and self.progress.peer_manifest:
            model, after = load_after or ("", "")
            part, model, last = self.sender.load(model, uuid.UUID(after) if after else None)
            ops += part.ops
            held += part.held
            message.load = (model, str(last or ""))
        data = Batch(seq_from=self.progress.acked + 1, seq_to=self.progress.acked, high=self.progress.acked)
        if not load and self.progress.peer_manifest:
            data = self.sender.batch(self.progress.acked, head())
        self._note(data.ops)
        mark_held(self.link.site.number, [*held, *data.held])
        message.envelopes.append(self._envelope(CONTROL, data, ops))
        if data.seq_to >= data.seq_from:
            message.envelopes.append(self._envelope(DATA, data, data.ops))
        return message

    def _envelope(self, lane: str, batch: Batch, ops: list[Op]) -> Envelope:
        progress = self.progress
        return Envelope(
            link=str(self.link.pk), sender=self.here.number, epoch=self.here.epoch, peer_epoch=progress.peer_epoch, lane=lane,
            manifest=self.here.manifest.hash, base=0, resync_to=0, seq_from=batch.seq_from if lane == DATA else 0,
            seq_to=batch.seq_to if lane == DATA else 0, high_water=batch.high,
            ack=Ack(progress.peer_epoch, progress.applied, batch.high), hlc_now=int(time.time() * 1000), ops=tuple(ops),
        )  # fmt: skip

    def _note(self, ops: list[Op]) -> None:
        """Keep a case for every record that is called back."""
        purges = [op for op in ops if isinstance(op, Purge)]
        if not purges:
            return
        with changing(actor_of(self.link), "purge sent"):
            for op in purges:
                PurgeCase.objects.get_or_create(
                    link=self.link, record=op.key.id, label_ver=op.label_ver,
                    defaults={"about": op.key.model, "sent_at": timezone.now()},
                )  # fmt: skip

    # in

    def incoming(self, message: Message, size: int = 0) -> Counts:
        """Apply what came; each envelope in one transaction with the cursor. Answers what became of it.

        Raises LinkSuspect, NotOpen, BadMessage; what was applied before stays.
        """
        total = Counts()
        if message.manifest:
            Progress.objects.filter(pk=self.progress.pk).update(peer_manifest=message.manifest)
            self._fresh()
        for envelope in message.envelopes:
            counts = self._take(envelope, message)
            for name, value in vars(counts).items():
                setattr(total, name, getattr(total, name) + value)
        Progress.objects.filter(pk=self.progress.pk).update(
            bytes_in=F("bytes_in") + size, seen_at=timezone.now(),
            problem=UNKNOWN_MANIFEST if message.knows != self.here.manifest.hash else "",
        )  # fmt: skip
        self._fresh()
        return total

    def _fresh(self) -> None:
        self.progress.refresh_from_db()
        self.tables = agreed(self.here.manifest, self.progress)
        self.sender.tables = self.tables

    def _take(self, envelope: Envelope, message: Message) -> Counts:
        if envelope.link != str(self.link.pk) or envelope.sender != self.link.site.number:
            raise BadMessage("This envelope is not of this link.")
        with changing(actor_of(self.link), "sync"), transaction.atomic():
            progress = self.progress = Progress.objects.select_for_update().get(pk=self.progress.pk)
            if envelope.epoch != progress.peer_epoch:
                self._another_incarnation(envelope, progress)
            acked = progress.acked
            if envelope.ack.epoch == self.here.epoch and envelope.ack.seq > acked:
                acked = envelope.ack.seq
            changes = {"acked": acked, "peer_high": max(progress.peer_high, envelope.high_water)}
            changes["skew_ms"] = max(-(2**31), min(2**31 - 1, envelope.hlc_now - int(time.time() * 1000)))
            counts = Counts()
            receiver = Receiver(self.here, self.link, self.tables, unsent_after=acked)
            if envelope.lane == CONTROL:
                counts = receiver.apply(envelope.ops)
            elif envelope.seq_from <= progress.applied + 1 and envelope.seq_to > progress.applied:
                counts = receiver.apply(envelope.ops)
                changes["applied"] = envelope.seq_to
            if acked > progress.acked:
                counts.purged += settle(self.here, self.link, self.tables, acked)
            if envelope.lane == CONTROL and message.load is not None and not message.wants_load:
                model, after = message.load
                changes |= {"load_model": model, "load_after": after or None, "loaded": not model}
            Progress.objects.filter(pk=progress.pk).update(**changes)
        self.progress.refresh_from_db()
        return counts

    def _another_incarnation(self, envelope: Envelope, progress: Progress) -> None:
        """The other site was restored or made anew: its stream begins again, and it gets everything again."""
        if progress.peer_epoch:
            with connection.cursor() as cursor:
                cursor.execute(
                    "SELECT model, array_agg(id::text) FROM hybrid_clock WHERE %s::smallint = ANY(held) GROUP BY 1",
                    [self.link.site.number],
                )
                for model, records in cursor.fetchall():
                    send_again(model, records)
                cursor.execute(
                    "SELECT about, array_agg(record::text) FROM hybrid_purgecase WHERE link_id = %s GROUP BY 1",
                    [self.link.pk],
                )
                for model, records in cursor.fetchall():
                    send_again(model, records)
            Progress.objects.filter(pk=progress.pk).update(
                peer_epoch=envelope.epoch, applied=envelope.base, loaded=False, load_model=""
            )
            progress.applied = envelope.base
        else:
            Progress.objects.filter(pk=progress.pk).update(peer_epoch=envelope.epoch)
        progress.peer_epoch = envelope.epoch

    def said(self, message: Message) -> None:
        """The other site answered that it has this message: what was told beside the stream need not be told again."""
        with changing(actor_of(self.link), "sync"):
            for envelope in message.envelopes:
                if envelope.lane == CONTROL:
                    told(self.link, envelope.ops)


def open_links() -> list[Link]:
    """The open links of the open tenant."""
    return list(Link.objects.filter(state=Link.State.OPEN).select_related("site", "progress"))


def repair(link: Link, keys: list[tuple[str, str]]) -> None:
    """Let these records be sent again as a whole."""
    from ostoja.kernel.actors import Actor

    with changing(Actor.system("Verify"), "resend"):
        for model, key in keys:
            forget_held(link.site.number, [uuid.UUID(key)])
            send_again(model, [uuid.UUID(key)])


def lag(link: Link) -> int:
    """How many of our changes the other site has not acknowledged."""
    return max(0, head() - link.progress.acked)


__all__ = ["BadMessage", "Exchange", "Message", "lag", "open_links", "repair"]
