"""One exchange over a link: what this site has to say goes out as sealed envelopes, what came in is applied, each in one transaction."""

from __future__ import annotations

import hashlib
import re
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import timedelta

import orjson
import zstandard
from django.db import OperationalError, connection, transaction
from django.db.models import F
from django.utils import timezone

from ostoja.journal.context import changing
from ostoja.kernel.actors import Actor
from ostoja.kernel.errors import OstojaError
from ostoja.kernel.memory import undisturbed

from . import renewing, restamping
from .core import apply as applying
from .core import epochs, graves
from .core.sequence import Verdict
from .core.wire import (
    CONTROL,
    DATA,
    PROTO,
    TOLD,
    Ack,
    Corrupt,
    Envelope,
    Key,
    Op,
    OtherProtocol,
    Purge,
    Want,
    decode,
    encode,
    op_from,
)
from .models import Link, Parked, Progress, PurgeCase, Reply, Site
from .receiving import Counts, LinkSuspect, NotOpen, Receiver, settle
from .sending import FAR, MOST_ENTRIES, Batch, Sender, mark_shipped, relabelled, send_again, send_everything
from .sites import Here, actor_of, agreed, decided, head, here

MOST_BYTES = 64 * 1024 * 1024
LEVEL = 6
AGAIN = timedelta(seconds=20)  # until a purge that was not receipted is told again beside the stream
KEY = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
UNKNOWN_MANIFEST = "The other site does not know our manifest yet."
OLDER = (
    "This copy is older than what the other site knows: it was restored from a backup, or copied. "
    "Run `ostoja site renew` here if it is the one that goes on."
)


class BadMessage(OstojaError):
    """A message that this site does not take; the sentence says why."""

    code = "bad_message"
    status = 400


class Retired(OstojaError):
    """This copy of the site is older than what the other site knows; it says and takes nothing until it is renewed."""

    code = "older_copy"
    status = 409


class Busy(OstojaError):
    """People are working on the same records just now; the message is sent again."""

    code = "busy"
    status = 503


@dataclass
class Message:
    """What passes a link at once.

    ``knows`` is the hash of the receiver's manifest that the sender has; ``manifest`` the sender's own, sent along when
    the other side does not know it yet. ``refused`` is the code of why the last message of the receiver was not taken.
    ``behind`` is the number behind which the sender wishes to hear more: it takes what came up to there just now.
    """

    envelopes: list[Envelope] = field(default_factory=list)
    manifest: bytes = b""
    knows: str = ""
    refused: str = ""
    behind: int = 0

    @undisturbed()
    def pack(self) -> bytes:
        """The message as bytes: sealed envelopes behind a head, compressed."""
        parts = [encode(e) for e in self.envelopes]
        said = {"manifest": self.manifest.decode(), "knows": self.knows, "refused": self.refused}
        head = orjson.dumps({**said, "behind": self.behind, "parts": [len(p) for p in parts]})
        return zstandard.ZstdCompressor(level=LEVEL).compress(len(head).to_bytes(4, "big") + head + b"".join(parts))

    @classmethod
    @undisturbed()
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
            manifest, refused, behind = (
                said["manifest"].encode(),
                str(said.get("refused", "")),
                int(said.get("behind", 0)),
            )
            return cls(envelopes, manifest, said["knows"], refused, behind)
        except OtherProtocol as error:
            raise BadMessage(
                f"The other site speaks protocol {error.number} and this one {PROTO}: update the older of both.",
                code="other_protocol",
            ) from error
        except (zstandard.ZstdError, Corrupt, KeyError, TypeError, ValueError) as error:
            raise BadMessage("The message was damaged on its way; it is sent again.") from error


@dataclass(frozen=True)
class Ahead:
    """A batch that was read while the one before it was on its way. It leaves only while the ``ground`` on which it was read stands."""

    batch: Batch
    ground: tuple


