"""CJ/T 188 meters on one line, behind a TCP gateway: frames and the gateway.

``[FE…] 68 T A0..A6 C L DATA CS 16``: T is the meter's type, the address goes low byte first,
CS is the sum modulo 256 from 68 to the end of DATA.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices.dlt645 import collide
from simulators.devices.listener import Listener
from simulators.devices.water_meter import FlowMeterModel, FlowMeterState
from simulators.rhythms import local

WAKE_UP, START, END = 0xFE, 0x68, 0x16
OVERHEAD = 13
MAXIMUM_DATA = 200
READ, READ_ADDRESS = 0x01, 0x03
REPLY, ERROR_REPLY = 0x80, 0xC0
CURRENT_DATA, ADDRESS = b"\x1f\x90", b"\x0a\x81"
M3, M3_H, KWH, KW = 0x2C, 0x35, 0x05, 0x17
_ANY = "AA"
_IDLE_S = 600.0


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame; ``address`` is 14 digits, high byte first."""

    kind: int
    address: str
    control: int
    data: bytes = b""

    def encode(self) -> bytes:
        """Return the frame as it travels, without the wake-up bytes."""
        address = bytes(reversed(bytes.fromhex(self.address)))
        body = bytes((START, self.kind, *address, self.control, len(self.data))) + self.data
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
        while self._buffer:
            size = self._size()
            if size is None:
                break
            if size == 0:
                self.skipped += self._buffer[0] != WAKE_UP
                del self._buffer[0]
                continue
            raw, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
            address = bytes(reversed(raw[2:9])).hex().upper()
            frames.append(Frame(raw[1], address, raw[9], raw[11:-2]))
        return frames

    def _size(self) -> int | None:
        """Return the size of the frame at the front, 0: none is there, None: too early."""
        buffer = self._buffer
        if buffer[0] != START:
            return 0
        if len(buffer) < OVERHEAD - 2:
            return None
        size = buffer[10] + OVERHEAD
        if buffer[10] > MAXIMUM_DATA:
            return 0
        if len(buffer) < size:
            return None
        good = sum(buffer[: size - 2]) & 0xFF == buffer[size - 2] and buffer[size - 1] == END
        return size if good else 0


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


class FlowMeterGateway:
    """Answers for its meters on one TCP port; ``meters`` maps 14-digit addresses to models."""

    def __init__(
        self, clock: Clock, meters: dict[str, FlowMeterModel], *,
        host: str = "127.0.0.1", port: int = 0, high_byte_first: bool = False,
    ) -> None:  # fmt: skip
        """``high_byte_first``: identifiers go as 90 1F, as some makers have it."""
        for address in meters:
            if len(address) != 14 or not address.isalnum():
                raise ContractError(f"{address!r} is not a meter address", remedy="14 digits")
        self._clock = clock
        self._meters = meters
        self._turn = -1 if high_byte_first else 1
        self._listener = Listener(self._serve, host=host, port=port)
        self.answered = 0
        self.refused = 0

    @property
    def port(self) -> int:
        """Return the port that the gateway listens on."""
        return self._listener.port

    @property
    def listener(self) -> Listener:
        """Return the socket, which a scenario may close for a while."""
        return self._listener

    async def start(self) -> None:
        """Listen."""
        await self._listener.start()

    async def stop(self) -> None:
        """Close every connection."""
        await self._listener.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        frames = FrameReader()
        while True:
            async with asyncio.timeout(_IDLE_S):
                chunk = await reader.read(4096)
            if not chunk:
                return
            for reply in [self.reply(frame) for frame in frames.feed(chunk)]:
                if reply:
                    writer.write(bytes((WAKE_UP,)) * 3 + reply)
            await writer.drain()

    def reply(self, request: Frame) -> bytes:
        """Return the bytes that follow a request on the line: of several who answer, a mess."""
        if request.control & REPLY:
            return b""
        meant = [
            self._answer(address, meter, request)
            for address, meter in self._meters.items()
            if meter.answers and _means(request, address, meter.kind)
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


def _means(request: Frame, address: str, kind: int) -> bool:
    pairs = [(request.address[at : at + 2], address[at : at + 2]) for at in range(0, 14, 2)]
    same = all(asked in (_ANY, own) for asked, own in pairs)
    return same and request.kind in (0xAA, kind)
