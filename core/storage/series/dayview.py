"""The reading side of one day's file: hot rows, live runs and rows of format 1 as one.

Everything of a view happens inside one ``with view.snapshot()``: sealing moves events between the
three in transactions, so that one snapshot of the file has each exactly once. Times are
nanoseconds since the day's start.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from core.storage import sqlite
from core.storage.series.columns import BlockView, decode_data, offsets, unpacked
from core.storage.series.sealing import LIVE, positions

# In a run, the blocks of a kind ascend by series: those that hold one begin with it, or are the
# last that begin before it.
_HOLDS = """
b.kind = ?1 AND b.first_series <= ?2 AND b.last_series >= ?2 AND b.first_series >= (
    SELECT coalesce(max(first_series), 0) FROM block
    WHERE run = b.run AND kind = ?1 AND first_series < ?2
)
"""
_BLOCKS = f"""
SELECT b.id, b.last FROM run CROSS JOIN block AS b ON b.run = run.id AND {_HOLDS}
WHERE run.state = {LIVE} AND b.last >= ?3 AND b.first < ?4 ORDER BY b.last DESC
"""  # noqa: S608 - a number
_LAST_BLOCK = f"""
SELECT b.id, b.body FROM block AS b WHERE b.run = ?3 AND {_HOLDS} ORDER BY b.id DESC LIMIT 1
"""  # noqa: S608 - a constant
_HOT = "SELECT id, series, time FROM hot WHERE last >= ? AND first < ? ORDER BY id"
_LEGACY = """
SELECT time, json(data) FROM event WHERE series = ? AND time >= ? AND time < ? ORDER BY time, rowid
"""
#: So many series at most are looked for one by one in a hot row.
_FEW = 4

Row = tuple[int, dict[str, Any]]
_time = itemgetter(0)


class DayView:
    """One day's file as a reader sees it; for one thread at a time."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._db = connection
        self._sealed = False
        self._legacy = False
        self._recent: tuple[int, BlockView | None] = (0, None)

    @property
    def connection(self) -> sqlite.Connection:
        """Return the connection, for questions inside a snapshot."""
        return self._db

    @property
    def has_blocks(self) -> bool:
        """Tell whether the file has the tables of hot rows and runs."""
        return self._sealed

    @property
    def has_events(self) -> bool:
        """Tell whether the file still has the table of format 1."""
        return self._legacy

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Hold one state of the file."""
        self._db.execute("BEGIN")
        try:
            tables = {row[0] for row in self._db.execute("SELECT name FROM sqlite_master")}
            self._recent = (0, None)
            self._sealed, self._legacy = "hot" in tables, "event" in tables
            yield
        finally:
            self._db.execute("ROLLBACK")

    def ids(self, device: str, kind: str | None = None) -> list[tuple[int, str]]:
        """Return (series, kind) of a device, one for each site where it was."""
        return self._db.execute(
            "SELECT id, kind FROM series WHERE device = ?1 AND (?2 IS NULL OR kind = ?2)",
            (device, kind),
        ).fetchall()

    def devices(self) -> list[tuple[str, str, list[int]]]:
        """Return (device, kind, its series), in the order of the blocks."""
        found: dict[tuple[str, str], list[int]] = {}
        for id_, device, kind in self._db.execute(
            "SELECT id, device, kind FROM series ORDER BY kind, id"
        ):
            found.setdefault((device, kind), []).append(id_)
        return [(device, kind, ids) for (device, kind), ids in found.items()]

    def fields(
        self, ids: Sequence[int], kind: str, names: Sequence[str], lower: int, upper: int
    ) -> dict[str, list[tuple[int, Any]]]:
        """Return field -> (time, value) in ``[lower, upper)``, oldest first, where it has values.

        ``ids`` are a device's series: several where it was at several sites.
        """
        found: dict[str, list[tuple[int, Any]]] = {}
        rows: list[Row] = []
        for series in ids:
            for id_, _ in self._blocks(series, kind, lower, upper):
                block = self._block(id_)
                span = block.span(series)
                if span is None:
                    continue
                times = block.times()[span]
                for name in names:
                    column = block.column(name)
                    if column is not None:
                        found.setdefault(name, []).extend(
                            (time, value)
                            for time, value in zip(times, column[span], strict=True)
                            if lower <= time < upper and value is not None
                        )
            rows += self._hot_rows(series, lower, upper) + self._legacy_rows(series, lower, upper)
        for name in names if rows else ():
            found.setdefault(name, []).extend(
                (time, value) for time, data in rows if (value := data.get(name)) is not None
            )
        found = {name: values for name, values in found.items() if values}
        for values in found.values():
            values.sort(key=_time)
        return found

    def rows(self, series: int, kind: str, lower: int, upper: int, limit: int) -> list[Row]:
        """Return (time, data) of the newest events in ``[lower, upper)``, oldest first.

        At least ``limit`` where there are so many, and all that have the time of the oldest.
        """
        found = self._hot_rows(series, lower, upper) + self._legacy_rows(series, lower, upper)
        for id_, last in self._blocks(series, kind, lower, upper):
            if sum(time > last for time, _ in found) >= limit:
                break
            block = self._block(id_)
            span = block.span(series)
            if span is None:
                continue
            times = block.times()
            stop = bisect_left(times, upper, span.start, span.stop)
            start = max(bisect_left(times, lower, span.start, stop), stop - limit)
            start = bisect_left(times, times[start], span.start, start) if start < stop else stop
            found += zip(times[start:stop], block.rows(slice(start, stop)), strict=True)
        found.sort(key=_time)
        return found

    def newest(self, wanted: dict[int, str]) -> dict[int, Row]:
        """Return the newest event of each series (series -> kind) that has one."""
        found: dict[int, Row] = {}
        if self._sealed:
            self._newest_hot(wanted, found)
            runs = self._db.execute(
                "SELECT id, last FROM run WHERE state = ? ORDER BY last DESC", (LIVE,)
            )
            for run, last in runs.fetchall():
                self._newest_in(run, last, wanted, found)
        for series in wanted if self._legacy else ():
            row = self._db.execute(
                "SELECT time, json(data) FROM event WHERE series = ? ORDER BY time DESC LIMIT 1",
                (series,),
            ).fetchone()
            if row is not None and (series not in found or found[series][0] < row[0]):
                found[series] = (row[0], json.loads(row[1]))
        return found

    def counts(self, lower: int, upper: int) -> Counter[str]:
        """Return how many events of each kind lie in ``[lower, upper)``."""
        found: Counter[str] = Counter()
        by_series: Counter[int] = Counter()
        if self._sealed:
            whole = self._db.execute(
                "SELECT kind, sum(block.events) FROM run CROSS JOIN block ON run = run.id "
                "WHERE state = ? AND block.first >= ? AND block.last < ? GROUP BY kind",
                (LIVE, lower, upper),
            )
            found.update(dict(whole.fetchall()))
            for kind, body in self._db.execute(
                "SELECT kind, body FROM run CROSS JOIN block ON run = run.id WHERE state = ? "
                "AND block.last >= ? AND block.first < ? AND (block.first < ? OR block.last >= ?)",
                (LIVE, lower, upper, lower, upper),
            ):
                found[kind] += sum(lower <= time < upper for time in BlockView(body).times())
            for series, time in self._db.execute(
                "SELECT series, CASE WHEN first < ?1 OR last >= ?2 THEN time END FROM hot "
                "WHERE last >= ?1 AND first < ?2",
                (lower, upper),
            ):
                ids = unpacked("I", series)
                if time is None:
                    by_series.update(ids)
                else:
                    pairs = zip(ids, unpacked("q", time), strict=True)
                    by_series.update(id_ for id_, moment in pairs if lower <= moment < upper)
        if self._legacy:
            old = self._db.execute(
                "SELECT series.id, count(*) FROM series CROSS JOIN event "
                "ON event.series = series.id AND event.time >= ? AND event.time < ? GROUP BY 1",
                (lower, upper),
            )
            by_series.update(dict(old.fetchall()))
        if by_series:
            kinds: dict[int, str] = dict(self._db.execute("SELECT id, kind FROM series"))
            for id_, count in by_series.items():
                found[kinds[id_]] += count
        return found

    # -- the three places --------------------------------------------------------------------

    def _blocks(self, series: int, kind: str, lower: int, upper: int) -> list[tuple[int, int]]:
        """Return (id, last time) of the blocks that may hold a series in a span, newest first."""
        if not self._sealed:
            return []
        return self._db.execute(_BLOCKS, (kind, series, lower, upper)).fetchall()

    def _block(self, id_: int) -> BlockView:
        """Return a block; neighbours in the order of the blocks ask for the same one."""
        if self._recent[0] == id_ and self._recent[1] is not None:
            return self._recent[1]
        row = self._db.execute("SELECT body FROM block WHERE id = ?", (id_,)).fetchone()
        self._recent = (id_, BlockView(row[0]))
        return self._recent[1]

    def _hot_rows(self, series: int, lower: int, upper: int) -> list[Row]:
        found: list[Row] = []
        for id_, ids, time in self._db.execute(_HOT, (lower, upper)) if self._sealed else ():
            indexes = list(positions(ids, series))
            if not indexes:
                continue
            times = unpacked("q", time)
            indexes = [index for index in indexes if lower <= times[index] < upper]
            data = self._hot_data(id_, indexes)
            found += zip((times[index] for index in indexes), data, strict=True)
        return found

    def _hot_data(self, id_: int, indexes: list[int]) -> list[dict[str, Any]]:
        if not indexes:
            return []
        size, data = self._db.execute("SELECT size, data FROM hot WHERE id = ?", (id_,)).fetchone()
        edges, content = offsets(size), memoryview(data)
        return [decode_data(content[edges[i] : edges[i + 1]]) for i in indexes]

    def _legacy_rows(self, series: int, lower: int, upper: int) -> list[Row]:
        if not self._legacy:
            return []
        rows = self._db.execute(_LEGACY, (series, lower, upper))
        return [(time, json.loads(data)) for time, data in rows]

    def _newest_hot(self, wanted: Iterable[int], found: dict[int, Row]) -> None:
        where: dict[int, tuple[int, int, int]] = {}  # series -> time, row, index
        for id_, last, ids, time in self._db.execute(
            "SELECT id, last, series, time FROM hot ORDER BY id DESC"
        ):
            left = {series for series in wanted if series not in where or where[series][0] < last}
            if not left:
                continue
            if len(left) <= _FEW:
                hits = [(index, series) for series in left for index in positions(ids, series)]
            else:
                hits = [
                    (i, series) for i, series in enumerate(unpacked("I", ids)) if series in left
                ]
            times = unpacked("q", time) if hits else ()
            for index, series in hits:
                best = where.get(series)
                if best is None or (times[index], id_, index) > best:
                    where[series] = (times[index], id_, index)
        by_row: dict[int, list[int]] = {}
        for series, (_, id_, _) in where.items():
            by_row.setdefault(id_, []).append(series)
        for id_, here in by_row.items():
            data = self._hot_data(id_, [where[series][2] for series in here])
            for series, row in zip(here, data, strict=True):
                found[series] = (where[series][0], row)

    def _newest_in(
        self, run: int, last: int, wanted: dict[int, str], found: dict[int, Row]
    ) -> None:
        """Look in one run for what is newer than what was found."""
        views: dict[int, tuple[BlockView, list[int]]] = {}
        for series, kind in wanted.items():
            if series in found and found[series][0] >= last:
                continue
            hit = self._db.execute(_LAST_BLOCK, (kind, series, run)).fetchone()
            if hit is None:
                continue
            if hit[0] not in views:
                view = BlockView(hit[1])
                views[hit[0]] = (view, view.times())
            view, times = views[hit[0]]
            span = view.span(series)
            if span is None:
                continue
            newest = span.stop - 1
            if series not in found or found[series][0] < times[newest]:
                found[series] = (times[newest], view.rows(slice(newest, newest + 1))[0])
