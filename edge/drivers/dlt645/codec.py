"""DL/T 645-2007: frames, data identifiers and packed BCD.

Frame: ``[FE x 0..4] 68 A0..A5 68 C L DATA CS 16``. Addresses, identifiers and values go low
byte first; each data byte is sent with 33h added; CS is the sum modulo 256 from the first 68h
to the end of DATA. C: bit 7 reply, bit 6 error reply, bit 5 more frames follow, bits 4-0 the
function.
"""

from __future__ import annotations

from dataclasses import dataclass

START, END, WAKE = 0x68, 0x16, 0xFE
READ, READ_NEXT, READ_ADDRESS = 0x11, 0x12, 0x13
REPLY, ERROR, MORE = 0x80, 0x40, 0x20
_FUNCTION = 0x1F
#: The standard allows 200 data bytes in a read's reply.
LONGEST_DATA = 200
_OVERHEAD = 12
_OFFSET = 0x33
#: Stands for any address byte; in requests to read the high bytes may be so (shortened address).
WILDCARD = "AA"
ANY_ADDRESS = WILDCARD * 6

ERROR_NAMES = (
    "other error", "no such data", "password or not authorised", "baud rate cannot be changed",
    "too many year zones", "too many day slots", "too many tariffs",
)  # fmt: skip
NO_DATA = 0x02


class CodecError(ValueError):
    """Bytes that break DL/T 645-2007."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` has its high digit first and ``data`` is without the 33h offset."""

    address: str
    control: int
    data: bytes = b""

    @property
    def function(self) -> int:
        """Return the function (bits 4-0 of the control code)."""
        return self.control & _FUNCTION

    @property
    def is_reply(self) -> bool:
        """Tell whether a meter sent this frame."""
        return bool(self.control & REPLY)

    @property
    def has_more(self) -> bool:
        """Tell whether the rest of the data is to be asked for (read-next)."""
        return bool(self.control & MORE)

    @property
    def is_error(self) -> bool:
        """Tell whether this is an error reply; its data is then one byte of error bits."""
        return bool(self.control & ERROR)


def encode(frame: Frame, wake: int = 4) -> bytes:
    """Return a frame's bytes after ``wake`` FEh bytes; raise :class:`CodecError`."""
    if len(frame.data) > LONGEST_DATA:
        raise CodecError(f"{len(frame.data)} data bytes; at most {LONGEST_DATA}")
    try:
        address = bytes.fromhex(frame.address)[::-1]
    except ValueError:
        address = b""
    if len(address) != 6:
        raise CodecError(f"not an address of 12 digits: {frame.address!r}")
    body = bytes((START, *address, START, frame.control, len(frame.data)))
    body += bytes((value + _OFFSET) & 0xFF for value in frame.data)
    return bytes([WAKE]) * wake + body + bytes((sum(body) & 0xFF, END))


def read_request(address: str, identifier: int) -> bytes:
    """Return the request that reads one data identifier of one meter."""
    return encode(Frame(address, READ, identifier.to_bytes(4, "little")))


def next_request(address: str, identifier: int, sequence: int) -> bytes:
    """Return the request for a following frame of an answer; the first of them is number 1."""
    data = identifier.to_bytes(4, "little") + bytes((sequence,))
    return encode(Frame(address, READ_NEXT, data))


def address_request(address: str = ANY_ADDRESS) -> bytes:
    """Return the request for a meter's address; without one it goes to whoever is there."""
    return encode(Frame(address, READ_ADDRESS))


def matches(pattern: str, address: str) -> bool:
    """Tell whether an address is meant by a pattern with AA for any byte."""
    pairs = zip(range(0, 12, 2), range(2, 13, 2), strict=True)
    return len(pattern) == len(address) == 12 and all(
        pattern[start:end] in (WILDCARD, address[start:end]) for start, end in pairs
    )


class Decoder:
    """Finds frames in a stream; what is not a frame is skipped and counted.

    It always finds its way back: a false start, a wrong checksum or a lost byte costs at most
    the frame it is in.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0
        """Bytes that belonged to no valid frame (FEh wake-up bytes not counted)."""

    def clear(self) -> None:
        """Forget what has not become a frame yet."""
        self.skipped += len(self._buffer)
        self._buffer.clear()

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that are complete with them."""
        self._buffer += chunk
        frames: list[Frame] = []
        position = 0
        # Where a frame may have begun that is not complete; a complete one behind it wins.
        pending: int | None = None
        while (start := self._buffer.find(START, position)) >= 0:
            length = self._candidate(start)
            if length == 0:
                position = start + 1
            elif length is None:
                pending = start if pending is None else pending
                position = start + 1
            else:
                frames.append(self._take(start, length))
                position, pending = 0, None
        self._discard(len(self._buffer) if pending is None else pending)
        return frames

    def _candidate(self, start: int) -> int | None:
        """Return the length of the valid frame at ``start``, None: too early, 0: no frame."""
        buffer = self._buffer
        available = len(buffer) - start
        if available > 7 and buffer[start + 7] != START:
            return 0
        if available < 10:
            return None
        size = buffer[start + 9]
        if size > LONGEST_DATA:
            return 0
        if available < size + _OVERHEAD:
            return None
        checksum = start + 10 + size
        if buffer[checksum + 1] != END:
            return 0
        if sum(buffer[start:checksum]) & 0xFF != buffer[checksum]:
            return 0
        return size + _OVERHEAD

    def _take(self, start: int, length: int) -> Frame:
        raw = bytes(self._buffer[start : start + length])
        self._discard(start)
        del self._buffer[:length]
        return Frame(
            address=raw[1:7][::-1].hex().upper(),
            control=raw[8],
            data=bytes((value - _OFFSET) & 0xFF for value in raw[10:-2]),
        )

    def _discard(self, count: int) -> None:
        lost = self._buffer[:count]
        self.skipped += len(lost) - lost.count(WAKE)
        del self._buffer[:count]


def error_text(code: int) -> str:
    """Return what the bits of an error reply say."""
    names = [name for bit, name in enumerate(ERROR_NAMES) if code >> bit & 1]
    return ", ".join(names) or "no reason given"


def decode_bcd(raw: bytes, *, signed: bool = False) -> int | None:
    """Return packed BCD (low byte first) as an integer of its last digit's unit.

    With ``signed`` the top bit of the last byte is the sign. All FFh means "not available"
    and gives None. Raises :class:`CodecError` where a digit is above 9.
    """
    if not raw:
        raise CodecError("a value without bytes")
    if raw == b"\xff" * len(raw):
        return None
    digits = bytearray(raw[::-1])
    negative = signed and bool(digits[0] & 0x80)
    if signed:
        digits[0] &= 0x7F
    text = digits.hex()
    if not text.isdecimal():
        raise CodecError(f"not BCD: {raw[::-1].hex().upper()}")
    return -int(text) if negative else int(text)


def encode_bcd(value: int, size: int, *, signed: bool = False) -> bytes:
    """Return an integer as packed BCD of ``size`` bytes; raise :class:`CodecError`."""
    digits = f"{abs(value):0{size * 2}d}"
    if len(digits) > size * 2 or (signed and digits[0] > "7") or (value < 0 and not signed):
        raise CodecError(f"{value} does not fit {size} bytes of BCD")
    raw = bytearray.fromhex(digits)
    if value < 0:
        raw[0] |= 0x80
    return bytes(raw[::-1])
