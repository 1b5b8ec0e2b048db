"""A round over the devices of one bus: who is visited, who is let wait, what silence means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random

from core.contracts.errors import DeviceError
from edge.backoff import Backoff
from edge.driver import DriverContext, DriverSink, LinkError
from edge.transport.bus import Bus
from edge.transport.line import line_of
from edge.transport.settings import ChannelSettings

#: Longest pause (s, real time) before a device that does not answer is asked again.
_LONGEST_PAUSE_S = 300.0

#: Told after the turn: nobody waits for the bus while the journal is busy.
Tell = Callable[[], Awaitable[None]]
Visit = Callable[[Bus, str], Awaitable[Tell]]


@dataclass(slots=True)
class _Standing:
    backoff: Backoff
    not_before: float = 0.0


class Rounds:
    """Visits devices one after the other; each has a bounded share of the bus."""

    def __init__(
        self,
        channel: ChannelSettings,
        context: DriverContext,
        devices: Sequence[str],
        *,
        timeout_s: float,
        budget_s: float,
    ) -> None:
        """``timeout_s`` bounds opening the line, ``budget_s`` one visit (both real time)."""
        self._channel = channel
        # With its whole format: a port that two entries want in two ways is taken, not shared.
        self._key = ("bus", channel.channel, channel.serial)
        self._shared = context.shared
        self._devices = tuple(devices)
        self._timeout_s = timeout_s
        self._budget_s = budget_s
        self._bus: Bus | None = None
        self._next = 0
        random = Random()  # noqa: S311 (jitter, not a secret)
        self._standing = {
            device: _Standing(Backoff(random, base_s=4 * timeout_s, cap_s=_LONGEST_PAUSE_S))
            for device in devices
        }

    @property
    def bus(self) -> Bus:
        """Return the bus; taken from the edge's shared things when it is first needed."""
        if self._bus is None:
            line = line_of(self._channel)
            self._bus = self._shared.acquire(self._key, lambda: Bus(line))
            self._bus.turns.join(self._devices)
        return self._bus

    @property
    def gateway(self) -> str | None:
        """Return the channel's name when more than one device hangs on it."""
        several = len(self._devices) > 1 or (
            self._bus is not None and len(self._bus.turns.members) > 1
        )
        return self._channel.channel if several else None

    @property
    def longest_s(self) -> float:
        """Return the time (real) after which a whole round is given up.

        Other drivers on the bus have their turns in between, so this is generous; what bounds
        a round is that each of its steps is bounded.
        """
        return 4 * (self._budget_s * len(self._devices) + self._timeout_s) + 60

    async def stop(self) -> None:
        """Give the bus back; whoever is last closes it."""
        if self._bus is not None:
            bus, self._bus = self._bus, None
            bus.turns.leave(self._devices)
            await self._shared.release(self._key)

    async def run(self, visit: Visit, sink: DriverSink) -> None:
        """Visit every device that is due, and tell the sink of those that failed.

        Raises :class:`LinkError` when the line fails or none of the devices answered.
        """
        bus = self.bus
        answered = tried = 0
        last: Exception | None = None
        for device in self._order():
            standing = self._standing[device]
            if standing.not_before > time.monotonic():
                continue
            tried += 1
            try:
                async with bus.turn(device, self._timeout_s):
                    tell = await self._visit(bus, device, visit)
            except DeviceError as error:
                last = error
                if isinstance(error, LinkError) and error.cause in ("gateway", "bus"):
                    raise
                await sink.failed(device, error)
                pause = standing.backoff.next()
                # The first failure may be a disturbed line: the device is asked next time.
                late = standing.backoff.failures > 1
                standing.not_before = time.monotonic() + pause if late else 0.0
            else:
                answered += 1
                standing.backoff.reset()
                await tell()
        if tried and not answered:
            # Perhaps the socket is half open: begin anew.
            await bus.close()
            raise LinkError(f"no device answered: {last}", "bus" if tried > 1 else "device")

    async def _visit(self, bus: Bus, device: str, visit: Visit) -> Tell:
        try:
            async with asyncio.timeout(self._budget_s):
                return await visit(bus, device)
        except TimeoutError:
            text = f"{device}: took more than its {self._budget_s:g} s"
            raise LinkError(text, "device") from None

    def _order(self) -> list[str]:
        """Return the devices in their order; each round begins with another one."""
        start, self._next = self._next, (self._next + 1) % max(len(self._devices), 1)
        return [*self._devices[start:], *self._devices[:start]]
