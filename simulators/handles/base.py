"""What can be done to any device: its line goes wrong, it falls silent, it restarts."""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

from core.runtime.clock import Clock
from simulators.arguments import Arguments, LineArguments, RebootArguments
from simulators.devices.faults import LineFaults

#: What stands on a noisy line: no protocol's frame begins so.
_NOISE = bytes((0x00, 0xFF, 0x55, 0xAA)) * 16


class Line(Protocol):
    """Where a device can be reached: a TCP listener, or what stands for it."""

    faults: LineFaults

    async def start(self) -> None:
        """Listen (again)."""
        ...

    async def suspend(self) -> None:
        """Go away, and keep the address."""
        ...

    async def drop(self) -> None:
        """Drop every connection."""
        ...


class Handle:
    """One device of a community, as a scenario sees it.

    The coroutines are the actions, by their names; each takes its checked arguments and raises
    :class:`ContractError` when it cannot be done now.
    """

    def __init__(self, device: str, clock: Clock, line: Line) -> None:
        self.device = device
        self.clock = clock
        self.line = line

    def now_ms(self) -> int:
        """Return the run's time."""
        return self.clock.now_ms()

    def state(self) -> dict[str, Any]:
        """Return what there is to see of the device on the spot (a relay, a barrier, a door)."""
        return {}

    async def silence(self, _: Arguments) -> None:
        """Answer no more, with everything behind the same address."""
        await self.line.suspend()

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        await self.line.start()

    async def cut_gateway(self, _: Arguments) -> None:
        """Take the gateway away, with everything behind the same address."""
        await self.line.suspend()

    async def restore_gateway(self, _: Arguments) -> None:
        """Bring it back."""
        await self.line.start()

    async def drop_connections(self, _: Arguments) -> None:
        """Drop the connections; new ones are accepted at once."""
        await self.line.drop()

    async def fault_line(self, given: LineArguments) -> None:
        """Let the line go wrong, for everything behind the same address."""
        faults = self.line.faults
        faults.clear()
        faults.delay_s = given.delay_ms / 1000
        faults.mute, faults.cut = given.mute, given.cut
        faults.garble, faults.truncate, faults.repeat = given.garble, given.truncate, given.repeat
        faults.noise = _NOISE[: given.noise]

    async def clear_line(self, _: Arguments) -> None:
        """Make the line whole."""
        self.line.faults.clear()

    async def reboot(self, given: RebootArguments) -> None:
        """Be away for a while, as after a loss of power."""
        await self.line.suspend()
        try:
            await asyncio.sleep(given.away)
        finally:
            await self.line.start()
