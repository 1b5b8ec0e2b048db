"""Reading all of one kind out of a day's file of the embedded store."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from core.contracts.ports import StoredPoint
from core.storage import sqlite
from core.storage.series.days import DAY_NS

_SERIES = """
SELECT id, site, device FROM series
WHERE kind = ?1 AND (?2 IS NULL OR site = ?2) AND (?3 IS NULL OR device = ?3)
ORDER BY site, device
"""
_ROWS = """
SELECT time, late, ref, json(data) FROM event
WHERE series = ? AND time >= ? AND time < ? ORDER BY time, rowid
"""
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def scan_day(
    file: sqlite.Connection,
    day: int,
    kind: str,
    span: tuple[int, int],
    *,
    site: str | None,
    device: str | None,
) -> Iterator[StoredPoint]:
    """Yield a kind's events by site, device and time; ``span`` is ns since the day's start."""
    base = day * DAY_NS
    for series, at_site, of_device in file.execute(_SERIES, (kind, site, device)).fetchall():
        for time, late, ref, data in file.execute(_ROWS, (series, *span)):
            time_ns = base + time
            seen = time_ns // 1_000_000 + late
            yield StoredPoint(time_ns, at_site, of_device, kind, seen, ref, _decode(data))
