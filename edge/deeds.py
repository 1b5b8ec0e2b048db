"""What an edge can be made to do, by commands and by its own rules."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from core.contracts.commands import Action
from edge.config import CommandSettings
from edge.driver import CommandRefusedError, Params
from edge.runner import Runner


class EdgeDeeds:
    """Asks the runner and its drivers (:class:`edge.commands.Deeds`)."""

    def __init__(
        self, runner: Runner, allowed: CommandSettings, reload: Callable[[], Awaitable[Params]]
    ) -> None:
        self._runner = runner
        self._allowed = allowed
        self._reload = reload
        self._ready = asyncio.Event()

    def begin(self) -> None:
        """The drivers are started: what was asked for meanwhile may go on."""
        self._ready.set()

    def allow(self, allowed: CommandSettings) -> None:
        """Let other permissions hold."""
        self._allowed = allowed

    def permits(self, action: Action, device: str | None) -> str | None:
        """Return why the edge's file does not allow something, None where it does."""
        return self._allowed.permits(action, device)

    def abilities(self, device: str) -> frozenset[Action] | None:
        """Return what can be asked of a device; None where there is no such device here."""
        driver = self._runner.driver_of(device)
        return None if driver is None else driver.actions.get(device, frozenset())

    async def act(self, device: str, action: Action, params: Params) -> Params:
        """Let a device's driver act; raises what :meth:`edge.driver.Driver.act` raises."""
        await self._ready.wait()
        driver = self._runner.driver_of(device)
        if driver is None:
            raise CommandRefusedError(f"there is no device {device} at this edge")
        return await driver.act(device, action, params)

    async def report(self, device: str | None) -> Params:
        """Read a device (or all) now and report everything."""
        return await self._runner.report(device)

    async def reload(self) -> Params:
        """Read the edge's file again."""
        return await self._reload()
