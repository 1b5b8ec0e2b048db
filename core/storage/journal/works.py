"""What waits for the journal's writer: callers' actions, taken in groups."""

from __future__ import annotations

import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from core.storage.journal.model import ENTRY_OVERHEAD, Append

_GROUP = 512
_GROUP_BYTES = 32 << 20


class Work:
    """One caller's action in a group: ``size`` are the bytes that must fit in beforehand.

    ``weight`` is what it adds to a transaction: more, where it sees itself to what fits in.
    """

    __slots__ = ("action", "size", "weight")

    def __init__(self, action: Callable[[], Any], size: int, weight: int = 0) -> None:
        self.action = action
        self.size = size
        self.weight = max(size, weight)


def size_of(appends: Sequence[Append]) -> int:
    """Return what entries take of the budget (bytes)."""
    return sum(len(append.body) + ENTRY_OVERHEAD for append in appends)


Group = list[tuple[Work, Future[Any]]]


class Works:
    """The queue between the callers' threads and the writer's."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[tuple[Work, Future[Any]] | None] = queue.SimpleQueue()

    def put(self, work: Work, future: Future[Any]) -> None:
        """Let the writer do some work and settle its future."""
        self._queue.put((work, future))

    def close(self) -> None:
        """Let the writer end when it has done what was put before."""
        self._queue.put(None)

    def gather(self) -> tuple[Group, bool]:
        """Wait for work and return a bounded group of it, and whether it is the last."""
        first = self._queue.get()
        if first is None:
            return [], True
        group, size = [first], first[0].weight
        while len(group) < _GROUP and size < _GROUP_BYTES:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
            size += item[0].weight
        return group, False

    def rest(self) -> Group:
        """Return what still waits, of which nothing will be done."""
        waiting: Group = []
        while True:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                return waiting
            if item is not None:
                waiting.append(item)
