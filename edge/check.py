"""Commissioning: reach every device of an edge's file once, and say what it said or why not.

The real drivers are used, with a sink that only listens: nothing is journalled, and nothing is
switched. Each driver has the same, bounded time; all of them go at once.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.errors import DeviceError, EstateError
from core.runtime.clock import Clock
from edge.config import EdgeConfig
from edge.desk import cause_of, describe
from edge.driver import Cause, Driver, PollingDriver, StreamingDriver
from edge.reload import build

#: A stream that is alive is listened to for so long (s), for something to show.
LISTEN_S = 2.0
_PAUSE_S = 0.5
_STOP_S = 3.0
#: Drivers that are tried at once.
_AT_ONCE = 64
_DULL = frozenset({"device.health", "device.snapshot"})
_REMEDIES: dict[Cause | None, str] = {
    "device": "it does not answer: its power, its address on the bus, its wiring",
    "gateway": "the gateway does not answer: its power, host and port, and whether a running edge "
    "or another system holds its only connection",
    "bus": "nobody on the bus answers: A and B swapped, baud rate and parity, the terminator, "
    "and whether a running edge holds the port",
    "network": "no way to it: host and port, cable, VLAN, firewall",
    "credentials": "it refuses the sign-in: user, password, and whether it has locked the account",
    "protocol": "it answers something else: the driver, the register map, the device's mode",
    None: "see the error",
}


@dataclass(slots=True)
class Finding:
    """What came of one device."""

    device: str
    driver: str
    ok: bool = False
    latency_ms: float | None = None
    reading: str = ""
    cause: Cause | None = None
    error: str = ""

    @property
    def remedy(self) -> str:
        """Return what to look at first."""
        return "" if self.ok else _REMEDIES[self.cause]


async def check(config: EdgeConfig, clock: Clock, timeout_s: float) -> AsyncIterator[Finding]:
    """Yield a finding for every device, driver after driver as they are done.

    Raises :class:`SettingsError` where a driver cannot be built.
    """
    with tempfile.TemporaryDirectory(prefix="estate-check-") as folder:
        drivers = build(config, clock, Path(folder)).drivers
        gate = asyncio.Semaphore(_AT_ONCE)

        async def one(driver: Driver) -> list[Finding]:
            async with gate:
                return await _try(driver, timeout_s)

        tasks = [asyncio.create_task(one(driver)) for driver in drivers]
        try:
            for done in asyncio.as_completed(tasks):
                for finding in await done:
                    yield finding
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _try(driver: Driver, timeout_s: float) -> list[Finding]:
    ear = _Ear(driver)
    try:
        await driver.start(ear)
        async with asyncio.timeout(timeout_s):
            await _listen(driver, ear)
    except TimeoutError:
        ear.miss(TimeoutError(f"nothing within {timeout_s:g} s"))
    except Exception as error:  # noqa: BLE001 (whatever a driver meets belongs in its finding)
        ear.miss(error)
    finally:
        try:
            async with asyncio.timeout(_STOP_S):
                await driver.stop()
        except Exception as error:  # noqa: BLE001 (the finding is what counts)
            ear.count(f"stop: {error}")
    return list(ear.findings.values())


async def _listen(driver: Driver, ear: _Ear) -> None:
    if isinstance(driver, PollingDriver):
        while not ear.complete:
            began = time.monotonic()
            try:
                async with asyncio.timeout(driver.poll_timeout_s):
                    await driver.poll()
            except (DeviceError, OSError) as error:
                ear.miss(error)
            # What was out of luck gets another chance while there is time.
            await asyncio.sleep(max(_PAUSE_S - (time.monotonic() - began), 0.05))
    elif isinstance(driver, StreamingDriver):
        while not ear.complete:
            await _hear(driver, ear)
            await asyncio.sleep(_PAUSE_S)


async def _hear(driver: StreamingDriver, ear: _Ear) -> None:
    """Let a stream live until every device was heard, and then a moment longer."""
    stream = asyncio.ensure_future(driver.run())
    whole = asyncio.ensure_future(ear.whole.wait())
    try:
        await asyncio.wait({stream, whole}, return_when=asyncio.FIRST_COMPLETED)
        if not stream.done():
            await asyncio.wait({stream}, timeout=LISTEN_S)
        if stream.done() and (ended := stream.exception()) is not None:
            ear.miss(ended)
    finally:
        for task in (stream, whole):
            task.cancel()
        await asyncio.gather(stream, whole, return_exceptions=True)


class _Ear:
    """A :class:`edge.driver.DriverSink` that keeps the newest word of each device."""

    def __init__(self, driver: Driver) -> None:
        self.findings = {device: Finding(device, driver.name) for device in driver.devices}
        self.whole = asyncio.Event()

    @property
    def complete(self) -> bool:
        return all(finding.ok for finding in self.findings.values())

    def miss(self, error: BaseException) -> None:
        for device in self.findings:
            self._failed(device, error)

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,  # noqa: ARG002 (the port's)
        id: str | None = None,  # noqa: ARG002 (the port's)
    ) -> None:
        finding = self.findings.get(device)
        if finding is not None and kind not in _DULL:
            finding.reading = line(kind, data)

    async def snapshot(
        self,
        device: str,
        at: int,  # noqa: ARG002 (the port's)
        media_id: str,  # noqa: ARG002 (the port's)
        jpeg: bytes,
    ) -> None:
        if (finding := self.findings.get(device)) is not None:
            finding.reading = f"a picture of {len(jpeg) // 1024} kB"

    async def reached(self, device: str, latency_ms: float | None = None) -> None:
        finding = self.findings[device]
        finding.ok, finding.error, finding.cause = True, "", None
        finding.latency_ms = latency_ms or finding.latency_ms
        if self.complete:
            self.whole.set()

    async def failed(self, device: str, error: Exception) -> None:
        self._failed(device, error)

    def count(self, name: str, amount: int = 1) -> None:
        """Counters do not matter here."""

    def _failed(self, device: str, error: BaseException) -> None:
        finding = self.findings[device]
        if finding.ok:
            return
        if isinstance(error, TimeoutError) and finding.error:
            return  # the first error says more than that the time is over
        known = error if isinstance(error, Exception) else RuntimeError(repr(error))
        finding.cause = None if isinstance(error, EstateError) and not isinstance(
            error, DeviceError
        ) else cause_of(known)  # fmt: skip
        finding.error = describe(known)[:200]


def line(kind: str, data: dict[str, Any], most: int = 110) -> str:
    """Return an observation in one line."""
    fields = ", ".join(f"{name} {_short(value)}" for name, value in data.items())
    text = f"{kind}: {fields}" if fields else kind
    return text if len(text) <= most else text[: most - 1] + "…"


def _short(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
