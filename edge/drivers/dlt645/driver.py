"""The DL/T 645 driver: visits the meters of one bus and tells what they measure and suffered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from edge.driver import DriverContext, DriverSink
from edge.drivers.dlt645.conditions import Conditions, Transition
from edge.drivers.dlt645.link import Link
from edge.drivers.dlt645.memory import Memory, Remembered
from edge.drivers.dlt645.meter import MeterReader, Reading
from edge.drivers.dlt645.settings import Dlt645Settings, MeterSettings
from edge.meters.driver import MeterBusDriver
from edge.meters.values import presentable
from edge.transport.bus import Bus
from edge.transport.rounds import Tell

#: One meter's share of the bus in a round, in answers' time-outs.
_BUDGET = 4
_RELAY_OPEN = 1 << 4
#: Meter numbers that say nothing.
_NO_NUMBER = frozenset({"000000000000", "FFFFFFFFFFFF", "999999999999"})

_log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Meter:
    settings: MeterSettings
    reader: MeterReader
    conditions: Conditions
    identity: dict[str, str] = field(default_factory=dict)


def create(settings: Dlt645Settings, context: DriverContext) -> Dlt645Driver:
    """Build the driver."""
    return Dlt645Driver(settings, context)


class Dlt645Driver(MeterBusDriver):
    """Reads registers, measured values, status words and event counters."""

    def __init__(self, settings: Dlt645Settings, context: DriverContext) -> None:
        super().__init__("dlt645", settings, context, settings.timeout_s * _BUDGET)
        self._settings = settings
        self._clock = context.clock
        self._link = Link(settings.timeout_s)
        self._memory = Memory(context.data, f"{settings.channel}/{settings.meters[0].device}")
        self._meters = {
            meter.device: _Meter(
                meter, MeterReader(settings, meter, self._link), Conditions(meter.medium)
            )
            for meter in settings.meters
        }

    def health(self) -> Mapping[str, int]:
        """Return the counters of the exchange, and how many identifiers are not there."""
        missing = sum(meter.reader.missing for meter in self._meters.values())
        return {**self._link.health(), "missing_items": missing}

    async def start(self, sink: DriverSink) -> None:
        """Recall the meters' counters and numbers."""
        await super().start(sink)
        for device, known in self._memory.load().items():
            if device in self._meters:
                self._meters[device].conditions.counts.update(known.counts)
                self._meters[device].identity.update(known.identity)

    async def _visit(self, bus: Bus, device: str) -> Tell:
        meter = self._meters[device]
        share_s = self._settings.timeout_s * _BUDGET / 2
        reading = await meter.reader.read(bus, self._clock.now_ms, self._sink.count, share_s)
        return partial(self._tell, meter, reading, self._clock.now_ms())

    async def _tell(self, meter: _Meter, reading: Reading, at: int) -> None:
        device, medium = meter.settings.device, meter.settings.medium
        values = reading.values
        await self._sink.reached(device, reading.latency_ms)
        await self._tell_replacement(meter, reading, at)
        words = values.pop("_words", {})
        meter.conditions.see_words(words)
        meter.conditions.see_counts(values.pop("_counts", {}))
        if (offset := values.get("clock_offset_s")) is not None:
            wrong = abs(offset) > self._settings.clock_limit_s
            meter.conditions.see_condition("clock_wrong", stands=wrong)
        for transition in meter.conditions.transitions():
            await self._sink.emit("meter.event", device, _event(medium, transition), at)
            meter.conditions.told(transition)
        if 3 in words:
            name = "relay_closed" if medium == "electricity" else "valve_open"
            values[name] = not words[3] & _RELAY_OPEN
        data = presentable({"medium": medium, **values}, self._sink.count)
        await self._sink.emit("meter.reading", device, data, at)
        self._remember(meter)

    async def _tell_replacement(self, meter: _Meter, reading: Reading, at: int) -> None:
        """Tell when the meter's number, or an address that is not configured, is another one."""
        number = reading.values.pop("_number", None)
        seen = {} if number is None or number in _NO_NUMBER else {"number": number}
        if meter.settings.address == "any":
            seen["address"] = reading.address
        for name, value in seen.items():
            known = meter.identity.get(name)
            if known is not None and known != value:
                data = {
                    "medium": meter.settings.medium, "event": "meter_replaced", "active": True,
                    "raw_code": f"{name} {known} > {value}"[:64],
                }  # fmt: skip
                await self._sink.emit("meter.event", meter.settings.device, data, at)
                meter.conditions.forget_counts()
                meter.reader.forget()
                meter.identity.clear()
                break
        meter.identity.update(seen)

    def _remember(self, meter: _Meter) -> None:
        known = Remembered(meter.conditions.counts, meter.identity)
        try:
            self._memory.save(meter.settings.device, known)
        except OSError as error:
            self._sink.count("memory_not_saved")
            _log.debug("memory_not_saved", device=meter.settings.device, error=str(error))


def _event(medium: str, transition: Transition) -> dict[str, Any]:
    data = {"medium": medium, "event": transition.event, "active": transition.active}
    return data if transition.raw_code is None else {**data, "raw_code": transition.raw_code}
