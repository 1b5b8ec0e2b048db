"""A DL/T 645-2007 gateway: several meters behind one TCP socket, as on one RS-485 line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices import dlt645
from simulators.devices.dlt645 import Frame, FrameReader, bcd, word
from simulators.devices.listener import Listener
from simulators.devices.meter_model import MeterModel, MeterState
from simulators.rhythms import local

Encoder = Callable[[MeterState, datetime], bytes]
_IDLE_S = 600.0


def _kwh(value: float) -> bytes:
    return bcd(value % 1_000_000, 2, 4)


def _kw(watts: float) -> bytes:
    return bcd(watts / 1000, 4, 3, signed=True)


def _volts(value: float) -> bytes:
    return bcd(value, 1, 2)


def _amperes(value: float) -> bytes:
    return bcd(value, 3, 3, signed=True)


def _date_and_weekday(_: MeterState, now: datetime) -> bytes:
    digits = now.strftime("%y%m%d") + f"{now.isoweekday() % 7:02d}"
    return bytes(reversed(bytes.fromhex(digits)))


def _time_of_day(_: MeterState, now: datetime) -> bytes:
    return bytes(reversed(bytes.fromhex(now.strftime("%H%M%S"))))


#: What every meter can be asked, by data identifier.
_COMMON: dict[int, Encoder] = {
    0x00000000: lambda state, _: _kwh(state.energy_kwh),
    0x00010000: lambda state, _: _kwh(state.energy_kwh),
    0x00020000: lambda _state, _: _kwh(0),
    0x02030000: lambda state, _: _kw(state.power_w),
    0x02060000: lambda state, _: bcd(state.power_factor, 3, 2, signed=True),
    0x02800002: lambda state, _: bcd(state.frequency_hz, 2, 2),
    0x02800004: lambda state, _: bcd(state.demand_w / 1000, 4, 3),
    0x02800007: lambda state, _: bcd(state.temperature_c, 1, 2, signed=True),
    0x04000101: _date_and_weekday,
    0x04000102: _time_of_day,
    0x03110000: lambda _state, _: bcd(0, 0, 3),
    0x03300D00: lambda _state, _: bcd(0, 0, 3),
    0x03300E00: lambda _state, _: bcd(0, 0, 3),
}
#: What only a three-phase meter can be asked: the blocks of all phases.
_THREE_PHASE: dict[int, Encoder] = {
    0x0201FF00: lambda state, _: b"".join(map(_volts, state.voltage_v)),
    0x0202FF00: lambda state, _: b"".join(map(_amperes, state.current_a)),
    0x0203FF00: lambda state, _: b"".join(map(_kw, (state.power_w, *state.phase_w))),
}


def encode_item(identifier: int, state: MeterState, now: datetime) -> bytes | None:
    """Encode one data item; None when this meter does not have it."""
    if encoder := _COMMON.get(identifier):
        return encoder(state, now)
    phases = len(state.voltage_v)
    if phases == 3 and (encoder := _THREE_PHASE.get(identifier)):
        return encoder(state, now)
    group, phase = identifier >> 16, identifier >> 8 & 0xFF
    if identifier & 0xFF == 0 and 1 <= phase <= phases:
        if group == 0x0201:
            return _volts(state.voltage_v[phase - 1])
        if group == 0x0202:
            return _amperes(state.current_a[phase - 1])
        if group == 0x0203:
            return _kw(state.phase_w[phase - 1])
    if 0x04000501 <= identifier <= 0x04000507:
        return word(state.status_words[identifier - 0x04000501])
    return None


class MeterGateway:
    """Answers for its meters on one TCP port; ``meters`` maps 12-digit addresses to models."""

    def __init__(
        self, clock: Clock, meters: dict[str, MeterModel], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        for address in meters:
            if len(address) != 12 or not address.isdecimal():
                raise ContractError(f"{address!r} is not a meter address", remedy="12 digits")
        self._clock = clock
        self._meters = meters
        self._listener = Listener(self._serve, host=host, port=port)
        self.answered = 0
        self.refused = 0
        self.unread_bytes = 0
        """Bytes that belonged to no frame."""

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
            skipped = frames.skipped
            replies = [self.answer(frame) for frame in frames.feed(chunk)]
            self.unread_bytes += frames.skipped - skipped
            for reply in replies:
                if reply is not None:
                    writer.write(bytes((dlt645.WAKE_UP,)) * 4 + reply.encode())
            await writer.drain()

    def answer(self, request: Frame) -> Frame | None:
        """Return the reply to a request, or None where a meter stays silent."""
        if request.control & dlt645.REPLY or request.address == dlt645.BROADCAST:
            return None
        address = request.address
        if address == dlt645.WILDCARD:
            # On a shared line every meter would answer at once, and none could be read.
            if len(self._meters) != 1:
                return None
            address = next(iter(self._meters))
        meter = self._meters.get(address)
        if meter is None or not meter.answers:
            return None
        if request.control == dlt645.READ_ADDRESS and not request.data:
            self.answered += 1
            data = bytes(reversed(bytes.fromhex(address)))
            return Frame(address, dlt645.READ_ADDRESS | dlt645.REPLY, data)
        if request.control == dlt645.READ and len(request.data) >= 4:
            return self._read(address, meter, request)
        return self._refuse(address, request, dlt645.ERROR_OTHER)

    def _read(self, address: str, meter: MeterModel, request: Frame) -> Frame:
        identifier = request.data[:4]
        now_ms = self._clock.now_ms()
        item = encode_item(int.from_bytes(identifier, "little"), meter.state(now_ms), local(now_ms))
        if item is None:
            return self._refuse(address, request, dlt645.ERROR_NO_DATA)
        self.answered += 1
        return Frame(address, dlt645.READ | dlt645.REPLY, identifier + item)

    def _refuse(self, address: str, request: Frame, error: int) -> Frame:
        self.refused += 1
        return Frame(address, request.control | dlt645.ERROR_REPLY, bytes((error,)))
