"""Register banks of meters and sensors, driven by their models."""

from __future__ import annotations

import struct
from collections.abc import Callable
from math import pi, sin

from core.runtime.clock import Clock
from simulators.devices.meter_model import MeterModel, MeterState
from simulators.devices.modbus import ILLEGAL_FUNCTION, Bank, ModbusError, Table, pick
from simulators.rhythms import hour_of_day
from simulators.seeds import unit_noise

Words = dict[int, int]


def words_u32(value: float) -> list[int]:
    """Return a counter of 32 bits, which rolls over, high word first."""
    raw = int(value) % (1 << 32)
    return [raw >> 16, raw & 0xFFFF]


def words_f32(value: float) -> list[int]:
    """Return an IEEE 754 float of 32 bits, high word first."""
    return list(struct.unpack(">HH", struct.pack(">f", value)))


def words_i16(value: float) -> list[int]:
    """Return a signed number of 16 bits."""
    return [round(value) & 0xFFFF]


def _lay(place: Words, address: int, words: list[int]) -> None:
    for offset, word in enumerate(words):
        place[address + offset] = word


def _phases(values: tuple[float, ...]) -> tuple[float, ...]:
    return (*values, 0.0, 0.0)[:3]


def acrel(state: MeterState, *, ct: float = 40, pt: float = 1) -> Words:
    """Lay a state out as Acrel's ADL3000: secondary values, to be multiplied by the ratios."""
    place: Words = dict.fromkeys((*range(0x1E), *range(97, 120)), 0)
    _lay(place, 0x0000, words_u32(state.energy_kwh * 100 / (ct * pt)))
    _lay(place, 0x000A, words_u32(state.energy_kwh * 100 / (ct * pt)))
    for index, volts in enumerate(_phases(state.voltage_v)):
        _lay(place, 97 + index, words_i16(volts * 10 / pt))
    for index, amperes in enumerate(_phases(state.current_a)):
        _lay(place, 100 + index, words_i16(amperes * 100 / ct))
    for index, watts in enumerate((*_phases(state.phase_w), state.power_w)):
        _lay(place, 103 + index, words_i16(watts / (ct * pt)))
    _lay(place, 118, words_i16(state.power_factor * 1000))
    _lay(place, 119, words_i16(state.frequency_hz * 100))
    return place


def eastron(state: MeterState) -> Words:
    """Lay a state out as Eastron's SDM630: floats in pairs of input registers."""
    place: Words = dict.fromkeys(range(80), 0)
    for index in range(3):
        _lay(place, 2 * index, words_f32(_phases(state.voltage_v)[index]))
        _lay(place, 6 + 2 * index, words_f32(_phases(state.current_a)[index]))
        _lay(place, 12 + 2 * index, words_f32(_phases(state.phase_w)[index]))
    _lay(place, 52, words_f32(state.power_w))
    _lay(place, 62, words_f32(state.power_factor))
    _lay(place, 70, words_f32(state.frequency_hz))
    _lay(place, 72, words_f32(state.energy_kwh))
    _lay(place, 74, words_f32(0))
    return place


def chint(state: MeterState) -> Words:
    """Lay a state out as Chint's DTSU666: floats in tenths and thousandths."""
    place: Words = dict.fromkeys((*range(0x2000, 0x2050), *range(0x4000, 0x402A)), 0)
    for index in range(3):
        _lay(place, 0x2006 + 2 * index, words_f32(_phases(state.voltage_v)[index] * 10))
        _lay(place, 0x200C + 2 * index, words_f32(_phases(state.current_a)[index] * 1000))
        _lay(place, 0x2014 + 2 * index, words_f32(_phases(state.phase_w)[index] * 10))
    _lay(place, 0x2012, words_f32(state.power_w * 10))
    _lay(place, 0x202A, words_f32(state.power_factor * 1000))
    _lay(place, 0x2044, words_f32(state.frequency_hz * 100))
    _lay(place, 0x401E, words_f32(state.energy_kwh))
    return place


#: Make of meter -> (table, layout, what it says of itself).
LAYOUTS: dict[str, tuple[Table, Callable[[MeterState], Words], dict[int, str]]] = {
    "acrel": ("holding", acrel, {}),
    "eastron": ("input", eastron, {}),
    "chint": ("holding", chint, {0: "CHINT", 1: "DTSU666", 2: "2.0"}),
}


class MeterBank(Bank):
    """An electricity meter: ``acrel`` (with 40:1 transformers), ``eastron`` or ``chint``."""

    def __init__(self, clock: Clock, model: MeterModel, make: str) -> None:
        self.model = model
        self._clock = clock
        self._table, self._layout, self.identification = LAYOUTS[make]

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return the registers of this moment."""
        if table != self._table:
            raise ModbusError(ILLEGAL_FUNCTION)
        return pick(self._layout(self.model.state(self._clock.now_ms())), address, count)


class PulseBank(Bank):
    """A pulse counter on a water or gas meter: 32 bits in holding registers 0 and 1."""

    def __init__(self, clock: Clock, *, pulses_h: float = 60.0, start: int = 0) -> None:
        self._clock = clock
        self._since = clock.now_ms()
        self._start = start
        self.pulses_h = pulses_h

    @property
    def pulses(self) -> int:
        """Return the count."""
        passed_h = (self._clock.now_ms() - self._since) / 3_600_000
        return int(self._start + self.pulses_h * passed_h) % (1 << 32)

    def set(self, pulses: int) -> None:
        """Set the count, as an exchange of the counter does."""
        self._start, self._since = pulses, self._clock.now_ms()

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return the counter."""
        if table != "holding":
            raise ModbusError(ILLEGAL_FUNCTION)
        return pick(dict(enumerate(words_u32(self.pulses))), address, count)


class SensorBank(Bank):
    """A temperature and humidity transmitter: input registers 0 and 1 in tenths."""

    def __init__(self, clock: Clock, seed: int, name: str) -> None:
        self._clock = clock
        self._seed = seed
        self._name = name
        self.broken = False
        """The probe is broken: the device says so with its error values."""

    @property
    def temperature_c(self) -> float:
        """Return the temperature, which follows the day."""
        now = self._clock.now_ms()
        noise = unit_noise(self._seed, self._name, "temperature", now // 60_000)
        return 22 + 5 * sin((hour_of_day(now) - 9) * pi / 12) + 0.3 * noise

    @property
    def humidity(self) -> float:
        """Return the relative humidity (%)."""
        now = self._clock.now_ms()
        noise = unit_noise(self._seed, self._name, "humidity", now // 60_000)
        return 55 - 10 * sin((hour_of_day(now) - 9) * pi / 12) + noise

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return both, or the error values 8000h and FFFFh."""
        if table != "input":
            raise ModbusError(ILLEGAL_FUNCTION)
        values = [0x8000, 0xFFFF]
        if not self.broken:
            values = [words_i16(self.temperature_c * 10)[0], words_i16(self.humidity * 10)[0]]
        return pick(dict(enumerate(values)), address, count)
