"""Keeping a journal inside its byte budget and its disk: refusing, evicting, making room."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.storage import sqlite
from core.storage.journal.ballast import Ballast
from core.storage.journal.lanes import Lanes
from core.storage.journal.model import Append, OnFull, Tombstone, least_budget

#: Encodes tombstones as an entry of their own, which is appended in the evicting transaction.
Note = Callable[[list[Tombstone]], Append]

_STONES_A_NOTE = 500


class Room:
    """What a journal's entries may take up; used by its writer's thread.

    Raises ValueError where a journal that evicts has no note for its tombstones, or a budget
    below :func:`least_budget`.
    """

    def __init__(
        self, path: Path, *, budget: int, on_full: OnFull, note: Note | None, window: int
    ) -> None:
        self._evicts = on_full is OnFull.EVICT
        if self._evicts and note is None:
            raise ValueError("a journal that evicts needs a note for its tombstones")
        if self._evicts and budget < (least := least_budget(window)):
            raise ValueError(f"a budget of {budget} bytes: its own notes need {least} at least")
        self._path = path
        self._budget = budget
        self._note = note
        self._window = window
        self._ballast = Ballast(path)
        self._ceiling: int | None = None

    @property
    def budget(self) -> int:
        """Return the byte budget."""
        return self._budget

    def open(self, connection: sqlite.Connection, lanes: Lanes) -> None:
        """Take up the ballast where the journal evicts; its file is open from here on."""
        self._connection = connection
        self._lanes = lanes
        if self._evicts:
            self._ballast.fill()
            # What the ballast has to make room for must stay smaller than the ballast.
            self._connection.execute("PRAGMA wal_autocheckpoint = 500").fetchall()

    def why_refused(self, size: int) -> str | None:
        """Return why ``size`` more bytes are refused, None where they are not."""
        if self._evicts or not size or self._lanes.size + size <= self._budget:
            return None
        return (
            f"{self._path}: the budget of {self._budget} bytes is used up; "
            "raise it, or see which projector holds entries back"
        )

    def keep(self) -> None:
        """Evict what is beyond the limit, inside the transaction that brought it there."""
        if self._evicts and self._lanes.size > self._limit:
            self._evict()

    def free(self) -> None:
        """Give the ballast's room to a file that cannot even be opened."""
        self._ballast.free()

    def make(self) -> None:
        """Fold the write-ahead part back; an outbox also frees its ballast and stops growing."""
        self._ballast.free()
        self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if self._evicts:
            # From here on what comes in takes the place of what goes, so that the ballast's
            # room stays free for the transactions that do it.
            self._ceiling = int(self._lanes.size * 0.95)

    @property
    def _limit(self) -> int:
        return self._budget if self._ceiling is None else min(self._budget, self._ceiling)

    def _evict(self) -> None:
        """Drop heads down to a little below the limit, and append a note that declares them."""
        assert self._note is not None  # noqa: S101  (checked by the constructor)
        reason = "budget" if self._ceiling is None else "disk_full"
        excess = self._lanes.size - int(self._limit * 0.98)
        tombstones = self._lanes.evict(excess, reason, self._window)
        for start in range(0, len(tombstones), _STONES_A_NOTE):
            part = tombstones[start : start + _STONES_A_NOTE]
            note = self._note(part)
            self._lanes.attach(part, note.lane, self._lanes.insert(note).seq)
        if self._ceiling is not None and self._ballast.fill():
            self._ceiling = None  # somebody made room on the disk
