"""Frames ``[FE …] 68 … C L DATA CS 16``, as DL/T 645 and CJ/T 188 have them.

Addresses go low byte first; L counts the bytes of DATA; CS is the sum modulo 256 from the first
68h to the end of DATA. C: bit 7 reply, bit 6 error reply.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

START, END, WAKE = 0x68, 0x16, 0xFE
REPLY, ERROR = 0x80, 0x40
#: DL/T 645 allows so many bytes of data in a read's reply, and no answer that is read by
#: CJ/T 188 is longer; a longer length byte is noise.
LONGEST_DATA = 200
#: Stands for any byte of an address.
WILDCARD = "AA"


class CodecError(ValueError):
    """Bytes that break the protocol."""


class ControlCode:
    """The bits of a frame's control code that mean the same in both protocols."""

    __slots__ = ()
    control: int

    @property
    def is_reply(self) -> bool:
        """Tell whether a meter sent this frame."""
        return bool(self.control & REPLY)

    @property
    def is_error(self) -> bool:
        """Tell whether this is an error reply."""
        return bool(self.control & ERROR)


def address_bytes(address: str, size: int) -> bytes:
    """Return an address as it is sent; raise :class:`CodecError` unless it has ``size`` bytes."""
    try:
        raw = bytes.fromhex(address)[::-1]
    except ValueError:
        raw = b""
    if len(raw) != size:
        raise CodecError(f"not an address of {2 * size} digits: {address!r}")
    return raw


def sealed(head: bytes, data: bytes, wake: int) -> bytes:
    """Return a frame's bytes after ``wake`` FEh bytes; ``head`` is all that comes before L.

    ``data`` is as it is sent. Raises :class:`CodecError` when it is too long.
    """
    if len(data) > LONGEST_DATA:
        raise CodecError(f"{len(data)} data bytes; at most {LONGEST_DATA}")
    body = head + bytes((len(data),)) + data
    return bytes([WAKE]) * wake + body + bytes((sum(body) & 0xFF, END))


F = TypeVar("F", bound=ControlCode)


class FrameDecoder(ABC, Generic[F]):
    """Finds frames in a stream; what is not a frame is skipped and counted.

    It always finds its way back: a false start, a wrong checksum or a lost byte costs at most
    the frame it is in.
    """

    #: Where in a frame L stands.
    length_at: ClassVar[int]
    #: Where a second 68h stands, if anywhere.
    second_start_at: ClassVar[int | None] = None

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0
        """Bytes that belonged to no valid frame (FEh wake-up bytes not counted)."""

    @abstractmethod
    def _frame(self, raw: bytes) -> F:
        """Return the frame of the bytes from 68h to 16h, which are valid."""

    def clear(self) -> None:
        """Forget what has not become a frame yet."""
        self._discard(len(self._buffer))

    def feed(self, chunk: bytes) -> list[F]:
        """Take the next bytes and return the frames that are complete with them."""
        self._buffer += chunk
        frames: list[F] = []
        position = 0
        # Where a frame may have begun that is not complete; a complete one behind it wins.
        pending: int | None = None
        while (start := self._buffer.find(START, position)) >= 0:
            length = self._candidate(start)
            if length:
                frames.append(self._take(start, length))
                position, pending = 0, None
                continue
            if length is None and pending is None:
                pending = start
            position = start + 1
        self._discard(len(self._buffer) if pending is None else pending)
        return frames

    def _candidate(self, start: int) -> int | None:
        """Return the length of the valid frame at ``start``, None: too early, 0: no frame."""
        buffer = self._buffer
        available = len(buffer) - start
        second = self.second_start_at
        if second is not None and available > second and buffer[start + second] != START:
            return 0
        if available <= self.length_at:
            return None
        size = buffer[start + self.length_at]
        if size > LONGEST_DATA:
            return 0
        length = self.length_at + 1 + size + 2
        if available < length:
            return None
        checksum = start + length - 2
        good = sum(buffer[start:checksum]) & 0xFF == buffer[checksum]
        return length if good and buffer[checksum + 1] == END else 0

    def _take(self, start: int, length: int) -> F:
        raw = bytes(self._buffer[start : start + length])
        self._discard(start)
        del self._buffer[:length]
        return self._frame(raw)

    def _discard(self, count: int) -> None:
        lost = self._buffer[:count]
        self.skipped += len(lost) - lost.count(WAKE)
        del self._buffer[:count]
