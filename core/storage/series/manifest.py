"""The manifest: which day files there are, how far the log is stored, what is retired.

A day file counts only while the manifest lists it. All processes share the manifest; a change
by another one is noticed by SQLite's ``data_version``.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from datetime import date
from pathlib import Path

from core.contracts.errors import StoreUnavailableError
from core.storage import sqlite
from core.storage.series.days import day_of, ensure_schema, file_name, outlived

NAME = "manifest.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS file (
    day INTEGER PRIMARY KEY,
    retired_at INTEGER  -- ms, real time; the file is unlinked after a grace
);
CREATE TABLE IF NOT EXISTS cursor (
    log TEXT PRIMARY KEY,
    position INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS newest (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    day INTEGER NOT NULL,  -- no later day holds this kind of this device
    PRIMARY KEY (device, kind)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS sealed (
    day INTEGER PRIMARY KEY  -- the file is sealed for good, nothing came since
);
CREATE TABLE IF NOT EXISTS rolled (
    day INTEGER PRIMARY KEY  -- it is in the rollup, but for what is stale
);
CREATE TABLE IF NOT EXISTS stale (
    device TEXT NOT NULL,
    kind TEXT NOT NULL,
    day INTEGER NOT NULL,
    PRIMARY KEY (device, kind, day)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS horizon (
    one INTEGER PRIMARY KEY CHECK (one = 1),
    day INTEGER NOT NULL  -- older events are refused
);
"""


