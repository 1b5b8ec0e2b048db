"""A counter's increase out of InfluxDB: added up by the server where the counter only rises.

InfluxQL's differences do not know a new meter, whose register begins again: ``difference`` goes
down there, ``non_negative_difference`` leaves the step out. Both are asked for: a window in which
they differ has such a decrease, and is added up here from its values. So is the first window of a
query that begins in the middle of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from math import fsum
from typing import Any, NamedTuple

from core.contracts.ports import Query, Sample
from core.storage.series.influxql import of_device, select
from core.storage.series.lineprotocol import identifier
from core.storage.series.rollup import step
from core.storage.series.windows import Timed, filled, lookback_ms

Ask = Callable[[str], list[dict[str, Any]]]
Values = Callable[[Query], Iterator[Timed]]


class _Window(NamedTuple):
    at: int
    rise: float
    is_plain: bool


def increase(ask: Ask, values: Values, query: Query, every_ms: int) -> list[Sample]:
    """Return a counter's samples; see :class:`core.contracts.ports.Query`.

    ``values`` gives a field's values as they came, for a query without windows.
    """
    asked = _Asked(ask, values, query)
    samples = []
    for window in asked.windows(every_ms):
        if window.is_plain and window.at >= query.start:
            samples.append(Sample(window.at, window.rise))
            continue
        steps = asked.steps(max(window.at, query.start), min(window.at + every_ms, query.end))
        if steps:
            samples.append(Sample(window.at, fsum(steps)))
    return filled(samples, query, every_ms)


class _Asked:
    """One field's values from a query's lookback on."""

    def __init__(self, ask: Ask, values: Values, query: Query) -> None:
        self._ask = ask
        self._values = values
        self._query = query
        self._since = query.start - lookback_ms(query)

    def windows(self, every_ms: int) -> Iterator[_Window]:
        """Yield the windows of the query that have steps."""
        query = self._query
        field = identifier(query.field)
        inner = select(
            f"difference({field}) AS step, non_negative_difference({field}) AS rise",
            query.kind,
            of_device(query.device, self._since * 1_000_000, query.end * 1_000_000),
        )
        # One window more than the limit shows that there are too many; others lie before the start.
        limit = query.limit + 2 + (query.start - self._since) // every_ms
        found = self._ask(
            f"SELECT sum(step), sum(rise) FROM ({inner}) "  # noqa: S608 - quoted where it enters
            f"WHERE time >= {self._since}ms AND time < {query.end}ms "
            f"GROUP BY time({every_ms:d}ms) fill(none) LIMIT {limit:d}"
        )
        for series in found:
            for time, whole, rise in series["values"]:
                at = time // 1_000_000
                if at + every_ms > query.start and whole is not None:
                    yield _Window(at, whole, whole == rise)

    def steps(self, start: int, end: int) -> list[float]:
        """Return the steps that end in ``[start, end)`` (ms), a decrease counting from zero."""
        query = self._query
        before = self._ask(
            select(
                identifier(query.field),
                query.kind,
                of_device(query.device, self._since * 1_000_000, start * 1_000_000),
                "ORDER BY time DESC LIMIT 1",
            )
        )
        numbers = [row[1] for series in before for row in series["values"]]
        inside = replace(query, start=start, end=end, every_ms=None)
        numbers += [value for _, value in self._values(inside)]
        return [step(earlier, later) for earlier, later in pairwise(numbers)]
