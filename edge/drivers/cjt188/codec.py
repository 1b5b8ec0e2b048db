"""CJ/T 188: frames, units and the data of item 901F.

Frame: ``[FE …] 68 T A0..A6 C L DATA CS 16``. T is the kind of meter; the address goes low byte
first; CS is the sum modulo 256 from 68h to the end of DATA, which is sent as it is. C: bit 7
reply, bit 6 error. DATA of a question is the data identifier (two bytes) and a number SER that
the answer repeats; which byte of the identifier goes first differs between makers. (The text
of the standard was not at hand: this follows published frames and public implementations.)
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Literal

START, END, WAKE = 0x68, 0x16, 0xFE
READ, READ_ADDRESS = 0x01, 0x03
REPLY, ERROR = 0x80, 0x40
_FUNCTION = 0x3F
_OVERHEAD = 13
#: No answer of the items read here is longer; a longer length byte is noise.
LONGEST_DATA = 200
ANY_TYPE, ANY_ADDRESS = 0xAA, "AA" * 7
CURRENT_DATA, ADDRESS = 0x901F, 0x810A

Order = Literal["low", "high"]
Medium = Literal["water", "heat", "gas"]
StatusBits = Literal["low", "high"]
Valve = Literal["open", "closed", "fault"]

#: Unit code -> (what it measures, factor to m³, m³/h, kWh or W).
_UNITS: dict[int, tuple[str, float]] = {
    0x29: ("volume", 0.001), 0x2C: ("volume", 1.0),
    0x32: ("flow", 0.001), 0x35: ("flow", 1.0),
    0x02: ("energy", 0.001), 0x05: ("energy", 1.0), 0x08: ("energy", 1e3), 0x0A: ("energy", 1e5),
    0x01: ("energy", 1 / 3.6e6), 0x0B: ("energy", 1 / 3600), 0x0E: ("energy", 1 / 3.6),
    0x11: ("energy", 1000 / 3.6), 0x13: ("energy", 1e5 / 3.6),
    0x14: ("power", 1.0), 0x17: ("power", 1e3), 0x1A: ("power", 1e6),
}  # fmt: skip


class CodecError(ValueError):
    """Bytes that break CJ/T 188."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` has 14 digits, high byte (A6, the maker's code) first."""

    kind: int
    """The meter's type T: 10h to 19h water, 20h to 29h heat, 30h to 39h gas."""
    address: str
    control: int
    data: bytes = b""

    @property
    def function(self) -> int:
        """Return the function (bits 5-0 of the control code)."""
        return self.control & _FUNCTION

    @property
    def is_reply(self) -> bool:
        """Tell whether a meter sent this frame."""
        return bool(self.control & REPLY)

    @property
    def is_error(self) -> bool:
        """Tell whether this is an error reply."""
        return bool(self.control & ERROR)


def encode(frame: Frame, wake: int = 4) -> bytes:
    """Return a frame's bytes after ``wake`` FEh bytes; raise :class:`CodecError`."""
    if len(frame.data) > LONGEST_DATA:
        raise CodecError(f"{len(frame.data)} data bytes; at most {LONGEST_DATA}")
    try:
        address = bytes.fromhex(frame.address)[::-1]
    except ValueError:
        address = b""
    if len(address) != 7:
        raise CodecError(f"not an address of 14 digits: {frame.address!r}")
    body = bytes((START, frame.kind, *address, frame.control, len(frame.data))) + frame.data
    return bytes([WAKE]) * wake + body + bytes((sum(body) & 0xFF, END))


def identifier_bytes(identifier: int, order: Order) -> bytes:
    """Return a data identifier as it is sent: low byte first (1F 90), or high byte (90 1F)."""
    return identifier.to_bytes(2, "little" if order == "low" else "big")


def read_request(kind: int, address: str, order: Order, number: int) -> bytes:
    """Return the question for a meter's current data; the answer repeats ``number``."""
    data = identifier_bytes(CURRENT_DATA, order) + bytes((number,))
    return encode(Frame(kind, address, READ, data))


def address_request(order: Order, address: str = ANY_ADDRESS, kind: int = ANY_TYPE) -> bytes:
    """Return the question for a meter's address; it is in the answer's frame."""
    data = identifier_bytes(ADDRESS, order) + bytes(1)
    return encode(Frame(kind, address, READ_ADDRESS, data))


def medium_of(kind: int) -> Medium | None:
    """Return what a meter of a type measures; None for types of the maker's own."""
    media: dict[int, Medium] = {0x10: "water", 0x20: "heat", 0x30: "gas"}
    return media.get(kind & 0xF0) if kind & 0x0F <= 9 else None


