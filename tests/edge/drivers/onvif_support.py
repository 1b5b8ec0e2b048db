"""What the tests of ONVIF drivers share: entries, and a driver that listens to a device."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.drivers.onvif_camera.driver import OnvifCameraDriver
from edge.drivers.onvif_camera.settings import OnvifCameraSettings
from edge.drivers.onvif_door.driver import OnvifDoorDriver
from edge.drivers.onvif_door.settings import OnvifDoorSettings
from simulators.devices.onvif import OnvifDevice, OnvifDoors

from .support import Recorder, context

QUICK = {"timeout_s": 1, "pull_s": 0.3, "lifetime_s": 30}


def entry(peer: OnvifDevice, /, **more: Any) -> dict[str, Any]:
    return {
        "base_url": f"http://127.0.0.1:{peer.port}", "username": "edge", "password": "secret",
        **QUICK, **more,
    }  # fmt: skip


def door_driver(device: OnvifDevice, folder: Path, **more: Any) -> OnvifDoorDriver:
    raw = entry(device, driver="onvif_door", doors={"D1": "door-1", "D2": "door-2"}) | more
    return OnvifDoorDriver(OnvifDoorSettings.model_validate(raw), context(folder))


def camera_driver(device: OnvifDevice, folder: Path, **more: Any) -> OnvifCameraDriver:
    raw = entry(device, driver="onvif_camera", device="cam") | more
    return OnvifCameraDriver(OnvifCameraSettings.model_validate(raw), context(folder))


async def listening(device: OnvifDevice, sink: Recorder) -> None:
    """Wait until a driver has subscribed and heard how things stand."""
    first = "door-1" if isinstance(device, OnvifDoors) else "cam"
    await sink.until(lambda: device.board.points and sink.reached_devices.count(first) >= 2)
