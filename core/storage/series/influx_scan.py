"""Reading all of one kind out of InfluxDB, page by page."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from core.contracts.ports import StoredPoint
from core.storage.series.lineprotocol import event_of, identifier, literal

#: Rows that one answer brings.
PAGE = 10_000
_POSITIONS = 'SELECT max("position") FROM "estate_cursor" GROUP BY "log"'

Select = Callable[[str], list[dict[str, Any]]]


def scan(
    select: Select,
    kind: str,
    start: int,
    end: int,
    *,
    site: str | None = None,
    device: str | None = None,
    page: int = PAGE,
) -> Iterator[StoredPoint]:
    """Yield a kind's events in ``[start, end)`` (ms), oldest first.

    Many devices may have a point at one nanosecond, and a page may end among them: those of a
    full page's last nanosecond are left to the next one, which begins with it.
    """
    named = {"site": site, "device": device}
    only = "".join(f' AND "{tag}" = {literal(name)}' for tag, name in named.items() if name)
    lower, limit = start * 1_000_000, page
    while lower < end * 1_000_000:
        found = select(
            f"SELECT * FROM {identifier(kind)} WHERE time >= {lower}ns "  # noqa: S608 - quoted
            f"AND time < {end * 1_000_000}ns{only} ORDER BY time ASC LIMIT {limit:d}"
        )
        points = [
            _point(kind, series["columns"], row) for series in found for row in series["values"]
        ]
        if len(points) < limit:
            yield from points
            return
        last = points[-1].time_ns
        whole = [point for point in points if point.time_ns < last]
        yield from whole
        limit = page if whole else limit * 2
        lower = last


def positions(select: Select) -> dict[str, int]:
    """Return for each log the highest position that was written."""
    return {series["tags"]["log"]: int(series["values"][0][1]) for series in select(_POSITIONS)}


def _point(kind: str, columns: list[str], row: list[Any]) -> StoredPoint:
    values = dict(zip(columns, row, strict=True))
    event = event_of(kind, columns, row)
    return StoredPoint(
        values["time"], values["site"], event.device, kind,
        int(values["seen"]), values.get("ref"), event.data,
    )  # fmt: skip
