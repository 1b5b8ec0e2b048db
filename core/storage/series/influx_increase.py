"""A counter's increase out of InfluxDB: added up by the server where the counter only rises.

InfluxQL's differences do not know a new meter, whose register begins again: ``difference`` goes
down there, ``non_negative_difference`` leaves the step out. Both are asked for: a window in which
they differ has such a decrease, and is added up here from its values. So is the first window of a
query that begins in the middle of one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import fsum
from typing import Any, NamedTuple

from core.contracts.ports import Query, Sample
from core.storage.series.lineprotocol import identifier, literal
from core.storage.series.rollup import step
from core.storage.series.windows import filled, lookback_ms

#: Values that one answer brings.
_PAGE = 10_000

Select = Callable[[str], list[dict[str, Any]]]


class _Window(NamedTuple):
    at: int
    rise: float
    is_plain: bool


def increase(select: Select, query: Query, every_ms: int) -> list[Sample]:
    """Return a counter's samples; see :class:`core.contracts.ports.Query`."""
    asked = _Asked(select, query)
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

    def __init__(self, select: Select, query: Query) -> None:
        self._select = select
        self._query = query
        self._since = query.start - lookback_ms(query)

    def windows(self, every_ms: int) -> Iterator[_Window]:
        """Yield the windows of the query that have steps."""
        query = self._query
        field = identifier(query.field)
        inner = self._from(
            f"difference({field}) AS step, non_negative_difference({field}) AS rise",
            self._since * 1_000_000,
            query.end * 1_000_000,
        )
        # One window more than the limit shows that there are too many; others lie before the start.
        limit = query.limit + 2 + (query.start - self._since) // every_ms
        found = self._select(
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
        field = identifier(self._query.field)
        numbers = [
            number
            for _, number in self._rows(
                field, self._since * 1_000_000, start * 1_000_000, "ORDER BY time DESC LIMIT 1"
            )
        ]
        lower = start * 1_000_000
        while True:
            rows = self._rows(field, lower, end * 1_000_000, f"ORDER BY time ASC LIMIT {_PAGE}")
            numbers += [number for _, number in rows]
            if len(rows) < _PAGE:
                return [step(earlier, later) for earlier, later in pairwise(numbers)]
            lower = rows[-1][0] + 1

    def _rows(self, field: str, start_ns: int, end_ns: int, tail: str) -> list[tuple[int, float]]:
        found = self._select(self._from(field, start_ns, end_ns, tail))
        return [
            (row[0], row[1]) for series in found for row in series["values"] if row[1] is not None
        ]

    def _from(self, what: str, start_ns: int, end_ns: int, tail: str = "") -> str:
        query = self._query
        return (
            f"SELECT {what} FROM {identifier(query.kind)} "  # noqa: S608 - quoted where it enters
            f'WHERE "device" = {literal(query.device)} '
            f"AND time >= {start_ns}ns AND time < {end_ns}ns {tail}"
        )
