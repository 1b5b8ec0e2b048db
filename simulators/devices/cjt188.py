"""CJ/T 188 meters on one line, behind a TCP gateway: frames and the gateway.

``[FE…] 68 T A0..A6 C L DATA CS 16``: T is the meter's type, the address goes low byte first,
CS is the sum modulo 256 from 68 to the end of DATA.
"""

from __future__ import annotations

from dataclasses import dataclass

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.listener import Listener
from simulators.devices.meter_line import (
    START,
    FrameCutter,
    MeterLine,
    collide,
    matches,
    sealed,
)
from simulators.devices.peer import SocketPeer
from simulators.devices.water_meter import FlowMeterModel, FlowMeterState
from simulators.rhythms import local

READ, READ_ADDRESS = 0x01, 0x03
REPLY, ERROR_REPLY = 0x80, 0xC0
CURRENT_DATA, ADDRESS = b"\x1f\x90", b"\x0a\x81"
M3, M3_H, KWH, KW = 0x2C, 0x35, 0x05, 0x17
_ANY_TYPE = 0xAA


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` is 14 digits, high byte first."""

    kind: int
    address: str
    control: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as it travels, without the wake-up bytes."""
        address = bytes.fromhex(self.address)[::-1]
        return sealed(bytes((START, self.kind, *address, self.control)), self.data)


class FrameReader(FrameCutter[Frame]):
    """Cuts frames of CJ/T 188 out of a byte stream."""

    length_at = 10

    def _frame(self, raw: bytes) -> Frame:
        return Frame(raw[1], raw[2:9][::-1].hex().upper(), raw[9], raw[11:-2])


def bcd(value: float, decimals: int, size: int) -> bytes:
    """Encode a number as packed decimals, low byte first; it begins again at its capacity."""
    scaled = round(max(value, 0.0) * 10**decimals) % 10 ** (2 * size)
    return bytes(reversed(bytes.fromhex(str(scaled).zfill(2 * size))))


def current_data(kind: int, state: FlowMeterState) -> bytes:
    """Encode item 901F: what a water or gas meter, or a heat meter, says of itself."""
    clock = bytes(reversed(bytes.fromhex(local(state.clock_ms).strftime("%Y%m%d%H%M%S"))))
    status = state.status.to_bytes(2, "little")
    volume = bcd(state.volume_m3, 2, 4) + bytes((M3,))
    settled = bcd(state.settled_m3, 2, 4) + bytes((M3,))
    if kind & 0xF0 != 0x20:
        return volume + settled + clock + status
    heat = bcd(state.heat_kwh, 2, 4) + bytes((KWH,))
    power = bcd(state.power_w / 1000, 2, 4) + bytes((KW,))
    flow = bcd(state.flow_m3_h, 4, 4) + bytes((M3_H,))
    temperatures = bcd(state.supply_c, 2, 3) + bcd(state.return_c, 2, 3)
    hours = bcd(state.hours, 0, 3)
    return heat + heat + power + flow + volume + temperatures + hours + clock + status


class FlowMeterGateway(MeterLine[Frame], SocketPeer):
    """Answers for its meters, by their 14-digit addresses, on one TCP port."""

    wake_up_bytes = 3

    def __init__(
        self, clock: Clock, meters: dict[str, FlowMeterModel], *,
        host: str = "127.0.0.1", port: int = 0, high_byte_first: bool = False,
    ) -> None:  # fmt: skip
        """``high_byte_first``: identifiers go as 90 1F, as some makers have it."""
        for address in meters:
            if len(address) != 14 or not address.isalnum():
                raise ContractError(f"{address!r} is not a meter address", remedy="14 digits")
        MeterLine.__init__(self)
        SocketPeer.__init__(self, Listener(self.serve, host=host, port=port))
        self._clock = clock
        self._meters = meters
        self._turn = -1 if high_byte_first else 1

    def _cutter(self) -> FrameReader:
        return FrameReader()

    def reply(self, request: Frame) -> bytes:
        """Return the bytes that follow a request on the line: of several who answer, a mess."""
        if request.control & REPLY:
            return b""
        meant = [
            self._answer(address, meter, request)
            for address, meter in self._meters.items()
            if meter.answers
            and request.kind in (_ANY_TYPE, meter.kind)
            and matches(request.address, address)
        ]
        return collide([frame.encode() for frame in meant])

    def _answer(self, address: str, meter: FlowMeterModel, request: Frame) -> Frame:
        identifier, number = request.data[:2], request.data[2:3]
        if request.control == READ_ADDRESS and identifier == ADDRESS[:: self._turn]:
            self.answered += 1
            return Frame(meter.kind, address, READ_ADDRESS | REPLY, identifier + number)
        if request.control == READ and identifier == CURRENT_DATA[:: self._turn]:
            self.answered += 1
            state = meter.state(self._clock.now_ms())
            data = identifier + number + current_data(meter.kind, state)
            return Frame(meter.kind, address, READ | REPLY, data)
        self.refused += 1
        status = meter.state(self._clock.now_ms()).status.to_bytes(2, "little")
        return Frame(meter.kind, address, request.control | ERROR_REPLY, number + status)
