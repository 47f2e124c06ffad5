"""The agent's lanes: they pause after a fault, longer each time until all goes well; one that hears the other site wakes the rest."""

from __future__ import annotations

import threading

import pytest

from ostoja.hybrid import agent
from ostoja.hybrid.agent import Heard, Lane
from ostoja.hybrid.dialling import AWAY, Unreachable


class Clock:
    """A clock that goes on by what somebody waits; something can happen at a moment of it."""

    def __init__(self):
        self.now, self.due = 0.0, []

    def at(self, moment, happens):
        self.due.append((moment, happens))

    def monotonic(self):
        return self.now

    def wait(self, seconds):
        self.now += seconds
        for moment, happens in self.due:
            if self.now - seconds < moment <= self.now:
                happens()
        return False


class Scripted(Lane):
    """A lane whose work is told by a test: an error to raise, or nothing when an exchange goes well."""

    def __init__(self, script, heard=None):
        super().__init__(None, "link", "pull", threading.Event(), heard)
        self.script, self.pauses = list(script), []

    def _work(self):
        while self.script:
            error = self.script.pop(0)
            if error is not None:
                raise error
            self._went_well()
        return False

    def _tell(self, error):
        self.pauses.append(self.pause)


def test_pauses_grow_with_every_fault_and_begin_anew_after_an_exchange(monkeypatch):
    monkeypatch.setattr(Scripted, "_wait", lambda self, away: None)
    away = Unreachable("away")
    lane = Scripted([away, away, away, None, away, away, RuntimeError("x")] + [away] * 12)
    lane.run()
    assert lane.pauses[:7] == [1, 2, 4, 1, 2, 4, 8]
    assert lane.pauses[-1] == 30


@pytest.mark.parametrize(("error", "woken"), [(Unreachable("away"), True), (RuntimeError("a fault of ours"), False)])
def test_a_lane_that_hears_the_other_site_wakes_those_that_waited_for_it(monkeypatch, error, woken):
    heard, clock = Heard(), Clock()
    monkeypatch.setattr(agent, "time", clock)
    waiting = Scripted([], heard)
    waiting.stopping, waiting.pause = clock, 8.0  # of which it waits four seconds at least
    clock.at(0.3, lambda: setattr(heard, "at", clock.now))
    waiting._wait(getattr(error, "code", "") in AWAY)
    assert (clock.now < 4.0) == woken
