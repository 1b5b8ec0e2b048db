"""Which bytes on the line are the answer to the question at hand.

pymodbus takes an answer for the right one by its transaction id and unit alone: on a serial
line, where there is no id, a late answer passes for the next one, and a byte of noise before a
frame spoils the whole buffer. It hands every buffer through a ``trace_packet`` hook, and this
is where the frame is picked strictly: by id, unit, function, length and check sum.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pymodbus.framer.rtu import FramerRTU

_HEADER = 7  # transaction, protocol, length, unit
_MOST_PDU = 253
_ERROR = 0x80
_BIT_READS, _WORD_READS, _WRITES = (1, 2), (3, 4), (5, 6, 15, 16)
_IDENTIFICATION = 7  # function, MEI type, code, conformity, more, next object, objects


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer must agree with."""

    transaction: int
    unit: int
    function: int
    pdu_size: int | None
    """Bytes of a good answer from its function on; None: it says so itself (function 43)."""


def question(framing: Literal["tcp", "rtu"], packet: bytes) -> Question:
    """Return what answers a request, given the request as it is sent."""
    if framing == "tcp":
        transaction, unit, pdu = int.from_bytes(packet[:2], "big"), packet[6], packet[_HEADER:]
    else:
        transaction, unit, pdu = 0, packet[0], packet[1:-2]
    function = pdu[0]
    count = int.from_bytes(pdu[3:5], "big")
    size: int | None = None
    if function in _BIT_READS:
        size = 2 + (count + 7) // 8
    elif function in _WORD_READS:
        size = 2 + 2 * count
    elif function in _WRITES:
        size = 5
    return Question(transaction, unit, function, size)


class AnswerFilter:
    """Picks the frame that answers the last request out of what has come in."""

    def __init__(self, framing: Literal["tcp", "rtu"]) -> None:
        self._framing = framing
        self._question: Question | None = None
        self.received = 0
        """Bytes that came in since the request."""
        self.spoilt: str | None = None
        """Why the stream cannot be followed any more (Modbus TCP only)."""
        self.late = 0
        """Answers to earlier requests, ever."""

    def ask(self, packet: bytes) -> None:
        """Note the request that is sent now."""
        self._question = question(self._framing, packet)
        self.received = 0
        self.spoilt = None

    def pick(self, buffer: bytes) -> bytes:
        """Return the frame of the answer, empty while it is not there."""
        if self._question is None:
            return b""
        self.received = len(buffer)
        asked = self._question
        frame = self._tcp(buffer, asked) if self._framing == "tcp" else _rtu(buffer, asked)
        if frame:
            self._question = None
        return frame

    def _tcp(self, buffer: bytes, asked: Question) -> bytes:
        while len(buffer) > _HEADER and self.spoilt is None:
            size = int.from_bytes(buffer[4:6], "big")
            if buffer[2:4] != b"\0\0" or not 2 < size <= _MOST_PDU + 1:
                self.spoilt = f"{buffer[:_HEADER].hex(' ')} is no Modbus TCP header"
                break
            frame, rest = buffer[: size + 6], buffer[size + 6 :]
            if len(frame) < size + 6:
                break
            if int.from_bytes(frame[:2], "big") not in (asked.transaction, 0):
                self.late += 1
                buffer = rest
                continue
            self.spoilt = _mismatch(frame[6], frame[_HEADER:], asked)
            return b"" if self.spoilt else frame
        return b""


def _mismatch(unit: int, pdu: bytes, asked: Question) -> str | None:
    if unit != asked.unit and asked.unit:
        return f"unit {unit} answers instead of unit {asked.unit}"
    if pdu[0] == asked.function | _ERROR:
        return None if len(pdu) == 2 else f"an error reply of {len(pdu)} bytes"
    if pdu[0] != asked.function:
        return f"function {pdu[0]} answers function {asked.function}"
    if asked.pdu_size is not None and len(pdu) != asked.pdu_size:
        return f"{len(pdu)} bytes answer instead of {asked.pdu_size}"
    return None


def _rtu(buffer: bytes, asked: Question) -> bytes:
    for at in range(len(buffer) - 4):
        if buffer[at] != asked.unit or buffer[at + 1] & ~_ERROR != asked.function:
            continue
        if buffer[at + 1] & _ERROR:
            size: int | None = 2
        else:
            size = asked.pdu_size or _identification_size(buffer[at + 1 :])
        if size is None:
            continue
        frame = buffer[at : at + size + 3]
        if len(frame) == size + 3 and checked(frame):
            return frame
    return b""


def checked(frame: bytes) -> bool:
    """Tell whether an RTU frame's check sum is right."""
    return FramerRTU.check_CRC(frame[:-2], int.from_bytes(frame[-2:], "big"))


def _identification_size(pdu: bytes) -> int | None:
    """Return the size of an answer of function 43 from its function on, None while unknown."""
    size = _IDENTIFICATION
    if len(pdu) < size:
        return None
    for _ in range(pdu[size - 1]):
        if len(pdu) < size + 2:
            return None
        size += 2 + pdu[size + 1]
    return size
