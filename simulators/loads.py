"""What a supply point draws over a day: households, offices, shops and a building's own needs.

A day's curve is drawn from a seed on a 30 s grid. The energy register follows it exactly and
is a closed function of time, so a restarted run continues the register where it stood.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from simulators.rhythms import day_number, day_start_ms, hour_of_day, is_weekend
from simulators.seeds import stream, unit_noise

GRID_S = 30
STEPS = 24 * 3600 // GRID_S
#: 2025-01-01 in local days: the registers count from here.
FIRST_DAY = 20_089
#: A curve stays below this share of the limit: only a scenario overloads a meter.
_CEILING = 0.8

Curve = npt.NDArray[np.float64]


class LoadKind(StrEnum):
    """What hangs on a supply point."""

    HOUSEHOLD = "household"
    PUBLIC = "public"
    SHOP = "shop"
    OFFICE = "office"


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """One supply point: its kind, its limit (W) and how large it is (1 is typical)."""

    kind: LoadKind
    limit_w: float
    size: float = 1.0


@dataclass(slots=True)
class _Sketch:
    """A day's curve while it is being drawn; ``earlier_h`` moves the day of early risers."""

    random: Random
    size: float
    weekend: bool
    earlier_h: float
    watts: Curve = field(default_factory=lambda: np.zeros(STEPS))

    def run(self, start_h: float, minutes: float, watts: float) -> None:
        """Let an appliance run; what goes past midnight is cut off."""
        first = int((start_h - self.earlier_h) * 3600 / GRID_S)
        last = first + max(1, int(minutes * 60 / GRID_S))
        self.watts[max(first, 0) : max(min(last, STEPS), 0)] += watts

    def about(self, hour: float, spread_h: float) -> float:
        """Return an hour near ``hour``."""
        return hour + self.random.gauss(0, spread_h)

    def cycle(self, start_h: float, end_h: float, on_min: float, off_min: float, w: float) -> None:
        """Let a thermostat switch a load on and off."""
        at = start_h + self.random.random() * (on_min + off_min) / 60
        while at < end_h:
            on = on_min * self.random.uniform(0.8, 1.25)
            self.run(at, min(on, (end_h - at) * 60), w)
            at += (on + off_min * self.random.uniform(0.8, 1.25)) / 60


def _household(day: _Sketch) -> None:
    chance, about, run = day.random.random, day.about, day.run
    persons = max(1, round(2.6 * day.size))
    day.watts += 35 + 12 * persons
    day.cycle(day.earlier_h, 24 + day.earlier_h, 14, 26, 95)
    rise = about(8.4 if day.weekend else 6.7, 0.5)
    run(rise, 70, 60 + 25 * persons)
    run(rise + 0.2, 5, 1750)
    if chance() < 0.6:
        run(rise + 0.4, 4, 1050)
    if day.weekend or chance() < 0.35:
        run(about(11.3, 0.3), 32, 650)
        run(about(11.7, 0.2), 22, 1500)
        run(about(13, 1.0), 150, 130)
    home = about(17.9, 0.5)
    run(home, 35, 700)
    run(home + 0.4, 28, 1700 + 150 * persons)
    run(home + 0.4, 35, 190)
    run(home, 300 + 30 * persons, 110 + 45 * persons)
    run(about(19.4, 0.4), 170, 140)
    for _ in range(persons):
        run(about(21.1, 0.7), 17, 2000)
    if chance() < 0.4:
        run(about(19.8 if not day.weekend else 10.2, 1.2), 45, 420)
    day.cycle(home + 0.8, 23.8, 13, 9, 820)
    if chance() < 0.6:
        day.cycle(day.earlier_h, 5.5, 9, 16, 640)
    for _ in range(3):
        run(7 + 15 * chance(), 3 + 8 * chance(), 700 + 900 * chance())


