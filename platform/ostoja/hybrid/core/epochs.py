"""Incarnations: a stream belongs to a pair of epochs, and a site that was restored or cloned starts a new one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from .labels import EPOCH_BITS
from .sequence import Inbound
from .wire import Ack, Entry, Envelope, Key


class Outbound(NamedTuple):
    """How far a peer acknowledged our stream of the pair (``own`` ours, ``epoch`` theirs).

    ``marks`` are (our number it acknowledged, its last number then); ``settled`` is the largest of ours that it
    acknowledged while nothing older of its own was still on the way: what the collection of graves needs.
    """

    epoch: int = 0
    own: int = 0
    base: int = 0
    acked: int = 0
    resync_to: int = 0
    marks: tuple[tuple[int, int], ...] = ()
    settled: int = 0


class Greeting(NamedTuple):
    """What the head of an envelope changes: cursors, and whether a new pair began and everything must be told again.

    ``rolled_back``: the peer applied more of this incarnation than we ever numbered: we are a restored copy that did not
    say so. ``superseded``: the peer knows a later incarnation of us: we are the original of a copy, or an older copy. In
    both cases nothing is sent or applied until a new epoch was taken (``renewed`` of the larger one) or the site is closed.
    ``knew``: how far a peer in a new pair had applied our stream before; its graves are older than that. The store keeps the
    smaller of it and the one before, unless the resync of the pair before was whole: a peer that is restored twice has
    acknowledged where a stream began, and not what lies before.
    """

    inbound: Inbound
    outbound: Outbound
    resync: bool = False
    rolled_back: bool = False
    superseded: bool = False
    knew: int = 0


def renewed(previous: int, chance: int) -> int:
    """The epoch of a new incarnation: the next ordinal in the upper bits, 32 random bits below. The first follows 0."""
    return ((previous >> EPOCH_BITS) + 1) << EPOCH_BITS | (chance & 0xFFFFFFFF)


def greet(inbound: Inbound, outbound: Outbound, envelope: Envelope, own_epoch: int, head: int) -> Greeting:
    """Read the epochs and the acknowledgement of any envelope whose seal was good. ``head`` is our last number.

    An acknowledgement counts whatever becomes of the envelope: the store also lets go of the stashes it settles.

    After ``resync`` the store appends ``resync_entries``, numbers them, and keeps ``outbound`` with ``resync_to`` set
    to the last of these numbers, all in the transaction that keeps this greeting.
    """
    if envelope.epoch < inbound.epoch:
        return Greeting(inbound, outbound)
    if envelope.peer_epoch > own_epoch:
        return Greeting(inbound, outbound, superseded=True)
    resync, ack, knew = False, envelope.ack, 0
    if envelope.epoch > inbound.epoch or outbound.own != own_epoch:
        before = (
            (inbound.knew if inbound.applied is None else inbound.applied) if envelope.epoch == inbound.epoch else 0
        )
        inbound = Inbound(envelope.epoch, own_epoch, knew=before)
        outbound = Outbound(envelope.epoch, own_epoch, base=head, acked=head)
        resync, knew = True, ack.seq if ack.epoch == own_epoch else 0
    if ack.epoch == own_epoch and envelope.peer_epoch == own_epoch:
        if ack.seq > head:
            return Greeting(inbound, outbound, resync, rolled_back=True, knew=knew)
        if ack.seq > outbound.acked:
            outbound = outbound._replace(acked=ack.seq, marks=(*outbound.marks, (ack.seq, ack.high)))
    return Greeting(inbound, outbound, resync, knew=knew)


def settle(outbound: Outbound, inbound: Inbound) -> Outbound:
    """Move the marks that are now proven: everything the peer had numbered when it acknowledged has been applied here."""
    proven = [seq for seq, high in outbound.marks if inbound.applied is not None and inbound.applied >= high]
    if not proven:
        return outbound
    settled = max(proven)
    return outbound._replace(settled=settled, marks=tuple(m for m in outbound.marks if m[0] > settled))


def ack_of(inbound: Inbound, head: int) -> Ack:
    """The acknowledgement that every envelope carries; only what a committed transaction left behind."""
    if inbound.applied is None:
        return Ack(inbound.epoch, inbound.knew, 0)
    return Ack(inbound.epoch, inbound.applied, head)


def resync_entries(keys: Iterable[Key], level: int = 0) -> list[Entry]:
    """One entry for every record, marker, stash and every record ever shipped: what it is now will be told again."""
    return [Entry(0, 0, key, "R", level=level) for key in sorted(set(keys))]


def peer_epoch(outbound: Outbound, own_epoch: int) -> int:
    """What an envelope says of the peer's incarnation: 0 until this incarnation of ours has met it.

    Otherwise the first word of a restored site would be taken for the continuation of a stream that it knows nothing of.
    """
    return outbound.epoch if outbound.own == own_epoch else 0


def is_open(inbounds: Iterable[Inbound], restored: bool, own_epoch: int) -> bool:
    """The restore gate: a restored site lets nobody in until it has applied the resync of the sites above and below."""
    return not restored or all(inbound.own == own_epoch and inbound.whole for inbound in inbounds)


def may_send(inbound: Inbound, outbound: Outbound, own_epoch: int, owner: bool, others: Iterable[Inbound] = ()) -> bool:
    """Whether the data lane of a link may move.

    Never before both incarnations know each other; and the owner of labels waits for the peer's resync, from which it
    learns of labels that a restored backup forgot. When it was restored itself, ``others`` are its other links: it waits
    for all.
    """
    known = outbound.own == own_epoch and outbound.epoch == inbound.epoch != 0
    return known and (not owner or all(i.own == own_epoch and i.whole for i in (inbound, *others)))
