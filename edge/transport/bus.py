"""A half-duplex bus: one turn at a time, given to whoever has had the least of it.

Several drivers may stand at one bus (electricity and water meters behind one gateway). A turn
is one device's visit and is bounded by whoever takes it; of those that wait the one comes next
that has used the bus least. So a device that takes its full time-out at each turn comes less
often than the quick ones, and nobody waits for more than a few turns of each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from edge.driver import LinkError
from edge.transport.line import Line, close_streams

T = TypeVar("T")
#: Takes received bytes and returns the answer once it is whole.
Take = Callable[[bytes], T | None]

_CHUNK = 1024


class NoAnswerError(LinkError):
    """The device did not answer in time; the line itself is as it was."""


@dataclass(slots=True)
class _Waiter:
    device: str
    ready: asyncio.Future[None] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )


class Turns:
    """Lets one at a time pass: the one of those waiting that has used the least time so far."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._used: dict[str, float] = {}
        self._waiting: list[_Waiter] = []
        self._floor = 0.0
        self._taken = False

    def join(self, devices: Iterable[str]) -> None:
        """Count devices among those that share; a newcomer has used as much as the least."""
        for device in devices:
            self._used.setdefault(device, self._floor)

    def leave(self, devices: Iterable[str]) -> None:
        """Forget devices."""
        for device in devices:
            self._used.pop(device, None)

    @property
    def members(self) -> frozenset[str]:
        """Return the devices that share."""
        return frozenset(self._used)

    def used_s(self, device: str) -> float:
        """Return the time that a device is counted to have used."""
        return self._used.get(device, self._floor)

    @contextlib.asynccontextmanager
    async def turn(self, device: str) -> AsyncIterator[None]:
        """Wait for the turn and hold it."""
        await self._enter(device)
        began = self._monotonic()
        try:
            yield
        finally:
            # Who was away for long must not have the bus to itself until it has caught up.
            start = max(self.used_s(device), self._floor)
            if device in self._used:
                self._used[device] = start + self._monotonic() - began
            self._floor = max(self._floor, start)
            self._taken = False
            self._pass_on()

    async def _enter(self, device: str) -> None:
        if not self._taken and not self._waiting:
            self._taken = True
            return
        waiter = _Waiter(device)
        self._waiting.append(waiter)
        try:
            await waiter.ready
        except asyncio.CancelledError:
            if waiter in self._waiting:
                self._waiting.remove(waiter)
            elif waiter.ready.done() and not waiter.ready.cancelled():
                self._taken = False
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        self._waiting = [waiter for waiter in self._waiting if not waiter.ready.done()]
        if self._taken or not self._waiting:
            return
        # Of equals the one that waits longest: min() keeps the order.
        following = min(self._waiting, key=lambda w: max(self.used_s(w.device), self._floor))
        self._waiting.remove(following)
        self._taken = True
        following.ready.set_result(None)


class Bus:
    """A line and the turns on it; kept open between them."""

    def __init__(self, line: Line) -> None:
        self._line = line
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._spoke = 0.0
        self.turns = Turns()
        self.opened = 0
        """How often the line was opened."""

    @property
    def name(self) -> str:
        """Return ``host:port`` or the serial port."""
        return self._line.name

    @contextlib.asynccontextmanager
    async def turn(self, device: str, connect_s: float) -> AsyncIterator[Bus]:
        """Wait for a device's turn, open the line unless it is open, and hold the turn.

        ``connect_s`` is the time (real) that opening may take. Raises :class:`LinkError`.
        """
        async with self.turns.turn(device):
            await self._open(connect_s)
            yield self

    async def ask(
        self, question: bytes, take: Take[T], timeout_s: float, stale: Callable[[bytes], object]
    ) -> tuple[T, float]:
        """Send a question and read until ``take`` has its answer; return it and the ms it took.

        What came unasked before goes to ``stale``, so that a late answer is not taken for this
        one. Only for who holds the turn. Raises :class:`NoAnswerError` and, when the line is
        lost, :class:`LinkError`.
        """
        began = time.monotonic()
        try:
            async with asyncio.timeout(timeout_s):
                reader = await self._send(question, stale)
                while (answer := take(await _some(reader))) is None:
                    pass
        except TimeoutError:
            self._spoke = time.monotonic()
            raise NoAnswerError("no answer in time", "device") from None
        except OSError as error:
            await self.close()
            raise LinkError(f"{self.name}: {error}", self._line.cause) from error
        self._spoke = time.monotonic()
        return answer, (self._spoke - began) * 1000

    async def gather(self, question: bytes, window_s: float) -> bytes:
        """Send a question and return whatever comes within the window; raise :class:`LinkError`."""
        got = bytearray()

        def take(chunk: bytes) -> bytes | None:
            got.extend(chunk)
            return None

        with contextlib.suppress(NoAnswerError):
            await self.ask(question, take, window_s, lambda _: None)
        return bytes(got)

    async def close(self) -> None:
        """Close the line; the next turn opens it again."""
        writer, self._reader, self._writer = self._writer, None, None
        if writer is not None:
            await close_streams(writer)

    async def _open(self, timeout_s: float) -> None:
        reader, writer = self._reader, self._writer
        if reader is not None and writer is not None:
            if not writer.is_closing() and not reader.at_eof() and reader.exception() is None:
                return
            await self.close()
        try:
            async with asyncio.timeout(timeout_s):
                self._reader, self._writer = await self._line.open()
        except OSError as error:
            text = str(error) or "cannot be opened in time"
            raise LinkError(f"{self.name}: {text}", self._line.cause) from error
        self.opened += 1

    async def _send(
        self, question: bytes, stale: Callable[[bytes], object]
    ) -> asyncio.StreamReader:
        reader, writer = self._reader, self._writer
        if reader is None or writer is None:
            raise ConnectionResetError("the line is closed")
        quiet_s = self._line.gap_s - (time.monotonic() - self._spoke)
        if quiet_s > 0:
            await asyncio.sleep(quiet_s)
        with contextlib.suppress(TimeoutError):
            while True:
                async with asyncio.timeout(0):
                    old = await _some(reader)
                stale(old)
        writer.write(question)
        await writer.drain()
        return reader


async def _some(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(_CHUNK)
    if not chunk:
        raise ConnectionResetError("closed by the other side")
    return chunk
