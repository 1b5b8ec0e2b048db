"""Virtual disks: SQLite in memory, with what a power cut would leave.

Every SQLite file of the system is opened by ``core.storage.sqlite.connect``; here that gives a
shared in-memory database. A commit with ``synchronous=FULL`` is durable; one with NORMAL is kept
when the process is killed, and lost when the power is cut before a durable one follows. In the
folder lies a small file of that name which holds the database's number, so that what asks the
file system (does it exist? rename, unlink) gets true answers.
"""

from __future__ import annotations

import itertools
import re
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.contracts.errors import JournalError, StoreUnavailableError
from core.storage import sqlite
from tests.simulation.primitives import SimpleNamespace
from tests.simulation.scheduler import Process, the

_numbers = itertools.count(1)
_SYNCHRONOUS = re.compile(r"PRAGMA synchronous\s*=\s*(\w+)", re.IGNORECASE)
_READS = ("SELECT", "PRAGMA", "WITH", "EXPLAI")
_Usage = namedtuple("_Usage", "total used free")


class DeadError(sqlite.OperationalError):
    """A process that was killed still cleans up; it reaches nothing any more."""


class File:
    """One database: what is written, and what of it is durable."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._generation = 0
        self.keeper = self._new()
        self.durable: Any = None
        """A copy of what is durable; None while that is everything."""
        self.broken = False
        """Whether no commit succeeds now: the store is down."""
        self.notes = self.notes_underway = 0
        """Tombstones that were carried by an entry, in an outbox: each is an event itself."""

    def _new(self) -> Any:
        self._generation += 1
        self.name = f"file:/estate-{self.number}-{self._generation}?vfs=memdb"
        return _raw(self.name)

    def before_write(self, synchronous: str) -> None:
        if synchronous == "FULL" or self.durable is not None:
            return
        self.durable = self.copy()

    def committed(self, synchronous: str) -> None:
        self.notes, self.notes_underway = self.notes + self.notes_underway, 0
        if synchronous == "FULL":
            self.forget()

    def forget(self) -> None:
        """Take all that is written for durable."""
        if self.durable is not None:
            self.durable.close()
            self.durable = None

    def copy(self) -> Any:
        """Return a private copy of what is written."""
        private = _raw(":memory:")
        self.keeper.backup(private)
        return private

    def cut(self) -> None:
        """Lose what is not durable."""
        if self.durable is not None:
            self.replace(self.durable)
            self.durable = None

    def replace(self, content: Any) -> None:
        """Put a copy in the place of what is written."""
        self.keeper.close()
        self.keeper = self._new()
        self.notes_underway = 0
        content.backup(self.keeper)
        content.close()

    def pages(self) -> int:
        return int(self.keeper.execute("PRAGMA page_count").fetchone()[0])

    def close(self) -> None:
        self.forget()
        self.keeper.close()


def _raw(name: str) -> Any:
    return sqlite.sqlite3.connect(
        name, uri=True, timeout=0, isolation_level=None, check_same_thread=False
    )


class Disk:
    """The disk of one machine; ``capacity`` is in pages of 4 KiB, None while there is room."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[int, File] = {}
        self.connections: list[Connection] = []
        self.locks: dict[Path, Process] = {}
        self.capacity: int | None = None
        self.ballast_pages = 16
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, path: Path, content: Any = None) -> File:
        """Make a file, with a copy of a database's content."""
        path.parent.mkdir(parents=True, exist_ok=True)
        file = File(next(_numbers))
        self.files[file.number] = file
        path.write_text(str(file.number))
        if content is not None:
            content.backup(file.keeper)
        return file

    def file(self, path: Path) -> File:
        """Return the file at a path."""
        return self.files[int(path.read_text())]

    def used(self) -> int:
        """Return the pages in use, the ballast's included."""
        ballast = sum(1 for _ in self.folder.glob("*.ballast")) * self.ballast_pages
        return ballast + sum(file.pages() for file in self.files.values())

    def free(self) -> int:
        return 1 << 20 if self.capacity is None else max(self.capacity - self.used(), 0)

    def death(self, process: Process, *, power: bool) -> None:
        """Roll back what a process had not committed; with ``power`` lose what is not durable."""
        for connection in self.connections:
            if connection.process is process:
                connection.drop()
        self.connections = [c for c in self.connections if c.process is not process]
        for file in self.files.values():
            if power:
                file.cut()
            # A dead process's unfinished statements must not lock what its successor opens.
            file.replace(file.copy())

    def close(self) -> None:
        for connection in self.connections:
            connection.drop()
        for file in self.files.values():
            file.close()


class FileLock:
    """An advisory lock of one process."""

    def __init__(self, disk: Disk, path: Path) -> None:
        self._disk, self._path = disk, path

    def acquire(self) -> None:
        task = the().current
        assert task is not None
        holder = self._disk.locks.get(self._path)
        if holder is not None and not holder.dead:
            raise JournalError(f"{self._path}: in use by another process; stop it first")
        self._disk.locks[self._path] = task.process

    def release(self) -> None:
        self._disk.locks.pop(self._path, None)


