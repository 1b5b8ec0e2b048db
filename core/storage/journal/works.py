"""What waits for the journal's writer: callers' actions, taken in groups."""

from __future__ import annotations

import queue
from concurrent.futures import Future
from typing import Any

from core.storage.journal.model import Work

_GROUP = 512
_GROUP_BYTES = 32 << 20


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
        group, size = [first], first[0].size
        while len(group) < _GROUP and size < _GROUP_BYTES:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None:
                return group, True
            group.append(item)
            size += item[0].size
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
