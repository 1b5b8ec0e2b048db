"""A lift controller's Modbus TCP interface: holding registers 0 to 17, read only.

0 service mode, 1 car running, 2 direction, 3 door zone (1 in, 2 out), 4 floor (signed), 5 door
(1 fully closed, 2 not), 6 passengers (1 occupied, 2 empty), 7 power (1 on, 2 off), 8 alarm
button, 9 load (kg), 10 and 11 running hours, 12 and 13 runs, 14 and 15 door cycles (each 32
bits, high word first), 16 and 17 fault codes (0 none).
"""

from __future__ import annotations

from collections.abc import Mapping

from core.runtime.clock import Clock
from simulators.devices.elevator_model import CarState, ElevatorModel
from simulators.devices.modbus import (
    ILLEGAL_FUNCTION,
    Bank,
    Framing,
    ModbusError,
    ModbusPeer,
    Table,
    Unit,
    pick,
)

REGISTERS = 18


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


class LiftBank(Bank):
    """One lift's registers."""

    def __init__(self, clock: Clock, model: ElevatorModel) -> None:
        self.model = model
        self._clock = clock
        self.reads = 0

    def read(self, table: Table, address: int, count: int) -> list[int]:
        """Return the registers of this moment."""
        if table != "holding":
            raise ModbusError(ILLEGAL_FUNCTION)
        registers = encode_registers(self.model.state(self._clock.now_ms()))
        found = pick(dict(enumerate(registers)), address, count)
        self.reads += 1
        return found


class ElevatorGateway(ModbusPeer):
    """Several lifts behind one gateway, by their units."""

    def __init__(
        self,
        clock: Clock,
        models: Mapping[int, ElevatorModel],
        *,
        framing: Framing = "tcp",
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self.banks = {unit: LiftBank(clock, model) for unit, model in models.items()}
        super().__init__(self.banks, framing=framing, host=host, port=port)


class ElevatorPeer(ElevatorGateway):
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
        super().__init__(clock, {unit: model}, host=host, port=port)
        self.model = model
        self._number = unit

    @property
    def unit(self) -> Unit:
        """Return the lift as a Modbus unit, with its faults."""
        return self.units[self._number]

    @property
    def reads(self) -> int:
        """Return how often the registers were read."""
        return self.banks[self._number].reads
