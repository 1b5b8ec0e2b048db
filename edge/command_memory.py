"""What an edge remembers of its commands, so that each is done at most once.

A command is noted, durably, before anything is switched, and its outcome afterwards. One that
was noted and has no outcome was interrupted (power, a crash): whether the device did it,
nobody knows, and it is not done again.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.contracts.commands import Command, Outcome
from core.contracts.errors import StoreUnavailableError
from core.storage import sqlite

_KEPT = 10_000
_PRUNE_EACH = 200
_SCHEMA = """
CREATE TABLE IF NOT EXISTS command (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    action TEXT NOT NULL,
    target TEXT,
    asked_by TEXT NOT NULL,
    asked_why TEXT NOT NULL,
    begun_at INTEGER NOT NULL,
    ended_at INTEGER,
    outcome TEXT,
    why TEXT NOT NULL DEFAULT '',
    data TEXT NOT NULL DEFAULT '{}',
    audited INTEGER NOT NULL DEFAULT 0
)
"""
_COLUMNS = "id, action, target, asked_by, asked_why, outcome, why, data, ended_at"


@dataclass(frozen=True, slots=True)
class Noted:
    """One command as it is remembered; without an outcome it was begun and not ended."""

    id: str
    action: str
    target: str | None
    by: str
    asked_why: str
    outcome: Outcome | None
    why: str
    data: dict[str, Any]
    at: int | None
    """When it ended (ms)."""


class CommandMemory:
    """A small file; every method blocks and is for one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite.Connection | None = None
        self._until_pruning = _PRUNE_EACH

    def open(self) -> None:
        """Open the file; raise :class:`StoreUnavailableError` or DatabaseFileError."""
        self._connection = sqlite.connect(self._path)
        self._connection.execute(_SCHEMA)

    def close(self) -> None:
        """Close the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def begin(self, command: Command, now: int) -> Noted | None:
        """Note a command, durably; return what is known where its id was noted before."""
        row = (command.id, command.action.value, command.device, command.by, command.reason, now)
        cursor = self._write(
            "INSERT INTO command (id, action, target, asked_by, asked_why, begun_at) "
            "VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING",
            row,
        )
        if cursor.rowcount == 0:
            return self.known(command.id)
        self._until_pruning -= 1
        if self._until_pruning <= 0:
            self._until_pruning = _PRUNE_EACH
            self._write(
                "DELETE FROM command WHERE number <= (SELECT max(number) FROM command) - ?",
                (_KEPT,),
            )
        return None

    def end(self, id: str, outcome: Outcome, why: str, data: dict[str, Any], now: int) -> None:
        """Note what came of a command."""
        self._write(
            "UPDATE command SET outcome = ?, why = ?, data = ?, ended_at = ? WHERE id = ?",
            (outcome.value, why, json.dumps(data), now, id),
        )

    def told(self, id: str) -> None:
        """Note that the audit of a command is journalled."""
        self._write("UPDATE command SET audited = 1 WHERE id = ?", (id,))

    def known(self, id: str) -> Noted | None:
        """Return what is remembered of an id."""
        found = self._read("WHERE id = ?", (id,))
        return found[0] if found else None

    def untold(self) -> list[Noted]:
        """Return the commands whose audit is not journalled yet, oldest first."""
        return self._read("WHERE audited = 0 ORDER BY number", ())

    def _write(self, text: str, values: tuple[Any, ...]) -> sqlite.Cursor:
        try:
            return self._open.execute(text, values)
        except sqlite.Error as error:
            raise StoreUnavailableError(f"{self._path}: {error}") from error

    def _read(self, where: str, values: tuple[Any, ...]) -> list[Noted]:
        try:
            rows = self._open.execute(
                f"SELECT {_COLUMNS} FROM command {where}",  # noqa: S608 (fixed texts)
                values,
            ).fetchall()
        except sqlite.Error as error:
            raise StoreUnavailableError(f"{self._path}: {error}") from error
        return [
            Noted(
                id=row[0],
                action=row[1],
                target=row[2],
                by=row[3],
                asked_why=row[4],
                outcome=Outcome(row[5]) if row[5] else None,
                why=row[6],
                data=json.loads(row[7]),
                at=row[8],
            )
            for row in rows
        ]

    @property
    def _open(self) -> sqlite.Connection:
        if self._connection is None:
            raise StoreUnavailableError(f"{self._path} is not open")
        return self._connection
