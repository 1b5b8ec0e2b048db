"""The one clock of a run: real time, or scaled time shared by all its processes.

Whatever models the estate (events, ticks, scenarios, expected intervals) uses this clock;
time-outs of sockets and back-offs use ``time.monotonic`` and are never scaled.
"""

from __future__ import annotations

import asyncio
import math
import os
import threading
import time
from dataclasses import dataclass
from typing import Protocol

from core.contracts.errors import SettingsError

VARIABLE = "ESTATE_CLOCK"


class Clock(Protocol):
    """A source of the run's time."""

    def now_ms(self) -> int:
        """Return the run's time in ms since the Unix epoch (UTC)."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of the run's time."""
        ...

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event for so many seconds of the run's time; tell whether it was set."""
        ...


@dataclass(frozen=True, slots=True)
class ScaledClock:
    """Time that runs ``speed`` times as fast as the machine's since ``anchor_real_ms``.

    At that moment it showed ``anchor_ms``. With speed 1 and equal anchors it is the machine's.
    """

    anchor_real_ms: int = 0
    anchor_ms: int = 0
    speed: float = 1.0

    @classmethod
    def starting_now(cls, speed: float = 1.0, at_ms: int | None = None) -> ScaledClock:
        """Return a clock that shows ``at_ms`` (default: the machine's time) now."""
        real = time.time_ns() // 1_000_000
        return cls(real, real if at_ms is None else at_ms, speed)

    @classmethod
    def from_environment(cls) -> ScaledClock:
        """Return the clock that the parent process shares, else the machine's."""
        text = os.environ.get(VARIABLE)
        return cls.of(text) if text else cls()

    @classmethod
    def of(cls, text: str) -> ScaledClock:
        """Return the clock that :meth:`to_environment` described; raise SettingsError."""
        try:
            real, anchor, speed = text.split(":")
            clock = cls(int(real), int(anchor), float(speed))
        except ValueError:
            raise SettingsError(f"{VARIABLE}={text!r}: expected real_ms:run_ms:speed") from None
        if not 0 < clock.speed < math.inf:
            raise SettingsError(f"{VARIABLE}: the speed must be a number above 0")
        return clock

    def to_environment(self) -> str:
        """Return the value of ESTATE_CLOCK with which a child process shares this clock."""
        return f"{self.anchor_real_ms}:{self.anchor_ms}:{self.speed!r}"

    def now_ms(self) -> int:
        """Return the run's time in ms since the Unix epoch (UTC)."""
        passed = time.time_ns() / 1e6 - self.anchor_real_ms
        return self.anchor_ms + int(passed * self.speed)

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds of the run's time."""
        await asyncio.sleep(max(seconds, 0) / self.speed)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait for an event for so many seconds of the run's time; tell whether it was set."""
        return event.wait(max(seconds, 0) / self.speed)
