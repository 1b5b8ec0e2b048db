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
   Where a listed file is gone (damaged, and moved away by somebody) P is forgotten: the log is
   replayed from its beginning, and only that file has not passed what comes.
4. A write that returned refusals counts only when the next one comes: until then its caller may
   not have recorded them, and a crash in between must bring them again.

The log must not be trimmed beyond ``position()``.

Sealing (:mod:`core.storage.series.sealing`) happens in ``write`` too, one bounded step at a time:
when the writer had to wait for its caller, or when so much is hot that it must not wait. Some time
after its end a day is sealed for good and rolled up (:mod:`core.storage.series.rollup`). A step
that fails holds up no write: its day is left alone for a while.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from functools import partial
from pathlib import Path

import structlog

from core.contracts.errors import EstateError, StoreLostError, StoreUnavailableError
from core.contracts.ports import Point, Refusal
from core.runtime.clock import Clock, ScaledClock
from core.storage import sqlite
from core.storage.series.columns import UNREADABLE
from core.storage.series.days import DAY_MS, DAY_NS, DayFile, date_of, file_name, rehearse
from core.storage.series.manifest import Manifest
from core.storage.series.progress import Progress
from core.storage.series.rollup import Roller
from core.storage.series.sealing import SealingPlan

log = structlog.get_logger(__name__)

#: Day files that are kept open; more only while a backlog of several days arrives.
OPEN_FILES = 8
#: Real seconds that queries under way have before a retired file is unlinked.
GRACE_S = 60.0
#: Modelled time after a day's end when it is sealed for good: most of what is late has come.
OVER_MS = 3_600_000
#: Real seconds for which a day is left alone whose sealing failed.
_REST_S = 60.0


