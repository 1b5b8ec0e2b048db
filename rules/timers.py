"""Timers that ticks drive: one heap, and a clock that counts only the time spent listening.

A device's own events run its timers first of all (see ``live``); ticks run what no event
reaches. While no tick was journalled (the collector was down, or its clock jumped) nothing
could have been heard, so such a gap does not count: *listening time* stands still in it.
"""

from __future__ import annotations

import heapq
from enum import IntEnum

import msgspec

_USUAL_STEPS = 4
_SHORTEST_GAP_MS = 5_000


class What(IntEnum):
    """What a timer is about; the order breaks ties, so that a replay is the same."""

    PRESENCE = 0
    SILENCE = 1
    CELL = 2


class Timer(msgspec.Struct, frozen=True, order=True, gc=False):
    """One entry of the heap: due at ``at`` in listening time (ms)."""

    at: int
    what: What
    rule: str
    key: str


class Timers:
    """The heap. Entries are never removed: whoever takes one checks that it still holds."""

    def __init__(self) -> None:
        self._heap: list[Timer] = []
        self.last_tick: int | None = None
        self.step = 0
        self.skipped = 0
        self.latest = -(1 << 62)

    def listening(self, at: int) -> int:
        """Return the listening time of a moment of the log (ms); it never goes back."""
        self.latest = max(self.latest, at - self.skipped)
        return self.latest

    def tick(self, at: int) -> int:
        """Take a tick and return the listening time; a clock that went back does not count."""
        last = self.last_tick
        if last is not None:
            gap = at - last
            if gap < 0 or (self.step and gap > max(_USUAL_STEPS * self.step, _SHORTEST_GAP_MS)):
                self.skipped += gap - self.step
            elif gap > 0:
                self.step = gap
        self.last_tick = at
        return self.listening(at)

    def push(self, at: int, what: What, rule: str, key: str) -> None:
        """Add a timer."""
        heapq.heappush(self._heap, Timer(at, what, rule, key))

    def pop(self, until: int) -> Timer | None:
        """Take the next timer that is due at or before ``until`` (listening time), if any."""
        if self._heap and self._heap[0].at <= until:
            return heapq.heappop(self._heap)
        return None

    def clear(self) -> None:
        """Forget all timers; the clock goes on."""
        self._heap.clear()

    def __len__(self) -> int:
        return len(self._heap)