class Manifest:
    """One process's view of the manifest; ``readonly`` for readers."""

    def __init__(self, folder: Path, *, readonly: bool) -> None:
        self._folder = folder
        self._readonly = readonly
        self._connection: sqlite.Connection | None = None
        self._version: int | None = None

    @property
    def folder(self) -> Path:
        """Return the folder of the series."""
        return self._folder

    def open(self) -> bool:
        """Open (a writer also creates); return False where a reader finds no store yet."""
        if self._connection is not None:
            return True
        path = self._folder / NAME
        if self._readonly and not path.exists():
            return False
        if not self._readonly:
            self._folder.mkdir(parents=True, exist_ok=True)
        connection = sqlite.connect(path, readonly=self._readonly, synchronous="FULL")
        try:
            if not self._readonly:
                ensure_schema(connection, path, _SCHEMA)
            elif connection.execute("PRAGMA user_version").fetchone()[0] == 0:
                connection.close()  # it is being created at this moment
                return False
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return True

    def close(self) -> None:
        """Close the manifest."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def changed(self) -> bool:
        """Tell whether another process changed the manifest since the last question."""
        version: int = self._db.execute("PRAGMA data_version").fetchone()[0]
        changed = version != self._version
        self._version = version
        return changed

    def days(self) -> list[int]:
        """Return the days that have a file, oldest first."""
        rows = self._db.execute("SELECT day FROM file WHERE retired_at IS NULL ORDER BY day")
        return [row[0] for row in rows]

    def loose(self) -> list[int]:
        """Return the days that are not sealed for good."""
        rows = self._db.execute(
            "SELECT day FROM file WHERE retired_at IS NULL AND day NOT IN (SELECT day FROM sealed)"
        )
        return [row[0] for row in rows]

    def loosen(self, day: int) -> None:
        """Note that a day gets events, before it does."""
        self._db.execute("DELETE FROM sealed WHERE day = ?", (day,))

    def tighten(self, day: int) -> None:
        """Note that a day is sealed for good."""
        self._db.execute("INSERT INTO sealed (day) VALUES (?) ON CONFLICT DO NOTHING", (day,))

    def rolled(self) -> list[int]:
        """Return the days that are in the rollup; a store of format 1 has none."""
        if self._db.execute("PRAGMA user_version").fetchone()[0] == 1:
            return []
        return [row[0] for row in self._db.execute("SELECT day FROM rolled")]

    def stale_days(self, device: str, kind: str) -> set[int]:
        """Return the days on which the rollup of a device's kind is not to be believed."""
        rows = self._db.execute(
            "SELECT day FROM stale WHERE device = ? AND kind = ?", (device, kind)
        )
        return {row[0] for row in rows}

    def stale_pairs(self) -> list[tuple[int, str, str]]:
        """Return (day, device, kind) of all that is stale."""
        return self._db.execute("SELECT day, device, kind FROM stale").fetchall()

    def make_stale(self, day: int, pairs: Iterable[tuple[str, str]]) -> None:
        """Note that (device, kind) pairs of a rolled day get events, before they do."""
        with sqlite.transaction(self._db):
            self._db.executemany(
                "INSERT INTO stale (device, kind, day) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                [(device, kind, day) for device, kind in pairs],
            )

    def roll(self, day: int) -> None:
        """Note that a day's rollup is whole."""
        with sqlite.transaction(self._db):
            self._db.execute("INSERT INTO rolled (day) VALUES (?) ON CONFLICT DO NOTHING", (day,))
            self._db.execute("DELETE FROM stale WHERE day = ?", (day,))

    def horizon(self) -> int:
        """Return the day before which events are refused."""
        row = self._db.execute("SELECT day FROM horizon").fetchone()
        return row[0] if row else 0

    def position(self, log: str) -> int:
        """Return the position through which a log is stored durably."""
        row = self._db.execute("SELECT position FROM cursor WHERE log = ?", (log,)).fetchone()
        return row[0] if row else 0

    def positions(self) -> dict[str, int]:
        """Return the position through which each log is stored durably."""
        return dict(self._db.execute("SELECT log, position FROM cursor"))

    def advance(self, log: str, position: int) -> None:
        """Note durably that everything up to ``position`` is durable in the day files."""
        self._db.execute(
            "INSERT INTO cursor (log, position) VALUES (?, ?) "
            "ON CONFLICT (log) DO UPDATE SET position = max(position, excluded.position)",
            (log, position),
        )

    def rewind(self, log: str) -> None:
        """Note durably that nothing of a log is known to be in the day files."""
        self._db.execute("DELETE FROM cursor WHERE log = ?", (log,))

    def lost(self) -> list[int]:
        """Return the days that are listed and have no file."""
        return [day for day in self.days() if not (self._folder / file_name(day)).exists()]

    def add(self, day: int) -> bool:
        """List a day's file; return False where that day is already retired."""
        self._db.execute("INSERT INTO file (day) VALUES (?) ON CONFLICT DO NOTHING", (day,))
        row = self._db.execute("SELECT retired_at FROM file WHERE day = ?", (day,)).fetchone()
        return row[0] is None

    def all_newest(self) -> dict[tuple[str, str], int]:
        """Return for each (device, kind) the latest day that may hold it."""
        return {(d, k): day for d, k, day in self._db.execute("SELECT * FROM newest")}

    def newest(self, devices: Sequence[str]) -> list[tuple[str, str, int]]:
        """Return (device, kind, latest day that may hold it) of some devices."""
        found: list[tuple[str, str, int]] = []
        for first in range(0, len(devices), 500):
            part = devices[first : first + 500]
            marks = ",".join("?" * len(part))
            found += self._db.execute(
                f"SELECT device, kind, day FROM newest WHERE device IN ({marks})",  # noqa: S608 - only marks
                part,
            ).fetchall()
        return found

    def raise_newest(self, rows: Iterable[tuple[str, str, int]]) -> None:
        """Note (device, kind, day) in one transaction; an earlier day changes nothing."""
        with sqlite.transaction(self._db):
            self._db.executemany(
                "INSERT INTO newest (device, kind, day) VALUES (?, ?, ?) "
                "ON CONFLICT (device, kind) DO UPDATE SET day = max(day, excluded.day)",
                rows,
            )

    def retire(self, before: date) -> list[int]:
        """Take the files of days before a date off the list; older events are refused from now."""
        day, now = day_of(before), time.time_ns() // 1_000_000
        with sqlite.transaction(self._db):
            rows = self._db.execute(
                "UPDATE file SET retired_at = ? WHERE day < ? AND retired_at IS NULL RETURNING day",
                (now, day),
            ).fetchall()
            self._db.execute("DELETE FROM newest WHERE day < ?", (day,))
            for table in ("sealed", "rolled", "stale"):
                self._db.execute(f"DELETE FROM {table} WHERE day < ?", (day,))  # noqa: S608 - names
            self._db.execute(
                "INSERT INTO horizon VALUES (1, ?) "
                "ON CONFLICT (one) DO UPDATE SET day = max(day, excluded.day)",
                (day,),
            )
        return sorted(row[0] for row in rows)

    def sweep(self, grace_s: float) -> list[int]:
        """Unlink the files that were retired more than ``grace_s`` seconds ago."""
        limit = time.time_ns() // 1_000_000 - int(grace_s * 1000)
        rows = self._db.execute(
            "SELECT day FROM file WHERE retired_at <= ? ORDER BY day", (limit,)
        ).fetchall()
        for (day,) in rows:
            _unlink(self._folder / file_name(day))
            self._db.execute("DELETE FROM file WHERE day = ?", (day,))
        horizon = self.horizon()
        for path in self._folder.glob("rollup-*.sqlite") if rows else ():
            if outlived(path.name, horizon):
                _unlink(path)
        return [row[0] for row in rows]

    @property
    def _db(self) -> sqlite.Connection:
        if self._connection is None:
            raise StoreUnavailableError(f"{self._folder}: the series store is not open")
        return self._connection


def _unlink(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
