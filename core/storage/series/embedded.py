"""The embedded series store's writer: a SQLite file a day.

Why each event is stored exactly once, although nothing here is one big transaction:

1. A day file's rows and its cursor change in one transaction. So a point of position *p* is in
   the file if and only if the file's cursor is at least *p*, and ``append`` skips what the
   cursor has passed. A replay from any older position adds what is missing and nothing else;
   a batch across midnight that was cut off between two files is completed in the second.
2. Day files are written without waiting for the disk (``synchronous=NORMAL``). A killed process
   loses nothing by that. A power cut may undo the last transactions of a file, each one whole,
   and the cursor goes back with its rows: what was lost is what a replay brings again. The
   journal is the durable one.
3. So it matters only that the replay starts early enough. The position that ``position()``
   returns lies in the manifest, and moves only after every file written since its last move has
   been made durable (``sync``). It is a lower bound of every file's progress: at a position P
   in the manifest, all points up to P are on disk in their files, and those beyond may be.
   A file that no batch touched has no points there, so it does not hold P back.

4. A write that returned refusals counts only when the next one comes: until then its caller may
   not have recorded them, and a crash in between must bring them again.

The log must not be trimmed beyond ``position()``.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path

from core.contracts.errors import StoreUnavailableError
from core.contracts.ports import Point, Refusal
from core.runtime.clock import Clock, ScaledClock
from core.storage import sqlite
from core.storage.series.days import DAY_MS, DAY_NS, DayFile, date_of
from core.storage.series.manifest import Manifest

#: Day files that are kept open; more only while a backlog of several days arrives.
OPEN_FILES = 8
#: Real seconds that queries under way have before a retired file is unlinked.
GRACE_S = 60.0


class EmbeddedWriter:
    """Writes events into day files; one projector uses it, from one thread at a time.

    ``log`` identifies the log whose positions are counted (a journal's identity), so that a new
    journal is not taken for the old one. All points of one log position belong in one ``write``.
    Events of days before ``retention_days`` ago (by ``clock``) are refused, as are those of days
    already expired. ``sync_s`` (real seconds) is how far ``position()`` may lag.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log: str = "log",
        retention_days: int | None = None,
        clock: Clock | None = None,
        sync_s: float = 1.0,
    ) -> None:
        self._manifest = Manifest(folder, readonly=False)
        self._log = log
        self._retention_days = retention_days
        self._clock = clock or ScaledClock.from_environment()
        self._sync_s = sync_s
        self._files: OrderedDict[int, DayFile] = OrderedDict()
        self._unsynced: set[int] = set()
        self._newest: dict[tuple[str, str], int] = {}
        self._expired_before = 0
        self._written = 0
        self._settled = 0
        self._durable = 0
        self._synced_at = 0.0

    def open(self) -> None:
        """Open or create the store; raise :class:`core.storage.sqlite.DatabaseFileError`."""
        self._manifest.open()
        self._manifest.sweep(GRACE_S)
        self._newest = self._manifest.all_newest()
        self._written = self._settled = self._durable = self._manifest.position(self._log)
        self._synced_at = time.monotonic()
        self._look_at_manifest()

    def position(self) -> int:
        """Return the log position through which everything is stored durably (0: nothing)."""
        return self._durable

    def write(self, points: Sequence[tuple[int, Point]], position: int) -> list[Refusal]:
        """Store points, each with its log position, then ``position``; return refusals.

        Raises :class:`StoreUnavailableError` when the same call may succeed later.
        """
        with self._translated():
            self._look_at_manifest()
            by_day, refusals = self._sort(points)
            due = time.monotonic() - self._synced_at >= self._sync_s
            self._announce(by_day)
            for day in sorted(by_day):
                self._append(day, by_day[day], position, durable=due)
            if position > self._written:
                self._settled = position if not refusals else self._written
            self._written = max(self._written, position)
            if due:
                self.sync()
        return refusals

    def sync(self) -> None:
        """Make everything written so far durable and move ``position()`` to what is settled."""
        with self._translated():
            for day in sorted(self._unsynced):
                self._append(day, (), self._written, durable=True)
            if self._settled > self._durable:
                self._manifest.advance(self._log, self._settled)
                self._durable = self._settled
            self._synced_at = time.monotonic()

    def expire(self, before: date, *, grace_s: float = GRACE_S) -> list[date]:
        """Retire the days before a date; return them. See :func:`expire`."""
        self.sync()
        with self._translated():
            retired = self._manifest.retire(before)
            self._look_at_manifest(force=True)
            self._manifest.sweep(grace_s)
        return [date_of(day) for day in retired]

    def close(self) -> None:
        """Make everything durable and release the files."""
        try:
            if self._unsynced or self._settled > self._durable:
                self.sync()
        finally:
            self._close_files()
            self._manifest.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (sqlite.Error, OSError) as error:
            self._close_files()  # whatever state they are in, they are read afresh
            raise StoreUnavailableError(f"{self._manifest.folder}: {error}") from error

    def _sort(
        self, points: Sequence[tuple[int, Point]]
    ) -> tuple[dict[int, list[tuple[int, Point]]], list[Refusal]]:
        by_day: dict[int, list[tuple[int, Point]]] = {}
        refusals: list[Refusal] = []
        oldest = self._oldest_day()
        durable = self._durable
        for index, item in enumerate(points):
            if item[0] <= durable:
                continue
            day = item[1].time_ns // DAY_NS
            if day < oldest:
                limit = date_of(oldest).isoformat()
                refusals.append(Refusal(index, f"older than the retention ({limit})"))
                continue
            by_day.setdefault(day, []).append(item)
        return by_day, refusals

    def _oldest_day(self) -> int:
        if self._retention_days is None:
            return self._expired_before
        today = self._clock.now_ms() // DAY_MS
        return max(self._expired_before, today - self._retention_days)

    def _look_at_manifest(self, *, force: bool = False) -> None:
        """Take note of days that any process has expired."""
        if not self._manifest.changed() and not force:
            return
        self._expired_before = self._manifest.horizon()
        for day in [day for day in self._files if day < self._expired_before]:
            self._drop(day)
        self._unsynced = {day for day in self._unsynced if day >= self._expired_before}
        self._newest = {
            pair: day for pair, day in self._newest.items() if day >= self._expired_before
        }

    def _announce(self, by_day: dict[int, list[tuple[int, Point]]]) -> None:
        """Note in the manifest which days hold which kinds, before they do.

        Where the write then fails, a reader looks for a kind on a day that has none, and goes
        on to older days; the other order could leave the newest event unfound.
        """
        raised = {
            pair: day
            for day in sorted(by_day)
            for pair in {(point.event.device, point.event.kind) for _, point in by_day[day]}
            if self._newest.get(pair, -1) < day
        }
        if raised:
            self._manifest.raise_newest((d, k, day) for (d, k), day in raised.items())
            self._newest.update(raised)

    def _append(
        self, day: int, points: Sequence[tuple[int, Point]], position: int, *, durable: bool
    ) -> None:
        self._file(day).append(points, position, durable=durable)
        if durable:
            self._unsynced.discard(day)
        else:
            self._unsynced.add(day)

    def _file(self, day: int) -> DayFile:
        file = self._files.get(day)
        if file is None:
            while len(self._files) >= OPEN_FILES:
                self._drop(next(iter(self._files)))
            file = DayFile(self._manifest.folder, day, self._log)
            file.open()
            self._manifest.add(day)
            self._files[day] = file
        self._files.move_to_end(day)
        return file

    def _drop(self, day: int) -> None:
        self._files.pop(day).close()

    def _close_files(self) -> None:
        while self._files:
            self._drop(next(iter(self._files)))


def expire(folder: Path, before: date, *, grace_s: float = GRACE_S) -> list[date]:
    """Retire the days before a date, in whichever process; return those newly retired.

    A retired day is off the manifest at once: nobody starts to read it and its late events are
    refused. Its file is unlinked by a later call (or the writer's start) when ``grace_s`` real
    seconds have passed, so that queries under way finish.
    """
    manifest = Manifest(folder, readonly=False)
    manifest.open()
    try:
        retired = manifest.retire(before)
        manifest.sweep(grace_s)
    finally:
        manifest.close()
    return [date_of(day) for day in retired]
