"""Reading all of one kind out of a day's file of the embedded store, some series at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from core.contracts.ports import StoredPoint
from core.storage import sqlite
from core.storage.series.columns import (
    BlockView,
    decode_data,
    offsets,
    refs_of,
    unpacked,
)
from core.storage.series.days import DAY_NS
from core.storage.series.dayview import DayView
from core.storage.series.sealing import LIVE

#: About so many events are held at once: as many series as have so many between them.
_AT_ONCE = 200_000
_SERIES = """
SELECT id, site, device FROM series
WHERE kind = ?1 AND (?2 IS NULL OR site = ?2) AND (?3 IS NULL OR device = ?3) ORDER BY id
"""
_BLOCKS = f"""
SELECT block.body FROM run CROSS JOIN block ON block.run = run.id
WHERE run.state = {LIVE} AND block.kind = ? AND block.first_series <= ? AND block.last_series >= ?
AND block.last >= ? AND block.first < ?
"""  # noqa: S608 - a number
_HOT = "SELECT series, time, late, size, ref, data FROM hot WHERE last >= ? AND first < ?"
_LEGACY = """
SELECT time, late, ref, json(data) FROM event WHERE series = ? AND time >= ? AND time < ?
ORDER BY time, rowid
"""


class _Found(NamedTuple):
    series: int
    time: int
    late: int
    ref: str | None
    data: dict[str, Any]


def scan_day(
    file: DayView,
    day: int,
    kind: str,
    span: tuple[int, int],
    *,
    site: str | None,
    device: str | None,
) -> Iterator[StoredPoint]:
    """Yield a kind's events; those of one series oldest first. ``span``: ns since the day's start.

    Each portion is read from one state of the file, which holds every event of its series once.
    """
    db = file.connection
    base = day * DAY_NS
    with file.snapshot():
        names = {row[0]: row[1:] for row in db.execute(_SERIES, (kind, site, device))}
        events = file.counts(*span).get(kind, 0)
        (alike,) = db.execute("SELECT count(*) FROM series WHERE kind = ?", (kind,)).fetchone()
    ids = list(names)
    portion = max(_AT_ONCE * max(alike, 1) // max(events, 1), 1)
    for first in range(0, len(ids), portion):
        chosen = ids[first : first + portion]
        with file.snapshot():
            found = _portion(file, kind, chosen, span)
        found.sort(key=attrgetter("series", "time"))
        for series, time, late, ref, data in found:
            time_ns = base + time
            at_site, of_device = names[series]
            seen = time_ns // 1_000_000 + late
            yield StoredPoint(time_ns, at_site, of_device, kind, seen, ref, data)


def _portion(
    file: DayView, kind: str, chosen: Sequence[int], span: tuple[int, int]
) -> list[_Found]:
    db, lower, upper = file.connection, *span
    found: list[_Found] = []
    if file.has_blocks:
        wanted = frozenset(chosen)
        for (body,) in db.execute(_BLOCKS, (kind, chosen[-1], chosen[0], lower, upper)):
            found += _in_block(body, wanted)
        for row in db.execute(_HOT, span):
            found += _in_hot(row, wanted)
        found = [item for item in found if lower <= item.time < upper]
    if file.has_events:
        found += _in_table(db, chosen, span)
    return found


def _in_block(body: bytes, wanted: frozenset[int]) -> Iterable[_Found]:
    block = BlockView(body)
    if wanted.isdisjoint(block.series()):
        return
    columns = block.columns()
    for series in block.series():
        where = block.span(series)
        if series not in wanted or where is None:
            continue
        rows = zip(
            columns.times[where], columns.late[where], columns.refs[where], block.rows(where),
            strict=True,
        )  # fmt: skip
        for row in rows:
            yield _Found(series, *row)


def _in_hot(
    row: tuple[bytes, bytes, bytes, bytes, bytes | None, bytes], wanted: frozenset[int]
) -> Iterable[_Found]:
    series = unpacked("I", row[0])
    if wanted.isdisjoint(series):
        return
    times, late = unpacked("q", row[1]), unpacked("q", row[2])
    edges, refs, data = offsets(row[3]), refs_of(row[4]), memoryview(row[5])
    for i, id_ in enumerate(series):
        if id_ in wanted:
            content = decode_data(data[edges[i] : edges[i + 1]])
            yield _Found(id_, times[i], late[i], refs.get(i), content)


def _in_table(
    db: sqlite.Connection, chosen: Sequence[int], span: tuple[int, int]
) -> Iterable[_Found]:
    for series in chosen:
        for time, late, ref, data in db.execute(_LEGACY, (series, *span)):
            yield _Found(series, time, late, ref, json.loads(data))
