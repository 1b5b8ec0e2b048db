"""Lanes and their entries inside the writer's transaction."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from core.contracts.errors import JournalError
from core.storage.journal.model import (
    ENTRY_OVERHEAD,
    Append,
    Growth,
    LaneBounds,
    LaneInfo,
    Placed,
    Tombstone,
)

_EVICT_CHUNK = 256


@dataclass(slots=True)
class _Lane:
    id: int
    name: str
    priority: int
    last: int
    acknowledged: int
    sent: int
    closed: int = 0
    """Up to here entries never grow: an earlier life may have sent them without a note of it."""
    receipted: int = 0
    """Up to here somebody has them, and is not known to have stored them."""
    dirty: bool = False


class Lanes:
    """The entries of a journal, as its one writer sees and changes them.

    Only the writer's thread calls it, inside its transactions; after a rollback ``reload``
    makes the memory agree with the file again.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._lanes: dict[str, _Lane] = {}
        self._unwritten: list[tuple[Any, ...]] = []
        """Entries of the transaction that are not in the file yet: many at once cost half."""
        self.growing = False
        """Whether a lane's last entry may grow: only while nothing is handed on."""
        self.reload()

    def reload(self) -> None:
        """Read everything that is kept in memory from the file."""
        self._unwritten = []
        rows = self._connection.execute(
            "SELECT id, name, priority, last, acknowledged, sent FROM lane"
        )
        self._lanes = {}
        for row in rows.fetchall():
            lane = _Lane(*row)
            lane.closed = lane.last
            self._lanes[lane.name] = lane
        (size,) = self._connection.execute("SELECT coalesce(sum(size), 0) FROM entry").fetchone()
        (pos,) = self._connection.execute("SELECT value FROM meta WHERE name = 'pos'").fetchone()
        self.size = int(size)
        self.position = self._kept_position = int(pos)

    def flush(self) -> None:
        """Write the entries and counters that the transaction has still in memory."""
        self._write()
        for lane in self._lanes.values():
            if lane.dirty:
                self._sql(
                    "UPDATE lane SET last = ?, acknowledged = ?, sent = ? WHERE id = ?",
                    (lane.last, lane.acknowledged, lane.sent, lane.id),
                )
                lane.dirty = False
        # Only what changed: a transaction that writes nothing costs no fsync.
        if self.position != self._kept_position:
            self._sql("UPDATE meta SET value = ? WHERE name = 'pos'", (self.position,))
            self._kept_position = self.position

    def _sql(self, statement: str, values: Sequence[Any] = ()) -> Any:
        """Run a statement on all that the transaction has; return its cursor."""
        self._write()
        return self._connection.execute(statement, values)

    def _write(self) -> None:
        if self._unwritten:
            rows, self._unwritten = self._unwritten, []
            self._connection.executemany("INSERT INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)

    def insert_all(self, appends: Sequence[Append]) -> list[Placed]:
        """Insert entries, all or none; raise :class:`JournalError` on a seq that was used."""
        last: dict[str, int] = {}
        for append in appends:
            known = self._lanes.get(append.lane)
            before = last.get(append.lane, known.last if known else 0)
            last[append.lane] = seq = before + 1 if append.seq is None else append.seq
            if seq <= before or append.after not in (None, before):
                raise JournalError(f"{append.lane}: seq {seq} is not above the last, {before}")
        return [self.insert(append) for append in appends]

    def insert(self, append: Append) -> Placed:
        """Insert one entry whose seq is known to be free."""
        lane = self._lanes.get(append.lane) or self._create(append)
        seq = lane.last + 1 if append.seq is None else append.seq
        pos = self.position + 1
        size = len(append.body) + ENTRY_OVERHEAD
        self._unwritten.append(
            (pos, lane.id, seq, append.at, append.events, size, append.digest, append.body)
        )
        lane.last, lane.dirty = seq, True
        self.position = pos
        self.size += size
        return Placed(pos, seq)

    def extend(self, append: Append, growth: Growth) -> Placed:
        """Add to the lane's last entry if nobody can have seen it, else insert an entry.

        An entry is seen once it was handed on; what an earlier life left may have been.
        """
        lane = self._lanes.get(append.lane)
        if not self.growing or lane is None or lane.last <= self._seen(lane):
            return self.insert(append)
        row = self._sql(
            "SELECT pos, events, size, body FROM entry WHERE lane = ? AND seq = ?",
            (lane.id, lane.last),
        ).fetchone()
        if (
            row is None
            or row[1] + append.events > growth.most_events
            or len(row[3]) + len(append.body) > growth.most_bytes
        ):
            return self.insert(append)
        pos, events, size, body = row
        joined = growth.join(body, append.body)
        grown = len(joined) + ENTRY_OVERHEAD
        self._sql(
            "UPDATE entry SET events = ?, size = ?, body = ? WHERE pos = ?",
            (events + append.events, grown, joined, pos),
        )
        self.size += grown - size
        return Placed(pos, lane.last)

    def _seen(self, lane: _Lane) -> int:
        return max(self._maybe_sent(lane, 0), lane.closed)

    def note_receipted(self, lanes: Mapping[str, int]) -> None:
        """Note up to where lanes are receipted; also that they are less far than it seemed."""
        for name, seq in lanes.items():
            if (lane := self._lanes.get(name)) is not None:
                lane.receipted = min(seq, lane.last)

    def note_sent(self, name: str, seq: int) -> None:
        """Note that a lane's entries up to ``seq`` may have been seen by somebody."""
        lane = self._lanes[name]
        if seq > lane.sent:
            lane.sent, lane.dirty = seq, True

    def grow(self, *, allowed: bool) -> None:
        """Let entries grow that are inserted from now on, or none."""
        self.growing = allowed
        for lane in self._lanes.values():
            lane.closed = max(lane.closed, lane.last)

    def _create(self, append: Append) -> _Lane:
        cursor = self._sql(
            "INSERT INTO lane (name, priority) VALUES (?, ?)", (append.lane, append.priority)
        )
        lane = _Lane(cursor.lastrowid, append.lane, append.priority, 0, 0, 0)
        self._lanes[append.lane] = lane
        return lane

    def acknowledge(self, name: str, through: int) -> int:
        """Delete a lane's entries up to ``through``; return how many they were."""
        lane = self._lanes.get(name)
        if lane is None or through <= lane.acknowledged:
            return 0
        lane.acknowledged, lane.dirty = min(through, lane.last), True
        self._sql("DELETE FROM tombstone WHERE note_lane = ? AND note_seq <= ?", (lane.id, through))
        return self._delete("lane = ? AND seq <= ?", (lane.id, through))

    def retain(self, since: int, batch: int) -> int:
        """Delete the log's head: older than ``since`` and behind every cursor."""
        (behind,) = self._sql("SELECT min(pos) FROM cursor").fetchone()
        if behind is None:
            return 0
        (first_kept,) = self._sql(
            "SELECT min(pos) FROM (SELECT pos, at FROM entry ORDER BY pos LIMIT ?) WHERE at >= ?",
            (batch, since),
        ).fetchone()
        (limit,) = self._sql(
            "SELECT max(pos) FROM (SELECT pos FROM entry ORDER BY pos LIMIT ?)", (batch,)
        ).fetchone()
        if limit is None:
            return 0
        through = min(behind, limit, limit if first_kept is None else first_kept - 1)
        return self._delete("pos <= ?", (through,))

    def forget(self, names: Sequence[str]) -> bool:
        """Remove lanes that hold no entry; return False, having removed none, if one does."""
        found = [self._lanes[name] for name in names if name in self._lanes]
        for lane in found:
            if self._sql("SELECT 1 FROM entry WHERE lane = ? LIMIT 1", (lane.id,)).fetchone():
                return False
        for lane in found:
            self._sql("DELETE FROM lane WHERE id = ?", (lane.id,))
            del self._lanes[lane.name]
        return True

    def _delete(self, where: str, values: tuple[int, ...]) -> int:
        (size,) = self._sql(
            f"SELECT coalesce(sum(size), 0) FROM entry WHERE {where}",  # noqa: S608
            values,
        ).fetchone()
        cursor = self._sql(f"DELETE FROM entry WHERE {where}", values)  # noqa: S608
        self.size -= int(size)
        return int(cursor.rowcount)

    def evict(self, excess: int, reason: str, window: int) -> list[Tombstone]:
        """Drop at least ``excess`` bytes of heads, lowest class first; return what was dropped.

        What is receipted goes before, whatever its class: it is elsewhere, too.
        Entries within ``window`` of the last receipt may have arrived, so each gets its own
        tombstone; the rest of a lane's head gets one. Tombstones whose note is dropped with
        them are returned again, so that a new note carries them.
        """
        target = self.size - excess
        for lane in sorted(self._lanes.values(), key=lambda lane: -lane.priority):
            if self.size > target:
                self.acknowledge(lane.name, lane.receipted)
        found: list[Tombstone] = []
        uncertain = {lane.name: self._maybe_sent(lane, window) for lane in self._lanes.values()}
        for lane in sorted(self._lanes.values(), key=lambda lane: -lane.priority):
            while self.size > target:
                rows = self._sql(
                    "SELECT pos, seq, events, size, at FROM entry WHERE lane = ? "
                    "ORDER BY seq LIMIT ?",
                    (lane.id, _EVICT_CHUNK),
                ).fetchall()
                if not rows:
                    break
                dropped = _head(rows, self.size - target)
                last = dropped[-1][1]
                self._sql("DELETE FROM entry WHERE lane = ? AND seq <= ?", (lane.id, last))
                self.size -= sum(row[3] for row in dropped)
                found += [
                    Tombstone(lane.name, seq, seq, events, reason, at)
                    for _, seq, events, _, at in dropped
                ]
                found += self._orphans(lane.id, last)
            if self.size <= target:
                break
        return _merge(found, uncertain)

    def _maybe_sent(self, lane: _Lane, window: int) -> int:
        """Return the highest seq that may have been sent, also by a life that was cut off."""
        return max(lane.sent, lane.acknowledged) + window

    def _orphans(self, lane: int, through: int) -> list[Tombstone]:
        where = "note_lane = ? AND note_seq <= ?"
        rows = self._sql(
            f"SELECT lane, first_seq, last_seq, events, reason, at FROM tombstone WHERE {where}",  # noqa: S608
            (lane, through),
        ).fetchall()
        self._sql(f"DELETE FROM tombstone WHERE {where}", (lane, through))  # noqa: S608
        return [Tombstone(*row) for row in rows]

    def attach(self, tombstones: list[Tombstone], note_lane: str, note_seq: int) -> None:
        """Remember which entry carries these tombstones."""
        lane = self._lanes[note_lane]
        self._connection.executemany(
            "INSERT INTO tombstone (lane, first_seq, last_seq, events, reason, at, note_lane, "
            "note_seq) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            [
                (t.lane, t.first_seq, t.last_seq, t.events, t.reason, t.at, lane.id, note_seq)
                for t in tombstones
            ],
        )

    def renew(self) -> str:
        """Begin a new epoch, in which each lane's entries are numbered from 1 again; return it."""
        for lane in self._lanes.values():
            (first,) = self._sql("SELECT min(seq) FROM entry WHERE lane = ?", (lane.id,)).fetchone()
            shift = lane.last if first is None else first - 1
            # Through negative numbers, since (lane, seq) is unique at every moment.
            self._sql("UPDATE entry SET seq = -(seq - ?) WHERE lane = ?", (shift, lane.id))
            self._sql("UPDATE entry SET seq = -seq WHERE lane = ?", (lane.id,))
            self._sql(
                "UPDATE tombstone SET note_seq = note_seq - ? WHERE note_lane = ?",
                (shift, lane.id),
            )
            lane.last -= shift
            lane.acknowledged, lane.sent, lane.receipted, lane.dirty = 0, 0, 0, True
            lane.closed = lane.last
        epoch = str(uuid.uuid4())
        self._sql("UPDATE meta SET value = ? WHERE name = 'epoch'", (epoch,))
        return epoch

    def infos(self) -> dict[str, LaneInfo]:
        """Describe every lane."""
        held = {
            row[0]: row[1:]
            for row in self._sql(
                "SELECT lane, min(seq), count(*), sum(size) FROM entry GROUP BY lane"
            ).fetchall()
        }
        infos = {}
        for lane in self._lanes.values():
            oldest, entries, size = held.get(lane.id, (lane.last + 1, 0, 0))
            infos[lane.name] = LaneInfo(
                lane.name, lane.priority, oldest, lane.last, lane.acknowledged, entries, size
            )
        return infos

    def lasts(self) -> dict[str, int]:
        """Return each lane's last seq."""
        return {lane.name: lane.last for lane in self._lanes.values()}

    def bounds(self) -> dict[str, LaneBounds]:
        """Return each lane's bounds, without walking through its entries."""
        bounds = {}
        for lane in self._lanes.values():
            (oldest,) = self._sql(
                "SELECT min(seq) FROM entry WHERE lane = ?", (lane.id,)
            ).fetchone()
            oldest = lane.last + 1 if oldest is None else oldest
            bounds[lane.name] = LaneBounds(oldest, lane.last, self._maybe_sent(lane, 0))
        return bounds

    def digest(self, name: str, seq: int) -> bytes | None:
        """Return the digest kept with an entry."""
        row = self._sql(
            "SELECT digest FROM entry JOIN lane ON lane.id = entry.lane "
            "WHERE lane.name = ? AND seq = ?",
            (name, seq),
        ).fetchone()
        return None if row is None else row[0]


def _head(rows: list[Any], excess: int) -> list[Any]:
    """Return the shortest head of ``rows`` that frees ``excess`` bytes (at least one row)."""
    freed = 0
    for count, row in enumerate(rows, start=1):
        freed += row[3]
        if freed >= excess:
            return rows[:count]
    return rows


def _merge(tombstones: list[Tombstone], uncertain: dict[str, int]) -> list[Tombstone]:
    """Join neighbours that were certainly never sent into one tombstone each."""
    merged: list[Tombstone] = []
    for stone in sorted(tombstones, key=lambda stone: (stone.lane, stone.first_seq)):
        last = merged[-1] if merged else None
        if (
            last is not None
            and (last.lane, last.reason, last.last_seq + 1)
            == (stone.lane, stone.reason, stone.first_seq)
            and last.first_seq > uncertain.get(stone.lane, 0)
        ):
            merged[-1] = Tombstone(
                last.lane,
                last.first_seq,
                stone.last_seq,
                last.events + stone.events,
                last.reason,
                stone.at,
            )
        else:
            merged.append(stone)
    return merged
