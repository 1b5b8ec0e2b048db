"""The embedded series store's reader: read-only connections, in any process, from any thread."""

from __future__ import annotations

import itertools
import queue
from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from pathlib import Path

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import Mark, Query, Sample, StoredEvent, StoredPoint
from core.storage import sqlite
from core.storage.series.columns import UNREADABLE
from core.storage.series.days import DAY_MS, DAY_NS, file_name, rollup_name
from core.storage.series.dayview import DayView, Row
from core.storage.series.embedded_scan import scan_day
from core.storage.series.manifest import NAME, Manifest
from core.storage.series.pages import page_of, upper_bound
from core.storage.series.rollup import HOURS, ROLLED, SPANS, Rollup, Span, Tally, tallied
from core.storage.series.windows import (
    Timed,
    check_size,
    lookback_ms,
    sample_value,
    samples_in,
    tallies_in,
)

#: Day files that one reader thread keeps open.
OPEN_FILES = 8
_first = itemgetter(0)
_REFILLS = "stores in it what the log still holds (collector.journal_retention_h)"


class EmbeddedReader:
    """Reads day files, also while another process writes them; new days are noticed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._idle: queue.LifoQueue[_Shelf] = queue.LifoQueue()
        self._closed = False

    def query(self, query: Query) -> list[Sample]:
        """Return samples, oldest first; none for a field that no event has."""
        check_size(query)
        if query.end <= query.start:
            return []
        with self._shelf() as shelf:
            if query.every_ms is None:
                raw = itertools.islice(_values(shelf, query, query.start), query.limit)
                return [Sample(at, value) for at, value in raw]
            spans = [span for span in SPANS if query.every_ms % span.length_ms == 0]
            if spans and query.field in ROLLED.get(query.kind, ()):
                rolled = shelf.rolled(query, spans)
                if rolled:
                    tallies = _tallies(shelf, query, spans[0].length_ms, rolled)
                    return tallies_in(tallies, query, query.every_ms)
            values = _values(shelf, query, query.start - lookback_ms(query))
            return samples_in(values, query, query.every_ms)

    def latest(self, devices: Iterable[str]) -> list[StoredEvent]:
        """Return the newest event of each kind of each device."""
        with self._shelf() as shelf:
            by_day: dict[int, list[tuple[str, str]]] = {}
            for device, kind, day in shelf.newest(list(dict.fromkeys(devices))):
                by_day.setdefault(day, []).append((device, kind))
            return [event for day, pairs in by_day.items() for event in _latest(shelf, day, pairs)]

    def events(
        self,
        device: str,
        start: int,
        end: int,
        *,
        kind: str | None = None,
        limit: int = 500,
        before: Mark | None = None,
    ) -> list[StoredEvent]:
        """Return a device's events in ``[start, end)``, newest first; a page at a time."""
        found: list[StoredEvent] = []
        end_ns = end * 1_000_000
        with self._shelf() as shelf:
            last = end if before is None else min(end, before.time_ns // 1_000_000 + 1)
            for day, file in shelf.files(start, last, newest_first=True):
                base = day * DAY_NS
                with file.snapshot():
                    for id_, name in file.ids(device, kind):
                        until = end_ns if before is None else upper_bound(before, name, end_ns)
                        span = _span(day, start * 1_000_000, until)
                        rows = file.rows(id_, name, *span, limit)
                        found += (StoredEvent(base + t, device, name, data) for t, data in rows)
                if len(found) >= limit:
                    break
        return page_of(found, limit)

    def count(self, start: int, end: int) -> int:
        """Return how many events are stored in ``[start, end)``."""
        return sum(self.counts(start, end).values())

    def counts(self, start: int, end: int) -> dict[str, int]:
        """Return how many events of each kind are stored in ``[start, end)``."""
        found: Counter[str] = Counter()
        with self._shelf() as shelf:
            for day, file in shelf.files(start, end):
                with file.snapshot():
                    found.update(file.counts(*_span(day, start * 1_000_000, end * 1_000_000)))
        return dict(found)

    def scan(
        self, kind: str, start: int, end: int, *, site: str | None = None, device: str | None = None
    ) -> Iterator[StoredPoint]:
        """Yield every event of a kind, day by day, in the order of site, device and time."""
        if end <= start:
            return
        with self._shelf() as shelf:
            for day, file in shelf.files(start, end):
                span = _span(day, start * 1_000_000, end * 1_000_000)
                yield from scan_day(file, day, kind, span, site=site, device=device)

    def positions(self) -> dict[str, int]:
        """Return for each log the position through which everything has been stored."""
        with self._shelf() as shelf:
            return shelf.positions()

    def lost(self) -> list[Path]:
        """Return the days' files that are listed and gone."""
        with self._shelf() as shelf:
            return shelf.lost()

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
        except StoreUnavailableError:
            shelf.close()
            raise
        except sqlite.OperationalError as error:
            shelf.close()
            raise StoreUnavailableError(f"{shelf.at}: {error}") from error
        except sqlite.DatabaseFileError as error:
            shelf.close()
            raise _damaged(shelf.at, str(error.__cause__ or error)) from error
        except (sqlite.Error, *UNREADABLE) as error:
            shelf.close()
            raise _damaged(shelf.at, str(error)) from error
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
        self._folder = folder
        self.at = folder
        """What was read last, for whoever must be told where it failed."""
        self._manifest = Manifest(folder, readonly=True)
        self._there = False
        self._days: list[int] = []
        self._rolled: set[int] = set()
        self._rollups: dict[str, Rollup] = {}
        self._open: OrderedDict[int, tuple[DayView, sqlite.Connection]] = OrderedDict()
        self._inodes: dict[int, int] = {}

    def refresh(self) -> None:
        """Look which days there are now."""
        self.at = self._folder / NAME
        self._there = self._manifest.open()
        if self._there and self._manifest.changed():
            self._days = self._manifest.days()
            self._rolled = set(self._manifest.rolled())
            live = set(map(rollup_name, self._rolled))
            for name in self._rollups.keys() - live:
                self._rollups.pop(name).close()
            gone = set(self._open) - set(self._days)
            for day in gone | {day for day in self._open if self._moved(day)}:
                self._open.pop(day)[1].close()

    def _moved(self, day: int) -> bool:
        """Tell whether a day that is open has another file by now, begun anew."""
        try:
            return (self._folder / file_name(day)).stat().st_ino != self._inodes[day]
        except FileNotFoundError:
            return True

    def positions(self) -> dict[str, int]:
        """Return the manifest's position of each log."""
        return self._manifest.positions() if self._there else {}

    def lost(self) -> list[Path]:
        """Return the files that are listed and gone."""
        days = self._manifest.lost() if self._there else []
        return [self._folder / file_name(day) for day in days]

    def newest(self, devices: list[str]) -> list[tuple[str, str, int]]:
        """Return (device, kind, latest day that may hold it), grouped by day."""
        found = self._manifest.newest(devices) if self._there else []
        return sorted(found, key=lambda row: -row[2])

    def files(
        self, start: int, end: int, *, newest_first: bool = False
    ) -> Iterator[tuple[int, DayView]]:
        """Yield the day files that overlap ``[start, end)`` (ms)."""
        days = self.days(start, end)
        for day in reversed(days) if newest_first else days:
            file = self.file(day)
            if file is not None:
                yield day, file

    def days(self, start: int, end: int) -> list[int]:
        """Return the days that overlap ``[start, end)`` (ms), oldest first."""
        first, last = start // DAY_MS, (end - 1) // DAY_MS
        return [day for day in self._days if first <= day <= last]

    def rolled(self, query: Query, spans: Sequence[Span]) -> dict[int, list[tuple[int, Tally]]]:
        """Return day -> (time, tally) of the query's whole days whose rollup holds good.

        Each day is told by the longest of the spans in which it is. Where these have hours, days
        without values are in it too, empty; what is neither in hours nor in minutes is left out.
        """
        first, last = -(-query.start // DAY_MS), query.end // DAY_MS - 1
        days = [day for day in self._days if first <= day <= last and day in self._rolled]
        if not days:
            return {}
        stale = self._manifest.stale_days(query.device, query.kind)
        found: dict[int, list[tuple[int, Tally]]] = {}
        left = {day: rollup_name(day) for day in days if day not in stale}
        for span in spans:
            for name in dict.fromkeys(left.values()):
                some = [day for day, other in left.items() if other == name]
                rollup = self._rollup(name)
                found |= rollup.read(span, query.device, query.kind, query.field, some)
            left = {day: name for day, name in left.items() if day not in found}
            if span is HOURS:  # all that there is is there
                return found | {day: [] for day in left}
        return found

    def _rollup(self, name: str) -> Rollup:
        self.at = self._folder / name
        if name not in self._rollups:
            self._rollups[name] = Rollup(self.at)
        return self._rollups[name]

    def days_through(self, day: int) -> list[int]:
        """Return the days up to ``day``, newest first."""
        return [other for other in reversed(self._days) if other <= day]

    def file(self, day: int) -> DayView | None:
        """Return a day's file; None where it was expired since the last refresh."""
        self.at = self._folder / file_name(day)
        if day not in self._open:
            try:
                self._inodes[day] = self.at.stat().st_ino
                connection = sqlite.connect(self.at, readonly=True)
            except (StoreUnavailableError, FileNotFoundError):
                if day not in self._manifest.days():
                    return None
                if self.at.exists():
                    raise
                raise StoreUnavailableError(
                    f"{self.at}: is listed, and gone; put it back, or start the collector: it "
                    f"begins the day anew and {_REFILLS}"
                ) from None
            while len(self._open) >= OPEN_FILES:
                self._open.popitem(last=False)[1][1].close()
            self._open[day] = (DayView(connection), connection)
        self._open.move_to_end(day)
        return self._open[day][0]

    def close(self) -> None:
        while self._open:
            self._open.popitem()[1][1].close()
        while self._rollups:
            self._rollups.popitem()[1].close()
        self._manifest.close()


def _damaged(path: Path, why: str) -> StoreUnavailableError:
    """Return the error of a damaged file, with the least that mends it."""
    if path.name == NAME:
        remedy = (
            "restore a backup, or stop the collector and move the folder away: at its next start "
            "it begins a new store with what the log still holds (collector.journal_retention_h)"
        )
    elif path.name.startswith("rollup-"):
        remedy = "restore this file from a backup; the events themselves are in the days' files"
    else:
        remedy = (
            "stop the collector and move this one file away (with its -wal and -shm), nothing "
            f"else; at its next start it begins the day anew and {_REFILLS}. Or restore a backup"
        )
    return StoreUnavailableError(f"{path}: is damaged ({why}); {remedy}")


def _span(day: int, start: int, end: int) -> tuple[int, int]:
    """Return the part of a day that lies in ``[start, end)`` (ns), since the day's start."""
    base = day * DAY_NS
    return max(start - base, 0), min(end - base, DAY_NS)


def _tallies(
    shelf: _Shelf, query: Query, length: int, rolled: dict[int, list[tuple[int, Tally]]]
) -> Iterator[tuple[int, Tally]]:
    """Yield (time, tally) of spans, oldest first: from the rollup the days that are in it."""
    start = query.start - lookback_ms(query)
    for day in shelf.days(start, query.end):
        base = day * DAY_MS
        if day in rolled:
            yield from rolled[day]
            continue
        values = list(_values(shelf, query, max(base, start), min(base + DAY_MS, query.end)))
        cut = bisect_left(values, query.start, key=_first)  # a span may lie across the start
        for part, lowest in ((values[:cut], 0), (values[cut:], query.start)):
            for number, found in tallied(part, length):
                yield max(number * length, lowest), found


def _values(shelf: _Shelf, query: Query, start: int, end: int | None = None) -> Iterator[Timed]:
    """Yield the field's values from ``start`` (ms) on, oldest first."""
    end = query.end if end is None else end
    for day, file in shelf.files(start, end):
        base = day * DAY_MS
        span = _span(day, start * 1_000_000, end * 1_000_000)
        with file.snapshot():
            ids = [id_ for id_, _ in file.ids(query.device, query.kind)]
            found = file.fields(ids, query.kind, (query.field,), *span).get(query.field, ())
        for time, value in found:
            yield base + time // 1_000_000, sample_value(value)


def _latest(shelf: _Shelf, day: int, pairs: list[tuple[str, str]]) -> list[StoredEvent]:
    """Look for the newest events, from the day that the manifest names backwards."""
    left, events = pairs, []
    for candidate in shelf.days_through(day):
        file = shelf.file(candidate)
        if file is None or not left:
            continue
        with file.snapshot():
            wanted = {id_: pair for pair in left for id_, _ in file.ids(*pair)}
            newest: dict[tuple[str, str], Row] = {}
            for id_, row in file.newest({id_: kind for id_, (_, kind) in wanted.items()}).items():
                pair = wanted[id_]
                if pair not in newest or newest[pair][0] < row[0]:
                    newest[pair] = row
        for (device, kind), (time, data) in newest.items():
            events.append(StoredEvent(candidate * DAY_NS + time, device, kind, data))
        left = [pair for pair in left if pair not in newest]
    return events