class Exchange:
    """One link of the open tenant."""

    def __init__(self, link: Link):
        self.link = link
        self.here: Here = here()
        self.progress: Progress = link.progress
        self.tables = agreed(self.here.manifest, self.progress)

    @property
    def sender(self) -> Sender:
        """What reads for this link."""
        return Sender(self.here, self.link, self.tables, self.progress.acked)

    # out

    def waiting(self) -> bool:
        """Whether there is anything to say: changes that were not acknowledged, or something beside the stream."""
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT EXISTS (SELECT FROM journal_change WHERE seq IS NULL) OR EXISTS (SELECT FROM journal_change WHERE seq > %s)",
                [self.progress.acked],
            )
            return cursor.fetchone()[0] or bool(self._control())

    @staticmethod
    def is_far(message: Message) -> bool:
        """Whether a long queue waits behind this message."""
        told = message.envelopes[-1]
        return told.seq_to >= told.seq_from and told.high_water - told.seq_to > FAR

    @undisturbed()
    def ahead(self, message: Message) -> Ahead:
        """Read what comes behind this message, which is on its way."""
        after = message.envelopes[-1].seq_to
        ground = self._ground(after)
        return Ahead(self.sender.batch(after, head(), MOST_ENTRIES), ground)

    def _ground(self, acked: int) -> tuple:
        """On what a batch behind this number stands: the incarnations of both sites, and what may travel."""
        p = self.progress
        return (
            acked, p.own_epoch, p.peer_epoch, p.base, p.own_resync_to, self.here.epoch, self.here.withdrawn,
            self.tables.manifest.hash, decided(),
        )  # fmt: skip

    def _still(self, ahead: Ahead | None) -> Batch | None:
        """What was read ahead, if all before it arrived, and what may leave is what might leave when it was read."""
        if ahead is None or ahead.ground != self._ground(self.progress.acked) or relabelled(ahead.batch.high):
            return None
        return replace(ahead.batch, high=self._last())

    @undisturbed()
    def outgoing(self, *, silent: bool = False, ahead: Ahead | None = None, behind: int = 0) -> Message:
        """What this site has to say now; ``silent``: nothing but how far it is. Raises Retired.

        ``behind``: what comes after this number, as all before it is on its way already.
        """
        self._fresh()
        if self.here.retired:
            raise Retired(OLDER)
        theirs = bytes(self.progress.peer_manifest)
        message = Message(knows=hashlib.sha256(theirs).hexdigest() if theirs else "")
        if not theirs or self.progress.problem == UNKNOWN_MANIFEST:
            message.manifest = self.here.manifest.canonical
        acked = self.progress.acked
        data = Batch(seq_from=acked + 1, seq_to=acked, high=self._last())
        if silent:
            message.envelopes += [self._envelope(CONTROL, data, ()), self._envelope(DATA, data, ())]
            return message
        control = self._control()
        if theirs and self._may_send():
            last = head()
            after = behind if acked < behind < last else acked
            data = self._still(ahead) or self.sender.batch(after, last, MOST_ENTRIES)
        self._note([*data.ops, *control])
        mark_shipped(self.link.site.number, data.ships)
        message.envelopes += [self._envelope(CONTROL, data, control), self._envelope(DATA, data, data.ops)]
        return message

    def _may_send(self) -> bool:
        others = ()
        if self.here.restored:
            others = [inbound(p) for p in Progress.objects.filter(link__state=Link.State.OPEN)]
        return epochs.may_send(
            inbound(self.progress), outbound(self.progress), self.here.epoch, self.here.is_owner, others
        )

    def _envelope(self, lane: str, batch: Batch, ops: Iterable[Op]) -> Envelope:
        p, incoming = self.progress, inbound(self.progress)
        return Envelope(
            link=str(self.link.pk), sender=self.here.number, epoch=self.here.epoch,
            peer_epoch=epochs.peer_epoch(outbound(p), self.here.epoch), lane=lane, manifest=self.tables.manifest.hash, base=p.base,
            resync_to=p.own_resync_to, seq_from=batch.seq_from, seq_to=batch.seq_to, high_water=batch.high,
            ack=epochs.ack_of(incoming, batch.high), hlc_now=int(time.time() * 1000) << 16, ops=tuple(ops),
        )  # fmt: skip

    def _control(self) -> list[Op]:
        """What has to be told beside the stream: receipts, what is wanted, purges that were not receipted for a while."""
        replies = [op_from(r.operation) for r in Reply.objects.filter(link=self.link).order_by("id")[:1000]]
        late = timezone.now() - AGAIN
        wants = [
            Want(Key(p.about, str(p.record)))
            for p in Parked.objects.filter(link=self.link, reason=applying.ABSENT, updated_at__lt=late)[:1000]
        ]
        due = PurgeCase.objects.filter(link=self.link, gone_at=None, sent_at__lt=late)[:1000]
        return [*replies, *wants, *(Purge(Key(c.about, str(c.record)), 1, c.label_ver) for c in due)]

    def _note(self, ops: list[Op]) -> None:
        """Keep a case for every record that is called back."""
        purges = [op for op in ops if isinstance(op, Purge)]
        if not purges:
            return
        with changing(actor_of(self.link), "purge sent"):
            for op in purges:
                case, made = PurgeCase.objects.get_or_create(
                    link=self.link, record=op.key.id, label_ver=op.label_ver,
                    defaults={"about": op.key.model, "sent_at": timezone.now()},
                )  # fmt: skip
                if not made and case.gone_at is None:
                    PurgeCase.objects.filter(pk=case.pk).update(sent_at=timezone.now())

    # in

    @undisturbed()
    def incoming(self, message: Message, size: int = 0) -> Counts:
        """Apply what came; each envelope in one transaction with the cursor. Answers what became of it.

        Raises LinkSuspect, NotOpen, BadMessage, Retired, Busy; what was applied before stays.
        """
        total = Counts()
        if message.refused == LinkSuspect.code:
            restamping.put_right()
        if message.manifest:
            self._learn(message.manifest)
        try:
            for envelope in message.envelopes:
                counts = self._take(envelope)
                for name, value in vars(counts).items():
                    setattr(total, name, getattr(total, name) + value)
        except OperationalError as error:
            if getattr(error.__cause__, "pgcode", "") in ("55P03", "40P01"):
                raise Busy(
                    "Somebody is working on the same records: the message is taken when it comes again."
                ) from error
            raise
        Progress.objects.filter(pk=self.progress.pk).update(
            bytes_in=F("bytes_in") + size, seen_at=timezone.now(),
            problem=UNKNOWN_MANIFEST if message.knows != self.here.manifest.hash else "",
        )  # fmt: skip
        self._fresh()
        return total

    def _fresh(self) -> None:
        self.progress.refresh_from_db()
        if not self.here.founded or self.here.restored:
            self.here = here()
        self.tables = agreed(self.here.manifest, self.progress)

    def _last(self) -> int:
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(seq), 0) FROM journal_change")
            return cursor.fetchone()[0]

    def _learn(self, manifest: bytes) -> None:
        """The other site stands at this manifest: what opens by it is told again; the premises' own is to be taken over."""
        from . import adopting

        before = self.tables.manifest
        with transaction.atomic():
            Progress.objects.filter(pk=self.progress.pk).update(peer_manifest=manifest)
            self._fresh()
            adopting.learned(self, before)

    def _take(self, envelope: Envelope) -> Counts:
        if envelope.link != str(self.link.pk) or envelope.sender != self.link.site.number:
            raise BadMessage("This envelope is not of this link.")
        _check(envelope)
        with changing(actor_of(self.link), "sync"), transaction.atomic():
            progress = self.progress = Progress.objects.select_for_update().get(pk=self.progress.pk)
            greeting = epochs.greet(inbound(progress), outbound(progress), envelope, self.here.epoch, self._last())
            if greeting.rolled_back or greeting.superseded:
                older = True
            else:
                older = False
                incoming, outgoing = greeting.inbound, greeting.outbound
                if greeting.resync:
                    outgoing = self._resync(outgoing)
                    whole = progress.own_epoch and progress.loaded
                    progress.peer_knew = (
                        greeting.knew if whole else min(progress.peer_knew or greeting.knew, greeting.knew)
                    )
                elif outgoing.acked > progress.acked:
                    settle(self.link, self.here, outgoing.acked)
                out = applying.admit(
                    envelope, incoming, self._core_site(), self._terms(outgoing.acked), int(time.time() * 1000)
                )
                counts = Counts()
                if out.taken and envelope.ops:
                    resync = envelope.seq_from <= envelope.resync_to and envelope.lane == DATA
                    receiver = Receiver(
                        self.here, self.link, self.tables, acked=outgoing.acked, recovering=self.here.restored and resync,
                        expired=resync and graves.expired(progress.peer_knew, self._collected_to()), retold=resync,
                    )  # fmt: skip
                    counts = receiver.apply(envelope.ops, out.inbound)
                self._keep(progress, out.inbound, epochs.settle(outgoing, out.inbound), envelope)
        if older:
            self._retire(envelope)
        self.progress.refresh_from_db()
        _complain(out.verdict)
        return counts

    def _core_site(self):
        from .core.link import Site as CoreSite

        return CoreSite(self.here.number, self.here.epoch, self.here.is_owner)

    def _terms(self, acked: int):
        return Receiver(self.here, self.link, self.tables, acked=acked).terms

    def _collected_to(self) -> int:
        return Site.objects.values_list("collected_to", flat=True).get(here=True)

    def _resync(self, outgoing: epochs.Outbound) -> epochs.Outbound:
        """A new pair of incarnations: everything is told again, behind all that was numbered before."""
        base = head()
        with changing(Actor.system("Sites"), "resend"):
            send_everything(self.tables)
        return outgoing._replace(base=base, acked=base, resync_to=head())

    def _keep(self, progress: Progress, incoming, outgoing: epochs.Outbound, envelope: Envelope) -> None:
        if envelope.epoch == incoming.epoch:
            # What was heard of an incarnation that is gone says nothing of this one.
            before = progress.peer_high if progress.peer_epoch == incoming.epoch else 0
            progress.peer_high = max(before, envelope.high_water)
        progress.peer_epoch, progress.own_epoch = incoming.epoch, incoming.own
        progress.started, progress.applied = incoming.applied is not None, incoming.applied or 0
        progress.resync_to, progress.knew = incoming.resync_to, incoming.knew
        progress.base, progress.acked, progress.own_resync_to = outgoing.base, outgoing.acked, outgoing.resync_to
        progress.marks, progress.settled = [list(m) for m in outgoing.marks[-100:]], outgoing.settled
        skew = (envelope.hlc_now >> 16) - int(time.time() * 1000)
        progress.skew_ms = max(-(2**31), min(2**31 - 1, skew))
        progress.save()
        if not self.here.is_owner:
            self._floor(incoming.epoch)
        if not self.here.founded and progress.loaded:
            Site.objects.filter(here=True).update(founded=True)
        if self.here.restored and all(
            inbound(p).whole and p.own_epoch == self.here.epoch
            for p in Progress.objects.filter(link__state=Link.State.OPEN)
        ):
            renewing.caught_up()

    def _floor(self, epoch: int) -> None:
        """New records of ours begin at the label version of the incarnation of the premises that we know."""
        from .core.labels import floor_of
        from .core.terms import Authority

        if Authority.PREMISES in self.here.leads_to(self.link) and (floor := floor_of(epoch)):
            Site.objects.filter(here=True, label_floor__lt=floor).update(label_floor=floor)

    def _retire(self, envelope: Envelope) -> None:
        with changing(Actor.system("Sites"), "retire"):
            Site.objects.filter(here=True).update(retired=True)
        known = max(self.progress.own_epoch, envelope.peer_epoch)
        Progress.objects.filter(pk=self.progress.pk).update(problem=OLDER[:300], own_epoch=known)
        raise Retired(OLDER)

    def said(self, message: Message) -> None:
        """The other site answered that it has this message: what was told beside the stream need not be told again."""
        told = [op for envelope in message.envelopes if envelope.lane == CONTROL for op in envelope.ops]
        if not told:
            return
        with changing(actor_of(self.link), "sync"):
            for reply in Reply.objects.filter(link=self.link):
                if op_from(reply.operation) in told:
                    reply.delete()
            wanted = [op.key.id for op in told if isinstance(op, Want)]
            Parked.objects.filter(link=self.link, record__in=wanted).update(
                attempts=F("attempts") + 1, updated_at=timezone.now()
            )


