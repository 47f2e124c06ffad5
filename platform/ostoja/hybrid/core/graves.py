"""Graves: when the marker of a deleted record may be forgotten, and what a site that was away too long may still say."""

from __future__ import annotations

from collections.abc import Iterable

from .wire import Marker, Thing


def collectable(
    thing: Thing | None,
    seq: int | None,
    settled: Iterable[int],
    parked: bool,
    stashed: bool,
    owner: bool = False,
) -> bool:
    """Whether the marker of a deleted record may go.

    ``seq`` is the number of its last entry; ``settled`` that of every live link (``Outbound.settled``): each peer has
    acknowledged the death, and nothing that it wrote before is still on the way. An acknowledgement alone is no proof.
    ``owner``: whether labels are decided here. Then the grave is also the memory of the record's label, in case somebody
    restores it, and one that was ever labelled stays.
    """
    if owner and thing is not None and (thing.level or thing.label_ver):
        return False
    if not isinstance(thing, Marker) or thing.cl % 2 or thing.withheld or parked or stashed or seq is None:
        return False
    return all(seq <= s for s in settled)


def expired(peer_knew: int, collected_to: int) -> bool:
    """Whether a peer that last applied our number ``peer_knew`` missed deaths whose graves are gone (up to ``collected_to``).

    What it holds and we do not know is then shown to people, not merged.
    """
    return peer_knew < collected_to
