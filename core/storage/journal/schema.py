"""The journal's file: opening, checking and locking it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.contracts.errors import (
    ForeignFileError,
    JournalCorruptError,
    JournalError,
    StoreUnavailableError,
)
from core.storage import sqlite

APPLICATION_ID = 0x45535A4A  # "ESZJ"
FORMAT = 1
#: Larger files are checked whole only when the machine went down under them, smaller ones always:
#: what a killed process had written the kernel still has, and reading gigabytes after each kill
#: would keep the edges waiting.
CHECK_BYTES = 1 << 30
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")

_SCHEMA = """
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE lane (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    priority INTEGER NOT NULL,
    last INTEGER NOT NULL DEFAULT 0,
    acknowledged INTEGER NOT NULL DEFAULT 0,
    sent INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE entry (
    pos INTEGER PRIMARY KEY,
    lane INTEGER NOT NULL REFERENCES lane (id),
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL,
    events INTEGER NOT NULL,
    size INTEGER NOT NULL,
    digest BLOB,
    body BLOB NOT NULL
);
CREATE UNIQUE INDEX entry_lane_seq ON entry (lane, seq);
CREATE TABLE tombstone (
    id INTEGER PRIMARY KEY,
    lane TEXT NOT NULL,
    first_seq INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    events INTEGER NOT NULL,
    reason TEXT NOT NULL,
    at INTEGER NOT NULL,
    note_lane INTEGER,
    note_seq INTEGER
);
CREATE TABLE cursor (name TEXT PRIMARY KEY, pos INTEGER NOT NULL) WITHOUT ROWID;
"""


def connect(path: Path, *, readonly: bool = False) -> sqlite.Connection:
    """Open a connection; a commit that was answered survives a power cut (synchronous=FULL).

    NORMAL was measured to lose the whole write-ahead log, which here is what was promised.
    """
    connection = sqlite.connect(path, readonly=readonly, synchronous="FULL")
    if not readonly:
        connection.execute("PRAGMA wal_autocheckpoint = 4000").fetchall()
    return connection


def open_file(path: Path, owner: str) -> sqlite.Connection:
    """Create or check the journal's file and return a writer's connection.

    Raises:
        ForeignFileError: the file is something else, of a newer format, or another owner's.
        JournalCorruptError: the file fails its integrity check.
        StoreUnavailableError: it cannot be opened now (disk full, no permission).
    """
    fresh = not path.exists() or path.stat().st_size == 0
    try:
        connection = connect(path)
    except sqlite.DatabaseFileError as error:
        raise _damaged(path, error) from None
    try:
        if fresh:
            _create(connection, owner)
        else:
            _check(connection, path, owner)
        connection.execute(
            "INSERT OR REPLACE INTO meta VALUES ('clean', 0), ('boot', ?)", (_boot(),)
        )
    except sqlite.OperationalError as error:
        connection.close()
        raise StoreUnavailableError(
            f"{path}: cannot be opened now ({error}); see whether the disk is full"
        ) from None
    except sqlite.DatabaseError as error:
        connection.close()
        raise _damaged(path, error) from None
    except JournalError:
        connection.close()
        raise
    return connection


def _damaged(path: Path, error: Exception) -> JournalError:
    if "not a database" in str(error):
        return ForeignFileError(f"{path}: not a journal; move the file away or name another")
    return corrupt(path, str(error))


def corrupt(path: Path, finding: str) -> JournalCorruptError:
    """Return the error of a damaged journal; it names the remedy."""
    return JournalCorruptError(
        f"{path}: the journal is damaged ({finding}); keep a copy, restore a backup or move it "
        "away: the next start then begins a new epoch, and the old one is recorded as possible loss"
    )


def _create(connection: sqlite.Connection, owner: str) -> None:
    connection.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA.split(";"):
        if statement.strip():
            connection.execute(statement)
    connection.executemany(
        "INSERT INTO meta VALUES (?, ?)",
        [("owner", owner), ("epoch", str(uuid.uuid4())), ("pos", 0), ("clean", 1)],
    )
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")


def _check(connection: sqlite.Connection, path: Path, owner: str) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application != APPLICATION_ID:
        raise ForeignFileError(f"{path}: an SQLite file, but not a journal; name another file")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != FORMAT:
        raise ForeignFileError(f"{path}: journal format {version}; this program reads {FORMAT}")
    meta = dict(connection.execute("SELECT name, value FROM meta").fetchall())
    if meta.get("owner") != owner:
        raise ForeignFileError(
            f"{path}: belongs to {meta.get('owner')!r}, not to {owner!r}; use its own data folder"
        )
    in_doubt = not meta.get("clean") and (not _boot() or meta.get("boot") != _boot())
    if path.stat().st_size <= CHECK_BYTES or in_doubt:
        (finding,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if finding != "ok":
            raise corrupt(path, finding)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn what SQLite says of a file that is only read into the journal's errors.

    Raises JournalCorruptError where it is damaged, StoreUnavailableError where it cannot be read
    now.
    """
    try:
        yield
    except sqlite.OperationalError as error:
        raise StoreUnavailableError(f"{path}: cannot be read now: {error}") from error
    except sqlite.DatabaseFileError as error:
        if error.__cause__ is None:  # it is the library that is not fit
            raise
        raise corrupt(path, str(error.__cause__)) from error
    except sqlite.DatabaseError as error:
        raise corrupt(path, str(error)) from error


def _boot() -> str:
    """Return what names the time since the machine was started; empty where nothing does."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