class _Cursor(sqlite.Cursor):
    def execute(self, sql: str, *parameters: Any) -> Any:
        connection: Connection = self.connection
        return connection.step(sql, lambda: super(_Cursor, self).execute(sql, *parameters))

    def executescript(self, sql: str) -> Any:
        connection: Connection = self.connection
        return connection.write(lambda: super(_Cursor, self).executescript(sql))


class Connection(sqlite.Connection):
    """A connection that passes a point before and after each commit."""

    disk: Disk
    file: File
    process: Process
    synchronous: str
    dropped = False

    def cursor(self, factory: Any = _Cursor) -> Any:
        return super().cursor(factory)

    def commit(self) -> None:
        self._alive()
        if self.in_transaction:
            self._commit(super().commit)

    def step(self, sql: str, call: Callable[[], Any]) -> Any:
        """Execute one statement as the disk allows it."""
        self._alive()
        word = sql.lstrip()[:6].upper()
        if word in _READS:
            if word == "PRAGMA":
                self._pragma(sql)
            return call()
        if word.startswith("BEGIN"):
            self.file.before_write(self.synchronous)
            return call()
        if word == "COMMIT":
            return self._commit(call)
        if word == "ROLLBA":
            self.file.notes_underway = 0
        if word == "ROLLBA" or self.in_transaction:
            return call()
        return self.write(call)

    def write(self, call: Callable[[], Any]) -> Any:
        """Run what is a transaction of its own."""
        self._alive()
        self.file.before_write(self.synchronous)
        return self._commit(call)

    def drop(self) -> None:
        """Close without a commit."""
        if not self.dropped:
            self.dropped = True
            self.file.notes_underway = 0
            super().close()

    def close(self) -> None:
        if not self.dropped:
            self.dropped = True
            self.disk.connections.remove(self)
            super().close()

    def _alive(self) -> None:
        if self.process.dead or self.dropped:
            raise DeadError("disk I/O error: the process is dead")

    def _pragma(self, sql: str) -> None:
        if found := _SYNCHRONOUS.match(sql):
            self.synchronous = found[1].upper()
        elif "wal_checkpoint" in sql:
            self.file.forget()

    def _commit(self, call: Callable[[], Any]) -> Any:
        the().point("before a commit")
        disk = self.disk
        if disk.capacity is not None and self.in_transaction and disk.used() > disk.capacity:
            raise sqlite.OperationalError("database or disk is full")
        if self.file.broken:
            raise sqlite.OperationalError("disk I/O error")
        result = call()
        self.file.committed(self.synchronous)
        the().point("after a commit")
        return result


class Disks:
    """The disks of all machines, by their folders."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.disks: dict[str, Disk] = {}

    def disk(self, machine: str) -> Disk:
        """Return a machine's disk."""
        if machine not in self.disks:
            self.disks[machine] = Disk(self._root / machine)
        return self.disks[machine]

    def at(self, path: Path) -> Disk:
        """Return the disk on which a path lies."""
        return self.disk(path.absolute().relative_to(self._root).parts[0])

    def connect(
        self,
        path: Path | str,
        *,
        readonly: bool = False,
        synchronous: str = "FULL",
        busy_s: float = 10.0,
        page_bytes: int = 4096,
        shrinks: bool = False,
    ) -> Connection:
        """Stand in for :func:`core.storage.sqlite.connect`."""
        del busy_s, page_bytes, shrinks
        task = the().current
        assert task is not None
        if task.process.dead:
            raise DeadError("disk I/O error: the process is dead")
        path = Path(path)
        disk = self.at(path)
        if path.exists():
            file = disk.file(path)
        elif readonly or not path.parent.exists():
            raise StoreUnavailableError(f"{path}: unable to open database file")
        else:
            file = disk.add(path)
        connection: Connection = sqlite.sqlite3.connect(
            file.name, uri=True, timeout=0, isolation_level=None, check_same_thread=False,
            cached_statements=256, factory=Connection,
        )  # fmt: skip
        connection.disk, connection.file = disk, file
        connection.process, connection.synchronous = task.process, synchronous
        disk.connections.append(connection)
        return connection

    def lock(self, path: Path) -> FileLock:
        """Stand in for the journal's lock, which the system frees when its process dies."""
        return FileLock(self.at(path), path)

    def shutil(self) -> Any:
        """Stand in for the module ``shutil``, as the ballast uses it."""

        def usage(path: Path) -> _Usage:
            free = self.at(path).free() * 4096
            return _Usage(0, 0, free)

        return SimpleNamespace(disk_usage=usage)

    def death(self, process: Process, power: bool) -> None:
        """Let a process's disk know that it is dead."""
        self.disk(process.machine).death(process, power=power)

    def close(self) -> None:
        for disk in self.disks.values():
            disk.close()
