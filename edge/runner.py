"""Runs the drivers: a task each, so that a stuck device never delays another.

The runner owns what all drivers share: when to poll, how long to wait, back-off with full
jitter, the ``device.health`` events on change, the counters, and a log that has the first
failure and the recovery but not each repetition.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

import structlog

from core.contracts.errors import ContractError, DeviceError, DeviceRefusedError, JournalError
from core.runtime.clock import Clock
from edge.backoff import Backoff
from edge.condition import Conditions
from edge.derive.derivation import Derivation
from edge.derive.pipeline import Pipeline
from edge.driver import (
    Cause,
    DeviceCondition,
    Driver,
    LinkError,
    PollingDriver,
    Sink,
    StreamingDriver,
    health_rule,
)
from edge.report import Reporter

_log = structlog.get_logger(__name__)

#: The first poll comes within so many seconds (run time) of the start, spread at random.
FIRST_POLL_S = 5.0
#: However fast the run's clock is, two polls of a device are so far apart (real seconds).
LEAST_PAUSE_S = 0.1
_STOP_S = 3.0
#: How often derivations are woken (run time) and what they remember is saved (real time).
_WAKE_S, _SAVE_S = 1.0, 60.0

Sleep = Callable[[float], Awaitable[None]]


class Runner:
    """Starts, supervises and stops the drivers of one edge."""

    def __init__(
        self,
        drivers: Sequence[Driver],
        sink: Sink,
        clock: Clock,
        *,
        random: Random | None = None,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        derivations: Sequence[Derivation] = (),
        memory: Path | None = None,
    ) -> None:
        """Take what is needed; ``sleep`` and ``monotonic`` are real time, for back-offs.

        ``memory`` is the file in which the derivations are remembered over a restart.
        """
        self._clock = clock
        self._random = random or Random()  # noqa: S311 (jitter, not a secret)
        self._sleep = sleep
        self._monotonic = monotonic
        self._reporter = Reporter(sink, clock.now_ms)
        self._derives = bool(derivations)
        self._pipeline = Pipeline(self._reporter, derivations, clock.now_ms, memory)
        self._desks = [_Desk(driver, self._reporter, self._pipeline, clock) for driver in drivers]
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start every driver; raises :class:`SettingsError` when one cannot get ready."""
        self._pipeline.restore()
        try:
            for desk in self._desks:
                await desk.driver.start(desk)
        except BaseException:
            await self.stop()
            raise
        self._tasks = [
            asyncio.create_task(self._supervise(desk), name=desk.driver.name)
            for desk in self._desks
        ]
        if self._derives:
            self._tasks.append(asyncio.create_task(self._derive(), name="derivations"))

    async def stop(self) -> None:
        """Stop every driver; returns within a few seconds whatever the devices do."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        await asyncio.gather(*(self._stop_one(desk.driver) for desk in self._desks))
        self._save_memory()

    @property
    def drivers(self) -> list[Driver]:
        """Return the drivers, in the order of the configuration."""
        return [desk.driver for desk in self._desks]

    def health(self) -> dict[str, DeviceCondition]:
        """Return what is known about each device."""
        return {
            device: condition
            for desk in self._desks
            for device, condition in desk.conditions.all().items()
        }

    def counters(self) -> dict[str, dict[str, int]]:
        """Return each driver's counters by the driver's name, and the reporter's."""
        found = {d.driver.name: {**d.counts, **d.driver.health()} for d in self._desks}
        found["derive"] = dict(self._pipeline.counts)
        found["report"] = {"passed": self._reporter.passed, "held_back": self._reporter.held_back}
        return found

    def snapshot(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (device, data of ``device.snapshot``) of each device with a standing state."""
        return self._reporter.standing()

    async def _stop_one(self, driver: Driver) -> None:
        try:
            async with asyncio.timeout(_STOP_S):
                await driver.stop()
        except Exception as error:  # noqa: BLE001 (one driver must not keep the others running)
            _log.warning("driver_stop_failed", driver=driver.name, error=str(error))

    async def _derive(self) -> None:
        """Wake the derivations each second of run time, and save what they remember."""
        saved = self._monotonic()
        while True:
            await self._clock.sleep(_WAKE_S)
            await self._sleep(LEAST_PAUSE_S)
            try:
                await self._pipeline.wake()
            except JournalError as error:
                _log.debug("derivations_wait", error=str(error))
            if self._monotonic() - saved >= _SAVE_S:
                saved = self._monotonic()
                self._save_memory()

    def _save_memory(self) -> None:
        try:
            self._pipeline.save()
        except OSError as error:
            _log.warning("derivations_not_saved", error=str(error))

    async def _supervise(self, desk: _Desk) -> None:
        driver = desk.driver
        if isinstance(driver, PollingDriver):
            await self._poll(driver, desk)
        elif isinstance(driver, StreamingDriver):
            await self._stream(driver, desk)
        else:
            raise TypeError(f"{driver.name}: neither a polling nor a streaming driver")

    async def _poll(self, driver: PollingDriver, desk: _Desk) -> None:
        backoff = Backoff(self._random)
        spread: float | None = self._random.uniform(0, driver.period_s)
        await self._clock.sleep(self._random.uniform(0, min(driver.period_s, FIRST_POLL_S)))
        while True:
            began, began_real = self._clock.now_ms(), self._monotonic()
            if not await self._attempt(desk, driver.poll, driver.poll_timeout_s):
                await self._sleep(max(backoff.next(), LEAST_PAUSE_S))
                continue
            backoff.reset()
            await desk.tell_standing()
            # Only the second poll finds its place within the period: the first is early, so
            # that a start shows a picture soon, and yet the devices do not stay in step.
            period_s, spread = (driver.period_s if spread is None else spread), None
            passed_s = (self._clock.now_ms() - began) / 1000
            await self._clock.sleep(min(max(period_s - passed_s, 0), period_s))
            await self._sleep(max(LEAST_PAUSE_S - (self._monotonic() - began_real), 0))

    async def _stream(self, driver: StreamingDriver, desk: _Desk) -> None:
        backoff = Backoff(self._random)
        await self._sleep(self._random.uniform(0, 1))
        while True:
            await self._attempt(desk, lambda: _run(driver), None)
            if desk.touched:
                backoff.reset()
            await self._sleep(max(backoff.next(), LEAST_PAUSE_S))

    async def _attempt(
        self, desk: _Desk, act: Callable[[], Awaitable[None]], timeout_s: float | None
    ) -> bool:
        """Run one poll or one life of a stream; return False when the connection failed."""
        desk.touched.clear()
        try:
            async with asyncio.timeout(timeout_s):
                await act()
        except JournalError as error:
            # Not the device's fault: what was read is read again once there is room.
            desk.count("journal_refused")
            desk.log_first("journal_refused", error)
            return False
        except (DeviceError, OSError) as error:  # TimeoutError is an OSError
            return await self._failed(desk, error)
        except Exception as error:  # noqa: BLE001 (a faulty driver must not end its supervision)
            desk.count("crashed")
            desk.log_first("driver_crashed", error, traceback=True)
            return await self._failed(desk, error)
        desk.logged.clear()
        return True

    async def _failed(self, desk: _Desk, error: Exception) -> bool:
        try:
            for device in desk.driver.devices:
                if isinstance(desk.driver, StreamingDriver) or device not in desk.touched:
                    await desk.failed(device, error)
        except JournalError as refused:
            desk.count("journal_refused")
            desk.log_first("journal_refused", refused)
        return False


async def _run(driver: StreamingDriver) -> None:
    await driver.run()
    raise LinkError("the stream ended", "network")


class _Desk:
    """What one driver talks to: filter, health, counters and log of its devices."""

    def __init__(
        self, driver: Driver, reporter: Reporter, pipeline: Pipeline, clock: Clock
    ) -> None:
        self.driver = driver
        self.counts: Counter[str] = Counter()
        self.touched: set[str] = set()
        self.logged: set[str] = set()
        self.listed: set[str] = set()
        self.conditions = Conditions(driver.devices, driver.patience)
        self._clock = clock
        self._reporter = reporter
        self._pipeline = pipeline
        reporter.set_rules(driver.devices, {"device.health": health_rule(), **driver.reports})

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        try:
            await self._pipeline.emit(kind, device, data, at, id)
        except ContractError as refused:
            # A value that no device of its kind can have: seen, counted, and never fatal.
            self.count("refused")
            self.log_first(f"observation_refused:{kind}", refused, device=device)
        else:
            self.count("emitted")

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        await self._pipeline.snapshot(device, at, media_id, jpeg)
        self.count("snapshots")

    async def reached(self, device: str, latency_ms: float | None = None) -> None:
        self.touched.add(device)
        self.count("reached")
        was = self.conditions.of(device).online
        data = self.conditions.reached(device, self._clock.now_ms(), latency_ms)
        await self._reporter.emit("device.health", device, data)
        self.conditions.settle(device, online=True, at=self._clock.now_ms())
        if was is False:
            self.logged.clear()
            _log.info("device_recovered", driver=self.driver.name, device=device)

    async def failed(self, device: str, error: Exception) -> None:
        self.touched.add(device)
        self.count("failed")
        was = self.conditions.of(device).online
        data = self.conditions.failed(device, cause_of(error), describe(error))
        if data is None:
            return
        if was is not False:
            _log.warning(
                "device_lost", driver=self.driver.name, device=device, error=describe(error)
            )
        await self._reporter.emit("device.health", device, data)
        self.conditions.settle(device, online=False, at=self._clock.now_ms())

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
