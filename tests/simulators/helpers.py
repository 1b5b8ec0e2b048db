"""A clock that the tests move, and moments that are easy to read."""

from __future__ import annotations

import asyncio
import threading
import time

from simulators.rhythms import HOUR_MS, day_number, day_start_ms

#: A Wednesday in November 2026, local midnight.
MIDNIGHT = day_start_ms(day_number(1_795_600_000_000))


def at_hour(hour: float, *, days: int = 0) -> int:
    """Return a moment of the reference week in ms."""
    return MIDNIGHT + days * 24 * HOUR_MS + round(hour * HOUR_MS)


class FakeClock:
    """The run's time stands still until ``advance``; sleepers wake when it passes them."""

    def __init__(self, now_ms: int) -> None:
        self._now_ms = now_ms
        self._sleepers: list[tuple[int, asyncio.Event]] = []

    def now_ms(self) -> int:
        return self._now_ms

    async def sleep(self, seconds: float) -> None:
        due = self._now_ms + round(seconds * 1000)
        if due <= self._now_ms:
            await asyncio.sleep(0)
            return
        event = asyncio.Event()
        self._sleepers.append((due, event))
        await event.wait()

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.wait(0)

    async def advance(self, seconds: float) -> None:
        """Move the time on, waking sleepers in their order."""
        goal = self._now_ms + round(seconds * 1000)
        while True:
            await _settle()
            due = min((item[0] for item in self._sleepers if item[0] <= goal), default=None)
            if due is None:
                break
            self._now_ms = max(due, self._now_ms)
            for item in [item for item in self._sleepers if item[0] <= self._now_ms]:
                self._sleepers.remove(item)
                item[1].set()
        self._now_ms = goal
        await _settle()


async def _settle() -> None:
    for _ in range(12):
        await asyncio.sleep(0)


async def until(condition, timeout_s: float = 5.0) -> None:
    """Wait for a condition; fail when it does not come."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError("the condition did not come about in time")
        await asyncio.sleep(0.005)
