"""One thread for what takes long (networks, snapshots), so that no camera's reading waits for it.

All cameras of an edge share it: eight of them must not run eight networks. What does not fit
into its short queue is refused and counted, never kept waiting.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
_MOST_WAITING = 32


class Studio:
    """Does one thing after the other; the thread starts with the first."""

    def __init__(self, most_waiting: int = _MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._lock = threading.Lock()
        self._waiting = 0
        self._pool: ThreadPoolExecutor | None = None
        self._closed = False
        self.refused = 0

    def submit(self, work: Callable[[], T]) -> Future[T] | None:
        """Let the thread do something; None when too much is waiting already, or it is closed."""
        with self._lock:
            if self._closed or self._waiting >= self._most_waiting:
                self.refused += 1
                return None
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "studio")
            self._waiting += 1
            future = self._pool.submit(work)
        future.add_done_callback(self._done)
        return future

    def close(self) -> None:
        """Drop what waits; what is being done is finished in its own time."""
        with self._lock:
            self._closed = True
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=False, cancel_futures=True)

    def _done(self, _: Future[T]) -> None:
        with self._lock:
            self._waiting -= 1
