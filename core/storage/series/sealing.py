"""Sealing: hot rows become sorted, compact blocks, in small steps by the file's one writer.

A **run** is a set of blocks sorted by kind, series and time. Hot rows become a run of level 0;
``fan`` runs of one level are merged into one of the next; when the day is over, everything is
merged into one run, and the file gives back the pages that are free. Late events start as hot rows
again, whatever the file already holds.

Why a crash at any step loses and doubles nothing: at each moment the file's events are those of
its hot rows, of its *live* runs and, in a file that was once of format 1, of the table ``event``;
and each step is one transaction that leaves this set as it is.

- Hot rows (or rows of ``event``) are deleted in the transaction that makes their run live.
- A merge reads live runs, which never change, and writes a *building* run, which nobody reads. One
  transaction then makes it live and its sources *dead*. Cut off before, it is thrown away at the
  next opening, and its sources are merged anew.
- Dead runs' blocks are deleted in portions; nobody reads them.

A power cut undoes the last transactions of a file, whole and in order, so it leaves one of these
states too. Readers in other processes hold one snapshot of the file for a query.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from core.storage import sqlite
from core.storage.series.columns import (
    BLOCK,
    BlockView,
    Columns,
    decode_data,
    encode_block,
    offsets,
    packed,
    refs_of,
    transposed,
    unpacked,
)

BUILDING, LIVE, DEAD = 0, 1, 2
_FAST, _SMALL = 1, 6  # zlib's levels: while the day goes on, and for good
_DELETE_BLOCKS = 256
_VACUUM_PAGES = 2_048
_VACUUM_AT_ONCE_PAGES = 65_536
_MOST_SOURCES = 32
#: When a day is over, what came later is merged into its large run from this share on.
_SHARE = 8

_ADD_BLOCK = """
INSERT INTO block (run, kind, first_series, last_series, first, last, events, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
"""


@dataclass(frozen=True, slots=True)
class SealingPlan:
    """When hot rows are sealed, runs merged and days rolled up by the minute.

    The defaults keep one step near 0.1 s.
    """

    rows: int = 256
    """Hot rows that are enough for a run."""
    events: int = 32_768
    """Hot events that are enough for a run, and about what one step handles."""
    fan: int = 16
    """Runs of one level that are merged into one."""
    overdue_events: int = 8_000_000
    """Hot events from which sealing no longer waits for leisure."""
    overdue_rows: int = 40_000
    dense: int = 20
    """A field's minutes are kept where they are so many times fewer than its values."""
    dense_from: int = BLOCK
    """With fewer values a day its minutes are not kept: one block is read as fast."""


class _Run(NamedTuple):
    id: int
    level: int
    events: int


class Sealer:
    """Seals one day file; used by its writer only, between appends."""

    def __init__(self, connection: sqlite.Connection, plan: SealingPlan) -> None:
        self._connection = connection
        self._plan = plan
        self._rows = 0
        self._events = 0
        self._legacy = False
        self._merge: _Merge | None = None
        self._settled: set[bool] = set()  # for which ``over`` nothing is left to do

    def open(self) -> None:
        """Look what there is; a merge that was cut off is thrown away."""
        db = self._connection
        self._rows, events = db.execute("SELECT count(*), sum(events) FROM hot").fetchone()
        self._events = events or 0
        self._legacy = bool(
            db.execute("SELECT 1 FROM sqlite_master WHERE name = 'event'").fetchone()
        )
        db.execute("UPDATE run SET state = ? WHERE state = ?", (DEAD, BUILDING))

    def appended(self, events: int) -> None:
        """Take note of a new hot row (none where ``events`` is 0)."""
        if events:
            self._rows += 1
            self._events += events
            self._settled.clear()

    def overdue(self) -> bool:
        """Tell whether there is more than readers should have to search through."""
        return self._events >= self._plan.overdue_events or self._rows >= self._plan.overdue_rows

    def step(self, *, over: bool) -> bool:
        """Do one bounded piece of work, in one transaction; return False where none is left.

        ``over``: the day is over, so that what is there is sealed for good.
        """
        if over in self._settled:
            return False
        done = (
            self._seal_hot(over=over)
            or self._seal_legacy(over=over)
            or self._go_on_merging(over=over)
            or self._delete_dead()
            or (over and self._shrink())
        )
        if not done:
            self._settled.add(over)
        return done

    # -- hot rows ----------------------------------------------------------------------------

    def _seal_hot(self, *, over: bool) -> bool:
        plan = self._plan
        enough = self._rows >= plan.rows or self._events >= plan.events
        if not self._rows or not (enough or over):
            return False
        ids, events, by_kind = [], 0, dict[str, Columns]()
        kinds: dict[int, str] = dict(self._connection.execute("SELECT id, kind FROM series"))
        rows = self._connection.execute(
            "SELECT id, series, time, late, size, ref, data FROM hot ORDER BY id"
        )
        for id_, series, time, late, size, ref, data in rows:
            ids.append(id_)
            _sort_in(by_kind, kinds, (series, time, late, size, ref, data))
            events += len(series) // 4
            if events >= plan.events:
                break
        rows.close()
        with sqlite.transaction(self._connection):
            self._add_run(by_kind, events)
            self._connection.execute("DELETE FROM hot WHERE id <= ?", (ids[-1],))
        self._rows -= len(ids)
        self._events -= events
        return True

    def _seal_legacy(self, *, over: bool) -> bool:
        """Move rows of format 1; the first step of a file that has them, once its day is over."""
        if not (self._legacy and over):
            return False
        db = self._connection
        kinds: dict[int, str] = dict(db.execute("SELECT id, kind FROM series"))
        rows = db.execute(
            "SELECT rowid, series, time, late, ref, json(data) FROM event ORDER BY rowid LIMIT ?",
            (self._plan.events,),
        ).fetchall()
        with sqlite.transaction(db):
            if rows:
                by_kind: dict[str, Columns] = {}
                for kind in sorted({kinds[row[1]] for row in rows}):
                    part = [row for row in rows if kinds[row[1]] == kind]
                    _, series, time, late, ref, data = map(list, zip(*part, strict=True))
                    fields = transposed([json.loads(text) for text in data])
                    by_kind[kind] = Columns(series, time, late, ref, fields)
                self._add_run(by_kind, len(rows))
                db.execute("DELETE FROM event WHERE rowid <= ?", (rows[-1][0],))
            else:
                db.execute("DROP TABLE event")
        if not rows:
            self._legacy = False
            _let_shrink(db)
        return True

    def _add_run(self, by_kind: dict[str, Columns], events: int) -> None:
        last = max(max(columns.times) for columns in by_kind.values())
        run = _new_run(self._connection, 0, LIVE, events, last)
        for kind in sorted(by_kind):
            columns = by_kind[kind]
            _write(self._connection, run, kind, columns.take(columns.order()), _FAST)

    # -- merging -----------------------------------------------------------------------------

    def _go_on_merging(self, *, over: bool) -> bool:
        if self._merge is None:
            runs = [
                _Run(*row)
                for row in self._connection.execute(
                    "SELECT id, level, events FROM run WHERE state = ? ORDER BY id", (LIVE,)
                )
            ]
            sources = _sources(runs, self._plan.fan, over=over)
            if not sources:
                return False
            self._merge = _Merge(self._connection, sources, _SMALL if over else _FAST)
        if self._merge.step(self._plan.events):
            self._merge = None
        return True

    def _delete_dead(self) -> bool:
        db = self._connection
        row = db.execute("SELECT id FROM run WHERE state = ? LIMIT 1", (DEAD,)).fetchone()
        if row is None:
            return False
        with sqlite.transaction(db):
            gone = db.execute(
                "DELETE FROM block WHERE id IN (SELECT id FROM block WHERE run = ? LIMIT ?)",
                (row[0], _DELETE_BLOCKS),
            ).rowcount
            if gone < _DELETE_BLOCKS:
                db.execute("DELETE FROM run WHERE id = ?", row)
        return True

    def _shrink(self) -> bool:
        """Give free pages back; at the end fold the write-ahead log in, waiting for no reader."""
        db = self._connection
        free: int = db.execute("PRAGMA freelist_count").fetchone()[0]
        if free == 0:
            return False
        db.execute(f"PRAGMA incremental_vacuum({_VACUUM_PAGES})").fetchall()
        left: int = db.execute("PRAGMA freelist_count").fetchone()[0]
        if left == 0:
            db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
        return 0 < left < free


def _sources(runs: list[_Run], fan: int, *, over: bool) -> list[_Run]:
    """Choose the runs to merge next, oldest first; none where all is well."""
    if over and len(runs) > 1:
        largest = max(runs, key=lambda run: run.events)
        rest = [run for run in runs if run is not largest]
        if sum(run.events for run in rest) * _SHARE >= largest.events:
            return runs[:_MOST_SOURCES]
        return rest[:_MOST_SOURCES] if len(rest) > 1 else []
    for level in sorted({run.level for run in runs}):
        same = [run for run in runs if run.level == level]
        if len(same) >= fan:
            return same[:fan]
    return []


class _Source:
    """One run's blocks of one kind that are still to be read."""

    def __init__(self, db: sqlite.Connection, run: int, kind: str) -> None:
        self.blocks: deque[tuple[int, int]] = deque(
            db.execute(
                "SELECT id, last_series FROM block WHERE run = ? AND kind = ? ORDER BY id",
                (run, kind),
            )
        )
        self.reached = -1
        """The last series that was read; more of it may follow."""


class _Merge:
    """A merge of runs under way: what of it is in memory may be lost at any time."""

    def __init__(self, db: sqlite.Connection, sources: list[_Run], zlib_level: int) -> None:
        self._db = db
        self._ids = [run.id for run in sources]
        self._zlib_level = zlib_level
        marks = ",".join("?" * len(self._ids))
        last = db.execute(f"SELECT max(last) FROM run WHERE id IN ({marks})", self._ids).fetchone()  # noqa: S608 - only marks
        self._run = _new_run(
            db,
            max(run.level for run in sources) + 1,
            BUILDING,
            sum(run.events for run in sources),
            last[0],
        )
        kinds = db.execute(
            f"SELECT DISTINCT kind FROM block WHERE run IN ({marks}) ORDER BY kind",  # noqa: S608 - only marks
            self._ids,
        )
        self._kinds = deque(row[0] for row in kinds)
        self._kind = ""
        self._pending: list[_Source] = []
        self._pool = Columns()

    def step(self, events: int) -> bool:
        """Read about so many events and write what is complete; return True at the end."""
        if not self._pending and not len(self._pool):
            if not self._kinds:
                self._finish()
                return True
            self._kind = self._kinds.popleft()
            self._pending = [_Source(self._db, run, self._kind) for run in self._ids]
            self._pending = [source for source in self._pending if source.blocks]
        read = 0
        while self._pending and read < events:
            read += self._read(min(self._pending, key=lambda source: source.reached))
        order = self._pool.order()
        if self._pending:
            bound = min(source.reached for source in self._pending)
            series = self._pool.series
            cut = next((n for n, i in enumerate(order) if series[i] >= bound), len(order))
        else:
            cut = len(order)
        with sqlite.transaction(self._db):
            _write(self._db, self._run, self._kind, self._pool.take(order[:cut]), self._zlib_level)
        self._pool = self._pool.take(order[cut:])
        return False

    def _read(self, source: _Source) -> int:
        id_, last_series = source.blocks.popleft()
        row = self._db.execute("SELECT body FROM block WHERE id = ?", (id_,)).fetchone()
        columns = BlockView(row[0]).columns()
        self._pool.add(columns)
        source.reached = last_series
        if not source.blocks:
            self._pending.remove(source)
        return len(columns)

    def _finish(self) -> None:
        with sqlite.transaction(self._db):
            self._db.execute("UPDATE run SET state = ? WHERE id = ?", (LIVE, self._run))
            self._db.executemany(
                "UPDATE run SET state = ? WHERE id = ?", [(DEAD, id_) for id_ in self._ids]
            )


def _let_shrink(db: sqlite.Connection) -> None:
    """Make a file of format 1 one that can shrink in steps, in one go where that is short.

    A large one keeps its free pages until it is expired: rewriting it would hold up its writer.
    """
    pages: int = db.execute("PRAGMA page_count").fetchone()[0]
    if pages <= _VACUUM_AT_ONCE_PAGES:
        db.execute("PRAGMA auto_vacuum=INCREMENTAL")
        db.execute("VACUUM")


def _new_run(db: sqlite.Connection, level: int, state: int, events: int, last: int) -> int:
    found: int = db.execute(
        "INSERT INTO run (level, state, events, last) VALUES (?, ?, ?, ?) RETURNING id",
        (level, state, events, last),
    ).fetchone()[0]
    return found


def _write(db: sqlite.Connection, run: int, kind: str, events: Columns, zlib_level: int) -> None:
    blocks = (encode_block(part, zlib_level) for part in events.slices(BLOCK))
    db.executemany(_ADD_BLOCK, ((run, kind, *block) for block in blocks))


def _sort_in(
    by_kind: dict[str, Columns],
    kinds: dict[int, str],
    row: tuple[bytes, bytes, bytes, bytes, bytes | None, bytes],
) -> None:
    """Add a hot row's events to the columns of their kinds."""
    series, times, late = unpacked("I", row[0]), unpacked("q", row[1]), unpacked("q", row[2])
    edges, refs, data = offsets(row[3]), refs_of(row[4]), memoryview(row[5])
    indexes: dict[str, list[int]] = {}
    for index, id_ in enumerate(series):
        indexes.setdefault(kinds[id_], []).append(index)
    for kind, chosen in indexes.items():
        by_kind.setdefault(kind, Columns()).add(
            Columns(
                [series[i] for i in chosen],
                [times[i] for i in chosen],
                [late[i] for i in chosen],
                [refs.get(i) for i in chosen],
                transposed([decode_data(data[edges[i] : edges[i + 1]]) for i in chosen]),
            )
        )


def positions(series: bytes, wanted: int) -> Iterable[int]:
    """Yield the indexes at which a hot row's events are of one series."""
    needle = packed("I", (wanted,))
    at = series.find(needle)
    while at >= 0:
        if at % 4 == 0:
            yield at // 4
            at = series.find(needle, at + 4)
        else:
            at = series.find(needle, at + 1)
