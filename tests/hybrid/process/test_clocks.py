"""Clocks an hour apart: the link takes nothing and says so in words; when the clock is right again, everything flows."""

from __future__ import annotations

import pytest
from clocks import ahead
from installations import until

HOUR = 3600


@pytest.mark.parametrize("direction", [-HOUR, HOUR], ids=["behind", "ahead"])
def test_with_clocks_an_hour_apart_nothing_passes_and_both_say_why_until_they_agree(pair, line, clock, direction):
    if clock is None:
        pytest.skip("Without a C compiler no clock of one installation can be moved.")
    deal = pair.cloud.call("GET", "/deals?limit=1&state=open")["items"][0]["id"]
    before = pair.cloud.get(f"/deals/{deal}")["source"]
    ahead(clock, direction)
    try:
        word = f"clock {direction}"
        pair.premises.call("PATCH", f"/deals/{deal}", {"source": word})
        for side in "pc":
            assert "A clock is wrong" in pair.trouble(side, "clock_suspect", "stamps_ahead")
        assert pair.cloud.get(f"/deals/{deal}")["source"] == before
    finally:
        ahead(clock, 0)
    pair.premises.kill("agent")
    until(lambda: pair.cloud.get(f"/deals/{deal}")["source"] == word, 60, lambda: (pair.words("p"), pair.words("c")))
    pair.at_rest()
    pair.equal()
