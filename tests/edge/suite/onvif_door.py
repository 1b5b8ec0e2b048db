"""ONVIF profiles A and C: a controller with two doors, signed in by WS-Security tokens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulators.devices.onvif import OnvifDoors

from .peer import DevicePeer


class OnvifDoorPeer(DevicePeer[OnvifDoors]):
    """Two doors behind one pull point; the controller's clock is an hour ahead."""

    protocol = "onvif_door"
    expects = frozenset({"access.door", "device.tamper", "device.fault"})

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = OnvifDoors(self.clock, "gate", ["D1", "D2"], sign_in="token")
        self.device.faults.clock_offset_ms = 3_600_000

    @property
    def entry(self) -> dict[str, Any]:
        return {
            "driver": "onvif_door", "base_url": f"http://127.0.0.1:{self.device.port}",
            "username": "edge", "password": "secret",
            "doors": {"D1": "onvif_door-1", "D2": "onvif_door-2"},
            "timeout_s": 0.8, "pull_s": 0.5, "lifetime_s": 10,
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.device.force("D2")
        return "access.forced", "onvif_door-2"


PEER = OnvifDoorPeer
