"""The tail of the live sequence, read once a process and shared by every client.

One task follows the records: it is woken, or looks every 250 ms, and keeps the newest changes,
encoded once, in a ring of bounded size. A client holds nothing but the number it has reached
and takes its next frames from the ring, or, when it is further behind, from the records page
by page. So memory does not grow with slow clients: one that is too slow falls behind what is
kept and is told to reload.
"""

from __future__ import annotations

import asyncio
import contextlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import anyio.to_thread
import msgspec
import structlog

from core.contracts.errors import EstateError

log = structlog.get_logger(__name__)
#: Changes read from the records at once.
PAGE = 500
#: After a wake-up, so long (s) other commits may join the same look.
_GATHER_S = 0.004


class LiveChange(Protocol):
    """One change of the live sequence, as the records give it."""

    @property
    def seq(self) -> int:
        """Return its number; numbers become visible in order and without gaps."""
        ...

    @property
    def topic(self) -> str:
        """Return what kind of thing changed."""
        ...

    @property
    def payload(self) -> Any:
        """Return the thing as the API shows it."""
        ...


class LiveSource(Protocol):
    """What the hub asks of the records; called in threads."""

    def bounds(self) -> tuple[int, int]:
        """Return the oldest number that is kept and the newest (1, 0 when there is none)."""
        ...

    def after(self, seq: int, limit: int) -> Sequence[LiveChange]:
        """Return the changes above ``seq``, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Frame:
    """One change, encoded as a server-sent event."""

    seq: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Reset:
    """What a client missed is no longer kept: it reloads and goes on from ``seq``."""

    seq: int


def encode_event(event: str, data: Any, seq: int) -> bytes:
    """Return a server-sent event; JSON has no raw line breaks, so ``data`` is one line."""
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (seq, event.encode(), msgspec.json.encode(data))


class LiveHub:
    """Follows the live sequence and hands it to clients."""

    def __init__(
        self,
        source: LiveSource,
        *,
        poll_s: float = 0.25,
        ring_frames: int = 4_096,
        ring_bytes: int = 8 << 20,
    ) -> None:
        self._source = source
        self._poll_s = poll_s
        self._ring_frames = ring_frames
        self._ring_bytes = ring_bytes
        self._ring: list[Frame] = []
        self._bytes = 0
        self._seq = -1
        self._advanced = asyncio.Event()
        self._woken = asyncio.Event()
        self._closing = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self.failing: str | None = None
        """Why the records could not be read the last time; None while all is well."""
        self.clients = 0
        """Streams that are open now."""
        self.dropped = 0
        """Clients that were dropped because they did not read."""

    @property
    def seq(self) -> int:
        """Return the newest number that the hub has seen (-1 before the records were read)."""
        return self._seq

    @property
    def closing(self) -> asyncio.Event:
        """Return the event that is set when every stream has to end."""
        return self._closing

    async def start(self) -> None:
        """Begin to follow at the newest change; records that are down are tried again."""
        self._loop = asyncio.get_running_loop()
        try:
            await self._begin()
        except EstateError as error:
            self._note(error)
        self._task = asyncio.create_task(self._follow(), name="live-hub")

    async def stop(self) -> None:
        """End every stream and stop following."""
        self._closing.set()
        self._tell()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def wake(self) -> None:
        """Say that something was committed; may be called from any thread."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._woken.set)

    async def join(self, since: int | None) -> tuple[int, Reset | None]:
        """Return where a client that has everything through ``since`` goes on.

        None means from now on. What is older than the records keep, or newer than they are
        (records that were restored), gives a :class:`Reset`.
        """
        if since is not None and self._covers(since):
            return since, None
        oldest, newest = await anyio.to_thread.run_sync(self._source.bounds)
        if since is None:
            return newest, None
        if oldest - 1 <= since <= newest:
            return since, None
        return newest, Reset(newest)

    async def take(self, cursor: int) -> list[Frame] | Reset:
        """Return the next frames above ``cursor``; wait until there are some.

        Never more than a page comes back. It returns an empty list when the hub closes.
        """
        while not self._closing.is_set():
            advanced = self._advanced
            if cursor < self._seq:
                return await self._page(cursor)
            await advanced.wait()
        return []

    async def _page(self, cursor: int) -> list[Frame] | Reset:
        if self._covers(cursor):
            start = bisect_right(self._ring, cursor, key=lambda frame: frame.seq)
            return self._ring[start : start + PAGE]
        changes = await anyio.to_thread.run_sync(self._source.after, cursor, PAGE)
        if not changes or changes[0].seq != cursor + 1:
            _, newest = await anyio.to_thread.run_sync(self._source.bounds)
            return Reset(newest)
        return [_frame(change) for change in changes]

    def _covers(self, cursor: int) -> bool:
        if cursor == self._seq:
            return True
        return bool(self._ring) and self._ring[0].seq - 1 <= cursor < self._seq

    async def _follow(self) -> None:
        while True:
            await self._wait()
            try:
                if self._seq < 0:
                    await self._begin()
                while await self._advance():
                    pass
            except EstateError as error:
                self._note(error)
            except Exception as error:  # noqa: BLE001 - the tail outlives any database error
                self._note(error, exc_info=True)
            else:
                if self.failing is not None:
                    log.info("the live sequence is followed again")
                    self.failing = None

    async def _begin(self) -> None:
        _, self._seq = await anyio.to_thread.run_sync(self._source.bounds)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self._woken.wait(), self._poll_s)
        except TimeoutError:
            return
        await asyncio.sleep(_GATHER_S)
        self._woken.clear()

    async def _advance(self) -> bool:
        """Read one page; tell whether there may be more."""
        changes = await anyio.to_thread.run_sync(self._source.after, self._seq, PAGE)
        if not changes:
            return False
        if changes[0].seq != self._seq + 1:  # trimmed past us, after a long outage
            self._ring.clear()
            self._bytes = 0
        for change in changes:
            frame = _frame(change)
            self._ring.append(frame)
            self._bytes += len(frame.body)
        self._trim()
        self._seq = changes[-1].seq
        self._tell()
        return len(changes) == PAGE

    def _tell(self) -> None:
        self._advanced.set()
        self._advanced = asyncio.Event()

    def _trim(self) -> None:
        """Keep the ring within its bounds; in one cut, not frame by frame."""
        surplus = max(len(self._ring) - self._ring_frames, 0)
        size = self._bytes - sum(len(frame.body) for frame in self._ring[:surplus])
        while size > self._ring_bytes and surplus < len(self._ring) - 1:
            size -= len(self._ring[surplus].body)
            surplus += 1
        if surplus:
            del self._ring[:surplus]
            self._bytes = size

    def _note(self, error: Exception, *, exc_info: bool = False) -> None:
        if self.failing is None:
            log.warning("the live sequence cannot be followed", why=str(error), exc_info=exc_info)
        self.failing = str(error)


def _frame(change: LiveChange) -> Frame:
    return Frame(change.seq, encode_event(change.topic, change.payload, change.seq))
