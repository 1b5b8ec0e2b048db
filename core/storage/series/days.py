"""One day's events in one SQLite file: its schema and the side that writes it.

``series`` gives each (device, kind, site) a small integer. While a day is **hot**, a write is one
row of ``hot`` (see :mod:`core.storage.series.columns`): nothing is sorted, and there is no index to
keep. :mod:`core.storage.series.sealing` moves hot rows into sorted blocks, each event in one
transaction from one to the other, so that whoever reads in a transaction finds it exactly once.

``event`` is the table of format 1, a row an event; where it is still there, sealing empties it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import Point
from core.storage import sqlite
from core.storage.series.columns import HotEvents, encode_data
from core.storage.series.sealing import Sealer, SealingPlan

DAY_MS = 86_400_000
DAY_NS = DAY_MS * 1_000_000
FORMAT = 2
_EPOCH = date(1970, 1, 1)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY,
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    site TEXT NOT NULL,
    UNIQUE (device, kind, site)
);
CREATE TABLE IF NOT EXISTS hot (
    id INTEGER PRIMARY KEY,
    events INTEGER NOT NULL,
    first INTEGER NOT NULL,  -- ns since the day's start (UTC), as all times here
    last INTEGER NOT NULL,
    series BLOB NOT NULL,    -- for each event, in the log's order: its series, 4 bytes
    time BLOB NOT NULL,      -- 8 bytes each
    late BLOB NOT NULL,      -- ms from the device's time to the edge's, 8 bytes each
    size BLOB NOT NULL,      -- length of its data, 4 bytes each
    ref BLOB,                -- MessagePack: index -> the source's own id
    data BLOB NOT NULL       -- MessagePack maps
);
CREATE TABLE IF NOT EXISTS run (
    id INTEGER PRIMARY KEY,
    level INTEGER NOT NULL,  -- how often its events were merged
    state INTEGER NOT NULL,  -- 0 building, 1 live, 2 dead
    events INTEGER NOT NULL,
    last INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS block (
    id INTEGER PRIMARY KEY,  -- ascending in the run's order: kind, series, time
    run INTEGER NOT NULL REFERENCES run (id),
    kind TEXT NOT NULL,
    first_series INTEGER NOT NULL,
    last_series INTEGER NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    events INTEGER NOT NULL,
    body BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS block_by_series
ON block (run, kind, first_series, last_series, first, last);
CREATE TABLE IF NOT EXISTS cursor (
    log TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
"""
_INSERT = """
INSERT INTO hot (events, first, last, series, time, late, size, ref, data)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_ADVANCE = """
INSERT INTO cursor (log, position) VALUES (?, ?)
ON CONFLICT (log) DO UPDATE SET position = max(position, excluded.position)
"""

Key = tuple[str, str, str]
#: Is told the (device, kind) pairs that a day is about to hold.
Announce = Callable[[Iterable[tuple[str, str]]], None]


def day_of(moment: date) -> int:
    """Return a date's number of days since the Unix epoch."""
    return (moment - _EPOCH).days


def date_of(day: int) -> date:
    """Return the date of a number of days since the Unix epoch."""
    return _EPOCH + timedelta(days=day)


