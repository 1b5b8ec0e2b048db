"""The embedded series store's reader: read-only connections, in any process, from any thread."""

from __future__ import annotations

import heapq
import itertools
import queue
import re
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import Query, Sample, StoredEvent, StoredPoint, Value
from core.storage import sqlite
from core.storage.series.days import DAY_MS, file_name
from core.storage.series.embedded_scan import scan_day
from core.storage.series.manifest import Manifest
from core.storage.series.windows import Window, samples_of

#: Day files that one reader thread keeps open.
OPEN_FILES = 8
_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]*")

_IDS = "SELECT id, kind FROM series WHERE device = ?1 AND (?2 IS NULL OR kind = ?2)"
_RAW = """
SELECT time / 1000000, json_type(data, ?2) AS type, json_extract(data, ?2)
FROM event WHERE series = ?1 AND time >= ?3 AND time < ?4 AND type IS NOT NULL AND type != 'null'
ORDER BY time, rowid LIMIT ?5
"""
# The bare column `value` is that of the row with the greatest time: SQLite's documented rule.
# LIMIT -1 keeps the inner query from being merged into the outer one, which would read the
# field out of the JSON anew for each of the outer's columns.
_WINDOWS = """
SELECT (?5 + time / 1000000) / ?6, count(*), count(number), total(number), min(number),
       max(number), value, max(time)
FROM (
    SELECT time, value, CASE WHEN typeof(value) = 'text' THEN NULL ELSE value END AS number
    FROM (
        SELECT time, json_extract(data, ?2) AS value FROM event
        WHERE series = ?1 AND time >= ?3 AND time < ?4 LIMIT -1
    )
    WHERE value IS NOT NULL
)
GROUP BY 1
"""
_EVENTS = """
SELECT time / 1000000, json(data) FROM event
WHERE series = ? AND time >= ? AND time < ? ORDER BY time DESC, rowid DESC LIMIT ?
"""
_COUNTS = """
SELECT kind, count(*) FROM series CROSS JOIN event
ON event.series = series.id AND event.time >= ? AND event.time < ? GROUP BY kind
"""
_NEWEST = "SELECT time, json(data) FROM event WHERE series = ? ORDER BY time DESC LIMIT 1"

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class EmbeddedReader:
    """Reads day files, also while another process writes them; new days are noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: queue.LifoQueue[_Shelf] = queue.LifoQueue()
        self._closed = False

    def query(self, query: Query) -> list[Sample]:
        """Return samples, oldest first; none for a field that no event has."""
        if _FIELD.fullmatch(query.field) is None or query.end <= query.start:
            return []
        path = f"$.{query.field}"
        with self._shelf() as shelf:
            if query.every_ms is None:
                return _raw(shelf, query, path)
            return _windowed(shelf, query, path, query.every_ms)

    def latest(self, devices: Iterable[str]) -> list[StoredEvent]:
        """Return the newest event of each kind of each device."""
        with self._shelf() as shelf:
            found = []
            for device, kind, day in shelf.newest(list(dict.fromkeys(devices))):
                event = _newest(shelf, device, kind, day)
                if event is not None:
                    found.append(event)
            return found

    def events(
        self, device: str, start: int, end: int, *, kind: str | None = None, limit: int = 500
    ) -> list[StoredEvent]:
        """Return a device's events in ``[start, end)``, newest first."""
        found: list[StoredEvent] = []
        with self._shelf() as shelf:
            for day, file in shelf.files(start, end, newest_first=True):
                span = _span(day, start, end)
                ways = [
                    _events(file, day, device, name, id_, span, limit - len(found))
                    for id_, name in file.execute(_IDS, (device, kind)).fetchall()
                ]
                merged = heapq.merge(*ways, key=lambda event: event.at, reverse=True)
                found += itertools.islice(merged, limit - len(found))
                if len(found) >= limit:
                    break
        return found

    def count(self, start: int, end: int) -> int:
        """Return how many events are stored in ``[start, end)``."""
        return sum(self.counts(start, end).values())

    def counts(self, start: int, end: int) -> dict[str, int]:
        """Return how many events of each kind are stored in ``[start, end)``."""
        found: Counter[str] = Counter()
        with self._shelf() as shelf:
            for day, file in shelf.files(start, end):
                found.update(dict(file.execute(_COUNTS, _span(day, start, end)).fetchall()))
        return dict(found)

    def scan(
        self, kind: str, start: int, end: int, *, site: str | None = None, device: str | None = None
    ) -> Iterator[StoredPoint]:
        """Yield every event of a kind, day by day, in the order of site, device and time."""
        if end <= start:
            return
        with self._shelf() as shelf:
            for day, file in shelf.files(start, end):
                span = _span(day, start, end)
                yield from scan_day(file, day, kind, span, site=site, device=device)

    def positions(self) -> dict[str, int]:
        """Return for each log the position through which everything has been stored."""
        with self._shelf() as shelf:
            return shelf.positions()

    def close(self) -> None:
        """Release all connections; queries under way keep theirs until they end."""
        self._closed = True
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    @contextmanager
    def _shelf(self) -> Iterator[_Shelf]:
        """Lend a shelf: a set of connections that one thread uses at a time."""
        try:
            shelf = self._idle.get_nowait()
        except queue.Empty:
            shelf = _Shelf(self._folder)
        try:
            shelf.refresh()
            yield shelf
        except (sqlite.Error, StoreUnavailableError) as error:
            shelf.close()
            raise StoreUnavailableError(f"{self._folder}: {error}") from error
        except BaseException:
            shelf.close()
            raise
        else:
            if self._closed:
                shelf.close()
            else:
                self._idle.put(shelf)


