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


#: People at an estate's gate and at a building's door: out in the morning, home in the evening.
RESIDENTIAL = Rhythm(
    # 0    1    2    3    4    5    6     7     8     9    10    11
    (1.5, 0.8, 0.5, 0.5, 0.8, 3.0, 14.0, 34.0, 30.0, 16.0, 12.0, 16.0)
    # 12   13    14    15    16    17    18    19    20    21    22   23
    + (16.0, 12.0, 11.0, 12.0, 18.0, 28.0, 36.0, 28.0, 20.0, 14.0, 8.0, 4.0),
    (2.5, 1.5, 1.0, 0.6, 0.6, 1.5, 5.0, 11.0, 18.0, 22.0, 22.0, 22.0)
    + (18.0, 16.0, 17.0, 18.0, 21.0, 24.0, 24.0, 22.0, 20.0, 16.0, 10.0, 6.0),
)

#: People at an office tower: in at nine, lunch, out at six; almost nobody at weekends.
OFFICE = Rhythm(
    (0.4, 0.2, 0.2, 0.2, 0.2, 0.6, 2.0, 14.0, 48.0, 40.0, 16.0, 24.0)
    + (40.0, 30.0, 15.0, 14.0, 15.0, 28.0, 42.0, 18.0, 8.0, 4.0, 2.0, 1.0),
    (0.3, 0.2, 0.2, 0.2, 0.2, 0.3, 0.6, 1.5, 3.0, 4.0, 4.0, 4.0)
    + (4.0, 4.0, 4.0, 4.0, 3.5, 3.0, 2.0, 1.0, 0.6, 0.5, 0.4, 0.3),
)


class Arrivals:
    """An inhomogeneous Poisson process: the same seed, name and rhythm give the same moments."""

    def __init__(self, seed: int, name: str, rhythm: Rhythm) -> None:
        self._seed = seed
        self._name = name
        self._rhythm = rhythm
        self._hour = lru_cache(maxsize=4)(self._draw)

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
        found = []
        at = float(start)
        while True:
            at += random.expovariate(most) * HOUR_MS
            if at >= start + HOUR_MS:
                return tuple(found)
            if random.random() * most <= self._rhythm.at(int(at)):
                found.append(int(at))
