"""The journal's port: what a collector asks of its log, so that another log can stand behind it.

:class:`core.storage.journal.Journal` is the one implementation. docs/journal.md says what each
promise is for, and how an existing distributed log would keep it.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol

from core.storage.journal.model import Answer, Append, Entry, Placed


class LogReader(Protocol):
    """A view of what is committed, used by one thread."""

    def read(self, after: int, *, limit: int = 1000, max_bytes: int = 8 << 20) -> Sequence[Entry]:
        """Return entries with a position above ``after`` in their order, at least one if any."""
        ...

    def read_lane(
        self, lane: str, after_seq: int, *, limit: int = 100, max_bytes: int = 8 << 20
    ) -> Sequence[Entry]:
        """Return a lane's entries with a seq above ``after_seq``, in order."""
        ...

    def close(self) -> None:
        """Release the view."""
        ...


class FollowedLog(Protocol):
    """What following a log takes: the log itself, or its picture in another process."""

    @property
    def position(self) -> int:
        """Return the position of the last committed entry."""
        ...

    def wait(self, after: int, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds for an entry above ``after``; tell whether there is."""
        ...

    def reader(self) -> LogReader:
        """Return an open reader; the caller closes it."""
        ...

    def advance(self, cursor: str, pos: int) -> Future[None]:
        """Note that a named reader needs nothing at or below ``pos`` any more."""
        ...


class Log(FollowedLog, Protocol):
    """A totally ordered durable log of lanes, with one writer."""

    epoch: str
    """The log's identity: its positions are of no other."""

    @property
    def path(self) -> Path:
        """Return where readers in other processes find it."""
        ...

    @property
    def size(self) -> int:
        """Return the bytes that are used of the budget."""
        ...

    @property
    def budget(self) -> int:
        """Return the budget in bytes."""
        ...

    def append(self, *appends: Append) -> Future[list[Placed]]:
        """Append entries next to each other, all or none; done once they survive a power cut.

        Fails with JournalFullError (try again later) or, where a lane's order would be broken,
        with JournalError.
        """
        ...

    def append_each(self, groups: Sequence[Sequence[Append]]) -> Future[list[Answer]]:
        """Append many groups as :meth:`append` does one; the future answers for each of them."""
        ...

    def last_seqs(self) -> dict[str, int]:
        """Return each lane's last committed seq, also of lanes whose entries are gone."""
        ...

    def digest(self, lane: str, seq: int) -> bytes | None:
        """Return the digest kept with an entry; None where it is gone."""
        ...

    def forget(self, *lanes: str) -> Future[bool]:
        """Forget lanes and their numbering if all of them are empty; tell whether they were."""
        ...

    def cursors(self) -> dict[str, int]:
        """Return the named readers' places."""
        ...

    def retain(self, since: int, *, batch: int = 5_000) -> Future[int]:
        """Drop entries older than ``since`` (ms) that every named reader has passed.

        At most ``batch`` of them; returns how many they were.
        """
        ...
