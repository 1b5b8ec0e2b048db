"""Lifts over Modbus TCP: two of them behind one gateway."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.elevator import ElevatorGateway
from simulators.devices.elevator_model import ElevatorModel
from simulators.lift_traffic import lift_traffic
from simulators.rhythms import RESIDENTIAL

from .modbus import NO_CHECK_SUM
from .peer import DevicePeer

FLOORS = [-1, *range(1, 12)]


class ElevatorModbusPeer(DevicePeer[ElevatorGateway]):
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
        self.device = ElevatorGateway(self.clock, self.models)

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "elevator_modbus", "host": "127.0.0.1", "port": self.device.port,
            "period_s": 0.3, "timeout_s": 0.5,
            "lifts": [{"device": f"elevator_modbus-{unit}", "unit": unit} for unit in (1, 2)],
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.models[2].fault(self.clock.now_ms(), 3)
        return "elevator.fault", "elevator_modbus-2"


PEER = ElevatorModbusPeer
