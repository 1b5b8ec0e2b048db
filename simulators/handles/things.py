"""What a scenario can do to contacts, sensors, relays and barriers."""

from __future__ import annotations

from typing import Any

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.arguments import (
    Arguments,
    DriftArguments,
    FireArguments,
    RebootArguments,
    RepeatArguments,
    VehicleArguments,
)
from simulators.devices.barrier import BarrierPeer, resident_plate
from simulators.devices.io_module import IoModule
from simulators.devices.modbus import Unit
from simulators.devices.modbus_meter import SensorBank
from simulators.handles.base import Handle, Line
from simulators.seeds import stream

#: Plates of strangers are drawn beyond those of residents.
_STRANGERS = 100_000


class UnitHandle(Handle):
    """A unit behind a Modbus gateway, which can fall silent alone."""

    def __init__(self, device: str, clock: Clock, line: Line, unit: Unit) -> None:
        super().__init__(device, clock, line)
        self.unit = unit

    async def silence(self, _: Arguments) -> None:
        """Answer no more; the others behind the gateway do."""
        self.unit.faults.silent = True

    async def resume(self, _: Arguments) -> None:
        """Answer again."""
        self.unit.faults.silent = False

    async def reboot(self, given: RebootArguments) -> None:
        """Be silent for a while."""
        self.unit.faults.reboot(given.away)


class SensorHandle(UnitHandle):
    """A temperature and humidity transmitter."""

    def __init__(self, device: str, clock: Clock, line: Line, bank: SensorBank, unit: Unit) -> None:
        super().__init__(device, clock, line, unit)
        self.bank = bank

    async def break_probe(self, _: Arguments) -> None:
        """Break the probe; the transmitter says so with its error values."""
        self.bank.broken = True

    async def mend_probe(self, _: Arguments) -> None:
        """Put another one in."""
        self.bank.broken = False


class FirePanelHandle(UnitHandle):
    """A fire panel's dry contacts on an input module."""

    def __init__(
        self, device: str, clock: Clock, line: Line, bank: IoModule, unit: Unit,
        *, points: dict[str, int], fault: int,
    ) -> None:  # fmt: skip
        """``points`` are the alarm contacts by their names; both count inputs from 0."""
        super().__init__(device, clock, line, unit)
        self.bank = bank
        self._points = points
        self._fault = fault
        # The fault contact is closed at rest: a cut wire and a dead panel tell, too.
        bank.close_contact(fault)

    async def fire_alarm(self, given: FireArguments) -> None:
        """Let the panel report a fire."""
        self.bank.close_contact(self._point(given.point))

    async def end_fire_alarm(self, _: Arguments) -> None:
        """Reset the panel."""
        for number in self._points.values():
            self.bank.close_contact(number, closed=False)

    async def fire_fault(self, _: Arguments) -> None:
        """Let the panel report a fault."""
        self.bank.close_contact(self._fault, closed=False)

    async def end_fire_fault(self, _: Arguments) -> None:
        """Let it be whole again."""
        self.bank.close_contact(self._fault)

    def _point(self, name: str | None) -> int:
        if name is None:
            return next(iter(self._points.values()))
        try:
            return self._points[name]
        except KeyError:
            known = ", ".join(self._points)
            raise ContractError(
                f"{self.device} has no point {name!r}", field="point", remedy=f"known are {known}"
            ) from None


class RelayHandle(UnitHandle):
    """A relay module with a siren."""

    def __init__(self, device: str, clock: Clock, line: Line, bank: IoModule, unit: Unit) -> None:
        super().__init__(device, clock, line, unit)
        self.bank = bank

    def state(self) -> dict[str, Any]:
        """Return whether the siren sounds, and how often a relay was switched."""
        return {"on": self.bank.relay(0), "switched": len(self.bank.switched)}


class BarrierHandle(Handle):
    """A vehicle barrier with its camera."""

    def __init__(self, device: str, clock: Clock, peer: BarrierPeer, seed: int) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self._seed = seed
        self._seen = 0

    def state(self) -> dict[str, Any]:
        """Return how often the barrier was opened from afar."""
        return {"opened": self.peer.opened, "vehicles": len(self.peer.memory)}

    async def vehicle(self, given: VehicleArguments) -> None:
        """Let a vehicle come."""
        self.peer.arrive(given.plate or self._plate(given.who), direction=given.direction)

    def _plate(self, who: str) -> str:
        self._seen += 1
        random = stream(self._seed, self.device, "vehicle", self._seen)
        if who == "resident" and self.peer.allowed:
            return random.choice(sorted(self.peer.allowed))
        if who == "blacklisted" and self.peer.blocked:
            return random.choice(sorted(self.peer.blocked))
        return resident_plate(self._seed, _STRANGERS + random.randrange(_STRANGERS))

    async def repeat_serials(self, given: RepeatArguments) -> None:
        """Send each alert several times."""
        self.peer.repeats = given.times

    async def tell_once(self, _: Arguments) -> None:
        """Send each alert once."""
        self.peer.repeats = 1

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the camera's clock be wrong."""
        self.peer.drift_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.peer.drift_s = 0.0
