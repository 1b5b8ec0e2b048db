"""The line of DL/T 645 and CJ/T 188 meters, as they see it: frames in a stream, and who answers.

``[FE…] 68 … C L DATA CS 16``: CS is the sum modulo 256 from the first 68 to the end of DATA.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

WAKE_UP, START, END = 0xFE, 0x68, 0x16
#: The longest data field that DL/T 645 allows (reads 200, writes 50).
MAXIMUM_DATA = 200
_ANY = "AA"
_IDLE_S = 600.0

F = TypeVar("F")


def sealed(head: bytes, data: bytes) -> bytes:
    """Return a frame as it travels, without wake-up bytes; ``head`` is all in front of L."""
    body = head + bytes((len(data),)) + data
    return body + bytes((sum(body) & 0xFF, END))


def matches(pattern: str, address: str) -> bool:
    """Tell whether a request's address means a meter: AA stands for any byte (from the top)."""
    pairs = zip(range(0, len(address), 2), range(2, len(address) + 1, 2), strict=True)
    return all(pattern[at:end] in (_ANY, address[at:end]) for at, end in pairs)


def collide(replies: list[bytes]) -> bytes:
    """Return what is heard when several answer at once; of one, its own bytes.

    On RS-485 the dominant level wins, so that the bits of all are mixed.
    """
    heard = bytearray(b"\xff" * max(map(len, replies), default=0))
    for reply in replies:
        for index, byte in enumerate(reply):
            heard[index] &= byte
    return bytes(heard)


class FrameCutter(ABC, Generic[F]):
    """Cuts frames out of a byte stream and counts every byte that belongs to none."""

    #: Where the length byte stands, and a second 68 if there is one.
    length_at: ClassVar[int]
    second_start_at: ClassVar[int | None] = None

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0

    @abstractmethod
    def _frame(self, raw: bytes) -> F:
        """Return the frame of its bytes."""

    def feed(self, chunk: bytes) -> list[F]:
        """Add received bytes; return the whole frames that they complete."""
        self._buffer += chunk
        frames = []
        while self._buffer and (size := self._size()) is not None:
            if size:
                frames.append(self._frame(bytes(self._buffer[:size])))
            else:
                self.skipped += self._buffer[0] != WAKE_UP
            del self._buffer[: size or 1]
        return frames

    def _size(self) -> int | None:
        """Return the size of the frame at the front, 0: none is there, None: too early."""
        buffer, second = self._buffer, self.second_start_at
        if buffer[0] != START:
            return 0
        if second is not None and len(buffer) > second and buffer[second] != START:
            return 0
        if len(buffer) <= self.length_at:
            return None
        length = buffer[self.length_at]
        size = self.length_at + 1 + length + 2
        if length > MAXIMUM_DATA:
            return 0
        if len(buffer) < size:
            return None
        good = sum(buffer[: size - 2]) & 0xFF == buffer[size - 2] and buffer[size - 1] == END
        return size if good else 0


class MeterLine(ABC, Generic[F]):
    """The meters of one line and what they answer."""

    #: Wake-up bytes in front of an answer.
    wake_up_bytes: ClassVar[int]

    def __init__(self) -> None:
        self.answered = 0
        self.refused = 0
        self.unread_bytes = 0
        """Bytes that belonged to no frame."""

    @abstractmethod
    def _cutter(self) -> FrameCutter[F]:
        """Return what cuts a new connection's frames."""

    @abstractmethod
    def reply(self, request: F) -> bytes:
        """Return the bytes that follow a request on the line: of several who answer, a mess."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection."""
        frames = self._cutter()
        while True:
            async with asyncio.timeout(_IDLE_S):
                chunk = await reader.read(4096)
            if not chunk:
                return
            skipped = frames.skipped
            replies = [self.reply(frame) for frame in frames.feed(chunk)]
            self.unread_bytes += frames.skipped - skipped
            for reply in replies:
                if reply:
                    writer.write(bytes((WAKE_UP,)) * self.wake_up_bytes + reply)
            await writer.drain()
