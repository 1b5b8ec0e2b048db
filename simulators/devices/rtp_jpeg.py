"""JPEG pictures in RTP packets (RFC 2435): baseline, 4:2:0, tables in the first packet."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

PAYLOAD_TYPE = 26
CLOCK_HZ = 90_000
_MTU = 1_400
_TYPE_420 = 1
#: Above 127 the quantisation tables travel with the picture.
_Q_IN_BAND = 255


class UnfitJpegError(ValueError):
    """A JPEG that RFC 2435 cannot carry; the message says why."""


@dataclass(frozen=True, slots=True)
class Jpeg:
    """What of a JPEG file travels: its size, its quantisation tables and its scan."""

    width: int
    height: int
    tables: bytes
    scan: bytes


def parse(jpeg: bytes) -> Jpeg:
    """Take a baseline JPEG with the standard Huffman tables apart.

    Raises :class:`UnfitJpegError`.
    """
    at = 2
    tables: dict[int, bytes] = {}
    size: tuple[int, int] | None = None
    while at + 4 <= len(jpeg):
        marker, length = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        body = jpeg[at + 4 : at + 2 + length]
        if marker == 0xDB:
            tables.update(_quantisation(body))
        elif marker == 0xC0:
            size = _frame(body)
        elif 0xC1 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            raise UnfitJpegError("not a baseline JPEG")
        elif marker == 0xDD and int.from_bytes(body[:2], "big"):
            raise UnfitJpegError("restart intervals")
        elif marker == 0xDA:
            if size is None or set(tables) != {0, 1}:
                raise UnfitJpegError("no frame header or not two quantisation tables")
            end = len(jpeg) - 2 if jpeg.endswith(b"\xff\xd9") else len(jpeg)
            return Jpeg(*size, tables[0] + tables[1], jpeg[at + 2 + length : end])
        at += 2 + length
    raise UnfitJpegError("no scan")


def packets(
    jpeg: Jpeg, *, sequence: int, timestamp: int, source: int, mtu: int = _MTU
) -> Iterator[bytes]:
    """Yield the RTP packets of one picture; the last one has the marker bit."""
    offset = 0
    while offset < len(jpeg.scan):
        head = struct.pack(
            ">B3sBBBB", 0, offset.to_bytes(3, "big"), _TYPE_420, _Q_IN_BAND,
            jpeg.width // 8, jpeg.height // 8,
        )  # fmt: skip
        if offset == 0:
            head += struct.pack(">BBH", 0, 0, len(jpeg.tables)) + jpeg.tables
        part = jpeg.scan[offset : offset + mtu - len(head)]
        offset += len(part)
        last = 0x80 if offset >= len(jpeg.scan) else 0
        yield struct.pack(
            ">BBHII", 0x80, last | PAYLOAD_TYPE, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, source
        ) + head + part  # fmt: skip
        sequence += 1


def _quantisation(body: bytes) -> dict[int, bytes]:
    found = {}
    while body:
        if body[0] >> 4:
            raise UnfitJpegError("16-bit quantisation tables")
        found[body[0] & 15] = body[1:65]
        body = body[65:]
    return found


def _frame(body: bytes) -> tuple[int, int]:
    height, width = int.from_bytes(body[1:3], "big"), int.from_bytes(body[3:5], "big")
    sampling = [body[7 + 3 * index] for index in range(body[5])]
    if sampling != [0x22, 0x11, 0x11]:
        raise UnfitJpegError("not three components in 4:2:0")
    if width % 8 or height % 8 or width > 2040 or height > 2040:
        raise UnfitJpegError(f"{width} x {height}: the sides must be multiples of 8 up to 2040")
    return width, height
