"""What a scenario can do to meters: electricity by model, DL/T 645, Modbus; water and gas."""

from __future__ import annotations

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.arguments import (
    Arguments,
    CoverOpenArguments,
    DrawArguments,
    DriftArguments,
    LeakArguments,
    MisreadArguments,
    OverloadArguments,
    PhaseArguments,
    RegisterArguments,
    RolloverArguments,
    SagArguments,
)
from simulators.devices.meter_model import Counted, MeterModel
from simulators.devices.modbus import Unit
from simulators.devices.modbus_meter import PulseBank
from simulators.devices.water_meter import LEAK, FlowMeterModel
from simulators.handles.base import Handle, Line


class MeterHandle(Handle):
    """An electricity meter by its model."""

    def __init__(self, device: str, clock: Clock, line: Line, model: MeterModel) -> None:
        super().__init__(device, clock, line)
        self.model = model

    async def overload_meter(self, given: OverloadArguments) -> None:
        """Draw more than the supply is meant for."""
        self.model.set_overload(self.now_ms(), self.model.limit_w * given.factor)

    async def normal_load(self, _: Arguments) -> None:
        """Draw what is planned."""
        self.model.set_overload(self.now_ms(), None)

    async def nobody_home(self, given: DrawArguments) -> None:
        """Draw what a flat draws in which nobody does anything."""
        self.model.set_draw(self.now_ms(), given.watts)

    async def somebody_home(self, _: Arguments) -> None:
        """Draw what is planned."""
        self.model.set_draw(self.now_ms(), None)

    async def sag_voltage(self, given: SagArguments) -> None:
        """Lower (or raise) the voltage."""
        self.model.set_voltage_factor(given.factor)

    async def restore_voltage(self, _: Arguments) -> None:
        """Give the usual voltage."""
        self.model.set_voltage_factor(1)

    async def lose_phase(self, given: PhaseArguments) -> None:
        """Take the voltage of one phase away."""
        if given.phase > self.model.phases:
            raise ContractError(f"{self.device} has one phase", field="phase")
        self.model.faults.lost_phases |= {given.phase - 1}

    async def restore_phase(self, _: Arguments) -> None:
        """Give all phases back."""
        self.model.faults.lost_phases = frozenset()

    async def turn_register_back(self, given: RegisterArguments) -> None:
        """Set the register back, as a manipulation does."""
        kwh = self.model.energy_wh(self.now_ms()) / 1000
        self.model.set_register(self.now_ms(), max(kwh - given.by, 1.0))

    async def replace_meter(self, _: Arguments) -> None:
        """Put another meter in its place."""
        self.model.replace(self.now_ms())


class DltMeterHandle(MeterHandle):
    """A DL/T 645 meter: it falls silent alone, and tells what it suffers."""

    async def silence(self, _: Arguments) -> None:
        """Answer no more; the others on its line do."""
        self.model.answers = False

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        self.model.answers = True

    async def open_relay(self, _: Arguments) -> None:
        """Cut the supply."""
        self.model.set_relay(self.now_ms(), opened=True)

    async def close_relay(self, _: Arguments) -> None:
        """Give it back."""
        self.model.set_relay(self.now_ms(), opened=False)

    async def open_cover(self, given: CoverOpenArguments) -> None:
        """Open a cover and shut it again; the meter counts it."""
        self.model.happen(Counted.COVER if given.which == "cover" else Counted.TERMINAL_COVER)

    async def reverse_current(self, given: PhaseArguments) -> None:
        """Let the current of one phase flow backwards."""
        if given.phase > self.model.phases:
            raise ContractError(f"{self.device} has one phase", field="phase")
        self.model.set_reversed(self.now_ms(), frozenset({given.phase - 1}))

    async def straighten_current(self, _: Arguments) -> None:
        """Let it flow as it should."""
        self.model.set_reversed(self.now_ms(), frozenset())

    async def lose_current(self, given: PhaseArguments) -> None:
        """Open the current transformer of one phase."""
        if given.phase > self.model.phases:
            raise ContractError(f"{self.device} has one phase", field="phase")
        self.model.faults.lost_currents = frozenset({given.phase - 1})

    async def restore_current(self, _: Arguments) -> None:
        """Close it."""
        self.model.faults.lost_currents = frozenset()

    async def misread_register(self, given: MisreadArguments) -> None:
        """Let the next readings of the register be 0, as a bad transmission gives."""
        self.model.faults.zero_reads += given.reads

    async def weaken_battery(self, _: Arguments) -> None:
        """Let the battery run low."""
        self.model.faults.battery_low = True

    async def change_battery(self, _: Arguments) -> None:
        """Put a fresh one in."""
        self.model.faults.battery_low = False

    async def roll_over_register(self, given: RolloverArguments) -> None:
        """Put the register just below its capacity."""
        self.model.near_capacity(self.now_ms(), given.below)

    async def stick_register(self, _: Arguments) -> None:
        """Let the register stand still while power flows."""
        self.model.stick(self.now_ms())

    async def unstick_register(self, _: Arguments) -> None:
        """Let it run again."""
        self.model.unstick(self.now_ms())

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the meter's clock be wrong."""
        self.model.faults.clock_offset_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.model.faults.clock_offset_s = 0.0


