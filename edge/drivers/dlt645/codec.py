"""DL/T 645-2007: frames, data identifiers and packed BCD.

Frame: ``[FE x 0..4] 68 A0..A5 68 C L DATA CS 16``. Addresses, identifiers and values go low
byte first; each data byte is sent with 33h added; CS is the sum modulo 256 from the first 68h
to the end of DATA. C: bit 7 reply, bit 6 error reply, bit 5 more frames follow, bits 4-0 the
function.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge.meters.frames import (
    START,
    WILDCARD,
    CodecError,
    ControlCode,
    FrameDecoder,
    address_bytes,
    sealed,
)

READ, READ_NEXT, READ_ADDRESS = 0x11, 0x12, 0x13
MORE = 0x20
_FUNCTION = 0x1F
_ADDRESS_SIZE = 6
_OFFSET = 0x33
#: In requests to read the high bytes alone may be so, too (shortened address).
ANY_ADDRESS = WILDCARD * _ADDRESS_SIZE

_ERROR_NAMES = (
    "other error", "no such data", "password or not authorised", "baud rate cannot be changed",
    "too many year zones", "too many day slots", "too many tariffs",
)  # fmt: skip
NO_DATA = 0x02


@dataclass(frozen=True, slots=True)
class Frame(ControlCode):
    """One frame; ``address`` has its high digit first and ``data`` is without the 33h offset.

    The data of an error reply is one byte of error bits.
    """

    address: str
    control: int
    data: bytes = b""

    @property
    def function(self) -> int:
        """Return the function (bits 4-0 of the control code)."""
        return self.control & _FUNCTION

    @property
    def has_more(self) -> bool:
        """Tell whether the rest of the data is to be asked for (read-next)."""
        return bool(self.control & MORE)


def encode(frame: Frame, wake: int = 4) -> bytes:
    """Return a frame's bytes after ``wake`` FEh bytes; raise :class:`CodecError`."""
    address = address_bytes(frame.address, _ADDRESS_SIZE)
    data = bytes((value + _OFFSET) & 0xFF for value in frame.data)
    return sealed(bytes((START, *address, START, frame.control)), data, wake)


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


class Decoder(FrameDecoder[Frame]):
    """Finds frames of DL/T 645 in a stream."""

    length_at = 9
    second_start_at = 7

    def _frame(self, raw: bytes) -> Frame:
        return Frame(
            address=raw[1:7][::-1].hex().upper(),
            control=raw[8],
            data=bytes((value - _OFFSET) & 0xFF for value in raw[10:-2]),
        )


def error_text(code: int) -> str:
    """Return what the bits of an error reply say."""
    names = [name for bit, name in enumerate(_ERROR_NAMES) if code >> bit & 1]
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
