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

from edge.meters.frames import (
    START,
    WILDCARD,
    CodecError,
    ControlCode,
    FrameDecoder,
    address_bytes,
    sealed,
)

READ, READ_ADDRESS = 0x01, 0x03
_FUNCTION = 0x3F
_ADDRESS_SIZE = 7
ANY_TYPE, ANY_ADDRESS = 0xAA, WILDCARD * _ADDRESS_SIZE
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


@dataclass(frozen=True, slots=True)
class Frame(ControlCode):
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


def encode(frame: Frame, wake: int = 4) -> bytes:
    """Return a frame's bytes after ``wake`` FEh bytes; raise :class:`CodecError`."""
    address = address_bytes(frame.address, _ADDRESS_SIZE)
    return sealed(bytes((START, frame.kind, *address, frame.control)), frame.data, wake)


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


class Decoder(FrameDecoder[Frame]):
    """Finds frames of CJ/T 188 in a stream."""

    length_at = 10

    def _frame(self, raw: bytes) -> Frame:
        return Frame(raw[1], raw[2:9][::-1].hex().upper(), raw[9], raw[11:-2])


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