def inbound(p: Progress) -> epochs.Inbound:
    """How far the peer's stream was applied, as the core sees it."""
    return epochs.Inbound(p.peer_epoch, p.own_epoch, p.applied if p.started else None, p.resync_to, p.knew)


def outbound(p: Progress) -> epochs.Outbound:
    """How far ours was acknowledged, as the core sees it."""
    marks = tuple((a, b) for a, b in p.marks)
    return epochs.Outbound(p.peer_epoch, p.own_epoch, p.base, p.acked, p.own_resync_to, marks, p.settled)


def _check(envelope: Envelope) -> None:
    """Keys are UUIDs as PostgreSQL writes them, values are texts. Raises BadMessage."""
    try:
        for op in envelope.ops:
            if not KEY.fullmatch(op.key.id):
                raise ValueError
            for cell in op.cells.values() if isinstance(op, TOLD) else ():
                if cell.value is not None and type(cell.value) is not str:
                    raise ValueError
    except ValueError:
        raise BadMessage("The message names what is no key, or a value that is no text.") from None


def _complain(verdict: Verdict) -> None:
    match verdict:
        case Verdict.CLOCK:
            raise LinkSuspect("The other site's clock is more than five minutes ahead of ours: set both by NTP.")
        case Verdict.FIELD:
            raise NotOpen("The other site sent what does not travel on this link: compare the manifests of both sites.")


def open_links() -> list[Link]:
    """The open links of the open tenant."""
    return list(Link.objects.filter(state=Link.State.OPEN).select_related("site", "progress"))


def repair(link: Link, keys: list[tuple[str, str]]) -> None:
    """Let these records be sent again as a whole."""
    with changing(Actor.system("Verify"), "resend"):
        for model, key in keys:
            send_again(model, [uuid.UUID(key)])


def lag(link: Link) -> int:
    """How many of our changes the other site has not acknowledged."""
    return max(0, head() - link.progress.acked)


__all__ = ["Ack", "BadMessage", "Busy", "Exchange", "Message", "Retired", "lag", "open_links", "repair"]
