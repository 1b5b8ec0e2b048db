"""What one driver talks to: the filter, the health, the counters and the log of its devices."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

import structlog

from core.contracts.errors import ContractError, DeviceRefusedError
from core.runtime.clock import Clock
from edge.condition import Conditions
from edge.derive.pipeline import Pipeline
from edge.driver import Cause, Driver, LinkError, health_rule
from edge.gateways import Gateways
from edge.report import Reporter

_log = structlog.get_logger(__name__)


class Desk:
    """One driver's desk (an :class:`edge.driver.DriverSink`); the runner makes one for each."""

    def __init__(
        self,
        driver: Driver,
        reporter: Reporter,
        pipeline: Pipeline,
        gateways: Gateways,
        clock: Clock,
    ) -> None:
        self.driver = driver
        self.counts: Counter[str] = Counter()
        self.touched: set[str] = set()
        self.logged: set[str] = set()
        self.listed: set[str] = set()
        self.conditions = Conditions(driver.devices, driver.patience)
        self.leaving = False
        """It is to end after the attempt that is under way."""
        self._clock = clock
        self._reporter = reporter
        self._pipeline = pipeline
        self._gateways = gateways
        self._asked: list[asyncio.Future[bool]] = []
        self._wanted = asyncio.Event()

    def admit(self) -> None:
        """Let the driver's rules hold and its gateway be watched."""
        rules = {"device.health": health_rule(), **self.driver.reports}
        self._reporter.set_rules(self.driver.devices, rules)
        self._gateways.admit(self)

    # -- the driver's sink ----------------------------------------------------------------

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Pass one observation on; one that breaks the contract is counted, never fatal."""
        try:
            await self._pipeline.emit(kind, device, data, at, id)
        except ContractError as refused:
            # A value that no device of its kind can have: seen, counted, and never fatal.
            self.count("refused")
            self.log_first(f"observation_refused:{kind}", refused, device=device)
        else:
            self.count("emitted")

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Pass a picture on."""
        await self._pipeline.snapshot(device, at, media_id, jpeg)
        self.count("snapshots")

    async def reached(self, device: str, latency_ms: float | None = None) -> None:
        """Note that a device answered."""
        self.touched.add(device)
        self.count("reached")
        was = self.conditions.of(device).online
        data = self.conditions.reached(device, self._clock.now_ms(), latency_ms)
        await self._gateways.answered(self)
        await self._reporter.emit("device.health", device, data)
        self.conditions.settle(device, online=True, at=self._clock.now_ms())
        if was is False:
            self.logged.clear()
            _log.info("device_recovered", driver=self.driver.name, device=device)

    async def failed(self, device: str, error: Exception) -> None:
        """Note that a device did not answer, while its connection goes on for others."""
        cause, text = cause_of(error), describe(error)
        self._note(device, cause, text)
        await self._gateways.judge(self, cause, text)
        await self._tell(device, text)

    # -- for the runner -------------------------------------------------------------------

    async def failed_whole(self, devices: list[str], error: Exception) -> None:
        """The connection failed, and with it the devices named: their gateway is told first."""
        cause, text = cause_of(error), describe(error)
        for device in devices:
            self._note(device, cause, text)
        await self._gateways.struck(self, error, cause, text)
        # Together: each waits for its commit, and one behind the other they would take long.
        told = await asyncio.gather(
            *(self._tell(device, text) for device in devices), return_exceptions=True
        )
        for outcome in told:
            if isinstance(outcome, BaseException):
                raise outcome

    def failures(self) -> list[int]:
        """Return for each device how many attempts in a row have failed last."""
        return self.conditions.failures()

    async def retell(self) -> None:
        """Tell the health of the devices that count as offline anew, with its root."""
        lost = [d for d, c in self.conditions.all().items() if c.online is False]
        await asyncio.gather(*(self._tell(device, "") for device in lost))

    async def tell_standing(self) -> None:
        """List once, after a device's first whole reading, everything that stands of it.

        What stood before a restart of the edge and is not in the list has ended meanwhile.
        """
        fresh = self.touched - self.listed
        if not fresh:
            return
        self.listed |= fresh
        for device, data in self._reporter.standing():
            if device in fresh and self.conditions.of(device).online:
                await self.emit("device.snapshot", device, data)

    def count(self, name: str, amount: int = 1) -> None:
        """Count something by name."""
        self.counts[name] += amount

    def log_first(
        self, event: str, error: Exception, *, traceback: bool = False, **more: str
    ) -> None:
        """Log an event once until an attempt goes well again."""
        if event not in self.logged:
            self.logged.add(event)
            _log.error(
                event, driver=self.driver.name, error=str(error),
                exc_info=error if traceback else None, **more,
            )  # fmt: skip

    # -- being asked to read now, or to end -----------------------------------------------

    def ask(self) -> asyncio.Future[bool]:
        """Ask for an attempt now; the future tells how the next whole one went."""
        asked: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append(asked)
        self._wanted.set()
        return asked

    def leave(self) -> None:
        """Let the driver's task end after the attempt that is under way."""
        self.leaving = True
        self._wanted.set()

    def take_asked(self) -> list[asyncio.Future[bool]]:
        """Return who waits for the attempt that begins now."""
        asked, self._asked = self._asked, []
        return asked

    @staticmethod
    def answer(asked: list[asyncio.Future[bool]], *, good: bool) -> None:
        """Tell them how it went."""
        for waiting in asked:
            if not waiting.done():
                waiting.set_result(good)

    async def pause(self, sleeping: Awaitable[None]) -> None:
        """Sleep, but not on when somebody asks."""
        tasks = [asyncio.ensure_future(sleeping), asyncio.ensure_future(self._wanted.wait())]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in tasks:
                task.cancel()
        self._wanted.clear()

    # -- telling --------------------------------------------------------------------------

    def _note(self, device: str, cause: Cause | None, text: str) -> None:
        self.touched.add(device)
        self.count("failed")
        self.conditions.failed(device, cause, text)

    async def _tell(self, device: str, text: str) -> None:
        """Tell that a device is offline, once its patience is over."""
        data = self.conditions.lost(device)
        if data is None:
            return
        if (root := self._gateways.root(self)) is not None:
            data["root"] = root
        if self.conditions.of(device).online is not False:
            _log.warning("device_lost", driver=self.driver.name, device=device, error=text)
        await self._reporter.emit("device.health", device, data)
        self.conditions.settle(device, online=False, at=self._clock.now_ms())


def describe(error: Exception) -> str:
    """Return an error's text, or its type where it has none (as time-outs)."""
    return str(error) or ("no answer in time" if isinstance(error, TimeoutError) else repr(error))


def cause_of(error: Exception) -> Cause | None:
    """Return where the fault behind an error lies, where that is known."""
    if isinstance(error, LinkError):
        return error.cause
    if isinstance(error, DeviceRefusedError):
        return "device"
    if isinstance(error, OSError):  # TimeoutError too
        return "network"
    return None
