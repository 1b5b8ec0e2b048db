"""The CJ/T 188 driver: reads the current data of the meters of one bus."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from core.contracts.errors import DeviceRefusedError
from edge.driver import DriverContext, LinkError, PollingDriver, ReportRule
from edge.drivers.cjt188.codec import (
    CURRENT_DATA,
    READ,
    CodecError,
    Decoder,
    Frame,
    MeterData,
    battery_low,
    decode_current,
    identifier_bytes,
    read_request,
    valve_of,
)
from edge.drivers.cjt188.settings import Cjt188MeterSettings, Cjt188Settings
from edge.drivers.meter_values import presentable
from edge.drivers.settings import report_rules
from edge.transport.bus import Bus, NoAnswerError
from edge.transport.rounds import Rounds, Tell

_TRIES = 2
#: One meter's share of the bus in a round, in answers' time-outs.
_BUDGET = _TRIES + 1
#: Identifier and SER in front of the data.
_HEAD = 3


@dataclass(slots=True)
class _Meter:
    settings: Cjt188MeterSettings
    number: int = 0
    """SER of the last question: an answer repeats it."""
    told: dict[str, bool] = field(default_factory=dict)


def create(settings: Cjt188Settings, context: DriverContext) -> Cjt188Driver:
    """Build the driver."""
    return Cjt188Driver(settings, context)


class Cjt188Driver(PollingDriver):
    """Reads volume, heat, flow, temperature, clock and status of water, gas and heat meters."""

    def __init__(self, settings: Cjt188Settings, context: DriverContext) -> None:
        self._rounds = Rounds(
            settings, context, settings.device_ids(),
            timeout_s=settings.timeout_s, budget_s=settings.timeout_s * _BUDGET,
        )  # fmt: skip
        super().__init__(
            f"cjt188 {settings.channel}",
            settings.device_ids(),
            period_s=settings.period_s,
            poll_timeout_s=self._rounds.longest_s,
        )
        self._settings = settings
        self._clock = context.clock
        self._decoder = Decoder()
        self._unmatched = 0
        self._meters = {meter.device: _Meter(meter) for meter in settings.meters}

    @property
    def gateway(self) -> str | None:
        """Return the channel's name when it carries more than one meter."""
        return self._rounds.gateway

    @property
    def reports(self) -> Mapping[str, ReportRule]:
        """Return the report rules; readings are reported each time unless told otherwise."""
        return report_rules(self._settings, {})

    def health(self) -> Mapping[str, int]:
        """Return counters: bytes outside frames, frames that answered nothing."""
        return {"skipped_bytes": self._decoder.skipped, "unmatched_frames": self._unmatched}

    async def stop(self) -> None:
        """Give the bus back."""
        await self._rounds.stop()

    async def poll(self) -> None:
        """Read every meter that is due; a meter that is dead does not stop the others."""
        await self._rounds.run(self._visit, self._sink)

    async def _visit(self, bus: Bus, device: str) -> Tell:
        meter = self._meters[device]
        frame, latency_ms = await self._ask(bus, meter)
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

    async def _ask(self, bus: Bus, meter: _Meter) -> tuple[Frame, float]:
        given = meter.settings
        for attempt in range(1, _TRIES + 1):
            meter.number = meter.number % 255 + 1
            question = read_request(
                given.kind, given.address, self._settings.identifier_order, meter.number
            )
            self._decoder.clear()
            try:
                return await bus.ask(
                    question, partial(self._take, meter), self._settings.timeout_s, self._stale
                )
            except NoAnswerError:
                if attempt == _TRIES:
                    text = f"meter {given.address}: no answer"
                    raise NoAnswerError(text, "device") from None
                self._sink.count("retries")
        raise AssertionError("unreachable")

    def _take(self, meter: _Meter, chunk: bytes) -> Frame | None:
        found: Frame | None = None
        for frame in self._decoder.feed(chunk):
            if found is None and self._answers(meter, frame):
                found = frame
            else:
                self._unmatched += 1
        return found

    def _stale(self, chunk: bytes) -> None:
        self._unmatched += len(self._decoder.feed(chunk))
        self._decoder.clear()

    def _answers(self, meter: _Meter, frame: Frame) -> bool:
        if not frame.is_reply or frame.function != READ:
            return False
        if frame.address != meter.settings.address.upper():
            return False
        if frame.is_error:
            return True
        order = self._settings.identifier_order
        if frame.data[:2] != identifier_bytes(CURRENT_DATA, order):
            return False
        # Some meters do not count along and always say 0.
        return frame.data[2:_HEAD] in (bytes((meter.number,)), b"\x00")

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
