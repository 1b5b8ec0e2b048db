"""The journal's writer: one thread, group commit and cursors."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog

from core.contracts.errors import JournalError, JournalFullError, StoreUnavailableError
from core.storage import sqlite
from core.storage.journal.lanes import Lanes
from core.storage.journal.model import (
    Answer,
    Append,
    Growth,
    LaneBounds,
    LaneInfo,
    OnFull,
    Placed,
)
from core.storage.journal.reader import JournalReader
from core.storage.journal.room import Note, Room
from core.storage.journal.schema import open_file
from core.storage.journal.works import Group, Work, Works, size_of
from core.storage.locks import FileLock

log = structlog.get_logger(__name__)

T = TypeVar("T")


class Journal:
    """An append-only durable log with lanes, named cursors and a byte budget.

    Appends from any thread are committed in groups by one writer thread; a returned future is
    done when its entries are on the disk. ``owner`` names who the file belongs to, ``window``
    how many entries beyond a receipt may have been sent (their loss is uncertain, so each gets
    a tombstone of its own when it is evicted). Raises ValueError on a budget below
    :func:`least_budget`.
    """

    def __init__(
        self,
        path: Path,
        *,
        owner: str,
        budget: int,
        on_full: OnFull,
        note: Note | None = None,
        window: int = 0,
        on_failure: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._path = path
        self._owner = owner
        self._room = Room(path, budget=budget, on_full=on_full, note=note, window=window)
        self._on_failure = on_failure
        self._lock = FileLock(path)
        self._works = Works()
        self._thread: threading.Thread | None = None
        self._committed = threading.Condition()
        self._position = 0
        self._closed = False
        self._failure: BaseException | None = None

    # -- life -----------------------------------------------------------------------------

    def open(self) -> None:
        """Open or create the file, check it and start the writer.

        Raises ForeignFileError, JournalCorruptError, or InUseError.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._lock.acquire()
        try:
            self._connection = self._open_file()
            meta = dict(self._connection.execute("SELECT name, value FROM meta").fetchall())
        except BaseException:
            self._lock.release()
            raise
        self.epoch = str(meta["epoch"])
        self._position = int(meta["pos"])
        self._lanes = Lanes(self._connection)
        self._room.open(self._connection, self._lanes)
        self._thread = threading.Thread(
            target=self._run, name=f"journal-{self._path.stem}", daemon=True
        )
        self._thread.start()

    def _open_file(self) -> sqlite.Connection:
        """Open the file; on a full disk once more, with the ballast freed."""
        try:
            return open_file(self._path, self._owner)
        except StoreUnavailableError:
            self._room.free()
            return open_file(self._path, self._owner)

    def close(self) -> None:
        """Commit what is queued and close the file."""
        if self._thread is None:
            return
        self._closed = True
        self._works.close()
        self._thread.join()
        self._thread = None
        try:
            if self._failure is None:
                self._connection.execute("UPDATE meta SET value = 1 WHERE name = 'clean'")
        except sqlite.Error:
            log.warning("the journal's end is not noted; the next start checks it whole")
        self._connection.close()
        self._lock.release()

    def reader(self) -> JournalReader:
        """Return an open reader; the caller closes it."""
        reader = JournalReader(self._path)
        reader.open()
        return reader

    # -- writing --------------------------------------------------------------------------

    def append(self, *appends: Append) -> Future[list[Placed]]:
        """Append entries, all or none; the future is done once they are durable.

        It fails with JournalFullError (nothing was written; try again later) or with
        JournalError when a given seq is not above its lane's last.
        """
        return self._submit(lambda: self._lanes.insert_all(appends), appends)

    def append_each(self, groups: Sequence[Sequence[Append]]) -> Future[list[Answer]]:
        """Append many groups as :meth:`append` does one; the future answers for each of them."""
        works = [Work(partial(self._lanes.insert_all, group), size_of(group)) for group in groups]
        return self._submit(
            lambda: [self._attempt(work) for work in works], weight=sum(w.size for w in works)
        )

    def extend(self, append: Append, growth: Growth) -> Future[Placed]:
        """Append to a lane's last entry while nobody has seen it, else as an entry of its own.

        Entries grow only between ``grow(allowed=True)`` and ``grow(allowed=False)``. The future
        is as that of :meth:`append`; several extensions may get the same seq.
        """
        return self._submit(lambda: self._lanes.extend(append, growth), (append,))

    def grow(self, *, allowed: bool) -> None:
        """Let entries grow that are appended from now on, or none; what is there stays as it is.

        Whoever hands entries on forbids it first, and allows it again when that has stopped.
        """
        self._ask(lambda: self._lanes.grow(allowed=allowed))

    def acknowledge(self, lane: str, through: int) -> Future[int]:
        """Delete a lane's entries up to ``through``, which somebody else now keeps."""
        return self._submit(lambda: self._lanes.acknowledge(lane, through))

    def note_receipted(self, lanes: Mapping[str, int]) -> Future[None]:
        """Note up to where somebody has what he may not have stored yet: that is evicted first.

        It needs no tombstone. Nothing of it is kept over a restart.
        """
        return self._submit(lambda: self._lanes.note_receipted(lanes))

    def note_sent(self, lane: str, seq: int) -> Future[None]:
        """Note that a lane's entries up to ``seq`` are about to be handed on.

        Whoever hands them on waits for it: a receipt is then believed only for what was sent.
        """
        return self._submit(lambda: self._lanes.note_sent(lane, seq))

    def advance(self, cursor: str, pos: int) -> Future[None]:
        """Note that a named reader needs nothing at or below ``pos`` any more."""
        return self._submit(
            lambda: self._connection.execute(
                "INSERT INTO cursor VALUES (?, ?) ON CONFLICT (name) DO UPDATE "
                "SET pos = max(pos, excluded.pos)",
                (cursor, pos),
            ).close()
        )

    def retain(self, since: int, *, batch: int = 5_000) -> Future[int]:
        """Delete entries journalled before ``since`` (ms) that every cursor has passed.

        Deletes at most ``batch`` entries and returns how many they were.
        """
        return self._submit(lambda: self._lanes.retain(since, batch))

    def forget(self, *lanes: str) -> Future[bool]:
        """Forget lanes and their numbering, if all of them are empty; tell whether they were.

        A lane of that name would begin at 1 again: only for what nobody will ever continue.
        """
        return self._submit(lambda: self._lanes.forget(lanes))

    def new_epoch(self) -> str:
        """Begin a new epoch: a new UUID, and each lane is numbered from 1 again; wait for it."""
        self.epoch = self._ask(self._lanes.renew)
        return self.epoch

    # -- asking ---------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """Return the journal's file, which a reader in any process can open."""
        return self._path

    @property
    def position(self) -> int:
        """Return the position of the last committed entry."""
        return self._position

    @property
    def size(self) -> int:
        """Return the bytes that the entries take up against the budget."""
        return self._lanes.size

    @property
    def budget(self) -> int:
        """Return the byte budget."""
        return self._room.budget

    def lanes(self) -> dict[str, LaneInfo]:
        """Return every lane as of the last commit."""
        return self._ask(self._lanes.infos)

    def last_seqs(self) -> dict[str, int]:
        """Return each lane's last committed seq."""
        return self._ask(self._lanes.lasts)

    def bounds(self) -> dict[str, LaneBounds]:
        """Return each lane's oldest, last and sent seq; cheap whatever a lane holds."""
        return self._ask(self._lanes.bounds)

    def cursors(self) -> dict[str, int]:
        """Return the named cursors."""
        return self._ask(
            lambda: dict(self._connection.execute("SELECT name, pos FROM cursor").fetchall())
        )

    def digest(self, lane: str, seq: int) -> bytes | None:
        """Return the digest kept with an entry, or None when entry or digest is gone."""
        return self._ask(lambda: self._lanes.digest(lane, seq))

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for an entry above ``after``; tell whether there is."""
        with self._committed:
            return self._committed.wait_for(
                lambda: self._position > after or self._closed, timeout
            ) and (self._position > after)

    # -- the writer's thread --------------------------------------------------------------

    def _submit(
        self, action: Callable[[], T], appends: Sequence[Append] = (), *, weight: int = 0
    ) -> Future[T]:
        """Queue an action; ``weight`` is what it appends within a check of its own (bytes)."""
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()  # who waits no longer must not end the writer
        if self._failure is not None:
            future.set_exception(JournalError(f"{self._path}: the writer has failed"))
        elif self._closed or self._thread is None:
            future.set_exception(JournalError(f"{self._path}: the journal is not open"))
        else:
            self._works.put(Work(action, size_of(appends), weight), future)
        return future

    def _ask(self, question: Callable[[], T]) -> T:
        return self._submit(question).result()

    def _run(self) -> None:
        group: Group = []
        try:
            is_last = False
            while not is_last:
                group, is_last = self._works.gather()
                if group:
                    self._commit(group)
                group = []
            self._drain(JournalError("it was closed"), [])
        except BaseException as error:
            # Whoever waits learns it; a journal that cannot write must not look alive.
            self._failure = error
            log.exception("the journal's writer failed", path=str(self._path))
            self._drain(error, group)
            if self._on_failure is not None:
                self._on_failure(error)

    def _commit(self, group: Group) -> None:
        """Run a group in one transaction; a work that fails is undone alone."""
        try:
            results = self._transaction(group)
        except sqlite.Error as error:
            results = self._rescue(group, error)
        with self._committed:
            self._committed.notify_all()
        for (_, future), result in zip(group, results, strict=True):
            if isinstance(result, BaseException):
                future.set_exception(result)
            else:
                future.set_result(result)

    def _transaction(self, group: Group) -> list[Any]:
        results: list[Any] = []
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            for work, _ in group:
                results.append(self._attempt(work))
            self._room.keep()
            self._lanes.flush()
            self._connection.execute("COMMIT")
        except BaseException:
            self._rollback()
            raise
        self._position = self._lanes.position
        return results

    def _attempt(self, work: Work) -> Any:
        refusal = self._room.why_refused(work.size)
        if refusal is not None:
            return JournalFullError(refusal)
        try:
            return work.action()
        except JournalError as error:
            return error

    def _rollback(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
        finally:
            self._lanes.reload()

    def _rescue(self, group: Group, error: Exception) -> list[Any]:
        """Try once more on a full disk, having made room; else refuse."""
        if "full" in str(error):
            try:
                self._room.make()
                return self._transaction(group)
            except sqlite.Error as again:
                error = again
                self._rollback()
        refusal = JournalFullError if "full" in str(error) else JournalError
        return [refusal(f"{self._path}: {error}") for _ in group]

    def _drain(self, error: BaseException, group: Group) -> None:
        for _, future in [*group, *self._works.rest()]:
            if not future.done():
                future.set_exception(JournalError(f"{self._path}: the writer has ended: {error!r}"))