def _public(day: _Sketch) -> None:
    random = day.random
    day.watts += 420 * day.size
    for start, end in ((0.0, 6.4), (17.8, 24.0)):
        day.run(start + day.earlier_h, (end - start) * 60, 1650 * day.size)
    day.cycle(day.earlier_h, 24 + day.earlier_h, 6, 22, 2200 * day.size)
    for hour in range(24):
        busy = (0.1, 0.2, 1.0, 0.7, 0.6, 1.0, 0.5)[min(hour // 3, 6)]
        for _ in range(round(18 * busy * day.size)):
            day.run(hour + random.random() + day.earlier_h, 0.6, random.uniform(2500, 6500))


def _shop(day: _Sketch) -> None:
    day.watts += 900 * day.size
    day.run(9.5, 12.5 * 60, 2600 * day.size)
    day.cycle(10, 22, 15, 8, 3800 * day.size)
    for meal, minutes in ((11.1, 140), (17.0, 210)):
        day.cycle(meal, meal + minutes / 60, 9, 4, (7200 if not day.weekend else 9000) * day.size)


def _office(day: _Sketch) -> None:
    day.watts += 1300 * day.size
    if day.weekend:
        day.run(day.about(10, 0.8), 300, 1500 * day.size)
        return
    for _ in range(14):
        arrives = day.about(8.8, 0.4)
        leaves = day.about(18.4, 0.7)
        noon = day.about(12, 0.15)
        day.run(arrives, (noon - arrives) * 60, 480 * day.size)
        day.run(noon + 1.1, max(0.5, (leaves - noon - 1.1) * 60), 480 * day.size)
    day.run(8.2, 11.2 * 60, 3600 * day.size)
    day.cycle(8.0, 18.8, 16, 6, 8500 * day.size)


_DRAW: dict[LoadKind, Callable[[_Sketch], None]] = {
    LoadKind.HOUSEHOLD: _household,
    LoadKind.PUBLIC: _public,
    LoadKind.SHOP: _shop,
    LoadKind.OFFICE: _office,
}


class LoadPlan:
    """The planned power and energy register of one supply point, as functions of time."""

    def __init__(self, seed: int, name: str, spec: LoadSpec) -> None:
        self.spec = spec
        self._seed = seed
        self._name = name
        habits = stream(seed, name, "habits")
        self._earlier_h = habits.gauss(0, 0.6)
        self._initial_wh = habits.uniform(1_500, 32_000) * 1000
        self._day = lru_cache(maxsize=2)(self._build)
        self._daily_wh = lru_cache(maxsize=1)(self._typical_days)

    def power_w(self, at_ms: int) -> float:
        """Return the planned power (W)."""
        curve, _ = self._day(day_number(at_ms))
        step = min(int(hour_of_day(at_ms) * 3600 / GRID_S), STEPS - 1)
        ripple = 1 + 0.008 * unit_noise(self._seed, self._name, at_ms // 5000)
        return float(curve[step]) * ripple

    def energy_wh(self, at_ms: int) -> float:
        """Return the planned register (Wh); it never decreases."""
        day = day_number(at_ms)
        curve, cumulated = self._day(day)
        seconds = (at_ms - day_start_ms(day)) / 1000
        step = min(int(seconds / GRID_S), STEPS - 1)
        within = float(curve[step]) * (seconds - step * GRID_S) / 3600
        return self._register_wh(day) + float(cumulated[step]) + within

    def day_curve(self, day: int) -> Curve:
        """Return a local day's power (W) on the grid of 30 s."""
        return self._day(day)[0].copy()

    def _register_wh(self, day: int) -> float:
        """Return the register at the start of a day, without adding up the days before it."""
        workday, weekend = self._daily_wh()
        weeks, rest = divmod(day - FIRST_DAY, 7)
        total = weeks * (5 * workday + 2 * weekend)
        for passed in range(rest):
            total += weekend if is_weekend(FIRST_DAY + passed) else workday
        jitter = workday * 0.12 * unit_noise(self._seed, self._name, "day", day)
        return self._initial_wh + total + jitter

    def _typical_days(self) -> tuple[float, float]:
        """Return the energy (Wh) of a typical working day and weekend day."""
        workday = [self._sketch(FIRST_DAY + offset).sum() for offset in (5, 6, 7)]
        weekend = [self._sketch(FIRST_DAY + offset).sum() for offset in (3, 4)]
        hours = GRID_S / 3600
        return float(np.mean(workday)) * hours, float(np.mean(weekend)) * hours

    def _sketch(self, day: int) -> Curve:
        random = stream(self._seed, self._name, "load", day)
        sketch = _Sketch(random, self.spec.size, is_weekend(day), self._earlier_h)
        _DRAW[self.spec.kind](sketch)
        return np.minimum(sketch.watts, self.spec.limit_w * _CEILING)

    def _build(self, day: int) -> tuple[Curve, Curve]:
        """Return a day's curve, scaled to the day's energy, and the energy before each step."""
        target_wh = self._register_wh(day + 1) - self._register_wh(day)
        curve = self._sketch(day)
        ceiling = self.spec.limit_w * _CEILING
        for _ in range(8):
            curve = np.minimum(curve * (target_wh / (curve.sum() * GRID_S / 3600)), ceiling)
        wh: Any = np.concatenate(([0.0], np.cumsum(curve) * (GRID_S / 3600)))
        return curve, wh
