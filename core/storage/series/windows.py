"""Windows of time and the aggregates over them, mergeable across day files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import fsum
from typing import Any

from core.contracts.codec import encode
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


def window_of(values: list[Value]) -> Window:
    """Return what values (oldest first, at least one) give together."""
    numbers = [value for value in values if not isinstance(value, str)]
    if not numbers:
        return Window(len(values), last=values[-1])
    return Window(len(values), len(numbers), fsum(numbers), min(numbers), max(numbers), values[-1])


def sample_value(value: Any) -> Value:
    """Return a field's stored value as a sample; lists and maps as JSON texts."""
    found: Value = encode(value).decode() if isinstance(value, list | dict) else value
    return found


def fold(samples: Iterable[Sample], every_ms: int) -> dict[int, Window]:
    """Sort raw samples (oldest first) into windows."""
    windows: dict[int, Window] = {}
    for number, same in groupby(samples, lambda sample: sample.at // every_ms):
        values = [sample.value for sample in same if sample.value is not None]
        if values:
            windows[number] = window_of(values)
    return windows
