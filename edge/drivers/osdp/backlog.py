"""What waits for the journal, so that no door waits for it."""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import Any

import structlog

from edge.driver import DriverSink, insist

_log = structlog.get_logger(__name__)
#: So many observations may wait before the readers have to.
MOST_WAITING = 1_000
_DRAIN_S = 1.0


class Backlog:
    """Observations on their way to the journal, in their order; bounded by who fills it."""

    def __init__(self, name: str, sink: DriverSink) -> None:
        self._name = name
        self._sink = sink
        self._waiting: deque[tuple[str, str, dict[str, Any], int]] = deque()
        self._more = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._task = asyncio.create_task(self._run(), name=f"{name} journal")

    @property
    def full(self) -> bool:
        """Tell whether nothing more should be put in."""
        return len(self._waiting) >= MOST_WAITING

    def put(self, kind: str, device: str, data: dict[str, Any], at: int) -> None:
        """Take one observation; it is journalled as soon as there is room."""
        self._waiting.append((kind, device, data, at))
        self._empty.clear()
        self._more.set()

    async def close(self) -> None:
        """Stop; what waits gets a second, and what is lost then is counted and logged."""
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self._empty.wait()
        except TimeoutError:
            self._sink.count("lost_at_stop", len(self._waiting))
            _log.error("lost_at_stop", driver=self._name, observations=len(self._waiting))
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            while self._waiting:
                await insist(partial(self._sink.emit, *self._waiting[0]), self._sink)
                # Only now: what is not committed is not told.
                self._waiting.popleft()
            self._empty.set()
            self._more.clear()
            await self._more.wait()
