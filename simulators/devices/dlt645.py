"""DL/T 645-2007 frames and binary-coded decimals, as a meter sees them.

``[FE…] 68 A0..A5 68 C L DATA CS 16``: the address is 12 BCD digits, low byte first; each data
byte travels with 33h added; CS is the sum modulo 256 from the first 68 to the end of DATA.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.contracts.errors import ContractError
from simulators.devices.meter_line import START, FrameCutter, sealed

OFFSET = 0x33

READ = 0x11
READ_NEXT = 0x12
READ_ADDRESS = 0x13
REPLY = 0x80
MORE = 0x20
ERROR_REPLY = 0xC0
ERROR_OTHER = 0x01
ERROR_NO_DATA = 0x02

BROADCAST = "99" * 6


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` is 12 digits, high byte first, and ``data`` has no offset."""

    address: str
    control: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as it travels, without the wake-up bytes."""
        address = bytes.fromhex(self.address)[::-1]
        data = bytes((byte + OFFSET) & 0xFF for byte in self.data)
        return sealed(bytes((START, *address, START, self.control)), data)


class FrameReader(FrameCutter[Frame]):
    """Cuts frames of DL/T 645 out of a byte stream."""

    length_at = 9
    second_start_at = 7

    def _frame(self, raw: bytes) -> Frame:
        data = bytes((byte - OFFSET) & 0xFF for byte in raw[10:-2])
        return Frame(raw[1:7][::-1].hex().upper(), raw[8], data)


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


def word(value: int) -> bytes:
    """Encode a status word, low byte first."""
    return value.to_bytes(2, "little")
