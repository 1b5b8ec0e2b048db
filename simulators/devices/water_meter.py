"""A water, gas or heat meter's state: what flows over a day, its register, valve and battery."""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi

from simulators.rhythms import DAY_MS, day_number, day_start_ms, hour_of_day
from simulators.seeds import stream, unit_noise

#: Types of CJ/T 188.
COLD_WATER, HOT_WATER, HEAT, GAS = 0x10, 0x11, 0x20, 0x30
#: 2025-01-01 in local days: the registers count from here.
_FIRST_DAY = 20_089
#: Typical use in a day (m³), by the type's group.
_DAILY_M3 = {0x10: 0.45, 0x20: 6.0, 0x30: 0.8}
#: kWh that a cubic metre of water gives for each degree it cools down.
_KWH_PER_M3_K = 1.163
VALVE_CLOSED, VALVE_FAULT, BATTERY_LOW = 0x01, 0x03, 0x04
#: Bits of the second status byte, which each maker defines for itself; these are ours.
LEAK, REVERSE, EMPTY_PIPE, MAGNET = 1 << 8, 1 << 9, 1 << 10, 1 << 11


@dataclass(frozen=True, slots=True)
class FlowMeterState:
    """What the meter shows at one moment."""

    volume_m3: float
    settled_m3: float
    """The register at the start of the local day."""
    flow_m3_h: float
    heat_kwh: float
    power_w: float
    supply_c: float
    return_c: float
    hours: float
    clock_ms: int
    status: int


class FlowMeterModel:
    """One meter; its register is a closed function of time but for what a scenario changes."""

    def __init__(self, seed: int, name: str, *, kind: int = COLD_WATER, size: float = 1.0) -> None:
        """``kind`` is the type T of CJ/T 188; ``size`` 1 is a typical household."""
        random = stream(seed, name, "flow meter")
        self.name = name
        self.kind = kind
        self.answers = True
        """Whether the meter answers at all; a scenario may silence it."""
        self.valve_open = True
        self.valve_fault = False
        self.battery_low = False
        self.flags = 0
        """Bits of the maker's own status byte: :data:`LEAK` and its siblings."""
        self.clock_offset_s = 0.0
        self._seed = seed
        self._daily_m3 = _DAILY_M3.get(kind & 0xF0, 0.45) * size
        self._initial_m3 = random.uniform(20, 400)
        self._shift_h = random.uniform(-0.7, 0.7)
        self._offset_m3 = 0.0
        self._held: tuple[int, float, float] | None = None
        """Since when, from which register, with which flow (m³/h) a scenario rules."""

    def set_valve(self, now_ms: int, *, opened: bool) -> None:
        """Open or close the valve; a closed one lets nothing through."""
        self.valve_open = opened
        if opened:
            self._resume(now_ms)
        else:
            self._held = (now_ms, self.volume_m3(now_ms), 0.0)

    def set_leak(self, now_ms: int, m3_h: float | None) -> None:
        """Let water run away all the time, or stop it (None)."""
        if m3_h is None:
            self.flags &= ~LEAK
            self._resume(now_ms)
        else:
            self.flags |= LEAK
            self._held = (now_ms, self.volume_m3(now_ms), m3_h)

    def set_register(self, now_ms: int, m3: float) -> None:
        """Put the register elsewhere: another meter, a manipulation, a capacity that is near."""
        step = m3 - self.volume_m3(now_ms)
        self._offset_m3 += step
        if self._held is not None:
            since, start, flow = self._held
            self._held = (since, start + step, flow)

    def volume_m3(self, now_ms: int) -> float:
        """Return the register (m³)."""
        if self._held is None:
            return self._planned(now_ms) + self._offset_m3
        since, start, flow = self._held
        return start + flow * max(now_ms - since, 0) / 3_600_000

    def state(self, now_ms: int) -> FlowMeterState:
        """Return everything that the meter shows now."""
        volume = self.volume_m3(now_ms)
        flow = (volume - self.volume_m3(now_ms - 60_000)) * 60
        if self._held is not None:
            flow = self._held[2]
        wobble = unit_noise(self._seed, self.name, "temperature", now_ms // 60_000)
        supply, back = 52 + 2 * wobble, 41 + wobble
        status = VALVE_FAULT if self.valve_fault else 0 if self.valve_open else VALVE_CLOSED
        status |= BATTERY_LOW if self.battery_low else 0
        return FlowMeterState(
            volume_m3=volume,
            settled_m3=self.volume_m3(day_start_ms(day_number(now_ms))),
            flow_m3_h=max(flow, 0.0),
            heat_kwh=volume * _KWH_PER_M3_K * 11,
            power_w=max(flow, 0.0) * _KWH_PER_M3_K * (supply - back) * 1000,
            supply_c=supply,
            return_c=back,
            hours=(now_ms - day_start_ms(_FIRST_DAY)) / 3_600_000,
            clock_ms=now_ms + round(1000 * self.clock_offset_s),
            status=status | self.flags,
        )

    def _planned(self, now_ms: int) -> float:
        """Return the planned register: flat at night, two humps a day, never falling."""
        own_ms = now_ms - round(self._shift_h * 3_600_000)
        day = (own_ms - day_start_ms(_FIRST_DAY)) // DAY_MS
        hour = hour_of_day(own_ms)
        # The integral of 1 - cos(2x) over a day is the day.
        turns = 4 * pi * hour / 24
        share = hour / 24 - cos(pi / 2 - turns) / (4 * pi)
        return self._initial_m3 + self._daily_m3 * (day + share)

    def _resume(self, now_ms: int) -> None:
        volume = self.volume_m3(now_ms)
        self._held = None
        self._offset_m3 = volume - self._planned(now_ms)
