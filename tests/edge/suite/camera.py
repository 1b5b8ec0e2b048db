"""Cameras: MJPEG over HTTP, and RTSP with RTP/JPEG within its connection."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.camera import CameraPeer
from simulators.devices.faults import LineFaults
from simulators.devices.rtsp import RtspPeer
from simulators.devices.scene import LAYOUTS, Disturbance, Scene, SceneKind

from .peer import Peer

_FPS = 12
_ENTRY: dict[str, Any] = {
    "driver": "camera", "fps": _FPS, "idle_fps": _FPS, "timeout_s": 1.0, "warm_up_s": 0.3,
    "snapshots": False,
    "zones": [
        {"name": "lane", "kind": "fire_lane", "polygon": LAYOUTS[SceneKind.GATE].fire_lane}
    ],
}  # fmt: skip
_NO_CHECKSUM = (
    "a wrong byte spoils a picture, not the stream: JPEG and RTP over TCP have no checksum"
)


class _CameraPeer(Peer):
    protocol = "camera"
    expects = frozenset({"camera.video_loss", "camera.tamper"})
    exempt: ClassVar[Mapping[str, str]] = {"garble": _NO_CHECKSUM}

    peer: CameraPeer | RtspPeer

    async def start(self) -> None:
        await self.peer.start()

    async def stop(self) -> None:
        await self.peer.stop()

    @property
    def faults(self) -> LineFaults:
        return self.peer.listener.faults

    @property
    def entry(self) -> dict[str, Any]:
        return {**_ENTRY, "url": self.peer.url, "device": f"camera-{self.variant}-1"}

    async def refuse(self) -> None:
        await self.peer.listener.suspend()

    async def accept(self) -> None:
        await self.peer.listener.start()

    async def stir(self) -> tuple[str, str]:
        self.peer.scene.disturbance = Disturbance.COVERED
        return "camera.tamper", f"camera-{self.variant}-1"

    def _scene(self) -> Scene:
        return Scene(5, self.variant, SceneKind.GATE, "SUITE", rhythm_scale=0)


class MjpegCameraPeer(_CameraPeer):
    """MJPEG over HTTP."""

    variant = "mjpeg"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.peer = CameraPeer(self.clock, self._scene(), fps=_FPS)


class RtspCameraPeer(_CameraPeer):
    """RTSP, read by OpenCV's FFmpeg."""

    variant = "rtsp"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.peer = RtspPeer(self.clock, self._scene(), fps=_FPS)


PEERS = (MjpegCameraPeer, RtspCameraPeer)
