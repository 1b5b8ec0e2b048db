"""OSDP packets as they stand on the line, for judging it: who answered what, and how quickly.

``[FF] 53 addr len_lo len_hi ctrl [security block] code data [MAC] check``: a reply has 80h
added to its address, ``ctrl`` holds the sequence number in its bits 0 and 1, bit 2 says that
the check is a CRC-16 (else a sum) and bit 3 that a security block follows. The length runs from
53 to the end of the check. libosdp does the talking; what it does not tell (which command a
reader refused, when it last answered) is read here, and the code of a packet is in clear even
where its data are not.
"""

from __future__ import annotations

import binascii
from dataclasses import dataclass
from enum import IntEnum

_START = 0x53
_HEADER = 5
_REPLY = 0x80
_SEQUENCE, _CRC, _SECURE = 0x03, 0x04, 0x08
_LONGEST = 1440
_MAC_BYTES = 4
#: Security blocks of a session (15h to 18h): four bytes of authentication before the check.
_SESSION = range(0x15, 0x19)
_ENCRYPTED = frozenset({0x17, 0x18})


class Code(IntEnum):
    """Codes of commands and replies that this driver judges by."""

    ID = 0x61
    CAP = 0x62
    LSTAT = 0x64
    ISTAT = 0x65
    OUT = 0x68
    KEYSET = 0x75
    CHLNG = 0x76
    SCRYPT = 0x77
    NAK = 0x41
    RAW = 0x50


@dataclass(frozen=True, slots=True)
class Packet:
    """One whole packet with a right check; ``data`` is what follows its code."""

    address: int
    reply: bool
    sequence: int
    code: int
    data: bytes
    block: int | None = None
    """The type of the security block, None in clear."""

    @property
    def encrypted(self) -> bool:
        """Tell whether the data are enciphered."""
        return self.block in _ENCRYPTED


class PacketReader:
    """Cuts packets out of a byte stream; counts the bytes that belong to none."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0

    def clear(self) -> None:
        """Forget a packet that has not come whole."""
        self._buffer.clear()

    def feed(self, chunk: bytes) -> list[Packet]:
        """Add received bytes; return the packets that are whole with them."""
        self._buffer += chunk
        found: list[Packet] = []
        while self._buffer:
            start = self._buffer.find(_START)
            if start != 0:
                self._skip(len(self._buffer) if start < 0 else start)
                continue
            if len(self._buffer) < _HEADER:
                break
            length = int.from_bytes(self._buffer[2:4], "little")
            if not _HEADER + 2 <= length <= _LONGEST:
                self._skip(1)
                continue
            if len(self._buffer) < length:
                break
            packet = parse(bytes(self._buffer[:length]))
            if packet is None:
                self._skip(1)
                continue
            del self._buffer[:length]
            found.append(packet)
        return found

    def _skip(self, count: int) -> None:
        # The mark byte before a packet belongs to it.
        self.skipped += count - self._buffer[:count].count(0xFF)
        del self._buffer[:count]


def parse(raw: bytes) -> Packet | None:
    """Return the packet of exactly these bytes; None where its check or its length is wrong."""
    control = raw[4]
    if control & _CRC:
        body, check = raw[:-2], int.from_bytes(raw[-2:], "little")
        right = check == crc16(body)
    else:
        body, check = raw[:-1], raw[-1]
        right = (sum(raw) & 0xFF) == 0
    at, block = _HEADER, None
    if control & _SECURE and len(body) > _HEADER + 1:
        size, block = body[_HEADER], body[_HEADER + 1]
        at += max(size, 2)
        if block in _SESSION:
            body = body[:-_MAC_BYTES]
    if not right or at >= len(body):
        return None
    return Packet(
        raw[1] & ~_REPLY,
        bool(raw[1] & _REPLY),
        control & _SEQUENCE,
        body[at],
        body[at + 1 :],
        block,
    )


def crc16(data: bytes) -> int:
    """Return OSDP's CRC-16: polynomial 1021h, begun with 1D0Fh, not reflected."""
    return binascii.crc_hqx(data, 0x1D0F)
