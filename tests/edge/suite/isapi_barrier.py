"""A vehicle barrier over ISAPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.barrier import BarrierPeer, resident_plate
from simulators.devices.faults import LineFaults
from simulators.devices.isapi import Identity

from .isapi_door import GARBLE, TIMES
from .peer import Peer


class IsapiBarrierPeer(Peer):
    """One barrier that knows three residents and somebody who is not to come in."""

    protocol = "isapi_barrier"
    expects = frozenset({"device.health"})
    exempt = GARBLE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.plates = [resident_plate(7, index) for index in range(4)]
        self.peer = BarrierPeer(
            self.clock, identity=Identity("isapi_barrier", "192.0.2.7", "02:00:5e:10:00:07"),
            username="edge", password="secret", allowed=frozenset(self.plates[:3]),
            blocked=frozenset(self.plates[3:]), heartbeat_s=0.2,
        )  # fmt: skip

    async def start(self) -> None:
        await self.peer.start()

    async def stop(self) -> None:
        await self.peer.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "isapi_barrier",
            "base_url": f"http://127.0.0.1:{self.peer.port}",
            "username": "edge",
            "password": "secret",
            **TIMES,
            "device": "isapi_barrier-1",
        }

    @property
    def faults(self) -> LineFaults:
        return self.peer.listener.faults

    async def refuse(self) -> None:
        await self.peer.listener.suspend()

    async def accept(self) -> None:
        await self.peer.listener.start()

    async def stir(self) -> tuple[str, str]:
        self.peer.arrive(self.plates[3])
        return "vehicle.denied", "isapi_barrier-1"


PEER = IsapiBarrierPeer
