"""The hybrid logical clock: later than everything the row has seen, close to real time, no global state."""

from __future__ import annotations

from collections.abc import Iterable

from .wire import Stamp

COUNTER_BITS = 16
AHEAD_MS = 5 * 60 * 1000


def after(now_ms: int, seen: Iterable[Stamp], site: int) -> Stamp:
    """A stamp for a write at ``now_ms`` (since 1970) on a row whose stamps are ``seen``: larger than each of them."""
    return Stamp(max(now_ms << COUNTER_BITS, max((s.hlc for s in seen), default=-1) + 1), site)


def ms_of(stamp_hlc: int) -> int:
    """The physical part, milliseconds since 1970."""
    return stamp_hlc >> COUNTER_BITS


def suspect(hlcs: Iterable[int], now_ms: int) -> bool:
    """Whether one of these clocks is more than five minutes ahead of ours: the link waits, nothing is adopted or dropped."""
    return max(map(ms_of, hlcs), default=0) > now_ms + AHEAD_MS