def date_of_ms(at: int) -> date:
    """Return the UTC date of a time in ms since the Unix epoch."""
    return datetime.fromtimestamp(at // 1000, UTC).date()


def file_name(day: int) -> str:
    """Return the name of a day's file."""
    return f"{date_of(day).isoformat()}.sqlite"


def rollup_name(day: int) -> str:
    """Return the name of the file that holds a day's rollup: one for a month."""
    return f"rollup-{date_of(day):%Y-%m}.sqlite"


def outlived(name: str, horizon: int) -> bool:
    """Tell whether a rollup's file holds only days before the horizon."""
    year, month = int(name[7:11]), int(name[12:14])
    return day_of(date(year + month // 12, month % 12 + 1, 1)) <= horizon


def ensure_schema(connection: sqlite.Connection, path: Path, schema: str) -> None:
    """Create the tables that a new file or one of format 1 lacks; raise on a newer format."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version < FORMAT:
        connection.executescript(f"BEGIN IMMEDIATE;{schema}PRAGMA user_version={FORMAT};COMMIT;")
    elif version > FORMAT:
        raise sqlite.DatabaseFileError(
            f"{path}: format {version} of the series store; this program knows {FORMAT}"
        )


class DayFile:
    """The writing side of one day's file; ``append`` is one transaction.

    The file has its own cursor for each log, in the same transaction as the rows, so that a
    point is here if and only if the cursor has passed it: that is what makes a replay exact,
    whatever happened to other files.
    """

    def __init__(self, folder: Path, day: int, log: str, plan: SealingPlan) -> None:
        self._path = folder / file_name(day)
        self._start_ns = day * DAY_NS
        self._log = log
        self._plan = plan
        self._series: dict[Key, int] = {}
        self._connection: sqlite.Connection | None = None
        self._sealer: Sealer | None = None
        self._durable: bool | None = None
        self._passed = 0

    def open(self) -> None:
        """Open or create the file; raise as :func:`core.storage.sqlite.connect` does."""
        connection = sqlite.connect(self._path, synchronous="NORMAL", shrinks=True)
        self._connection = connection
        try:
            connection.execute("PRAGMA cache_size=-16384")
            connection.execute("PRAGMA wal_autocheckpoint=4000")
            ensure_schema(connection, self._path, _SCHEMA)
            self._sealer = Sealer(connection, self._plan)
            self._sealer.open()
            found = connection.execute(
                "SELECT position FROM cursor WHERE log = ?", (self._log,)
            ).fetchone()
            self._passed = found[0] if found else 0
        except BaseException:
            self.close()
            raise

    def append(
        self,
        points: Sequence[tuple[int, Point]],
        position: int,
        *,
        durable: bool,
        announce: Announce,
    ) -> None:
        """Store the points that the file's cursor has not passed, and move it to ``position``.

        A durable append makes everything appended before it durable too: the write-ahead log
        is one file, flushed as a whole. ``announce`` hears of each pair once a session, before
        the commit.
        """
        connection = self._connection
        if connection is None or self._sealer is None:
            raise StoreUnavailableError(f"{self._path} is not open")
        if durable is not self._durable:
            connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        fresh: list[Key] = []
        try:
            with sqlite.transaction(connection):
                events = self._gather(connection, points, fresh)
                if events.series:
                    connection.execute(_INSERT, events.row())
                connection.execute(_ADVANCE, (self._log, position))
                if fresh:
                    announce((device, kind) for device, kind, _ in fresh)
        except BaseException:
            for key in fresh:
                del self._series[key]
            raise
        self._passed = max(self._passed, position)
        self._sealer.appended(len(events.series))

    def tidy(self, *, over: bool) -> bool:
        """Take one bounded step of sealing; return False where nothing is left to do."""
        if self._sealer is None:
            raise StoreUnavailableError(f"{self._path} is not open")
        return self._sealer.step(over=over)

    def overdue(self) -> bool:
        """Tell whether so much is hot that sealing must not wait for leisure."""
        return self._sealer is not None and self._sealer.overdue()

    def _gather(
        self,
        connection: sqlite.Connection,
        points: Sequence[tuple[int, Point]],
        fresh: list[Key],
    ) -> HotEvents:
        passed = self._passed
        events = HotEvents()
        start, known = self._start_ns, self._series
        add_series, add_time = events.series.append, events.times.append
        add_late, add_data = events.late.append, events.data.append
        for position, point in points:
            event = point.event
            key = (event.device, event.kind, point.site)
            series = known.get(key)
            if series is None:
                series = known[key] = _series_id(connection, key)
                fresh.append(key)
            if position <= passed:
                continue
            if event.id is not None:
                events.refs[len(events.series)] = event.id
            add_series(series)
            add_time(point.time_ns - start)
            add_late(event.seen - event.at)
            add_data(encode_data(event.data))
        return events

    def close(self) -> None:
        """Close the file; its write-ahead log is folded in unless somebody still reads."""
        self._sealer = None
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def rehearse(point: Point) -> None:
    """Make a hot row of one point, for whoever looks for the one that cannot be made."""
    event = point.event
    events = HotEvents()
    events.series.append(0)
    events.times.append(point.time_ns % DAY_NS)
    events.late.append(event.seen - event.at)
    events.data.append(encode_data(event.data))
    if event.id is not None:
        events.refs[0] = event.id
    events.row()


def _series_id(connection: sqlite.Connection, key: Key) -> int:
    find = "SELECT id FROM series WHERE device = ? AND kind = ? AND site = ?"
    row = connection.execute(find, key).fetchone()
    if row is None:
        row = connection.execute(
            "INSERT INTO series (device, kind, site) VALUES (?, ?, ?) RETURNING id", key
        ).fetchone()
    found: int = row[0]
    return found
