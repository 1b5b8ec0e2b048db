"""A camera's own events over ISAPI."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.faults import LineFaults
from simulators.devices.isapi import Identity
from simulators.devices.isapi_camera import IsapiCameraPeer

from .isapi_door import GARBLE, TIMES
from .peer import Peer


class IsapiCameraSuitePeer(Peer):
    """One camera whose line detection was never armed."""

    protocol = "isapi_camera"
    expects = frozenset({"device.health", "camera.unarmed"})
    exempt = GARBLE

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.peer = IsapiCameraPeer(
            self.clock, identity=Identity("isapi_camera", "192.0.2.6", "02:00:5e:10:00:06"),
            username="edge", password="secret", heartbeat_s=0.2,
        )  # fmt: skip
        self.peer.arm("linedetection", enabled=False)

    async def start(self) -> None:
        await self.peer.start()

    async def stop(self) -> None:
        await self.peer.stop()

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "isapi_camera", "base_url": f"http://127.0.0.1:{self.peer.port}",
            "username": "edge", "password": "secret", **TIMES,
            "cameras": {"1": "isapi_camera-1"}, "expect": ["linedetection", "fielddetection"],
        }  # fmt: skip

    @property
    def faults(self) -> LineFaults:
        return self.peer.listener.faults

    async def refuse(self) -> None:
        await self.peer.listener.suspend()

    async def accept(self) -> None:
        await self.peer.listener.start()

    async def stir(self) -> tuple[str, str]:
        for _ in range(3):
            self.peer.begin("fielddetection", region=1, target="human")
        return "camera.intrusion", "isapi_camera-1"


PEER = IsapiCameraSuitePeer
