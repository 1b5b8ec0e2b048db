"""Looking at a journal from outside: how far it has come, what it holds and for how long.

Reads only, in any process, and cheaply however much the journal holds: for metrics, and for
``estate doctor``, which must work while the journal's owner is down.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.errors import JournalError
from core.storage import sqlite
from core.storage.journal.schema import CHECK_BYTES, connect, corrupt, reading

_LANES = """
SELECT lane.name, lane.last, entry.seq, entry.at FROM lane LEFT JOIN entry
ON entry.lane = lane.id AND entry.seq = (SELECT min(seq) FROM entry WHERE lane = lane.id)
"""
_NEWEST = """
SELECT at FROM entry WHERE lane = (SELECT id FROM lane WHERE name = ?) ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class LaneHead:
    """A lane: how many entries it may hold, and when (ms) the oldest of them was written."""

    name: str
    last: int
    entries: int
    oldest_at: int | None


class Survey:
    """One look at a journal; all answers are of one moment."""

    def __init__(self, connection: sqlite.Connection) -> None:
        self._connection = connection
        meta = dict(self._ask("SELECT name, value FROM meta"))
        self.epoch = str(meta["epoch"])
        self.position = int(meta["pos"])

    def lanes(self) -> list[LaneHead]:
        """Return every lane."""
        return [
            LaneHead(name, last, 0 if oldest is None else last - oldest + 1, at)
            for name, last, oldest, at in self._ask(_LANES)
        ]

    def cursors(self) -> dict[str, int]:
        """Return up to where each named reader needs nothing any more."""
        return dict(self._ask("SELECT name, pos FROM cursor"))

    def at_after(self, position: int) -> int | None:
        """Return when (ms) the first entry above a position was written, None without one."""
        rows = self._ask("SELECT at FROM entry WHERE pos > ? ORDER BY pos LIMIT 1", position)
        return rows[0][0] if rows else None

    def newest_at(self, lane: str) -> int | None:
        """Return when (ms) a lane's last entry was written, None when it is empty."""
        rows = self._ask(_NEWEST, lane)
        return rows[0][0] if rows else None

    def used_bytes(self) -> int:
        """Return about how many bytes the entries take up: the file's pages that are in use."""
        ((pages,),) = self._ask("PRAGMA page_count")
        ((free,),) = self._ask("PRAGMA freelist_count")
        ((size,),) = self._ask("PRAGMA page_size")
        return int((pages - free) * size)

    def check(self, path: Path) -> None:
        """Look whether the file is whole, if it is not too large for that.

        Raises JournalCorruptError.
        """
        if path.stat().st_size <= CHECK_BYTES:
            ((finding,),) = self._ask("PRAGMA quick_check(1)")
            if finding != "ok":
                raise corrupt(path, " ".join(finding.split()))

    def _ask(self, question: str, *values: Any) -> list[Any]:
        found: list[Any] = self._connection.execute(question, values).fetchall()
        return found


@contextmanager
def survey(path: Path) -> Iterator[Survey]:
    """Look at a journal.

    Raises JournalError where there is none, JournalCorruptError where it is damaged,
    StoreUnavailableError where it cannot be read now.
    """
    if not path.exists():
        raise JournalError(f"{path}: there is no journal")
    with reading(path), closing(connect(path, readonly=True)) as connection:
        connection.execute("BEGIN")
        yield Survey(connection)


def holder(path: Path) -> int | None:
    """Return the process that holds a journal's lock (0: of another namespace), None if free.

    It looks (Linux: at ``/proc/locks``) and never takes the lock, which would keep its owner out.
    """
    lock = path.with_suffix(path.suffix + ".lock")
    try:
        inode = lock.stat().st_ino
        lines = Path("/proc/locks").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        # 1: FLOCK  ADVISORY  WRITE 4711 08:01:131 0 EOF
        words = line.split()
        if "FLOCK" in words and "->" not in words and words[5].rpartition(":")[2] == str(inode):
            return max(int(words[4]), 0)
    return None
