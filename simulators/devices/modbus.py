"""Modbus servers: TCP and RTU over TCP, with what goes wrong behind them.

A peer answers for several units, each with a bank of registers and its own faults. The codec is
written from the Modbus application protocol (V1.1b3) and shares nothing with the edge.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from simulators.devices.listener import Listener
from simulators.devices.peer import SocketPeer

Table = Literal["coil", "discrete", "input", "holding"]
Framing = Literal["tcp", "rtu"]

ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE = 1, 2, 3
DEVICE_FAILURE, BUSY = 4, 6

_READS: dict[int, Table] = {1: "coil", 2: "discrete", 3: "holding", 4: "input"}
_WRITE_COIL, _WRITE_REGISTER, _WRITE_COILS, _WRITE_REGISTERS, _IDENTIFY = 5, 6, 15, 16, 43
_MOST_BITS, _MOST_REGISTERS = 2_000, 125
_IDLE_S = 600.0
_LONGEST_REQUEST = 256
_HEADER = 7


class ModbusError(Exception):
    """A bank answers with a Modbus exception."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"exception {code}")


class Bank:
    """The registers of one device; what it does not have is refused."""

    identification: Mapping[int, str] = {}
    """Objects of function 43/14; empty: the device does not know the function."""

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return registers, or bits as 0 and 1; raise :class:`ModbusError`."""
        del table, address, count
        raise ModbusError(ILLEGAL_FUNCTION)

    def write(self, table: Table, address: int, values: list[int]) -> None:
        """Take what is written; raise :class:`ModbusError`."""
        del table, address, values
        raise ModbusError(ILLEGAL_FUNCTION)


class Registers(Bank):
    """Registers that stand in a table: address -> value for each kind."""

    def __init__(
        self,
        tables: Mapping[Table, dict[int, int]],
        *,
        writable: frozenset[Table] = frozenset(),
        identification: Mapping[int, str] | None = None,
    ) -> None:
        self.tables = dict(tables)
        self._writable = writable
        self.identification = identification or {}

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return registers; all of them must exist."""
        return pick(self.tables.get(table), address, count)

    def write(self, table: Table, address: int, values: list[int]) -> None:
        """Change registers of a table that can be written."""
        if table not in self._writable:
            raise ModbusError(ILLEGAL_FUNCTION)
        pick(self.tables.get(table), address, len(values))
        for offset, value in enumerate(values):
            self.tables[table][address + offset] = value


def pick(values: Mapping[int, int] | None, address: int, count: int) -> list[int]:
    """Return neighbouring values; raise :class:`ModbusError` when one does not exist."""
    if values is None:
        raise ModbusError(ILLEGAL_FUNCTION)
    try:
        return [values[address + offset] for offset in range(count)]
    except KeyError:
        raise ModbusError(ILLEGAL_ADDRESS) from None


@dataclass
class UnitFaults:
    """What is wrong with one unit, to be set while it runs."""

    silent: bool = False
    exception: int | None = None
    """Answers everything with this exception (4 device failure, 6 busy …)."""
    unreached: int | None = None
    """The gateway answers for it with 0Ah or 0Bh."""
    stuck: bool = False
    """Its registers stand still while the device goes on."""
    answers_as: int | None = None
    """Another unit's number stands in its answers."""
    delay_s: float = 0.0
    spoil_crc: bool = False
    """Its check sums are wrong (RTU)."""
    _until: float = 0.0
    _frozen: dict[tuple[str, int, int], list[int]] = field(default_factory=dict)

    def reboot(self, seconds: float) -> None:
        """Be silent for so long (real time), as a device that starts anew."""
        self._until = time.monotonic() + seconds

    @property
    def rebooting(self) -> bool:
        """Tell whether it is starting."""
        return time.monotonic() < self._until

    def frozen(self, key: tuple[str, int, int], values: list[int]) -> list[int]:
        """Return the values, or those of before it got stuck."""
        if not self.stuck:
            self._frozen[key] = values
        return self._frozen.get(key, values)


@dataclass
class Unit:
    """One device on the line."""

    bank: Bank
    faults: UnitFaults = field(default_factory=UnitFaults)
    asked: int = 0
    """Requests so far, answered or not."""

    def answer(self, pdu: bytes) -> bytes:
        """Return the answer to a request, from its function on."""
        function = pdu[0]
        if self.faults.exception is not None:
            return bytes((function | 0x80, self.faults.exception))
        try:
            return bytes((function,)) + self._do(function, pdu[1:])
        except ModbusError as error:
            return bytes((function | 0x80, error.code))
        except (struct.error, IndexError):
            return bytes((function | 0x80, ILLEGAL_VALUE))

    def _do(self, function: int, data: bytes) -> bytes:
        if function in _READS:
            return self._read(_READS[function], *struct.unpack(">HH", data[:4]))
        if function == _IDENTIFY:
            return self._identify(data)
        address, value = struct.unpack(">HH", data[:4])
        if function == _WRITE_COIL:
            if value not in (0, 0xFF00):
                raise ModbusError(ILLEGAL_VALUE)
            self.bank.write("coil", address, [int(value > 0)])
        elif function == _WRITE_REGISTER:
            self.bank.write("holding", address, [value])
        elif function == _WRITE_COILS:
            self.bank.write("coil", address, unpack_bits(data[5:], value))
        elif function == _WRITE_REGISTERS:
            self.bank.write("holding", address, list(struct.unpack(f">{value}H", data[5:])))
        else:
            raise ModbusError(ILLEGAL_FUNCTION)
        return data[:4]

    def _read(self, table: Table, address: int, count: int) -> bytes:
        bits = table in ("coil", "discrete")
        if not 1 <= count <= (_MOST_BITS if bits else _MOST_REGISTERS):
            raise ModbusError(ILLEGAL_VALUE)
        values = self.bank.read(table, address, count)
        values = self.faults.frozen((table, address, count), values)
        body = pack_bits(values) if bits else struct.pack(f">{count}H", *values)
        return bytes((len(body),)) + body

    def _identify(self, data: bytes) -> bytes:
        if not self.bank.identification or data[0] != 0x0E:
            raise ModbusError(ILLEGAL_FUNCTION)
        objects = b"".join(
            bytes((number, len(text.encode()))) + text.encode()
            for number, text in sorted(self.bank.identification.items())
        )
        head = bytes((0x0E, data[1], 1, 0, 0, len(self.bank.identification)))
        return head + objects