class _Shelf:
    """One thread's read-only connections: the manifest and a few day files."""

    def __init__(self, folder: Path) -> None:
        self._manifest = Manifest(folder, readonly=True)
        self._there = False
        self._days: list[int] = []
        self._open: OrderedDict[int, sqlite.Connection] = OrderedDict()

    def refresh(self) -> None:
        """Look which days there are now."""
        self._there = self._manifest.open()
        if self._there and self._manifest.changed():
            self._days = self._manifest.days()
            for day in set(self._open) - set(self._days):
                self._open.pop(day).close()

    def positions(self) -> dict[str, int]:
        """Return the manifest's position of each log."""
        return self._manifest.positions() if self._there else {}

    def newest(self, devices: list[str]) -> list[tuple[str, str, int]]:
        """Return (device, kind, latest day that may hold it), grouped by day."""
        found = self._manifest.newest(devices) if self._there else []
        return sorted(found, key=lambda row: -row[2])

    def files(
        self, start: int, end: int, *, newest_first: bool = False
    ) -> Iterator[tuple[int, sqlite.Connection]]:
        """Yield the day files that overlap ``[start, end)`` (ms)."""
        first, last = start // DAY_MS, (end - 1) // DAY_MS
        days = [day for day in self._days if first <= day <= last]
        for day in reversed(days) if newest_first else days:
            file = self.file(day)
            if file is not None:
                yield day, file

    def days_through(self, day: int) -> list[int]:
        """Return the days up to ``day``, newest first."""
        return [other for other in reversed(self._days) if other <= day]

    def file(self, day: int) -> sqlite.Connection | None:
        """Return a day's file; None where it was expired since the last refresh."""
        connection = self._open.get(day)
        if connection is None:
            try:
                connection = sqlite.connect(self._manifest.folder / file_name(day), readonly=True)
            except StoreUnavailableError:
                if day in self._manifest.days():
                    raise
                return None
            while len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1].close()
            connection.execute("PRAGMA cache_size=-8192")  # a day's rows lie far apart
            self._open[day] = connection
        self._open.move_to_end(day)
        return connection

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1].close()
        self._manifest.close()


def _span(day: int, start: int, end: int) -> tuple[int, int]:
    """Return the part of a day that lies in ``[start, end)``, in ns since the day's start."""
    base = day * DAY_MS
    return max(start - base, 0) * 1_000_000, min(end - base, DAY_MS) * 1_000_000


def _raw(shelf: _Shelf, query: Query, path: str) -> list[Sample]:
    found: list[Sample] = []
    for day, file in shelf.files(query.start, query.end):
        base = day * DAY_MS
        lower, upper = _span(day, query.start, query.end)
        left = query.limit - len(found)
        ways = [
            file.execute(_RAW, (id_, path, lower, upper, left))
            for id_, _ in file.execute(_IDS, (query.device, query.kind)).fetchall()
        ]
        for at, type_, value in itertools.islice(heapq.merge(*ways, key=_first), left):
            found.append(Sample(base + at, _typed(type_, value)))
        if len(found) >= query.limit:
            break
    return found


def _first(row: tuple[Any, ...]) -> int:
    at: int = row[0]
    return at


def _typed(type_: str, value: Value) -> Value:
    """Give booleans back as such: SQL knows 0 and 1 only."""
    return bool(value) if type_ in ("true", "false") else value


def _windowed(shelf: _Shelf, query: Query, path: str, every_ms: int) -> list[Sample]:
    windows: dict[int, Window] = {}
    newest: dict[int, int] = {}
    for day, file in shelf.files(query.start, query.end):
        base = day * DAY_MS
        span = _span(day, query.start, query.end)
        for id_, _ in file.execute(_IDS, (query.device, query.kind)).fetchall():
            rows = file.execute(_WINDOWS, (id_, path, *span, base, every_ms))
            for number, count, numbers, total, low, high, last, time in rows:
                at = base * 1_000_000 + time
                if at < newest.get(number, -1):  # the same device at two sites
                    last = None
                else:
                    newest[number] = at
                part = Window(count, numbers, total, low, high, last)
                windows.setdefault(number, Window()).add(part)
    return samples_of(windows, every_ms, query.aggregate)


def _events(
    file: sqlite.Connection,
    day: int,
    device: str,
    kind: str,
    series: int,
    span: tuple[int, int],
    limit: int,
) -> Iterator[StoredEvent]:
    base = day * DAY_MS
    for at, data in file.execute(_EVENTS, (series, *span, limit)):
        yield StoredEvent(base + at, device, kind, _decode(data))


def _newest(shelf: _Shelf, device: str, kind: str, day: int) -> StoredEvent | None:
    """Look for the newest event, from the day that the manifest names backwards."""
    for candidate in shelf.days_through(day):
        file = shelf.file(candidate)
        if file is None:
            continue
        rows = [
            row
            for id_, _ in file.execute(_IDS, (device, kind)).fetchall()
            for row in file.execute(_NEWEST, (id_,)).fetchall()
        ]
        if rows:
            time, data = max(rows)
            return StoredEvent(candidate * DAY_MS + time // 1_000_000, device, kind, _decode(data))
    return None
