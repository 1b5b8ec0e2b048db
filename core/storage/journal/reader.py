"""Reading a journal: from the writer's process or another one."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import Any

from core.contracts.errors import JournalError
from core.storage.journal.model import Entry
from core.storage.journal.schema import connect, reading

_COLUMNS = "entry.pos, lane.name, entry.seq, entry.at, entry.events, entry.body"
_FROM = "entry JOIN lane ON lane.id = entry.lane"


class JournalReader:
    """A read-only view; one per thread.

    It sees committed entries only, in the order of their positions. Each question raises
    :class:`JournalCorruptError` where the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: Any = None

    def open(self) -> None:
        """Open the file; raise :class:`JournalError` when there is none."""
        if not self._path.exists():
            raise JournalError(f"{self._path}: there is no journal")
        with reading(self._path):
            self._connection = connect(self._path, readonly=True)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def read(self, after: int, *, limit: int = 1000, max_bytes: int = 8 << 20) -> list[Entry]:
        """Return entries with a position above ``after``, oldest first.

        At least one is returned where there is one, then as many as ``limit`` and ``max_bytes``
        of bodies allow.
        """
        with reading(self._path):
            rows = self._connection.execute(
                # CROSS JOIN pins the outer loop to the log's own order.
                f"SELECT {_COLUMNS} FROM entry CROSS JOIN lane "  # noqa: S608
                "ON lane.id = entry.lane WHERE entry.pos > ? ORDER BY entry.pos LIMIT ?",
                (after, limit),
            )
            return _bounded(rows, max_bytes)

    def read_lane(
        self, lane: str, after_seq: int, *, limit: int = 100, max_bytes: int = 8 << 20
    ) -> list[Entry]:
        """Return a lane's entries with a seq above ``after_seq``, in order; bounded likewise."""
        with reading(self._path):
            rows = self._connection.execute(
                f"SELECT {_COLUMNS} FROM {_FROM} "  # noqa: S608
                "WHERE entry.lane = (SELECT id FROM lane WHERE name = ?) AND entry.seq > ? "
                "ORDER BY entry.seq LIMIT ?",
                (lane, after_seq, limit),
            )
            return _bounded(rows, max_bytes)

    def oldest(self, lane: str) -> int | None:
        """Return the lowest seq that a lane still holds, or None when it is empty."""
        ((seq,),) = self._ask(
            "SELECT min(seq) FROM entry WHERE lane = (SELECT id FROM lane WHERE name = ?)", lane
        )
        return None if seq is None else int(seq)

    def owner(self) -> str:
        """Return who the journal belongs to."""
        return self._meta("owner")

    def epoch(self) -> str:
        """Return the journal's epoch: an outbox's, or the log's identity."""
        return self._meta("epoch")

    def _meta(self, name: str) -> str:
        ((value,),) = self._ask("SELECT value FROM meta WHERE name = ?", name)
        return str(value)

    def lasts(self) -> dict[str, int]:
        """Return each lane's last seq."""
        return dict(self._ask("SELECT name, last FROM lane"))

    def sizes(self, lane: str, through: int) -> tuple[array[int], array[int]]:
        """Return the seqs that a lane holds up to one, ascending, and the events of each."""
        seqs, events = array("q"), array("q")
        with reading(self._path):
            rows = self._connection.execute(
                "SELECT seq, events FROM entry "
                "WHERE lane = (SELECT id FROM lane WHERE name = ?) AND seq <= ? ORDER BY seq",
                (lane, through),
            )
            for seq, number in rows:
                seqs.append(seq)
                events.append(number)
        return seqs, events

    def last_position(self) -> int:
        """Return the position of the last committed entry (0: none yet)."""
        return int(self._meta("pos"))

    def _ask(self, question: str, *values: Any) -> list[Any]:
        with reading(self._path):
            found: list[Any] = self._connection.execute(question, values).fetchall()
        return found


def _bounded(rows: Any, max_bytes: int) -> list[Entry]:
    entries: list[Entry] = []
    size = 0
    for row in rows:
        entries.append(Entry(*row))
        size += len(entries[-1].body)
        if size >= max_bytes:
            break
    rows.close()
    return entries
