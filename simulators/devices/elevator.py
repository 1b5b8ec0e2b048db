"""A lift controller's Modbus TCP interface: holding registers 0 to 17, read only.

0 service mode, 1 car running, 2 direction, 3 door zone (1 in, 2 out), 4 floor (signed), 5 door
(1 fully closed, 2 not), 6 passengers (1 occupied, 2 empty), 7 power (1 on, 2 off), 8 alarm
button, 9 load (kg), 10 and 11 running hours, 12 and 13 runs, 14 and 15 door cycles (each 32
bits, high word first), 16 and 17 fault codes (0 none).
"""

from __future__ import annotations

import socket
from functools import partial

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from core.runtime.clock import Clock
from simulators.devices.elevator_model import CarState, ElevatorModel
from simulators.devices.listener import bind

REGISTERS = 18
_READ_HOLDING = 3


def encode_registers(state: CarState) -> list[int]:
    """Return the 18 registers that tell a car's state."""
    return [
        int(state.mode),
        int(state.moving),
        state.direction,
        1 if state.in_door_zone else 2,
        state.floor & 0xFFFF,
        1 if state.door_closed else 2,
        1 if state.occupied else 2,
        1 if state.power_on else 2,
        int(state.alarm),
        state.load_kg,
        *_words(state.running_h),
        *_words(state.trips),
        *_words(state.door_cycles),
        *state.faults,
    ]


def _words(value: int) -> tuple[int, int]:
    return value >> 16 & 0xFFFF, value & 0xFFFF


class ElevatorPeer:
    """One lift behind its own Modbus TCP port."""

    def __init__(
        self,
        clock: Clock,
        model: ElevatorModel,
        *,
        unit: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.model = model
        self._clock = clock
        self._unit = unit
        self._host = host
        self._port = port
        self._server: _Server | None = None
        self._reserved: socket.socket | None = None
        self.reads = 0

    @property
    def port(self) -> int:
        """Return the port; the one asked for before the start."""
        return self._port

    @property
    def open(self) -> bool:
        """Tell whether the lift answers."""
        return self._server is not None

    async def start(self) -> None:
        """Listen on the port, or on another one when it is taken."""
        if self._server is not None:
            return
        sock = self._reserved or bind(self._host, self._port)
        self._reserved = None
        self._port = sock.getsockname()[1]
        device = SimDevice(
            id=self._unit,
            simdata=[SimData(0, values=[0] * REGISTERS, datatype=DataType.REGISTERS)],
            action=self._answer,
        )
        self._server = _Server(device, sock)
        await self._server.serve_forever(background=True)

    async def suspend(self) -> None:
        """Drop every connection and refuse new ones until :meth:`start`; the port is kept."""
        if self._server is not None:
            await self._close()
            self._reserved = bind(self._host, self._port)

    async def stop(self) -> None:
        """Drop every connection and give the port back."""
        await self._close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None

    async def _close(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            await server.shutdown()  # type: ignore[no-untyped-call]  # pymodbus leaves it bare

    async def _answer(
        self,
        function: int,
        start: int,
        address: int,
        count: int,
        registers: list[int],
        values: list[int] | list[bool] | None,
    ) -> ExcCodes | None:
        if values is not None or function != _READ_HOLDING:
            return ExcCodes.ILLEGAL_FUNCTION
        if address < start or address + count > start + REGISTERS:
            return ExcCodes.ILLEGAL_ADDRESS
        self.reads += 1
        registers[:REGISTERS] = encode_registers(self.model.state(self._clock.now_ms()))
        return None


class _Server(ModbusTcpServer):
    """pymodbus's server on a socket that is bound already, so that no port is lost or raced for."""

    def __init__(self, device: SimDevice, sock: socket.socket) -> None:
        host, port = sock.getsockname()
        super().__init__(device, address=(host, port))
        self.call_create = partial(self.loop.create_server, self.handle_new_connection, sock=sock)