class Decoder:
    """Finds frames in a stream; what is not a frame is skipped and counted."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.skipped = 0
        """Bytes that belonged to no valid frame (FEh wake-up bytes not counted)."""

    def clear(self) -> None:
        """Forget what has not become a frame yet."""
        self._discard(len(self._buffer))

    def feed(self, chunk: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that are complete with them."""
        self._buffer += chunk
        frames: list[Frame] = []
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
        if available < 11:
            return None
        size = buffer[start + 10]
        if size > LONGEST_DATA:
            return 0
        if available < size + _OVERHEAD:
            return None
        checksum = start + 11 + size
        good = sum(buffer[start:checksum]) & 0xFF == buffer[checksum]
        return size + _OVERHEAD if good and buffer[checksum + 1] == END else 0

    def _take(self, start: int, length: int) -> Frame:
        raw = bytes(self._buffer[start : start + length])
        self._discard(start)
        del self._buffer[:length]
        return Frame(raw[1], raw[2:9][::-1].hex().upper(), raw[9], raw[11:-2])

    def _discard(self, count: int) -> None:
        lost = self._buffer[:count]
        self.skipped += len(lost) - lost.count(WAKE)
        del self._buffer[:count]


@dataclass(frozen=True, slots=True)
class MeterData:
    """What item 901F says; volumes in m³, energies in kWh, powers in W, temperatures in °C."""

    volume_m3: float | None = None
    flow_m3_h: float | None = None
    heat_kwh: float | None = None
    power_w: float | None = None
    supply_c: float | None = None
    return_c: float | None = None
    clock: datetime | None = None
    status: int = 0
    """ST: the low byte is the standard's, the high byte the maker's own."""


def decode_current(medium: Medium, payload: bytes, utc_offset_h: float) -> MeterData:
    """Decode item 901F without identifier and number; raise :class:`CodecError`.

    Water and gas: volume, volume at the settlement day, clock, status. Heat: heat at the
    settlement day, heat, power, flow, volume, supply and return temperature, hours, clock,
    status. The settlement day's values are not taken over.
    """
    if medium == "heat":
        _expect(payload, 43)
        return MeterData(
            heat_kwh=_measured(payload[5:10], 2, "energy"),
            power_w=_measured(payload[10:15], 2, "power"),
            flow_m3_h=_measured(payload[15:20], 4, "flow"),
            volume_m3=_measured(payload[20:25], 2, "volume"),
            supply_c=_number(payload[25:28], 2),
            return_c=_number(payload[28:31], 2),
            clock=_clock(payload[34:41], utc_offset_h),
            status=int.from_bytes(payload[41:43], "little"),
        )
    _expect(payload, 19)
    return MeterData(
        volume_m3=_measured(payload[0:5], 2, "volume"),
        clock=_clock(payload[10:17], utc_offset_h),
        status=int.from_bytes(payload[17:19], "little"),
    )


_VALVE: tuple[Valve, ...] = ("open", "closed", "fault", "fault")


def valve_of(status: int, bits: StatusBits) -> Valve:
    """Return the valve's state from ST; 3 is a fault, 2 is not defined and taken for one."""
    raw = status & 3 if bits == "low" else status >> 6 & 3
    # Makers that count the bits from the top keep the two of the valve in the same order.
    return _VALVE[raw]


def battery_low(status: int, bits: StatusBits) -> bool:
    """Tell whether ST says that the battery is low."""
    return bool(status & (1 << 2 if bits == "low" else 1 << 5))


def _expect(payload: bytes, size: int) -> None:
    if len(payload) != size:
        raise CodecError(f"item 901F has {len(payload)} bytes, not {size}")


def _number(raw: bytes, decimals: int) -> float | None:
    """Return packed BCD, low byte first; None where all digits are F or blank."""
    if raw in (b"\xff" * len(raw), b"\xee" * len(raw)):
        return None
    text = raw[::-1].hex()
    if not text.isdecimal():
        raise CodecError(f"not BCD: {text.upper()}")
    return float(int(text) / 10**decimals)


def _measured(raw: bytes, decimals: int, quantity: str) -> float | None:
    value = _number(raw[:-1], decimals)
    if value is None:
        return None
    found, factor = _UNITS.get(raw[-1], ("", 0.0))
    if found != quantity:
        raise CodecError(f"unit {raw[-1]:02X} where a {quantity} is due")
    return round(value * factor, 9)


def _clock(raw: bytes, utc_offset_h: float) -> datetime | None:
    """Return ss mm hh DD MM YY CC as a moment; None where it is none."""
    zone = timezone(timedelta(hours=utc_offset_h))
    try:
        return datetime.strptime(raw[::-1].hex(), "%Y%m%d%H%M%S").replace(tzinfo=zone)
    except ValueError:
        return None
