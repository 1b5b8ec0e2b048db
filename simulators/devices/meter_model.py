"""A smart meter's state: the planned load, what a scenario changes, and the register."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from math import pi, sin

import numpy as np

from core.contracts.errors import ContractError
from simulators.loads import GRID_S, LoadPlan
from simulators.rhythms import day_number, day_start_ms, hour_of_day
from simulators.seeds import stream, unit_noise

NOMINAL_V = 220.0
_THREE_PHASES = (0.36, 0.33, 0.31)
#: Shares of the forward energy in the four tariffs (peak, shoulder, flat, valley).
TARIFF_SHARES = (0.18, 0.27, 0.33, 0.22)
#: Where the register begins again (kWh).
CAPACITY_KWH = 1_000_000.0
_DEMAND_STEPS = 900 // GRID_S

# Status word 1 of DL/T 645-2007.
CLOCK_BATTERY_LOW = 1 << 2
BATTERY_LOW = 1 << 3
REVERSE = 1 << 4
# Status word 3.
RELAY_OPEN = 1 << 4
RELAY_COMMAND = 1 << 6
PROGRAMMING = 1 << 3
PRE_TRIP = 1 << 7
AUXILIARY_SUPPLY = 1 << 1
# Status words 4 to 6, one a phase.
VOLTAGE_LOSS = 1 << 0
UNDER_VOLTAGE = 1 << 1
OVER_VOLTAGE = 1 << 2
CURRENT_LOSS = 1 << 3
OVERLOAD = 1 << 5
REVERSE_PHASE = 1 << 6
PHASE_FAIL = 1 << 7


class Counted(IntEnum):
    """Events that a meter counts, by the data identifier of their counter."""

    VOLTAGE_LOSS = 0x03010000
    UNDER_VOLTAGE = 0x03020000
    OVER_VOLTAGE = 0x03030000
    PHASE_FAIL = 0x03040000
    ALL_PHASES_LOST = 0x03050000
    OVERCURRENT = 0x030C0000
    OVERLOAD = 0x030F0000
    POWER_OFF = 0x03110000
    COVER = 0x03300D00
    TERMINAL_COVER = 0x03300E00


@dataclass(frozen=True, slots=True)
class MeterState:
    """What the meter measures at one moment; per-phase values are in the order of the phases."""

    energy_kwh: float
    voltage_v: tuple[float, ...]
    current_a: tuple[float, ...]
    power_w: float
    phase_w: tuple[float, ...]
    power_factor: float
    frequency_hz: float
    demand_w: float
    temperature_c: float
    status_words: tuple[int, ...]
    export_kwh: float = 0.0
    demand_max_w: float = 0.0
    demand_max_at: int = 0
    clock_ms: int = 0
    """What the meter's own clock shows."""
    number: str = "000000000000"
    """The meter's number, which is not its address."""
    counts: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Counter -> how often it happened, by phase where it is counted so."""


@dataclass(slots=True)
class MeterFaults:
    """What is wrong with a meter, to be set while it runs."""

    clock_offset_s: float = 0.0
    clock_drift_ppm: float = 0.0
    """By how much the meter's clock runs fast, from the first time it is read."""
    clock_battery_low: bool = False
    battery_low: bool = False
    programming_allowed: bool = False
    pre_trip: bool = False
    auxiliary_supply: bool = False
    reversed_phases: frozenset[int] = frozenset()
    """Phases (from 0) whose current flows backwards."""
    lost_currents: frozenset[int] = frozenset()
    """Phases (from 0) whose current the meter does not see: an open transformer."""
    lost_phases: frozenset[int] = frozenset()
    """Phases (from 0) without voltage."""
    zero_reads: int = 0
    """So many of the next reads of the register give 0, as after a bad transmission."""
    missing: frozenset[int] = frozenset()
    """Data identifiers that this meter does not have."""
    silent: frozenset[int] = frozenset()
    """Data identifiers that it does not even answer."""


