"""Turns at a line that carries one request at a time."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

_URGENT = -1


class Turns:
    """One holder at a time; among those who wait each unit has its turn, commands go first.

    A unit whose driver asks much waits behind every other unit that asks anything, so its
    blocks are read between theirs and not before them.
    """

    def __init__(self) -> None:
        self._taken = False
        self._waiting: OrderedDict[int, deque[asyncio.Future[None]]] = OrderedDict()

    @asynccontextmanager
    async def turn(self, unit: int, *, urgent: bool = False) -> AsyncIterator[None]:
        """Hold the line; wait for it where somebody else does."""
        await self._take(_URGENT if urgent else unit)
        try:
            yield
        finally:
            self._give_on()

    async def _take(self, queue: int) -> None:
        if not self._taken:
            self._taken = True
            return
        ticket: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(queue, deque()).append(ticket)
        try:
            await ticket
        except asyncio.CancelledError:
            if ticket.done() and not ticket.cancelled():
                self._give_on()  # it was this one's turn already
            raise

    def _give_on(self) -> None:
        while self._waiting:
            queue = _URGENT if _URGENT in self._waiting else next(iter(self._waiting))
            tickets = self._waiting[queue]
            ticket = tickets.popleft()
            if tickets:
                self._waiting.move_to_end(queue)
            else:
                del self._waiting[queue]
            if not ticket.done():
                ticket.set_result(None)
                return
        self._taken = False
