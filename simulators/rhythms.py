"""When things happen: hourly intensities on the site's local time and seeded arrivals."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import lru_cache

from simulators.seeds import stream

#: China keeps one time, eight hours ahead of UTC, without daylight saving.
LOCAL = timezone(timedelta(hours=8))
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
_OFFSET_MS = 8 * HOUR_MS


def local(at_ms: int) -> datetime:
    """Return the local time of a moment."""
    return datetime.fromtimestamp(at_ms / 1000, LOCAL)


def day_number(at_ms: int) -> int:
    """Return the number of the local day since the epoch."""
    return (at_ms + _OFFSET_MS) // DAY_MS


def day_start_ms(day: int) -> int:
    """Return the moment at which a local day begins."""
    return day * DAY_MS - _OFFSET_MS


def is_weekend(day: int) -> bool:
    """Tell whether a local day is a Saturday or Sunday (day 0 was a Thursday)."""
    return (day + 3) % 7 >= 5


def hour_of_day(at_ms: int) -> float:
    """Return the local hour, 0 to 24."""
    return ((at_ms + _OFFSET_MS) % DAY_MS) / HOUR_MS


@dataclass(frozen=True, slots=True)
class Rhythm:
    """Intensities (per hour) at each full hour of a working day and of a weekend day."""

    workday: tuple[float, ...]
    weekend: tuple[float, ...]

    def at(self, at_ms: int) -> float:
        """Return the intensity (per hour), linear between the full hours."""
        day = day_number(at_ms)
        hour = hour_of_day(at_ms)
        index = int(hour)
        here = (self.weekend if is_weekend(day) else self.workday)[index]
        following = day + 1 if index == 23 else day
        there = (self.weekend if is_weekend(following) else self.workday)[(index + 1) % 24]
        return here + (there - here) * (hour - index)

    def scaled(self, factor: float) -> Rhythm:
        """Return the same rhythm with another intensity."""
        return Rhythm(
            tuple(value * factor for value in self.workday),
            tuple(value * factor for value in self.weekend),
        )


def _hourly(text: str) -> tuple[float, ...]:
    hours = tuple(float(number) for number in text.split())
    if len(hours) != 24:
        raise ValueError(f"{len(hours)} hours")
    return hours


#: People at an estate's gate and at a building's door: out in the morning, home in the evening.
RESIDENTIAL = Rhythm(
    _hourly("1.5 .8 .5 .5 .8 3 14 34 30 16 12 16 16 12 11 12 18 28 36 28 20 14 8 4"),
    _hourly("2.5 1.5 1 .6 .6 1.5 5 11 18 22 22 22 18 16 17 18 21 24 24 22 20 16 10 6"),
)

#: People at an office tower: in at nine, lunch, out at six; almost nobody at weekends.
OFFICE = Rhythm(
    _hourly(".4 .2 .2 .2 .2 .6 2 14 48 40 16 24 40 30 15 14 15 28 42 18 8 4 2 1"),
    _hourly(".3 .2 .2 .2 .2 .3 .6 1.5 3 4 4 4 4 4 4 4 3.5 3 2 1 .6 .5 .4 .3"),
)


class Arrivals:
    """An inhomogeneous Poisson process: the same seed, name and rhythm give the same moments."""

    def __init__(self, seed: int, name: str, rhythm: Rhythm) -> None:
        self._seed = seed
        self._name = name
        self._rhythm = rhythm
        self._hour = lru_cache(maxsize=4)(self._draw)

    def scaled(self, factor: float) -> Arrivals:
        """Return the arrivals when so many times as many people come."""
        return Arrivals(self._seed, self._name, self._rhythm.scaled(factor))

    def between(self, start_ms: int, end_ms: int) -> list[int]:
        """Return the moments from ``start_ms`` (included) to ``end_ms`` (excluded), in order."""
        found: list[int] = []
        for hour in range(start_ms // HOUR_MS, (end_ms - 1) // HOUR_MS + 1):
            found += [at for at in self._hour(hour) if start_ms <= at < end_ms]
        return found

    def after(self, at_ms: int) -> int:
        """Return the first moment after ``at_ms``, or a week later when there is none before."""
        start = at_ms + 1
        for hour in range(start // HOUR_MS, start // HOUR_MS + 7 * 24):
            for moment in self._hour(hour):
                if moment >= start:
                    return moment
        return at_ms + 7 * DAY_MS

    def _draw(self, hour: int) -> tuple[int, ...]:
        """Draw one hour by thinning; the hours are independent, so any can be drawn alone."""
        start = hour * HOUR_MS
        most = max(self._rhythm.at(start), self._rhythm.at(start + HOUR_MS - 1))
        if most <= 0:
            return ()
        random = stream(self._seed, self._name, hour)
        found: list[int] = []
        at = float(start)
        while True:
            at += random.expovariate(most) * HOUR_MS
            if at >= start + HOUR_MS:
                return tuple(found)
            if random.random() * most <= self._rhythm.at(int(at)):
                found.append(int(at))
