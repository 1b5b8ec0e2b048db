"""The one place that opens SQLite: a current library, the same pragmas, plain errors.

The system's SQLite may be years old and carry a known fault (before 3.51.3 a checkpoint that
races with a commit can damage a WAL database, https://sqlite.org/wal.html#walresetbug), so the
library comes from the ``pysqlite3`` wheel.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from core.contracts.errors import EstateError, StoreUnavailableError

if TYPE_CHECKING:  # pysqlite3 is the standard module on a newer library; it has no stubs
    import sqlite3
else:
    from pysqlite3 import dbapi2 as sqlite3

Connection = sqlite3.Connection
Cursor = sqlite3.Cursor
Error = sqlite3.Error
DatabaseError = sqlite3.DatabaseError
IntegrityError = sqlite3.IntegrityError
OperationalError = sqlite3.OperationalError

#: The library's version, such as (3, 53, 4).
SQLITE_VERSION: tuple[int, ...] = sqlite3.sqlite_version_info
#: The oldest library that is free of the WAL fault.
OLDEST = (3, 51, 3)

Synchronous = Literal["FULL", "NORMAL"]


class DatabaseFileError(EstateError):
    """A file is not a SQLite database, is damaged, or the library is not fit for it."""


def connect(
    path: Path | str,
    *,
    readonly: bool = False,
    synchronous: Synchronous = "FULL",
    busy_s: float = 10.0,
    page_bytes: int = 4096,
    shrinks: bool = False,
) -> Connection:
    """Open a database in WAL mode, without implicit transactions (say ``BEGIN IMMEDIATE``).

    The connection may be used from several threads, one at a time. With FULL a commit is
    durable when it returns; with NORMAL a power cut may undo the last commits, whole ones and
    in order, and a killed process loses nothing. ``page_bytes`` and ``shrinks`` (free pages can
    be given back by ``PRAGMA incremental_vacuum``) hold for a new file only.

    Raises :class:`DatabaseFileError` where the file is no database or the library too old, and
    :class:`StoreUnavailableError` where the file cannot be opened now (missing, locked, full).
    """
    if SQLITE_VERSION < OLDEST:
        raise DatabaseFileError(
            f"SQLite {sqlite3.sqlite_version} has a fault that can damage databases; "
            f"{'.'.join(map(str, OLDEST))} or newer is needed: install the pysqlite3 package"
        )
    file = Path(path).absolute()
    connection: Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{file.as_uri()}?mode={'ro' if readonly else 'rwc'}",
            uri=True,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        _configure(
            connection,
            file,
            readonly=readonly,
            synchronous=synchronous,
            page_bytes=page_bytes,
            shrinks=shrinks,
        )
    except sqlite3.OperationalError as error:
        _close(connection)
        raise StoreUnavailableError(f"{file}: {error}") from error
    except sqlite3.DatabaseError as error:
        _close(connection)
        raise DatabaseFileError(
            f"{file}: {error}; move the file away or restore it from a backup"
        ) from error
    except BaseException:
        _close(connection)
        raise
    return connection


def copy(source: Path, target: Path) -> None:
    """Copy a database that may be in use, as one state of it, into one new file.

    By SQLite's online backup in a single step: writers go on meanwhile, and their write-ahead log
    grows until it is done. The copy has none. Raises as :func:`connect` does.
    """
    origin = connect(source, readonly=True)
    made: Connection | None = None
    try:
        made = sqlite3.connect(target, isolation_level=None)
        origin.backup(made)
        made.execute("PRAGMA journal_mode=DELETE").fetchone()
    except sqlite3.Error as error:
        raise StoreUnavailableError(f"{source}: not copied: {error}") from error
    finally:
        _close(made)
        origin.close()


def is_database(path: Path) -> bool:
    """Tell whether a file is a SQLite database by its first bytes; raise OSError."""
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """Run a write transaction: committed at the end, rolled back on any exception."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _configure(
    connection: Connection,
    file: Path,
    *,
    readonly: bool,
    synchronous: str,
    page_bytes: int,
    shrinks: bool,
) -> None:
    if readonly:
        connection.execute("PRAGMA schema_version").fetchone()
    else:
        connection.execute(f"PRAGMA page_size={page_bytes:d}")
        if shrinks:
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise DatabaseFileError(
                f"{file}: the file system does not allow write-ahead logging (mode {mode}); "
                "use a local disk for the data folder"
            )
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA journal_size_limit=67108864")
        connection.execute("PRAGMA foreign_keys=ON")
    connection.execute("PRAGMA trusted_schema=OFF")
    connection.execute("PRAGMA cell_size_check=ON")


def _close(connection: Connection | None) -> None:
    if connection is not None:
        connection.close()