def pack_bits(values: list[int]) -> bytes:
    """Return bits as bytes, the first in the lowest bit."""
    packed = bytearray((len(values) + 7) // 8)
    for index, value in enumerate(values):
        packed[index // 8] |= (value & 1) << index % 8
    return bytes(packed)


def unpack_bits(data: bytes, count: int) -> list[int]:
    """Return the first bits of some bytes."""
    return [data[index // 8] >> index % 8 & 1 for index in range(count)]


def crc(data: bytes) -> bytes:
    """Return the check sum of an RTU frame, low byte first."""
    value = 0xFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0xA001 if value & 1 else 0)
    return value.to_bytes(2, "little")


class Line:
    """Takes requests out of a stream of bytes and answers them."""

    def __init__(self, units: Mapping[int, Unit], framing: Framing) -> None:
        self._units = units
        self._framing = framing
        self._buffer = b""

    async def feed(self, chunk: bytes, writer: asyncio.StreamWriter) -> None:
        """Take what came in and answer what is whole."""
        self._buffer += chunk
        for prefix, number, pdu in self._requests():
            unit = self._units.get(number)
            answer = None if unit is None else await _ask(unit, pdu)
            if unit is None or answer is None:
                continue
            shown = number if unit.faults.answers_as is None else unit.faults.answers_as
            writer.write(self._frame(prefix, shown, answer, spoilt=unit.faults.spoil_crc))
            await writer.drain()

    def _frame(self, prefix: bytes, number: int, pdu: bytes, *, spoilt: bool) -> bytes:
        if self._framing == "tcp":
            return prefix + struct.pack(">HHB", 0, len(pdu) + 1, number) + pdu
        frame = bytes((number,)) + pdu
        check = crc(frame)
        return frame + (bytes((check[0] ^ 0xFF, check[1])) if spoilt else check)

    def _requests(self) -> Iterator[tuple[bytes, int, bytes]]:
        """Yield (transaction, unit, PDU) of each whole request."""
        return self._tcp_requests() if self._framing == "tcp" else self._rtu_requests()

    def _tcp_requests(self) -> Iterator[tuple[bytes, int, bytes]]:
        while len(self._buffer) > _HEADER:
            protocol, size = struct.unpack(">HH", self._buffer[2:6])
            if protocol or not 2 <= size <= _LONGEST_REQUEST:
                raise ConnectionResetError("not Modbus TCP")
            if len(self._buffer) < size + 6:
                return
            request, self._buffer = self._buffer[: size + 6], self._buffer[size + 6 :]
            yield request[:2], request[6], request[_HEADER:]

    def _rtu_requests(self) -> Iterator[tuple[bytes, int, bytes]]:
        while len(self._buffer) >= 4:
            size = _request_size(self._buffer)
            if size is None:
                return
            frame = self._buffer[:size]
            if len(frame) < size:
                return
            if crc(frame[:-2]) != frame[-2:]:
                self._buffer = self._buffer[1:]  # hunt for the next beginning
                continue
            self._buffer = self._buffer[size:]
            yield b"", frame[0], frame[1:-2]


async def _ask(unit: Unit, pdu: bytes) -> bytes | None:
    faults = unit.faults
    unit.asked += 1
    if faults.delay_s:
        await asyncio.sleep(faults.delay_s)
    if faults.unreached is not None:
        return bytes((pdu[0] | 0x80, faults.unreached))
    if faults.silent or faults.rebooting:
        return None
    return unit.answer(pdu)


def _request_size(buffer: bytes) -> int | None:
    """Return the size of the RTU request at the head of a buffer, None while unknown."""
    function = buffer[1]
    if function in (_WRITE_COILS, _WRITE_REGISTERS):
        return 9 + buffer[6] if len(buffer) > 6 else None
    return 7 if function == _IDENTIFY else 8


class ModbusUnits:
    """Units by their numbers, and how they answer on a connection."""

    def __init__(self, banks: Mapping[int, Bank], framing: Framing) -> None:
        self.units = {number: Unit(bank) for number, bank in banks.items()}
        self._framing = framing

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer what comes over one connection."""
        line = Line(self.units, self._framing)
        while True:
            async with asyncio.timeout(_IDLE_S):
                chunk = await reader.read(1024)
            if not chunk:
                return
            await line.feed(chunk, writer)


class ModbusPeer(ModbusUnits, SocketPeer):
    """A gateway on TCP with units behind it; ``framing`` rtu is a transparent serial server."""

    def __init__(
        self,
        banks: Mapping[int, Bank],
        *,
        framing: Framing = "tcp",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        ModbusUnits.__init__(self, banks, framing)
        SocketPeer.__init__(self, Listener(self.serve, host=host, port=port))
