"""DL/T 645-2007 frames and binary-coded decimals, as a meter sees them.

``[FE…] 68 A0..A5 68 C L DATA CS 16``: the address is 12 BCD digits, low byte first; each data
byte travels with 33h added; CS is the sum modulo 256 from the first 68 to the end of DATA.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.contracts.errors import ContractError

WAKE_UP = 0xFE
START = 0x68
END = 0x16
OFFSET = 0x33
#: Bytes of a frame around its data.
OVERHEAD = 12
#: The longest data field that the standard allows (reads 200, writes 50).
MAXIMUM_DATA = 200

READ = 0x11
READ_NEXT = 0x12
READ_ADDRESS = 0x13
BROADCAST_TIME = 0x08
REPLY = 0x80
MORE = 0x20
ERROR_REPLY = 0xC0
ERROR_OTHER = 0x01
ERROR_NO_DATA = 0x02

BROADCAST = "99" * 6
WILDCARD = "AA" * 6


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` is 12 digits, high byte first, and ``data`` has no offset."""

    address: str
    control: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as it travels, without the wake-up bytes."""
        body = bytes(
            (
                START,
                *reversed(bytes.fromhex(self.address)),
                START,
                self.control,
                len(self.data),
                *((byte + OFFSET) & 0xFF for byte in self.data),
            )
        )
        return body + bytes((sum(body) & 0xFF, END))


class FrameReader:
    """Cuts frames out of a byte stream and counts every byte that belongs to none."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0

    def feed(self, chunk: bytes) -> list[Frame]:
        """Add received bytes; return the whole frames that they complete."""
        self._buffer += chunk
        frames = []
        while (taken := self._take()) is not None:
            if isinstance(taken, Frame):
                frames.append(taken)
        return frames

    def _take(self) -> Frame | int | None:
        """Return a frame, the number of bytes skipped, or None when more bytes are needed."""
        buffer = self._buffer
        if not buffer:
            return None
        if buffer[0] == WAKE_UP:
            del buffer[0]
            return 1
        if buffer[0] != START or (len(buffer) > 7 and buffer[7] != START):
            return self._skip()
        if len(buffer) < OVERHEAD - 2:
            return None
        size = buffer[9]
        if size > MAXIMUM_DATA:
            return self._skip()
        total = size + OVERHEAD
        if len(buffer) < total:
            return None
        if buffer[total - 1] != END or sum(buffer[: total - 2]) & 0xFF != buffer[total - 2]:
            return self._skip()
        address = bytes(reversed(buffer[1:7])).hex().upper()
        data = bytes((byte - OFFSET) & 0xFF for byte in buffer[10 : total - 2])
        frame = Frame(address, buffer[8], data)
        del buffer[:total]
        return frame

    def _skip(self) -> int:
        del self._buffer[0]
        self.skipped += 1
        return 1


def bcd(value: float, decimals: int, size: int, *, signed: bool = False) -> bytes:
    """Encode a number as ``size`` bytes of packed decimals, low byte first.

    A signed item keeps its sign in the top bit. Raises :class:`ContractError` when the number
    does not fit, as a meter's display would overflow.
    """
    scaled = round(abs(value) * 10**decimals)
    digits = str(scaled).zfill(size * 2)
    limit = 8 * 10 ** (size * 2 - 1) if signed else 10 ** (size * 2)
    if scaled >= limit or (value < 0 and scaled and not signed):
        raise ContractError(f"{value} does not fit {size} bytes with {decimals} decimals")
    out = bytearray(reversed(bytes.fromhex(digits)))
    if value < 0 and scaled:
        out[-1] |= 0x80
    return bytes(out)


def matches(pattern: str, address: str) -> bool:
    """Tell whether a request's address means a meter: AA stands for any byte (from the top)."""
    pairs = [(pattern[at : at + 2], address[at : at + 2]) for at in range(0, 12, 2)]
    return all(asked in ("AA", own) for asked, own in pairs)


def collide(replies: list[bytes]) -> bytes:
    """Return what is heard when several answer at once; of one, its own bytes.

    On RS-485 the dominant level wins, so that the bits of all are mixed.
    """
    if not replies:
        return b""
    heard = bytearray(max(map(len, replies)))
    heard[:] = b"\xff" * len(heard)
    for reply in replies:
        for index, byte in enumerate(reply):
            heard[index] &= byte
    return bytes(heard)


def word(value: int) -> bytes:
    """Encode a status word, low byte first."""
    return value.to_bytes(2, "little")
