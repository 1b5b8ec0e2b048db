"""The edge agent's composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

from core.runtime.clock import Clock
from core.runtime.settings import BrokerSettings, Settings
from core.storage.journal import Journal
from edge import config
from edge.derive import builder as derive
from edge.outbox import Outbox, open_journal
from edge.runner import Runner
from edge.uplink import Uplink

#: The byte budget of an edge's journal; seven days at 20 events/s fit.
JOURNAL_BYTES = 4 << 30


class EdgeApp:
    """One edge: its drivers, its outbox and its uplink."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        file: Path,
        *,
        broker: BrokerSettings | None = None,
        journal_bytes: int = JOURNAL_BYTES,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._config = config.load(file)
        self._broker = broker or settings.broker
        self._journal_bytes = journal_bytes
        self._on_failure = on_failure
        self._stack = AsyncExitStack()

    @property
    def edge(self) -> str:
        """Return the edge's id."""
        return self._config.edge

    @property
    def journal(self) -> Journal:
        """Return the edge's journal."""
        return self._journal

    @property
    def runner(self) -> Runner:
        """Return the runner of the edge's drivers."""
        return self._runner

    @property
    def uplink(self) -> Uplink:
        """Return the edge's uplink."""
        return self._uplink

    async def start(self) -> None:
        """Open the journal, start the drivers, then the uplink; undo all of it on an error."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        folder = self._settings.data / "edges" / self._config.edge
        folder.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.get_running_loop()
        self._journal = await asyncio.to_thread(
            open_journal,
            folder / "outbox.sqlite",
            self._config.edge,
            self._journal_bytes,
            self._clock,
            self._on_failure,
        )
        self._stack.push_async_callback(asyncio.to_thread, self._journal.close)
        self._uplink = Uplink(
            site=self._config.site,
            edge=self._config.edge,
            journal=self._journal,
            broker=self._broker,
            clock=self._clock,
            version=version("smart-estate"),
            fresh_state=self._fresh_state,
        )
        self._outbox = Outbox(self._journal, self._clock, self._uplink.wake)
        drivers = config.build(self._config, self._clock, folder)
        self._runner = Runner(
            drivers,
            self._outbox,
            self._clock,
            derivations=derive.build(self._config),
            memory=folder / "derived.json",
        )
        self._uplink.start()
        self._stack.push_async_callback(asyncio.to_thread, self._uplink.stop)
        await self._runner.start()
        self._stack.push_async_callback(self._runner.stop)

    async def stop(self) -> None:
        """Stop in reverse order; everything that was emitted is in the journal."""
        await self._stack.aclose()

    def _fresh_state(self) -> Future[None]:
        """Commit the fresh state of all devices; called by the uplink's thread."""
        return asyncio.run_coroutine_threadsafe(self._emit_fresh_state(), self._loop)

    async def _emit_fresh_state(self) -> None:
        states = self._runner.snapshot()
        await asyncio.gather(
            *(self._outbox.emit("device.snapshot", device, data) for device, data in states)
        )
