"""A lift controller over ISAPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.faults import LineFaults
from simulators.devices.isapi import Holder, Identity
from simulators.devices.lift_controller import LiftController

from .isapi_door import GARBLE, TIMES
from .peer import Peer


class IsapiElevatorPeer(Peer):
    """One car with four floors."""

    protocol = "isapi_elevator"
    expects = frozenset({"device.health"})
    exempt = GARBLE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lift = LiftController(
            self.clock, floors=4, rights={"1": [2, 3], "2": [4]},
            holders=[Holder("1", "张三", "9"), Holder("2", "李四", "8")],
            identity=Identity("isapi_elevator", "192.0.2.8", "02:00:5e:10:00:08"),
            username="edge", password="secret", heartbeat_s=0.2,
        )  # fmt: skip

    async def start(self) -> None:
        await self.lift.start()

    async def stop(self) -> None:
        await self.lift.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "isapi_elevator", "base_url": f"http://127.0.0.1:{self.lift.port}",
            "username": "edge", "password": "secret", **TIMES, "device": "isapi_elevator-1",
            "floors": {"1": -1, "2": 1, "3": 2, "4": 3},
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.lift.peer.listener.faults

    async def refuse(self) -> None:
        await self.lift.peer.listener.suspend()

    async def accept(self) -> None:
        await self.lift.peer.listener.start()

    async def stir(self) -> tuple[str, str]:
        self.lift.present("1")
        return "elevator.access", "isapi_elevator-1"


PEER = IsapiElevatorPeer
