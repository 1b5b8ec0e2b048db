"""DL/T 645-2007 meters on one line: behind a TCP gateway's socket, or a serial port."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.devices import dlt645
from simulators.devices.dlt645 import Frame, FrameReader, bcd, word
from simulators.devices.listener import Listener
from simulators.devices.meter_line import MAXIMUM_DATA, MeterLine, collide, matches
from simulators.devices.meter_model import CAPACITY_KWH, TARIFF_SHARES, MeterModel, MeterState
from simulators.devices.peer import SerialPeer, SocketPeer
from simulators.rhythms import local

Encoder = Callable[[MeterState], bytes]
#: Registers that a bad transmission may show as 0.
_REGISTERS = frozenset({0x00000000, 0x00010000})


def _kwh(value: float) -> bytes:
    return bcd(value % CAPACITY_KWH, 2, 4)


def _kw(watts: float) -> bytes:
    return bcd(watts / 1000, 4, 3, signed=True)


def _volts(value: float) -> bytes:
    return bcd(value, 1, 2)


def _amperes(value: float) -> bytes:
    return bcd(value, 3, 3, signed=True)


def _digits(text: str) -> bytes:
    return bytes(reversed(bytes.fromhex(text)))


def _date_and_weekday(state: MeterState) -> bytes:
    now = local(state.clock_ms)
    return _digits(now.strftime("%y%m%d") + f"{now.isoweekday() % 7:02d}")


def _time_of_day(state: MeterState) -> bytes:
    return _digits(local(state.clock_ms).strftime("%H%M%S"))


def _tariffs(state: MeterState) -> tuple[float, ...]:
    return tuple(state.energy_kwh * share for share in TARIFF_SHARES)


def _demand_max(state: MeterState) -> bytes:
    at = local(state.demand_max_at).strftime("%y%m%d%H%M")
    return bcd(state.demand_max_w / 1000, 4, 3, signed=True) + _digits(at)


def _words(state: MeterState) -> bytes:
    return b"".join(map(word, state.status_words))


#: What every meter can be asked, by data identifier.
_COMMON: dict[int, Encoder] = {
    0x00000000: lambda state: _kwh(state.energy_kwh),
    0x00010000: lambda state: _kwh(state.energy_kwh),
    0x0001FF00: lambda state: b"".join(map(_kwh, (state.energy_kwh, *_tariffs(state)))),
    0x00020000: lambda state: _kwh(state.export_kwh),
    0x01010000: _demand_max,
    0x02030000: lambda state: _kw(state.power_w),
    0x02060000: lambda state: bcd(state.power_factor, 3, 2, signed=True),
    0x02800002: lambda state: bcd(state.frequency_hz, 2, 2),
    0x02800004: lambda state: bcd(state.demand_w / 1000, 4, 3),
    0x02800007: lambda state: bcd(state.temperature_c, 1, 2, signed=True),
    0x04000101: _date_and_weekday,
    0x04000102: _time_of_day,
    0x04000402: lambda state: _digits(state.number),
    0x040005FF: _words,
}
#: What only a three-phase meter can be asked: the blocks of all phases.
_THREE_PHASE: dict[int, Encoder] = {
    0x0201FF00: lambda state: b"".join(map(_volts, state.voltage_v)),
    0x0202FF00: lambda state: b"".join(map(_amperes, state.current_a)),
    0x0203FF00: lambda state: b"".join(map(_kw, (state.power_w, *state.phase_w))),
}


def encode_item(identifier: int, state: MeterState) -> bytes | None:
    """Encode one data item; None when this meter does not have it."""
    if encoder := _COMMON.get(identifier):
        return encoder(state)
    phases = len(state.voltage_v)
    if phases == 3 and (encoder := _THREE_PHASE.get(identifier)):
        return encoder(state)
    if identifier in state.counts:
        return _counter(state.counts[identifier], single=identifier >= 0x03110000)
    group, phase = identifier >> 16, identifier >> 8 & 0xFF
    if identifier & 0xFF == 0 and 1 <= phase <= phases:
        if group == 0x0201:
            return _volts(state.voltage_v[phase - 1])
        if group == 0x0202:
            return _amperes(state.current_a[phase - 1])
        if group == 0x0203:
            return _kw(state.phase_w[phase - 1])
    if group == 0x0001 and identifier & 0xFF == 0 and 1 <= phase <= len(TARIFF_SHARES):
        return _kwh(_tariffs(state)[phase - 1])
    if 0x04000501 <= identifier <= 0x04000507:
        return word(state.status_words[identifier - 0x04000501])
    return None


def _counter(counts: tuple[int, ...], *, single: bool) -> bytes:
    """Encode a count, or for each phase a count and the minutes that it lasted."""
    if single:
        return bcd(counts[0], 0, 3)
    return b"".join(bcd(count, 0, 3) + bcd(5 * count, 0, 3) for count in counts)


class ElectricityLine(MeterLine[Frame]):
    """Meters by their 12-digit addresses."""

    wake_up_bytes = 4

    def __init__(self, clock: Clock, meters: dict[str, MeterModel]) -> None:
        for address in meters:
            if len(address) != 12 or not address.isdecimal():
                raise ContractError(f"{address!r} is not a meter address", remedy="12 digits")
        super().__init__()
        self._clock = clock
        self._meters = meters
        self.frame_bytes = MAXIMUM_DATA - 4
        """An answer longer than this goes out in several frames."""

    def _cutter(self) -> FrameReader:
        return FrameReader()

    def reply(self, request: Frame) -> bytes:
        """Return the bytes that follow a request on the line: of several who answer, a mess."""
        if request.control & dlt645.REPLY or request.address == dlt645.BROADCAST:
            return b""
        meant = [
            self._answer(Frame(address, request.control, request.data), meter)
            for address, meter in self._meters.items()
            if meter.answers and matches(request.address, address)
        ]
        return collide([frame.encode() for frame in meant if frame is not None])

    def _answer(self, request: Frame, meter: MeterModel) -> Frame | None:
        if request.control == dlt645.READ_ADDRESS and not request.data:
            self.answered += 1
            control = dlt645.READ_ADDRESS | dlt645.REPLY
            return Frame(request.address, control, _digits(request.address))
        if request.control == dlt645.READ and len(request.data) >= 4:
            return self._read(request, meter, 0)
        if request.control == dlt645.READ_NEXT and len(request.data) == 5 and request.data[4]:
            return self._read(request, meter, request.data[4])
        return self._refuse(request, dlt645.ERROR_OTHER)

    def _read(self, request: Frame, meter: MeterModel, sequence: int) -> Frame | None:
        identifier = request.data[:4]
        number = int.from_bytes(identifier, "little")
        if number in meter.faults.silent:
            return None
        item = None
        if number not in meter.faults.missing:
            item = encode_item(number, meter.state(self._clock.now_ms()))
        piece = None if item is None else self._piece(item, sequence)
        if item is None or piece is None:
            return self._refuse(request, dlt645.ERROR_NO_DATA)
        if number in _REGISTERS and meter.faults.zero_reads:
            meter.faults.zero_reads -= 1
            piece = bytes(len(piece))
        self.answered += 1
        control = request.control | dlt645.REPLY
        control |= dlt645.MORE if len(item) > (sequence + 1) * self.frame_bytes else 0
        tail = bytes((sequence,)) if sequence else b""
        return Frame(request.address, control, identifier + piece + tail)

    def _piece(self, item: bytes, sequence: int) -> bytes | None:
        """Return the part of an answer that goes into one frame; None beyond its end."""
        start = sequence * self.frame_bytes
        return item[start : start + self.frame_bytes] if start < max(len(item), 1) else None

    def _refuse(self, request: Frame, error: int) -> Frame:
        self.refused += 1
        return Frame(request.address, request.control | dlt645.ERROR_REPLY, bytes((error,)))


class MeterGateway(ElectricityLine, SocketPeer):
    """A gateway's TCP port and the meters on its line."""

    def __init__(
        self, clock: Clock, meters: dict[str, MeterModel], *, host: str = "127.0.0.1", port: int = 0
    ) -> None:
        ElectricityLine.__init__(self, clock, meters)
        SocketPeer.__init__(self, Listener(self.serve, host=host, port=port))


class SerialMeters(ElectricityLine, SerialPeer):
    """Meters on a serial port: a pseudo-terminal, found at ``path``."""

    def __init__(self, clock: Clock, meters: dict[str, MeterModel], path: Path) -> None:
        ElectricityLine.__init__(self, clock, meters)
        SerialPeer.__init__(self, self.serve, path)