class EmbeddedWriter:
    """Writes events into day files; one projector uses it, from one thread at a time.

    ``log`` identifies the log whose positions are counted (a journal's identity), so that a new
    journal is not taken for the old one. All points of one log position belong in one ``write``.
    Events of days before ``retention_days`` ago (by ``clock``) are refused, as are those of days
    already expired. ``sync_s`` (real seconds) is how far ``position()`` may lag.
    ``plan`` says how much is sealed at once, and from when on that no longer waits for leisure.
    """

    def __init__(
        self,
        folder: Path,
        *,
        log: str = "log",
        retention_days: int | None = None,
        clock: Clock | None = None,
        sync_s: float = 1.0,
        plan: SealingPlan | None = None,
    ) -> None:
        self._manifest = Manifest(folder, readonly=False)
        self._log = log
        self._retention_days = retention_days
        self._clock = clock or ScaledClock.from_environment()
        self._sync_s = sync_s
        self._plan = plan or SealingPlan()
        self._loose: set[int] = set()  # days that are not sealed for good
        self._rests: dict[int, float] = {}
        self._rolled: set[int] = set()
        self._stale: dict[int, set[tuple[str, str]]] = {}
        self._rollers: dict[int, Roller] = {}
        self._files: OrderedDict[int, DayFile] = OrderedDict()
        self._at = folder
        """What was used last, for whoever must be told where it failed."""
        self._unsynced: set[int] = set()
        self._newest: dict[tuple[str, str], int] = {}
        self._expired_before = 0
        self._progress = Progress()
        self._synced_at = 0.0

    def open(self) -> None:
        """Open or create the store; raise :class:`core.storage.sqlite.DatabaseFileError`.

        Listed days whose files are gone begin anew, and so does ``position()``.
        """
        self._manifest.open()
        lost = self._manifest.lost()
        if lost:
            log.warning(
                "days are stored anew from what the log holds",
                days=[date_of(day).isoformat() for day in lost],
            )
            self._manifest.rewind(self._log)
        self._manifest.sweep(GRACE_S)
        self._newest = self._manifest.all_newest()
        self._loose = set(self._manifest.loose())
        self._rolled = set(self._manifest.rolled())
        for day, device, kind in self._manifest.stale_pairs():
            self._stale.setdefault(day, set()).add((device, kind))
        self._progress.begin(self._manifest.position(self._log))
        self._synced_at = time.monotonic()
        self._look_at_manifest()
        for day in lost:
            self._begin(day)

    def position(self) -> int:
        """Return the log position through which everything is stored durably (0: nothing)."""
        return self._progress.durable

    def rehearse(self, point: Point) -> None:
        """Do with one point what :meth:`write` does with many, but store nothing."""
        rehearse(point)

    def write(self, points: Sequence[tuple[int, Point]], position: int) -> list[Refusal]:
        """Store points, each with its log position, then ``position``; return refusals.

        Raises :class:`StoreUnavailableError` when the same call may succeed later, and
        :class:`StoreLostError` when a listed file is gone.
        """
        with self._translated():
            self._look_at_manifest()
            by_day, refusals = self._sort(points)
            due = time.monotonic() - self._synced_at >= self._sync_s
            for day in sorted(by_day):
                self._append(day, by_day[day], position, durable=due)
            self._progress.wrote(position, refused=bool(refusals))
            if due:
                self.sync()
        if any(file.overdue() for file in self._files.values()):
            self.tidy()
        return refusals

    def tidy(self) -> bool:
        """Take one bounded step of sealing; return False where nothing is left to do now.

        For when nothing waits to be written; what is overdue is sealed by :meth:`write`.
        """
        now = time.monotonic()
        over_before = (self._clock.now_ms() - OVER_MS) // DAY_MS
        open_first = [*reversed(self._files), *sorted(self._loose - self._files.keys())]
        for day in open_first:
            over = day < over_before
            if self._rests.get(day, 0.0) > now or not (day in self._files or over):
                continue
            try:
                if self._file(day).tidy(over=over):
                    return True
                if over and day in self._loose:
                    if self._roll_up(day):
                        return True
                    self._manifest.tighten(day)
                    self._loose.discard(day)
            except StoreLostError:
                raise
            except (EstateError, sqlite.Error, OSError, *UNREADABLE) as error:
                # The day is there as before. What is stored goes on being stored.
                log.warning("a day is not sealed", day=date_of(day).isoformat(), why=str(error))
                self._rests[day] = now + _REST_S
                self._stop_rolling(day)
                if day in self._files:
                    self._drop(day)
        return False

    def sync(self) -> None:
        """Make everything written so far durable and move ``position()`` to what is settled."""
        with self._translated():
            for day in sorted(self._unsynced):
                self._append(day, (), self._progress.written, durable=True)
            if self._progress.is_ahead:
                self._at = self._manifest.folder
                self._manifest.advance(self._log, self._progress.settled)
                self._progress.keep()
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
            if self._unsynced or self._progress.is_ahead:
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
            raise StoreUnavailableError(f"{self._at}: {error}") from error

    def _sort(
        self, points: Sequence[tuple[int, Point]]
    ) -> tuple[dict[int, list[tuple[int, Point]]], list[Refusal]]:
        by_day: dict[int, list[tuple[int, Point]]] = {}
        refusals: list[Refusal] = []
        oldest = self._oldest_day()
        durable = self._progress.durable
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
        self._at = self._manifest.folder
        if not self._manifest.changed() and not force:
            return
        self._expired_before = self._manifest.horizon()
        for day in [day for day in self._files if day < self._expired_before]:
            self._drop(day)
        self._unsynced = {day for day in self._unsynced if day >= self._expired_before}
        self._loose = {day for day in self._loose if day >= self._expired_before}
        for day in [day for day in self._rollers if day < self._expired_before]:
            self._stop_rolling(day)
        self._newest = {
            pair: day for pair, day in self._newest.items() if day >= self._expired_before
        }

    def _announce(self, day: int, pairs: Iterable[tuple[str, str]]) -> None:
        """Note in the manifest that a day holds some kinds, before it does.

        Where the write then fails, a reader looks for a kind on a day that has none, and goes
        on to older days; the other order could leave the newest event unfound.
        """
        raised = {pair for pair in pairs if self._newest.get(pair, -1) < day}
        if raised:
            self._manifest.raise_newest((device, kind, day) for device, kind in raised)
            self._newest.update(dict.fromkeys(raised, day))

    def _append(
        self, day: int, points: Sequence[tuple[int, Point]], position: int, *, durable: bool
    ) -> None:
        file = self._file(day)
        if points:
            self._unseal(day, points)
        file.append(points, position, durable=durable, announce=partial(self._announce, day))
        if durable:
            self._unsynced.discard(day)
        else:
            self._unsynced.add(day)

    def _unseal(self, day: int, points: Sequence[tuple[int, Point]]) -> None:
        """Note in the manifest what these points make out of date, before they are there."""
        if day not in self._loose:
            self._manifest.loosen(day)
            self._loose.add(day)
        self._stop_rolling(day)
        if day in self._rolled:
            stale = self._stale.setdefault(day, set())
            fresh = {(point.event.device, point.event.kind) for _, point in points} - stale
            if fresh:
                self._manifest.make_stale(day, fresh)
                stale |= fresh

    def _roll_up(self, day: int) -> bool:
        """Take one step of a sealed day's rollup; return False when it is whole."""
        roller = self._rollers.get(day)
        if roller is None:
            only = frozenset(self._stale.get(day, ())) if day in self._rolled else None
            roller = self._rollers[day] = Roller(self._manifest.folder, day, self._plan, only)
        if roller.step():
            return True
        self._stop_rolling(day)
        self._manifest.roll(day)
        self._rolled.add(day)
        self._stale.pop(day, None)
        return False

    def _stop_rolling(self, day: int) -> None:
        roller = self._rollers.pop(day, None)
        if roller is not None:
            roller.close()

    def _file(self, day: int) -> DayFile:
        self._at = self._manifest.folder / file_name(day)
        file = self._files.get(day)
        if file is None:
            if not self._at.exists() and day in self._manifest.days():
                raise StoreLostError(f"{self._at}: is listed, and gone")
            file = self._begin(day)
        self._files.move_to_end(day)
        return file

    def _begin(self, day: int) -> DayFile:
        while len(self._files) >= OPEN_FILES:
            self._drop(next(iter(self._files)))
        file = DayFile(self._manifest.folder, day, self._log, self._plan)
        file.open()
        self._manifest.add(day)
        self._files[day] = file
        return file

    def _drop(self, day: int) -> None:
        self._files.pop(day).close()

    def _close_files(self) -> None:
        for day in list(self._rollers):
            self._stop_rolling(day)
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
