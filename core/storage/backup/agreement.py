"""Whether the parts of a backup agree: no projection is ahead of the journal, or has lost its tail.

A projection of the backup goes on from its cursor, so everything above it must still be in the
journal's copy; and a cursor above the journal's last entry would skip what comes next.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from core.storage import sqlite
from core.storage.backup.manifest import BackupError

JOURNAL = "data/collector.sqlite"


class LogState(msgspec.Struct, frozen=True):
    """A journal's identity, its last position, and that of the oldest entry it still has."""

    log: str
    position: int
    oldest: int


def log_state(path: Path) -> LogState:
    """Read a journal's state from its file."""
    db = sqlite.connect(path, readonly=True)
    try:
        meta = dict(db.execute("SELECT name, value FROM meta").fetchall())
        (oldest,) = db.execute("SELECT min(pos) FROM entry").fetchone()
    finally:
        db.close()
    position = int(meta["pos"])
    return LogState(str(meta["epoch"]), position, position + 1 if oldest is None else int(oldest))


def check(state: LogState, cursors: dict[str, int]) -> None:
    """Raise :class:`BackupError` where a projection and the journal do not fit together."""
    for name, cursor in cursors.items():
        if cursor > state.position:
            raise BackupError(
                f"the projection {name} stands at {cursor}, the journal only at {state.position}: "
                "the parts are not of one backup; take it again"
            )
        if cursor + 1 < state.oldest:
            raise BackupError(
                f"the journal was trimmed to {state.oldest} while the backup was made, and the "
                f"projection {name} stands at {cursor}; take it again, with a larger "
                "collector.journal_bytes if the journal is nearly full"
            )


def projection_cursors(rows: dict[str, int], log: str) -> dict[str, int]:
    """Return the cursors of the records that count a log's positions, by projection."""
    end = f"/{log}"
    return {name.removesuffix(end): pos for name, pos in rows.items() if name.endswith(end)}
