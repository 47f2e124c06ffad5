"""Stamps that this site made while its clock was far ahead: made anew once the clock is right, so that nothing waits for that day."""

from __future__ import annotations

import time

import orjson
from django.db import connection, transaction

from .clocks import COLUMNS, Clock, parse
from .core.hlc import AHEAD_MS, COUNTER_BITS
from .core.wire import Stamp
from .recognising import SKEW

# The other site takes no request of a clock that differs by SKEW, and no stamp AHEAD_MS before its own: what is further
# ahead of us than both was never taken there, so nobody knows it but us.
NOT_TAKEN_MS = AHEAD_MS + SKEW * 1000
MOST = 5000

FUTURE = f"SELECT {COLUMNS} FROM hybrid_clock WHERE top > %s ORDER BY id LIMIT {MOST} FOR UPDATE"
AGAIN = """
UPDATE hybrid_clock c SET hlc = r.hlc, stamps = r.stamps::jsonb, top = r.top
FROM unnest(%s::uuid[], %s::bigint[], %s::text[], %s::bigint[]) AS r(id, hlc, stamps, top) WHERE c.id = r.id
"""


def put_right() -> int:
    """Stamp anew what this site stamped in a future that no other site has taken; answers how many records.

    Call it when the other site refused stamps of ours that are ahead of it, though it took the request: then it is our
    clock that was wrong, and is right now. What was later stays later; what others stamped stays as it is.
    """
    total = 0
    while True:
        present = int(time.time() * 1000)
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(FUTURE, [present + NOT_TAKEN_MS << COUNTER_BITS])
            found = [parse(row) for row in cursor.fetchall()]
            if not found:
                return total
            for _key, clock in found:
                _anew(clock, present)
            cursor.execute(AGAIN, [
                [key for key, _clock in found], [clock.whole.hlc for _key, clock in found],
                [orjson.dumps(clock.stamps).decode() for _key, clock in found], [clock.top for _key, clock in found],
            ])  # fmt: skip
        total += len(found)


def _anew(clock: Clock, present: int) -> None:
    """Bring the stamps of one record that lie in the future to the present, in their order and behind all others."""
    limit = present + NOT_TAKEN_MS << COUNTER_BITS
    said = [n for stamp in clock.stamps.values() for n in stamp[::2]] + [clock.whole.hlc]
    first = max([present << COUNTER_BITS, *(n + 1 for n in said if n <= limit)])
    now = {n: first + place for place, n in enumerate(sorted({n for n in said if n > limit}))}
    clock.whole = Stamp(now.get(clock.whole.hlc, clock.whole.hlc), clock.whole.site)
    clock.stamps = {
        name: [now.get(n, n) if place % 2 == 0 else n for place, n in enumerate(stamp)]
        for name, stamp in clock.stamps.items()
    }
    clock.top = (
        max(clock.whole.hlc, *(stamp[0] for stamp in clock.stamps.values())) if clock.stamps else clock.whole.hlc
    )
