"""Windows of time, what their values give together, and what stands in the empty ones.

One implementation for all stores: what a store cannot compute itself is computed here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from math import fsum
from operator import itemgetter
from typing import Any

from core.contracts.codec import encode
from core.contracts.errors import QueryTooLargeError
from core.contracts.ports import Query, Sample, Value
from core.storage.series.rollup import Tally, joined, step

HOUR_MS = 3_600_000
Timed = tuple[int, Value]
"""A value and its time (ms)."""

_OF_NUMBERS: dict[str, Callable[[list[float]], float]] = {
    "mean": lambda numbers: fsum(numbers) / len(numbers),
    "sum": lambda numbers: fsum(numbers) if float in map(type, numbers) else sum(numbers),
    "min": min,
    "max": max,
}

_OF_TALLIES: dict[str, Callable[[Tally], float]] = {
    "count": lambda tally: tally.count,
    "mean": lambda tally: tally.total / tally.count,
    "sum": lambda tally: tally.total,
    "min": lambda tally: tally.low,
    "max": lambda tally: tally.high,
    "last": lambda tally: tally.last,
    "increase": lambda tally: tally.steps,
}


def lookback_ms(query: Query) -> int:
    """Return how far before the start values are read: an increase goes on from the one before."""
    if query.aggregate != "increase" or query.every_ms is None:
        return 0
    return min(max(query.every_ms, HOUR_MS), query.start)


def check_size(query: Query) -> None:
    """Raise :class:`QueryTooLargeError` where a query would fill more windows than its limit."""
    if query.every_ms is not None and query.fill != "none":
        _check(len(_numbers(query, query.every_ms)), query)


def samples_in(values: Iterable[Timed], query: Query, every_ms: int) -> list[Sample]:
    """Return a query's samples from the field's values, oldest first, from the lookback on."""
    windows = groupby(((at // every_ms, at, value) for at, value in values), itemgetter(0))
    found: Iterator[tuple[int, Value | None]]
    if query.aggregate == "increase":
        found = _increases(windows, query.start)
    else:
        found = (
            (number, aggregate_of([value for _, _, value in same], query.aggregate))
            for number, same in windows
        )
    samples = [Sample(number * every_ms, value) for number, value in found if value is not None]
    return filled(samples, query, every_ms)


def tallies_in(tallies: Iterable[tuple[int, Tally]], query: Query, every_ms: int) -> list[Sample]:
    """Return a query's samples from (time, tally) of numbers, from the lookback on."""
    samples: list[Sample] = []
    before: Tally | None = None
    for number, same in groupby(tallies, lambda item: item[0] // every_ms):
        parts: list[Tally] = []
        for at, part in same:
            if at < query.start:
                before = part
            else:
                parts.append(part)
        if not parts:
            continue
        whole = joined(parts)
        value: float | None = _OF_TALLIES[query.aggregate](whole)
        if query.aggregate == "increase":
            if before is not None:
                value = whole.steps + step(before.last, whole.first)
            elif whole.count == 1:
                value = None  # one value, and nothing to go on from
        if value is not None:
            samples.append(Sample(number * every_ms, value))
        before = whole
    return filled(samples, query, every_ms)


def aggregate_of(values: list[Value], aggregate: str) -> Value | None:
    """Return one aggregate of at least one value; None where texts have no such thing."""
    if aggregate == "count":
        return len(values)
    if aggregate == "last":
        return values[-1]
    numbers = [value for value in values if not isinstance(value, str)]
    return _OF_NUMBERS[aggregate](numbers) if numbers else None


def filled(samples: list[Sample], query: Query, every_ms: int) -> list[Sample]:
    """Fill the empty windows as the query says; raise :class:`QueryTooLargeError`."""
    if query.fill == "none":
        _check(len(samples), query)
        return samples
    numbers = _numbers(query, every_ms)
    _check(len(numbers), query)
    known = {sample.at // every_ms: sample.value for sample in samples}
    values = [known.get(number) for number in numbers]
    if query.fill == "previous":
        _carry(values)
    elif query.fill == "linear":
        _interpolate(values)
    return [Sample(number * every_ms, value) for number, value in zip(numbers, values, strict=True)]


def sample_value(value: Any) -> Value:
    """Return a field's stored value as a sample's; lists and maps as JSON texts."""
    found: Value = encode(value).decode() if isinstance(value, list | dict) else value
    return found


def _increases(
    windows: Iterable[tuple[int, Iterator[tuple[int, int, Value]]]], start: int
) -> Iterator[tuple[int, Value | None]]:
    """Add up a counter's steps in each window; after a decrease it counts from zero."""
    before: float | None = None
    for number, same in windows:
        steps: list[float] = []
        for _, at, value in same:
            if isinstance(value, str | bool):
                continue
            if before is not None and at >= start:
                steps.append(step(before, value))
            before = value
        yield number, fsum(steps) if steps else None


def _numbers(query: Query, every_ms: int) -> range:
    return range(query.start // every_ms, -(-query.end // every_ms))


def _carry(values: list[Value | None]) -> None:
    for index in range(1, len(values)):
        if values[index] is None:
            values[index] = values[index - 1]


def _interpolate(values: list[Value | None]) -> None:
    known = [index for index, value in enumerate(values) if _is_number(value)]
    for left, right in pairwise(known):
        low, high = values[left], values[right]
        if not isinstance(low, int | float) or not isinstance(high, int | float):
            continue
        for index in range(left + 1, right):
            if values[index] is None:
                values[index] = low + (high - low) * (index - left) / (right - left)


def _is_number(value: Value | None) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check(windows: int, query: Query) -> None:
    if windows > query.limit:
        raise QueryTooLargeError(
            f"{windows} windows of {query.every_ms} ms, and {query.limit} is the most; "
            "ask for a shorter time or for longer windows"
        )
