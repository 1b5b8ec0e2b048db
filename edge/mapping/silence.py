"""Who has not been heard for too long, among devices that speak by themselves."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

from core.contracts.errors import JournalError
from edge.driver import DriverSink, LinkError


class Silence:
    """The time since each device was heard (s, real time)."""

    def __init__(
        self,
        devices: Iterable[str],
        silence_s: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._silence_s = silence_s
        self._monotonic = monotonic
        now = monotonic()
        self._heard = dict.fromkeys(devices, now)

    @property
    def look_s(self) -> float:
        """Return how often to look."""
        return min(max(self._silence_s / 4, 0.05), 5.0)

    def heard(self, devices: Iterable[str]) -> None:
        """Note that devices spoke."""
        now = self._monotonic()
        for device in devices:
            self._heard[device] = now

    async def tell(self, sink: DriverSink) -> None:
        """Tell who is silent; once in each ``silence_s``."""
        now = self._monotonic()
        for device, since in list(self._heard.items()):
            if now - since < self._silence_s:
                continue
            self._heard[device] = now
            error = LinkError(f"nothing for {self._silence_s:g} s", "device")
            try:
                await sink.failed(device, error)
            except JournalError:
                sink.count("journal_waits")
