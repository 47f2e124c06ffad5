"""Numbers without gaps after commit, and the cursor that accepts them without gaps."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from .wire import DATA, Entry, Envelope


class Inbound(NamedTuple):
    """How far we applied a peer's stream: of the pair (``epoch`` theirs, ``own`` ours); None: not yet started.

    ``knew`` is how far we had applied it before the pair began: told in the first acknowledgement, for graves.
    """

    epoch: int = 0
    own: int = 0
    applied: int | None = None
    resync_to: int = 0
    knew: int = 0

    @property
    def whole(self) -> bool:
        """Whether the resync with which the pair began has been applied."""
        return self.applied is not None and self.applied >= self.resync_to


class Verdict(StrEnum):
    """What is to be done with an envelope; all but APPLY leave the store as it is and answer with our own cursor."""

    APPLY = "apply"
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    GAP = "gap"
    STALE = "stale"  # of another incarnation of either side
    MANIFEST = "manifest"  # sealed under terms that we do not share
    FIELD = "field"  # names a model or field that may not come this way
    CLOCK = "clock"  # more than five minutes ahead of us


def number(entries: Iterable[Entry], last: int) -> tuple[list[Entry], int]:
    """Give committed entries without a number the next ones, by transaction, in the order of each one's largest id.

    A transaction that saw or waited for another has the larger id, so the order respects what depended on what.
    """
    new = [e for e in entries if e.seq is None]
    place: dict[int, int] = {}
    for e in new:
        place[e.tx] = max(place.get(e.tx, 0), e.id)
    numbered = []
    for e in sorted(new, key=lambda e: (place[e.tx], e.id)):
        last += 1
        numbered.append(e._replace(seq=last))
    return numbered, last


def judge(inbound: Inbound, envelope: Envelope, own_epoch: int) -> Verdict:
    """Whether this envelope continues the stream. ``inbound`` is what ``epochs.greet`` left."""
    if envelope.epoch != inbound.epoch or envelope.peer_epoch != own_epoch:
        return Verdict.STALE
    if envelope.lane != DATA:
        return Verdict.APPLY
    if envelope.seq_to < envelope.seq_from:
        return Verdict.EMPTY
    applied = envelope.base if inbound.applied is None else inbound.applied
    if envelope.seq_to <= applied:
        return Verdict.DUPLICATE
    if envelope.seq_from > applied + 1:
        return Verdict.GAP
    return Verdict.APPLY


def advance(inbound: Inbound, envelope: Envelope) -> Inbound:
    """The cursor after an envelope of the data lane was applied (or was empty); it never goes back."""
    applied = envelope.base if inbound.applied is None else inbound.applied
    if envelope.seq_to >= envelope.seq_from:
        applied = max(applied, envelope.seq_to)
    return inbound._replace(applied=applied, resync_to=envelope.resync_to)


def cut(entries: Iterable[Entry], most: int) -> list[Entry]:
    """The first ``most`` of numbered entries in their order, and the rest of the last one's transaction: no half of one."""
    taken: list[Entry] = []
    for entry in entries:
        if len(taken) >= most and entry.tx != taken[-1].tx:
            break
        taken.append(entry)
    return taken
