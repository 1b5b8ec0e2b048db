"""BACnet/IP: one device with two lifts, a fire contact and a sensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.bacnet_lift import BacnetLiftPeer, SimulatedLift
from simulators.devices.elevator_model import ElevatorModel, Traffic, Trip
from simulators.devices.faults import LineFaults

from .peer import Peer


def calm(now_ms: int) -> ElevatorModel:
    """Return a lift that nobody calls."""
    nobody = Traffic(lambda at: at + 10**12, lambda at: Trip(0, 1, 1))
    return ElevatorModel([-1, 1, 2, 3], nobody, now_ms)


class BacnetPeer(Peer):
    """Two lifts, a fire contact and a thermometer behind one UDP port."""

    protocol = "bacnet"
    expects = frozenset(
        {"elevator.status", "elevator.alarm_button", "fire.alarm", "sensor.reading"}
    )

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        now = self.clock.now_ms()
        self.device = BacnetLiftPeer(
            self.clock, {1: SimulatedLift(calm(now)), 2: SimulatedLift(calm(now))},
            contacts={1: "fire alarm"}, sensors={1: ("machine room", 24.5)},
        )  # fmt: skip

    async def start(self) -> None:
        await self.device.start()

    async def stop(self) -> None:
        await self.device.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "bacnet", "host": "127.0.0.1", "port": self.device.port, "instance": 4001,
            "period_s": 0.3, "points_period_s": 0.5, "timeout_s": 0.4,
            "lifts": [
                {"device": "bacnet-1", "object": 1, "floors": [-1, 1, 2, 3]},
                {"device": "bacnet-2", "object": 2},
            ],
            "contacts": [{"device": "bacnet-fire", "object": "binary-input,1"}],
            "points": [
                {
                    "device": "bacnet-room", "object": "analog-input,1",
                    "quantity": "temperature", "unit": "Cel",
                }
            ],
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.device.faults

    async def refuse(self) -> None:
        await self.device.suspend()

    async def accept(self) -> None:
        await self.device.start()

    async def stir(self) -> tuple[str, str]:
        self.device.contacts[1] = True
        return "fire.alarm", "bacnet-fire"


PEER = BacnetPeer
