"""The CJ/T 188 driver: reads the current data of the meters of one bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from core.contracts.errors import DeviceRefusedError
from edge.driver import DriverContext, LinkError
from edge.drivers.cjt188.codec import (
    CURRENT_DATA,
    READ,
    Decoder,
    Frame,
    MeterData,
    Order,
    battery_low,
    decode_current,
    identifier_bytes,
    read_request,
    valve_of,
)
from edge.drivers.cjt188.settings import Cjt188MeterSettings, Cjt188Settings
from edge.meters.driver import MeterBusDriver
from edge.meters.exchange import Exchange
from edge.meters.frames import CodecError
from edge.meters.values import presentable
from edge.transport.bus import Bus
from edge.transport.rounds import Tell

#: One meter's share of the bus in a round, in answers' time-outs.
_BUDGET = 3
#: Identifier and SER in front of the data.
_HEAD = 3


@dataclass(slots=True)
class _Meter:
    settings: Cjt188MeterSettings
    number: int = 0
    """SER of the last question: an answer repeats it."""
    told: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Question:
    """The question for a meter's current data, and what answers it."""

    meter: Cjt188MeterSettings
    order: Order
    number: int

    def __str__(self) -> str:
        return f"meter {self.meter.address}"

    def encode(self) -> bytes:
        return read_request(self.meter.kind, self.meter.address, self.order, self.number)

    def answered_by(self, frame: Frame) -> bool:
        if not frame.is_reply or frame.function != READ:
            return False
        if frame.address != self.meter.address.upper():
            return False
        if frame.is_error:
            return True
        if frame.data[:2] != identifier_bytes(CURRENT_DATA, self.order):
            return False
        # Some meters do not count along and always say 0.
        return frame.data[2:_HEAD] in (bytes((self.number,)), b"\x00")


def create(settings: Cjt188Settings, context: DriverContext) -> Cjt188Driver:
    """Build the driver."""
    return Cjt188Driver(settings, context)


class Cjt188Driver(MeterBusDriver):
    """Reads volume, heat, flow, temperature, clock and status of water, gas and heat meters."""

    def __init__(self, settings: Cjt188Settings, context: DriverContext) -> None:
        super().__init__("cjt188", settings, context, settings.timeout_s * _BUDGET)
        self._settings = settings
        self._clock = context.clock
        self._exchange = Exchange(Decoder(), settings.timeout_s)
        self._meters = {meter.device: _Meter(meter) for meter in settings.meters}

    def health(self) -> Mapping[str, int]:
        """Return the counters of the exchange."""
        return self._exchange.health()

    async def _visit(self, bus: Bus, device: str) -> Tell:
        meter = self._meters[device]
        frame, latency_ms = await self._exchange.ask(bus, partial(self._question, meter))
        if frame.is_error:
            raise DeviceRefusedError(f"meter {meter.settings.address}: refuses", frame.data.hex())
        now = self._clock.now_ms()
        try:
            data = decode_current(
                meter.settings.measures, frame.data[_HEAD:], self._settings.utc_offset_h
            )
        except CodecError as error:
            raise LinkError(f"meter {meter.settings.address}: {error}", "protocol") from error
        return partial(self._tell, meter, data, now, latency_ms)

    def _question(self, meter: _Meter) -> _Question:
        meter.number = meter.number % 255 + 1
        return _Question(meter.settings, self._settings.identifier_order, meter.number)

    async def _tell(self, meter: _Meter, data: MeterData, at: int, latency_ms: float) -> None:
        given = meter.settings
        await self._sink.reached(given.device, latency_ms)
        valve = valve_of(data.status, given.status_bits)
        offset_s = None
        if data.clock is not None:
            offset_s = round(data.clock.timestamp() - at / 1000, 1)
        await self._tell_events(meter, data, offset_s, at)
        values: dict[str, Any] = {
            "volume_m3": data.volume_m3, "flow_m3_h": data.flow_m3_h, "heat_kwh": data.heat_kwh,
            "power_w": data.power_w, "temperature_c": data.supply_c, "clock_offset_s": offset_s,
            "valve_open": {"open": True, "closed": False}.get(valve),
        }  # fmt: skip
        reading = {name: value for name, value in values.items() if value is not None}
        shown = presentable({"medium": given.measures, **reading}, self._sink.count)
        await self._sink.emit("meter.reading", given.device, shown, at)

    async def _tell_events(
        self, meter: _Meter, data: MeterData, offset_s: float | None, at: int
    ) -> None:
        given = meter.settings
        stands = conditions(data.status, given)
        if offset_s is not None:
            stands["clock_wrong"] = abs(offset_s) > self._settings.clock_limit_s
        for event, active in sorted(stands.items(), key=lambda item: item[1]):
            told = meter.told.get(event)
            # The valve's state is told once at the start, anything else when it begins.
            if told is active or (told is None and not active and event != "valve_closed"):
                continue
            what = {"medium": given.measures, "event": event, "active": active}
            if active and event != "clock_wrong":
                what["raw_code"] = f"ST {data.status:04X}"
            await self._sink.emit("meter.event", given.device, what, at)
            meter.told[event] = active


def conditions(status: int, given: Cjt188MeterSettings) -> dict[str, bool]:
    """Return event -> whether it stands, according to ST."""
    valve = valve_of(status, given.status_bits)
    stands = {
        "battery_low": battery_low(status, given.status_bits),
        "valve_closed": valve == "closed",
        "other": valve == "fault",
    }
    for bit, event in given.status_events.items():
        stands[event] = stands.get(event, False) or bool(status >> bit & 1)
    return stands
