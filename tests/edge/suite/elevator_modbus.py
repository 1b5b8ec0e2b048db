"""Lifts over Modbus TCP: two of them behind one gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.elevator import ElevatorGateway
from simulators.devices.elevator_model import ElevatorModel
from simulators.devices.faults import LineFaults
from simulators.lift_traffic import lift_traffic
from simulators.rhythms import RESIDENTIAL

from .modbus import NO_CHECK_SUM
from .peer import Peer

FLOORS = [-1, *range(1, 12)]


class ElevatorModbusPeer(Peer):
    """Two lifts, units 1 and 2."""

    protocol = "elevator_modbus"
    expects = frozenset({"elevator.status", "elevator.alarm_button"})
    exempt: ClassVar[Mapping[str, str]] = {"garble": NO_CHECK_SUM}

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.models = {
            unit: ElevatorModel(
                FLOORS, lift_traffic(unit, "lift", FLOORS, RESIDENTIAL), self.clock.now_ms()
            )
            for unit in (1, 2)
        }
        self.gateway = ElevatorGateway(self.clock, self.models)

    async def start(self) -> None:
        await self.gateway.start()

    async def stop(self) -> None:
        await self.gateway.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "elevator_modbus", "host": "127.0.0.1", "port": self.gateway.port,
            "period_s": 0.3, "timeout_s": 0.5,
            "lifts": [{"device": f"elevator_modbus-{unit}", "unit": unit} for unit in (1, 2)],
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.gateway.listener.faults

    async def refuse(self) -> None:
        await self.gateway.suspend()

    async def accept(self) -> None:
        await self.gateway.start()

    async def stir(self) -> tuple[str, str]:
        self.models[2].fault(self.clock.now_ms(), 3)
        return "elevator.fault", "elevator_modbus-2"


PEER = ElevatorModbusPeer