class ModbusMeterHandle(MeterHandle):
    """A meter behind a Modbus gateway."""

    def __init__(
        self, device: str, clock: Clock, line: Line, model: MeterModel, unit: Unit
    ) -> None:
        super().__init__(device, clock, line, model)
        self.unit = unit

    async def silence(self, _: Arguments) -> None:
        """Answer no more; the others behind the gateway do."""
        self.unit.faults.silent = True

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        self.unit.faults.silent = False

    async def stick_register(self, _: Arguments) -> None:
        """Let all registers stand still."""
        self.unit.faults.stuck = True

    async def unstick_register(self, _: Arguments) -> None:
        """Let them follow again."""
        self.unit.faults.stuck = False


class FlowMeterHandle(Handle):
    """A water or gas meter after CJ/T 188."""

    def __init__(self, device: str, clock: Clock, line: Line, model: FlowMeterModel) -> None:
        super().__init__(device, clock, line)
        self.model = model

    async def silence(self, _: Arguments) -> None:
        """Answer no more; the others on its line do."""
        self.model.answers = False

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        self.model.answers = True

    async def leak(self, given: LeakArguments) -> None:
        """Let something run away all the time."""
        self.model.set_leak(self.now_ms(), given.flow)

    async def stop_leak(self, _: Arguments) -> None:
        """Mend it."""
        self.model.flags &= ~LEAK
        self.model.set_leak(self.now_ms(), None)

    async def close_valve(self, _: Arguments) -> None:
        """Shut the valve."""
        self.model.set_valve(self.now_ms(), opened=False)

    async def open_valve(self, _: Arguments) -> None:
        """Open it."""
        self.model.set_valve(self.now_ms(), opened=True)

    async def weaken_battery(self, _: Arguments) -> None:
        """Let the battery run low."""
        self.model.battery_low = True

    async def change_battery(self, _: Arguments) -> None:
        """Put a fresh one in."""
        self.model.battery_low = False

    async def turn_register_back(self, given: RegisterArguments) -> None:
        """Set the register back."""
        volume = self.model.volume_m3(self.now_ms())
        self.model.set_register(self.now_ms(), max(volume - given.by, 1.0))

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the meter's clock be wrong."""
        self.model.clock_offset_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.model.clock_offset_s = 0.0


class PulseHandle(Handle):
    """A counter of pulses."""

    def __init__(self, device: str, clock: Clock, line: Line, bank: PulseBank, unit: Unit) -> None:
        super().__init__(device, clock, line)
        self.bank = bank
        self.unit = unit

    async def silence(self, _: Arguments) -> None:
        """Answer no more; the others behind the gateway do."""
        self.unit.faults.silent = True

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        self.unit.faults.silent = False

    async def turn_register_back(self, given: RegisterArguments) -> None:
        """Lose pulses, as a counter does whose battery was empty."""
        self.bank.set(max(self.bank.pulses - round(given.by), 0))

    async def stick_register(self, _: Arguments) -> None:
        """Let the count stand still."""
        self.unit.faults.stuck = True

    async def unstick_register(self, _: Arguments) -> None:
        """Let it run again."""
        self.unit.faults.stuck = False
