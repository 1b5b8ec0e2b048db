"""A smart meter's state: the planned load, what a scenario changes, and the register."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi, sin

from core.contracts.errors import ContractError
from simulators.loads import LoadPlan
from simulators.rhythms import hour_of_day
from simulators.seeds import stream, unit_noise

NOMINAL_V = 220.0
_THREE_PHASES = (0.36, 0.33, 0.31)

# Status word 3 of DL/T 645-2007.
RELAY_OPEN = 1 << 4
RELAY_COMMAND = 1 << 6
# Status words 4 to 6, one a phase.
UNDER_VOLTAGE = 1 << 1
OVERLOAD = 1 << 5


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


class MeterModel:
    """One meter. A scenario may load it, switch its relay or lower its voltage."""

    def __init__(self, seed: int, name: str, plan: LoadPlan, *, phases: int) -> None:
        if phases not in (1, 3):
            raise ContractError(f"{phases} phases", field="phases", remedy="1 or 3")
        self.name = name
        self.phases = phases
        self.answers = True
        """Whether the meter answers at all; a scenario may silence it."""
        self._plan = plan
        self._seed = seed
        self._power_factor = stream(seed, name, "power factor").uniform(0.93, 0.99)
        self._offset_wh = 0.0
        self._override: tuple[int, float, float] | None = None
        self._relay_open = False
        self._overload_w: float | None = None
        self._voltage_factor = 1.0

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

    def set_voltage_factor(self, factor: float) -> None:
        """Lower or raise the supply voltage."""
        self._voltage_factor = factor

    def energy_wh(self, now_ms: int) -> float:
        """Return the register (Wh)."""
        if self._override is None:
            return self._plan.energy_wh(now_ms) + self._offset_wh
        since, start_wh, watts = self._override
        return start_wh + watts * max(now_ms - since, 0) / 3_600_000

    def power_w(self, now_ms: int) -> float:
        """Return the power drawn now (W)."""
        if self._override is None:
            return self._plan.power_w(now_ms)
        watts = self._override[2]
        return watts * (1 + 0.006 * unit_noise(self._seed, self.name, "ripple", now_ms // 3000))

    def state(self, now_ms: int) -> MeterState:
        """Return everything that the meter measures now."""
        power = self.power_w(now_ms)
        shares = (1.0,) if self.phases == 1 else _THREE_PHASES
        phase_w = tuple(power * share for share in shares)
        voltage = tuple(self._voltage(now_ms, index, w) for index, w in enumerate(phase_w))
        factor = self._power_factor
        current = tuple(
            watts / (volts * factor) if volts > 1 else 0.0
            for watts, volts in zip(phase_w, voltage, strict=True)
        )
        hour = hour_of_day(now_ms)
        return MeterState(
            energy_kwh=self.energy_wh(now_ms) / 1000,
            voltage_v=voltage,
            current_a=current,
            power_w=power,
            phase_w=phase_w,
            power_factor=factor if power > 1 else 1.0,
            frequency_hz=50 + 0.02 * unit_noise(self._seed, "grid", now_ms // 10_000),
            demand_w=self._demand_w(now_ms),
            temperature_c=24 + 5 * sin((hour - 9) * pi / 12),
            status_words=self._status_words(power, voltage),
        )

    def _voltage(self, now_ms: int, phase: int, watts: float) -> float:
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

    def _status_words(self, power: float, voltage: tuple[float, ...]) -> tuple[int, ...]:
        phases = [0, 0, 0]
        for index, volts in enumerate(voltage):
            phases[index] |= UNDER_VOLTAGE if volts < 0.9 * NOMINAL_V else 0
            phases[index] |= OVERLOAD if power > self.limit_w else 0
        word3 = RELAY_OPEN | RELAY_COMMAND if self._relay_open else 0
        return (0, 0, word3, *phases, 0)

    def _reload(self, now_ms: int) -> None:
        """Take the register over into the load that holds from now on."""
        energy = self.energy_wh(now_ms)
        if self._relay_open:
            self._override = (now_ms, energy, 0.0)
        elif self._overload_w is not None:
            watts = max(self._overload_w, self._plan.power_w(now_ms))
            self._override = (now_ms, energy, watts)
        else:
            self._override = None
            self._offset_wh = energy - self._plan.energy_wh(now_ms)
