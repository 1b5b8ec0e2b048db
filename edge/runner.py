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

from core.contracts.errors import DeviceError, JournalError
from core.runtime.clock import Clock
from edge.backoff import Backoff
from edge.derive.derivation import Derivation
from edge.derive.pipeline import Pipeline
from edge.desk import Desk
from edge.driver import (
    DeviceCondition,
    Driver,
    LinkError,
    PollingDriver,
    Sink,
    StreamingDriver,
)
from edge.gateways import REPORT, Gateways
from edge.report import Reporter

_log = structlog.get_logger(__name__)

#: The first poll comes within so many seconds (run time) of the start, spread at random.
FIRST_POLL_S = 5.0
#: However fast the run's clock is, two polls of a device are so far apart (real seconds).
LEAST_PAUSE_S = 0.1
_STOP_S = 3.0
#: Longest time (real seconds) that a driver which is taken out may need to end its poll.
_LEAVE_S = 30.0
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
        edge: str = "edge",
        random: Random | None = None,
        sleep: Sleep = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        derivations: Sequence[Derivation] = (),
        memory: Path | None = None,
    ) -> None:
        """Take what is needed; ``sleep`` and ``monotonic`` are real time, for back-offs.

        ``edge`` is the edge's id, under which its gateways are told.
        ``memory`` is the file in which the derivations are remembered over a restart.
        """
        self._clock = clock
        self._random = random or Random()  # noqa: S311 (jitter, not a secret)
        self._sleep = sleep
        self._monotonic = monotonic
        self._edge = edge
        self._reporter = Reporter(sink, clock.now_ms)
        self._reporter.set_rules([edge], {"edge.gateway": REPORT})
        self._pipeline = Pipeline(self._reporter, derivations, clock.now_ms, memory)
        self._gateways = Gateways(edge, self._pipeline.emit, self._own_list)
        self._desks = [self._desk(driver) for driver in drivers]
        self._tasks: dict[Desk, asyncio.Task[None]] = {}
        self._derives = bool(derivations)
        self._deriving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Start every driver; raises :class:`SettingsError` when one cannot get ready."""
        self._pipeline.restore()
        try:
            await self._get_ready(self._desks)
        except BaseException:
            await self.stop()
            raise
        for desk in self._desks:
            self._begin(desk)
        self._wake_derivations()

    async def stop(self) -> None:
        """Stop every driver; returns within a few seconds whatever the devices do."""
        tasks = [*self._tasks.values(), *([self._deriving] if self._deriving else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks, self._deriving = {}, None
        await asyncio.gather(*(self._stop_one(desk.driver) for desk in self._desks))
        self._save_memory()

    async def change(self, drivers: Sequence[Driver], derivations: Sequence[Derivation]) -> None:
        """Take over another list of drivers; those that are in both go on untouched.

        Raises :class:`SettingsError`, with everything as it was, when a new one cannot get
        ready. Drivers that are not listed any more end when their poll has ended.
        """
        by_driver = {id(desk.driver): desk for desk in self._desks}
        desks = [by_driver.get(id(driver)) or self._desk(driver) for driver in drivers]
        fresh = [desk for desk in desks if id(desk.driver) not in by_driver]
        gone = [desk for desk in self._desks if desk not in desks]
        try:
            await self._get_ready(fresh)
        except BaseException:
            await asyncio.gather(*(self._stop_one(desk.driver) for desk in fresh))
            raise
        await asyncio.gather(*(self._end(desk) for desk in gone))
        left = {device for desk in gone for device in desk.driver.devices}
        self._reporter.forget(left, keep=frozenset({"device.health"}))
        forgotten = [name for desk in gone if (name := self._gateways.dismiss(desk)) is not None]
        for gateway in forgotten:
            self._reporter.forget_gateway(self._edge, gateway)
        self._desks = desks
        self._pipeline.renew(derivations)
        self._derives = bool(derivations)
        self._wake_derivations()
        for desk in fresh:
            self._begin(desk)
        await self._take_leave(left - {device for desk in desks for device in desk.driver.devices})
        if forgotten and self._gateways.known:
            await self._say("device.snapshot", self._edge, self._own_list())

    async def report(self, device: str | None = None) -> dict[str, int]:
        """Read one device (or all) now and report everything of it, changed or not.

        What speaks by itself cannot be asked: of that the standing states are listed. Returns
        how many devices that were, and how many of them are online. Raises JournalError.
        """
        desks = [d for d in self._desks if device is None or device in d.driver.devices]
        wanted = {device} if device else {d for desk in desks for d in desk.driver.devices}
        self._reporter.renew(wanted)
        polled = [desk for desk in desks if isinstance(desk.driver, PollingDriver)]
        streamed = {d for desk in desks if desk not in polled for d in desk.driver.devices}
        await asyncio.gather(*(desk.ask() for desk in polled))
        for name, data in self._reporter.standing():
            if name in streamed & wanted:
                await self._pipeline.emit("device.snapshot", name, data)
        health = self.health()
        return {"devices": len(wanted), "online": sum(bool(health[d].online) for d in wanted)}

    def driver_of(self, device: str) -> Driver | None:
        """Return the driver that a device hangs on."""
        return next((desk.driver for desk in self._desks if device in desk.driver.devices), None)

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

    def tallies(self) -> list[tuple[str, Counter[str]]]:
        """Return (kind of driver, what its desk has counted) of each driver."""
        return [(kind_of(desk.driver), Counter(desk.counts)) for desk in self._desks]

    def reported(self) -> tuple[int, int]:
        """Return how many observations were passed on, and how many were held back."""
        return self._reporter.passed, self._reporter.held_back

    def snapshot(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (device, data of ``device.snapshot``) of each device with a standing state."""
        listed = self._reporter.standing()
        if not self._gateways.known:  # a list that is not whole would end what it lacks
            return [item for item in listed if item[0] != self._edge]
        if not any(name == self._edge for name, _ in listed):
            listed.append((self._edge, {"states": []}))
        return listed

    def gateways(self) -> dict[str, bool | None]:
        """Return of each gateway whether it can be reached (None: not known yet)."""
        return self._gateways.state()

    def _own_list(self) -> dict[str, Any]:
        return dict(self._reporter.standing()).get(self._edge, {"states": []})

    def _desk(self, driver: Driver) -> Desk:
        return Desk(driver, self._reporter, self._pipeline, self._gateways, self._clock)

    async def _get_ready(self, desks: Sequence[Desk]) -> None:
        for desk in desks:
            await desk.driver.start(desk)

    def _begin(self, desk: Desk) -> None:
        desk.admit()
        self._tasks[desk] = asyncio.create_task(self._supervise(desk), name=desk.driver.name)

    async def _end(self, desk: Desk) -> None:
        """End one driver: a poll that is under way comes to its end, a stream does not."""
        task = self._tasks.pop(desk, None)
        if task is not None:
            desk.leave()
            if isinstance(desk.driver, PollingDriver):
                limit = min(desk.driver.poll_timeout_s + 1, _LEAVE_S)
                await asyncio.wait({task}, timeout=limit)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        for waiting in desk.take_asked():
            waiting.cancel()
        await self._stop_one(desk.driver)

    async def _take_leave(self, devices: set[str]) -> None:
        """Say of devices that are not read any more that nobody can reach them from here."""
        lost = {"online": False, "error": "taken out of the edge's configuration"}
        for device in sorted(devices):
            await self._say("device.health", device, dict(lost))
        self._reporter.forget(devices)

    async def _say(self, kind: str, device: str, data: dict[str, Any]) -> None:
        try:
            await self._pipeline.emit(kind, device, data)
        except JournalError as error:
            _log.warning("change_not_told", kind=kind, device=device, error=str(error))

    async def _stop_one(self, driver: Driver) -> None:
        try:
            async with asyncio.timeout(_STOP_S):
                await driver.stop()
        except Exception as error:  # noqa: BLE001 (one driver must not keep the others running)
            _log.warning("driver_stop_failed", driver=driver.name, error=str(error))

    def _wake_derivations(self) -> None:
        if self._derives and self._deriving is None:
            self._deriving = asyncio.create_task(self._derive(), name="derivations")

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

    async def _supervise(self, desk: Desk) -> None:
        driver = desk.driver
        if isinstance(driver, PollingDriver):
            await self._poll(driver, desk)
        elif isinstance(driver, StreamingDriver):
            await self._stream(driver, desk)
        else:
            raise TypeError(f"{driver.name}: neither a polling nor a streaming driver")

    async def _poll(self, driver: PollingDriver, desk: Desk) -> None:
        backoff = Backoff(self._random)
        spread: float | None = self._random.uniform(0, driver.period_s)
        first_s = self._random.uniform(0, min(driver.period_s, FIRST_POLL_S))
        await desk.pause(self._clock.sleep(first_s))
        while not desk.leaving:
            began, began_real = self._clock.now_ms(), self._monotonic()
            asked = desk.take_asked()
            good = await self._attempt(desk, driver.poll, driver.poll_timeout_s)
            desk.answer(asked, good=good)
            if not good:
                await desk.pause(self._sleep(max(backoff.next(), LEAST_PAUSE_S)))
                continue
            backoff.reset()
            await desk.tell_standing()
            # Only the second poll finds its place within the period: the first is early, so
            # that a start shows a picture soon, and yet the devices do not stay in step.
            period_s, spread = (driver.period_s if spread is None else spread), None
            passed_s = (self._clock.now_ms() - began) / 1000
            await desk.pause(self._clock.sleep(min(max(period_s - passed_s, 0), period_s)))
            await self._sleep(max(LEAST_PAUSE_S - (self._monotonic() - began_real), 0))

    async def _stream(self, driver: StreamingDriver, desk: Desk) -> None:
        backoff = Backoff(self._random)
        await self._sleep(self._random.uniform(0, 1))
        while True:
            await self._attempt(desk, lambda: _run(driver), None)
            if desk.touched:
                backoff.reset()
            await self._sleep(max(backoff.next(), LEAST_PAUSE_S))

    async def _attempt(
        self, desk: Desk, act: Callable[[], Awaitable[None]], timeout_s: float | None
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

    async def _failed(self, desk: Desk, error: Exception) -> bool:
        streams = isinstance(desk.driver, StreamingDriver)
        left = [d for d in desk.driver.devices if streams or d not in desk.touched]
        try:
            await desk.failed_whole(left, error)
        except JournalError as refused:
            desk.count("journal_refused")
            desk.log_first("journal_refused", refused)
        return False


async def _run(driver: StreamingDriver) -> None:
    await driver.run()
    raise LinkError("the stream ended", "network")


def kind_of(driver: Driver) -> str:
    """Return the name under which a driver is configured: that of its package."""
    return type(driver).__module__.removeprefix("edge.drivers.").partition(".")[0]
