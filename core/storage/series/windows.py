"""Windows of time and the aggregates over them, mergeable across day files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from core.contracts.ports import Aggregate, Sample, Value


@dataclass(slots=True)
class Window:
    """What one window holds: enough for every aggregate.

    ``count`` counts all values; ``numbers``, ``total``, ``low`` and ``high`` the numeric ones
    (booleans as 0 and 1); ``last`` is the newest value of whatever type.
    """

    count: int = 0
    numbers: int = 0
    total: float = 0
    low: float | None = None
    high: float | None = None
    last: Value | None = None

    def add(self, later: Window) -> None:
        """Add what a later part of the same window holds."""
        self.count += later.count
        self.numbers += later.numbers
        self.total += later.total
        if later.low is not None:
            self.low = later.low if self.low is None else min(self.low, later.low)
        if later.high is not None:
            self.high = later.high if self.high is None else max(self.high, later.high)
        if later.last is not None:
            self.last = later.last

    def value(self, aggregate: Aggregate) -> Value | None:
        """Return one aggregate; None where it has no meaning for the values (texts)."""
        if aggregate == "count":
            return self.count
        if aggregate == "last":
            return self.last
        if self.numbers == 0:
            return None
        if aggregate == "mean":
            return self.total / self.numbers
        if aggregate == "sum":
            return self.total
        return self.low if aggregate == "min" else self.high


def samples_of(windows: dict[int, Window], every_ms: int, aggregate: Aggregate) -> list[Sample]:
    """Return the samples of windows numbered from the epoch, oldest first, empty ones left out."""
    found = ((number * every_ms, windows[number].value(aggregate)) for number in sorted(windows))
    return [Sample(at, value) for at, value in found if value is not None]


def fold(samples: Iterable[Sample], every_ms: int) -> dict[int, Window]:
    """Sort raw samples (oldest first) into windows."""
    windows: dict[int, Window] = {}
    for sample in samples:
        value = sample.value
        if value is None:
            continue
        number = None if isinstance(value, str) else float(value)
        part = (
            Window(1, last=value)
            if number is None
            else Window(1, 1, number, number, number, number)
        )
        windows.setdefault(sample.at // every_ms, Window()).add(part)
    return windows