class MeterModel:
    """One meter. A scenario may load it, switch its relay, lower its voltage or open its cover."""

    def __init__(self, seed: int, name: str, plan: LoadPlan, *, phases: int) -> None:
        if phases not in (1, 3):
            raise ContractError(f"{phases} phases", field="phases", remedy="1 or 3")
        self.name = name
        self.phases = phases
        self.answers = True
        """Whether the meter answers at all; a scenario may silence it."""
        self.faults = MeterFaults()
        random = stream(seed, name, "power factor")
        self._plan = plan
        self._seed = seed
        self._power_factor = random.uniform(0.93, 0.99)
        self.number = f"{random.randrange(10**11, 10**12)}"
        self._offset_wh = 0.0
        self._override: tuple[int, float, float] | None = None
        self._relay_open = False
        self._overload_w: float | None = None
        self._fixed_w: float | None = None
        self._voltage_factor = 1.0
        self._drifts_since: int | None = None
        self._export_wh = 0.0
        self._reversed_at: float | None = None
        self._held_wh: float | None = None
        self._counts: dict[Counted, list[int]] = {
            counted: [0] * (1 if counted >= Counted.POWER_OFF else phases) for counted in Counted
        }
        self._counts[Counted.ALL_PHASES_LOST] = [0]
        self._shown: tuple[int, ...] = (0, 0, 0)
        self._demand_max = lru_cache(maxsize=1)(self._greatest)

    @property
    def limit_w(self) -> float:
        """Return the power (W) that the supply point is meant for."""
        return self._plan.spec.limit_w

    @property
    def relay_open(self) -> bool:
        """Tell whether the supply is cut."""
        return self._relay_open

    @property
    def offset_wh(self) -> float:
        """Return by how much (Wh) the register is off its plan through past scenarios."""
        return self._offset_wh

    def carry(self, offset_wh: float) -> None:
        """Continue the register of an earlier run."""
        self._offset_wh = offset_wh

    def set_relay(self, now_ms: int, *, opened: bool) -> None:
        """Open the supply relay, or close it."""
        self._relay_open = opened
        self._reload(now_ms)

    def set_overload(self, now_ms: int, watts: float | None) -> None:
        """Draw at least ``watts`` until told None."""
        self._overload_w = watts
        self._reload(now_ms)

    def set_draw(self, now_ms: int, watts: float | None) -> None:
        """Draw just ``watts`` (nobody is at home) until told None."""
        self._fixed_w = watts
        self._reload(now_ms)

    def set_voltage_factor(self, factor: float) -> None:
        """Lower or raise the supply voltage."""
        self._voltage_factor = factor

    def set_reversed(self, now_ms: int, phases: frozenset[int]) -> None:
        """Let the current of phases (from 0) flow backwards; none: as it should."""
        # What flowed back so far stays in the reverse register.
        self._export_wh = self.export_wh(now_ms)
        self.faults.reversed_phases = phases
        self._reversed_at = self.energy_wh(now_ms) if phases else None

    def stick(self, now_ms: int) -> None:
        """Let the register stand still while power flows."""
        self._held_wh = self.energy_wh(now_ms)

    def unstick(self, now_ms: int) -> None:
        """Let the register run again, from where it stood."""
        held, self._held_wh = self._held_wh, None
        if held is not None:
            self.set_register(now_ms, held / 1000)

    def set_register(self, now_ms: int, kwh: float) -> None:
        """Set the forward register, as a manipulation or a parameter error does."""
        step = kwh * 1000 - self._running_wh(now_ms)
        self._offset_wh += step
        if self._override is not None:
            since, start_wh, watts = self._override
            self._override = (since, start_wh + step, watts)
        if self._held_wh is not None:
            self._held_wh = kwh * 1000

    def near_capacity(self, now_ms: int, below_kwh: float) -> None:
        """Put the register just below its capacity, so that it soon begins again at 0."""
        self.set_register(now_ms, CAPACITY_KWH - below_kwh)

    def replace(self, now_ms: int, *, kwh: float = 0.0) -> None:
        """Put another meter in its place: another number, other registers, counters at 0."""
        self.number = f"{(int(self.number) + 7_919) % 10**12:012d}"
        self.set_register(now_ms, kwh)
        self._export_wh, self._reversed_at = 0.0, None
        for counts in self._counts.values():
            counts[:] = [0] * len(counts)

    def happen(self, counted: Counted, phase: int = 0) -> None:
        """Count one more of an event, which may be over already (a cover that was opened)."""
        counts = self._counts[counted]
        counts[min(phase, len(counts) - 1)] += 1

    def energy_wh(self, now_ms: int) -> float:
        """Return the register (Wh); it goes on counting beyond its capacity."""
        return self._running_wh(now_ms) if self._held_wh is None else self._held_wh

    def export_wh(self, now_ms: int) -> float:
        """Return the reverse register (Wh)."""
        if self._reversed_at is None:
            return self._export_wh
        start_wh = self._reversed_at
        share = len(self.faults.reversed_phases) / self.phases
        return self._export_wh + share * max(self.energy_wh(now_ms) - start_wh, 0.0)

    def power_w(self, now_ms: int) -> float:
        """Return the power drawn now (W)."""
        if self._override is None:
            return self._plan.power_w(now_ms)
        watts = self._override[2]
        return watts * (1 + 0.006 * unit_noise(self._seed, self.name, "ripple", now_ms // 3000))

    def clock_ms(self, now_ms: int) -> int:
        """Return what the meter's own clock shows."""
        if self._drifts_since is None:
            self._drifts_since = now_ms
        drift_s = (now_ms - self._drifts_since) / 1e9 * self.faults.clock_drift_ppm
        return now_ms + round(1000 * (self.faults.clock_offset_s + drift_s))

    def state(self, now_ms: int) -> MeterState:
        """Return everything that the meter measures now."""
        power = self.power_w(now_ms)
        shares = (1.0,) if self.phases == 1 else _THREE_PHASES
        signs = [-1 if i in self.faults.reversed_phases else 1 for i in range(self.phases)]
        drawn = tuple(power * share for share in shares)
        voltage = tuple(self._voltage(now_ms, index, w) for index, w in enumerate(drawn))
        phase_w = tuple(
            watts * sign if volts > 1 else 0.0
            for watts, sign, volts in zip(drawn, signs, voltage, strict=True)
        )
        factor = self._power_factor
        phase_w = tuple(
            0.0 if index in self.faults.lost_currents else watts
            for index, watts in enumerate(phase_w)
        )
        current = tuple(
            watts / (volts * factor) if volts > 1 else 0.0
            for watts, volts in zip(phase_w, voltage, strict=True)
        )
        hour = hour_of_day(now_ms)
        words = self._status_words(power, voltage)
        self._count(words[3:6])
        demand_max_w, demand_max_at = self._demand_max(day_number(now_ms) - 1)
        return MeterState(
            energy_kwh=self.energy_wh(now_ms) / 1000,
            voltage_v=voltage,
            current_a=current,
            power_w=sum(phase_w),
            phase_w=phase_w,
            power_factor=factor if power > 1 else 1.0,
            frequency_hz=50 + 0.02 * unit_noise(self._seed, "grid", now_ms // 10_000),
            demand_w=self._demand_w(now_ms),
            temperature_c=24 + 5 * sin((hour - 9) * pi / 12),
            status_words=words,
            export_kwh=self.export_wh(now_ms) / 1000,
            demand_max_w=demand_max_w,
            demand_max_at=demand_max_at,
            clock_ms=self.clock_ms(now_ms),
            number=self.number,
            counts={int(counted): tuple(counts) for counted, counts in self._counts.items()},
        )

    def _running_wh(self, now_ms: int) -> float:
        if self._override is None:
            return self._plan.energy_wh(now_ms) + self._offset_wh
        since, start_wh, watts = self._override
        return start_wh + watts * max(now_ms - since, 0) / 3_600_000

    def _voltage(self, now_ms: int, phase: int, watts: float) -> float:
        if phase in self.faults.lost_phases:
            return 0.0
        evening_sag = 4.5 * max(0.0, sin((hour_of_day(now_ms) - 15) * pi / 9))
        wobble = 0.9 * unit_noise(self._seed, self.name, "voltage", phase, now_ms // 7000)
        volts = NOMINAL_V + 6.5 - evening_sag - watts / 6000 + wobble
        return max(volts * self._voltage_factor, 0.0)

    def _demand_w(self, now_ms: int) -> float:
        """Return the mean power (W) of the fifteen minutes before now."""
        window_ms = 900_000
        if self._override is not None:
            return self._override[2]
        passed = self._plan.energy_wh(now_ms) - self._plan.energy_wh(now_ms - window_ms)
        return passed * 3_600_000 / window_ms

    def _greatest(self, day: int) -> tuple[float, int]:
        """Return the greatest demand (W) of a local day, and when it was (ms)."""
        window = np.ones(_DEMAND_STEPS) / _DEMAND_STEPS
        means = np.convolve(self._plan.day_curve(day), window, mode="valid")
        step = int(means.argmax())
        return float(means[step]), day_start_ms(day) + (step + _DEMAND_STEPS) * GRID_S * 1000

    def _status_words(self, power: float, voltage: tuple[float, ...]) -> tuple[int, ...]:
        faults = self.faults
        phases = [0, 0, 0]
        for index, volts in enumerate(voltage):
            lost = volts < 0.1 * NOMINAL_V
            phases[index] |= VOLTAGE_LOSS if lost else 0
            phases[index] |= UNDER_VOLTAGE if not lost and volts < 0.9 * NOMINAL_V else 0
            phases[index] |= OVER_VOLTAGE if volts > 1.15 * NOMINAL_V else 0
            phases[index] |= CURRENT_LOSS if index in faults.lost_currents else 0
            phases[index] |= OVERLOAD if power > self.limit_w else 0
            phases[index] |= REVERSE_PHASE if index in faults.reversed_phases else 0
        word1 = CLOCK_BATTERY_LOW if faults.clock_battery_low else 0
        word1 |= BATTERY_LOW if faults.battery_low else 0
        word1 |= REVERSE if len(faults.reversed_phases) == self.phases else 0
        word2 = sum(1 << index for index in faults.reversed_phases)
        word3 = RELAY_OPEN | RELAY_COMMAND if self._relay_open else 0
        word3 |= PROGRAMMING if faults.programming_allowed else 0
        word3 |= PRE_TRIP if faults.pre_trip else 0
        word3 |= AUXILIARY_SUPPLY if faults.auxiliary_supply else 0
        return (word1, word2, word3, *phases, 0)

    def _count(self, phases: tuple[int, ...]) -> None:
        """Count what began since the state was last looked at."""
        bits = {
            VOLTAGE_LOSS: Counted.VOLTAGE_LOSS, UNDER_VOLTAGE: Counted.UNDER_VOLTAGE,
            OVER_VOLTAGE: Counted.OVER_VOLTAGE, OVERLOAD: Counted.OVERLOAD,
        }  # fmt: skip
        for index in range(self.phases):
            begun = phases[index] & ~self._shown[index]
            for bit, counted in bits.items():
                if begun & bit:
                    self.happen(counted, index)
        self._shown = phases

    def _reload(self, now_ms: int) -> None:
        """Take the register over into the load that holds from now on."""
        energy = self._running_wh(now_ms)
        if self._relay_open:
            self._override = (now_ms, energy, 0.0)
        elif self._fixed_w is not None:
            self._override = (now_ms, energy, self._fixed_w)
        elif self._overload_w is not None:
            watts = max(self._overload_w, self._plan.power_w(now_ms))
            self._override = (now_ms, energy, watts)
        else:
            self._override = None
            self._offset_wh = energy - self._plan.energy_wh(now_ms)
