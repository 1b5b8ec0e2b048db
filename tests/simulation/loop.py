"""An asyncio event loop on the scheduler's virtual time."""

from __future__ import annotations

import asyncio
from typing import Any

from tests.simulation.scheduler import Task, the


class _Selector:
    """Where the loop waits: nothing ever comes from a socket, only time and other threads."""

    def __init__(self) -> None:
        self._waiting: Task | None = None
        self._called = False

    def select(self, timeout: float | None = None) -> list[Any]:
        if not self._called and (timeout is None or timeout > 0):
            self._waiting = the().current
            the().park(timeout)
            self._waiting = None
        self._called = False
        return []

    def call(self) -> None:
        self._called = True
        if self._waiting is not None:
            the().wake(self._waiting)

    def close(self) -> None:
        """Nothing is open."""


class Loop(asyncio.BaseEventLoop):
    """An event loop without sockets; another task calls it by ``call_soon_threadsafe``."""

    def __init__(self) -> None:
        super().__init__()
        self._selector = _Selector()

    def time(self) -> float:
        return the().now

    def _process_events(self, event_list: list[Any]) -> None:
        """No events come."""

    def _write_to_self(self) -> None:
        self._selector.call()

    def __del__(self) -> None:
        """A loop whose process was killed was never closed; that is no leak here."""
