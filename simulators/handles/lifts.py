"""What a scenario can do to lifts, and to the access control in their cars."""

from __future__ import annotations

from typing import Any

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.arguments import (
    Arguments,
    DriftArguments,
    FaultArguments,
    LiftAccessArguments,
    ModeArguments,
    PressArguments,
    RebootArguments,
    TrapArguments,
)
from simulators.devices.bacnet_lift import BacnetLiftPeer
from simulators.devices.elevator import ElevatorPeer
from simulators.devices.elevator_model import ElevatorModel, ServiceMode
from simulators.devices.json_gateway import JsonHttpPeer
from simulators.devices.lift_controller import LiftController
from simulators.handles.base import Handle, Line


class LiftHandle(Handle):
    """A lift by its model, whatever it speaks."""

    def __init__(self, device: str, clock: Clock, line: Line, model: ElevatorModel) -> None:
        super().__init__(device, clock, line)
        self.model = model

    def state(self) -> dict[str, Any]:
        """Return whether somebody is trapped."""
        self.model.advance(self.now_ms())
        return {"trapped": self.model.trapped}

    async def trap(self, given: TrapArguments) -> None:
        """Stop the car between two floors with somebody inside."""
        self.model.trap(self.now_ms(), alarm_after_s=given.alarm_after, code=given.code)

    async def free(self, _: Arguments) -> None:
        """Let them out."""
        self.model.free(self.now_ms())

    async def lift_fault(self, given: FaultArguments) -> None:
        """Report a fault."""
        self.model.fault(self.now_ms(), given.code)

    async def clear_lift_fault(self, _: Arguments) -> None:
        """End the faults."""
        self.model.clear_faults(self.now_ms())

    async def lift_out_of_service(self, given: ModeArguments) -> None:
        """Switch the service mode."""
        self.model.set_mode(self.now_ms(), ServiceMode[given.mode.upper()])

    async def lift_in_service(self, _: Arguments) -> None:
        """Serve again."""
        self.model.set_mode(self.now_ms(), ServiceMode.NORMAL)

    async def press_alarm(self, given: PressArguments) -> None:
        """Let somebody press the alarm button."""
        self.model.press_alarm(self.now_ms(), given.lasts)


class ModbusLiftHandle(LiftHandle):
    """A lift behind a Modbus port of its own."""

    def __init__(self, device: str, clock: Clock, peer: ElevatorPeer) -> None:
        super().__init__(device, clock, peer.listener, peer.model)
        self.peer = peer

    async def stick_register(self, _: Arguments) -> None:
        """Let the registers stand still while the lift goes on."""
        self.peer.unit.faults.stuck = True

    async def unstick_register(self, _: Arguments) -> None:
        """Let them follow again."""
        self.peer.unit.faults.stuck = False


class BacnetLiftHandle(LiftHandle):
    """A Lift object of a BACnet device."""

    def __init__(self, device: str, clock: Clock, peer: BacnetLiftPeer, number: int) -> None:
        super().__init__(device, clock, peer, peer.lifts[number].model)
        self.peer = peer

    async def reboot(self, given: RebootArguments) -> None:
        """Restart the BACnet device: subscriptions are forgotten."""
        await self.peer.reboot(given.away)


class JsonLiftHandle(LiftHandle):
    """A lift behind a vendor's gateway."""

    def __init__(self, device: str, clock: Clock, peer: JsonHttpPeer, name: str) -> None:
        super().__init__(device, clock, peer.listener, peer.state.lifts[name])
        self.peer = peer

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the gateway's clock be wrong."""
        self.peer.state.clock_drift_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.peer.state.clock_drift_s = 0.0

    async def stick_register(self, _: Arguments) -> None:
        """Let the lifts' answers stand still while the lifts go on."""
        state = self.peer.state
        name = next(name for name, model in state.lifts.items() if model is self.model)
        told = state.lift(name)
        state.extra = {name: value for name, value in told.items() if name != "lift_id"}

    async def unstick_register(self, _: Arguments) -> None:
        """Let them follow again."""
        self.peer.state.extra = {}


class LiftAccessHandle(Handle):
    """The access control of one car (梯控)."""

    def __init__(self, device: str, clock: Clock, controller: LiftController) -> None:
        super().__init__(device, clock, controller.peer.listener)
        self.controller = controller
        self._used = 0

    async def lift_access(self, given: LiftAccessArguments) -> None:
        """Let somebody present a credential in the car."""
        for turn in range(given.times):
            if turn:
                await self.clock.sleep(given.apart)
            self._present(given.outcome)

    def _present(self, outcome: str) -> None:
        controller = self.controller
        if outcome == "unknown":
            controller.present("nobody")
            return
        wanted = [
            n for n, floors in controller.rights.items() if bool(floors) == (outcome == "granted")
        ]
        if not wanted:
            raise ContractError(f"{self.device} knows nobody who is {outcome}", field="outcome")
        self._used += 1
        controller.present(sorted(wanted)[self._used % len(wanted)])

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the controller's clock be wrong."""
        self.controller.model.drift_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.controller.model.drift_s = 0.0

    async def reboot(self, given: RebootArguments) -> None:
        """Restart the controller."""
        await self.controller.peer.reboot(given.away)
