"""The DL/T 645 driver: polls the meters of one bus, one after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from core.contracts.errors import DeviceError, DeviceRefusedError
from edge.backoff import Backoff
from edge.driver import DriverContext, LinkError, PollingDriver, ReportRule
from edge.drivers.dlt645.bus import Bus, NoSuchDataError
from edge.drivers.dlt645.codec import CodecError
from edge.drivers.dlt645.items import ITEMS, Item
from edge.drivers.dlt645.settings import Dlt645Settings, MeterSettings
from edge.drivers.settings import report_rules

#: An identifier that a meter does not have is asked again after so long (real time): the
#: meter may have been exchanged.
_ASK_AGAIN_S = 6 * 3600
_TRIES = 2
#: One meter's share of a poll, in answers' time-outs.
_BUDGET = 4

Values = dict[str, float | bool]


@dataclass(slots=True)
class _Meter:
    settings: MeterSettings
    backoff: Backoff
    missing: dict[int, float] = field(default_factory=dict)
    """Identifier -> monotonic time at which the meter said that it does not have it."""
    relay_open: bool | None = None
    not_before: float = 0.0


def create(settings: Dlt645Settings, context: DriverContext) -> Dlt645Driver:
    """Build the driver."""
    return Dlt645Driver(settings, context)


class Dlt645Driver(PollingDriver):
    """Reads energy, voltages, currents, power, power factor, frequency and the relay."""

    def __init__(self, settings: Dlt645Settings, context: DriverContext) -> None:
        count = len(settings.meters)
        super().__init__(
            f"dlt645 {settings.host}:{settings.port}",
            settings.device_ids(),
            period_s=settings.period_s,
            poll_timeout_s=settings.timeout_s * (_BUDGET * count + 1) + 5,
        )
        self._settings = settings
        self._clock = context.clock
        self._bus = Bus(settings.host, settings.port, settings.timeout_s)
        random = Random()  # noqa: S311 (jitter, not a secret)
        self._meters = [
            _Meter(item, Backoff(random, base_s=4 * settings.timeout_s, cap_s=300))
            for item in settings.meters
        ]

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules; readings are reported each time unless told otherwise."""
        return report_rules(self._settings, {})

    def health(self) -> Mapping[str, int]:
        """Return counters: bytes outside frames, replies to nobody, identifiers not there."""
        return {
            "skipped_bytes": self._bus.skipped_bytes,
            "unmatched_frames": self._bus.unmatched,
            "missing_items": sum(len(meter.missing) for meter in self._meters),
        }

    async def stop(self) -> None:
        """Close the connection."""
        await self._bus.close()

    async def poll(self) -> None:
        """Read every meter that is due; a meter that is dead does not stop the others."""
        await self._bus.connect()
        answered = tried = 0
        last: Exception | None = None
        for meter in self._meters:
            if meter.not_before > time.monotonic():
                continue
            tried += 1
            try:
                await self._read_meter(meter)
            except (DeviceError, CodecError) as error:
                last = error
                if isinstance(error, LinkError) and error.cause == "gateway":
                    raise
                await self._sink.failed(meter.settings.device, _readable(error))
                pause = meter.backoff.next()
                # The first failure may be a disturbed line: the meter is asked next time.
                meter.not_before = time.monotonic() + pause if meter.backoff.failures > 1 else 0
            else:
                answered += 1
                meter.backoff.reset()
        if tried and not answered:
            # Perhaps the socket is half open: begin anew.
            await self._bus.close()
            raise LinkError(f"no meter answered: {last}", "bus" if tried > 1 else "device")

    async def _read_meter(self, meter: _Meter) -> None:
        device = meter.settings.device
        values: Values = {}
        latency_ms: float | None = None
        try:
            async with asyncio.timeout(self._settings.timeout_s * _BUDGET):
                for item in ITEMS[meter.settings.phases]:
                    found, latency = await self._read_item(meter, item)
                    values |= found
                    latency_ms = latency_ms or latency
        except TimeoutError:
            raise LinkError(f"meter {meter.settings.address}: too slow", "device") from None
        if not values:
            raise LinkError(f"meter {meter.settings.address}: has none of the items", "protocol")
        at = self._clock.now_ms()
        await self._sink.reached(device, latency_ms)
        await self._report_relay(meter, values, at)
        await self._sink.emit("meter.reading", device, {"medium": "electricity", **values}, at)

    async def _read_item(self, meter: _Meter, item: Item) -> tuple[Values, float | None]:
        """Read one item, or what stands in for it; an item that is missing gives nothing."""
        asked = meter.missing.get(item.identifier)
        if asked is None or time.monotonic() - asked > _ASK_AGAIN_S:
            try:
                payload, latency_ms = await self._ask(meter, item)
                meter.missing.pop(item.identifier, None)
                return item.decode(payload), latency_ms
            except NoSuchDataError:
                meter.missing[item.identifier] = time.monotonic()
            except (DeviceRefusedError, CodecError):
                # Refused or unreadable this time only; the other items are still good.
                self._sink.count("items_refused")
                return {}, None
        values: Values = {}
        latest: float | None = None
        for other in item.instead:
            found, latency = await self._read_item(meter, other)
            values |= found
            latest = latest or latency
        return values, latest

    async def _ask(self, meter: _Meter, item: Item) -> tuple[bytes, float]:
        for attempt in range(1, _TRIES + 1):
            try:
                return await self._bus.read(meter.settings.address, item.identifier)
            except LinkError as error:
                if attempt == _TRIES or error.cause == "gateway":
                    raise
                self._sink.count("retries")
        raise AssertionError("unreachable")

    async def _report_relay(self, meter: _Meter, values: Values, at: int) -> None:
        closed = values.get("relay_closed")
        if closed is None or meter.relay_open is (not closed):
            return
        data = {"medium": "electricity", "event": "relay_opened", "active": not closed}
        await self._sink.emit("meter.event", meter.settings.device, data, at)
        meter.relay_open = not closed


def _readable(error: Exception) -> Exception:
    return LinkError(str(error), "protocol") if isinstance(error, CodecError) else error
