"""The edge agent's composition root."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack
from importlib.metadata import version
from pathlib import Path

import structlog

from core.contracts.errors import ContractError, JournalError, SettingsError
from core.runtime.clock import Clock
from core.runtime.metrics import Source
from core.runtime.settings import BrokerSettings, Settings
from core.storage.journal import Journal
from edge import reload
from edge.command_memory import CommandMemory
from edge.commands import Commands
from edge.config import EdgeConfig
from edge.deeds import EdgeDeeds
from edge.driver import CommandRefusedError, Params
from edge.home_assistant.bridge import Bridge
from edge.local_rules.service import LocalRules
from edge.metrics import EdgeMetrics, Evictions
from edge.outbox import Outbox, open_journal
from edge.reload import Built
from edge.runner import Runner
from edge.tap import Tap
from edge.uplink import Uplink

_log = structlog.get_logger(__name__)
#: The journal's file in the edge's folder.
OUTBOX = "outbox.sqlite"


class EdgeApp:
    """One edge: its drivers, its rules, its outbox and its uplink."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        file: Path,
        *,
        broker: BrokerSettings | None = None,
        journal_bytes: int | None = None,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._file = file
        self._config = reload.load(file)
        self._broker = broker or settings.broker
        self._journal_bytes = journal_bytes or self._config.journal_bytes
        self._on_failure = on_failure
        self._evictions = Evictions()
        self._stack = AsyncExitStack()
        self._local: LocalRules | None = None
        self._bridge: Bridge | None = None
        self._reloading = asyncio.Lock()
        self._reloads: set[asyncio.Task[Params]] = set()

    @property
    def edge(self) -> str:
        """Return the edge's id."""
        return self._config.edge

    @property
    def config(self) -> EdgeConfig:
        """Return the configuration that holds now."""
        return self._config

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

    @property
    def commands(self) -> Commands:
        """Return what takes the edge's commands."""
        return self._commands

    @property
    def local_rules(self) -> LocalRules | None:
        """Return the edge's own rules, where there are any."""
        return self._local

    async def start(self) -> None:
        """Open the journal, start the drivers, then the uplink; undo all of it on an error."""
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise

    async def _start(self) -> None:
        self._folder = folder = self._settings.data / "edges" / self._config.edge
        folder.mkdir(parents=True, exist_ok=True)
        self._loop = asyncio.get_running_loop()
        self._journal = await asyncio.to_thread(
            open_journal,
            folder / OUTBOX,
            self._config.edge,
            self._journal_bytes,
            self._clock,
            self._on_failure,
            self._evictions.note,
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
            on_command=lambda message: self._commands.post(message),
        )
        self._outbox = Outbox(
            self._journal,
            self._clock,
            self._uplink.wake,
            lambda: self._uplink.heard,
            edge=self._config.edge,
        )
        self._tap = Tap(self._outbox, self._clock)
        self._built = built = reload.build(self._config, self._clock, folder)
        self._runner = Runner(
            built.drivers,
            self._tap,
            self._clock,
            edge=self._config.edge,
            derivations=built.derivations,
            memory=folder / "derived.json",
        )
        self._deeds = EdgeDeeds(self._runner, self._config.commands, self.reload)
        self._commands = Commands(
            edge=self._config.edge,
            clock=self._clock,
            memory=CommandMemory(folder / "commands.sqlite"),
            deeds=self._deeds,
            sink=self._outbox,
            reply=self._uplink.reply,
        )
        await self._commands.start()
        self._stack.push_async_callback(self._commands.stop)
        self._stack.push_async_callback(self._stop_extras)
        await self._outfit(built)
        self._uplink.start()
        self._stack.push_async_callback(asyncio.to_thread, self._uplink.stop)
        await self._runner.start()
        self._stack.push_async_callback(self._runner.stop)
        self._deeds.begin()
        await self._note("applied", built.config)

    async def stop(self) -> None:
        """Stop in reverse order; everything that was emitted is in the journal."""
        await self._stack.aclose()

    def sources(self) -> Sequence[Source]:
        """Return what Prometheus is told, once the edge runs."""
        return EdgeMetrics(
            path=self._folder / OUTBOX,
            journal=self._journal,
            clock=self._clock,
            outbox=self._outbox,
            uplink=self._uplink,
            runner=self._runner,
            commands=self._commands,
            evictions=self._evictions,
        ).sources()

    # -- reloading ------------------------------------------------------------------------

    def request_reload(self) -> None:
        """Read the file again soon; for signal handlers. What came of it is journalled."""
        task = asyncio.ensure_future(self.reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloaded)

    def _reloaded(self, task: asyncio.Task[Params]) -> None:
        self._reloads.discard(task)
        if not task.cancelled():
            task.exception()  # it was logged and journalled where it happened

    async def reload(self) -> Params:
        """Read the file again and take it over; return what there is to tell.

        Raises :class:`CommandRefusedError`, with everything as it was, when it cannot be used.
        Drivers whose entry is the same go on untouched.
        """
        # Whoever asked may give up waiting; a change that was begun comes to its end.
        work = asyncio.ensure_future(self._reload())
        self._reloads.add(work)
        work.add_done_callback(self._reloaded)
        return await asyncio.shield(work)

    async def _reload(self) -> Params:
        async with self._reloading:
            before = self._config
            try:
                wanted = await asyncio.to_thread(reload.load, self._file)
                reload.check_same_edge(before, wanted)
                built = reload.build(wanted, self._clock, self._folder, self._built)
                await self._runner.change(built.drivers, built.derivations)
            except (SettingsError, ContractError) as error:
                why = str(error).replace(str(self._file), self._file.name)
                _log.warning("configuration refused", edge=self.edge, why=why)
                await self._note("refused", before, why)
                raise CommandRefusedError(why) from None
            told = reload.difference(self._built, built)
            self._built, self._config = built, wanted
            self._deeds.allow(wanted.commands)
            await self._outfit(built)
            await self._note("applied", wanted)
            _log.info("configuration applied", edge=self.edge, **told)
            return told

    async def _outfit(self, built: Built) -> None:
        """Give the edge its own rules and its bridge, as configured."""
        file = self._folder / "local_rules.state"
        if self._local is not None:
            await self._local.change(built.local)
        elif built.config.local_rules is not None or file.exists():
            self._local = LocalRules(
                built.local,
                clock=self._clock,
                file=file,
                journal=self._journal,
                sink=self._outbox,
                act=self._deeds.act,
                tap=self._tap,
            )
            await self._local.start()
        if self._bridge is not None:
            self._bridge = await self._bridge.change(built.config)
        elif built.config.home_assistant is not None:
            self._bridge = Bridge(built.config, self._folder)
            await self._bridge.start()
        listeners = [part.hear for part in (self._local, self._bridge) if part is not None]
        self._tap.listen(*listeners)

    async def _stop_extras(self) -> None:
        for task in list(self._reloads):
            task.cancel()
        await asyncio.gather(*self._reloads, return_exceptions=True)
        for part in (self._local, self._bridge):
            if part is not None:
                await part.stop()

    async def _note(self, outcome: str, config: EdgeConfig, error: str = "") -> None:
        data = reload.outcome(outcome, config, self._file, error)
        try:
            await self._outbox.emit("edge.configuration", self.edge, data)
        except JournalError as full:
            _log.warning("configuration not journalled", edge=self.edge, why=str(full))

    # -- fresh state ----------------------------------------------------------------------

    def _fresh_state(self) -> Future[None]:
        """Commit the fresh state of all devices; called by the uplink's thread."""
        return asyncio.run_coroutine_threadsafe(self._emit_fresh_state(), self._loop)

    async def _emit_fresh_state(self) -> None:
        states = self._runner.snapshot()
        await asyncio.gather(
            *(self._outbox.emit("device.snapshot", device, data) for device, data in states)
        )
