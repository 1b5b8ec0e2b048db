"""ONVIF profiles S and M: a camera with rules, signed in by tokens, and one by HTTP Digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from simulators.devices.onvif import OnvifCamera

from .peer import DevicePeer


class OnvifCameraPeer(DevicePeer[OnvifCamera]):
    """A camera whose field is entered."""

    protocol = "onvif_camera"
    expects = frozenset({"camera.intrusion", "camera.tamper", "camera.unarmed"})
    sign_in: ClassVar[str] = "token"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.device = OnvifCamera(self.clock, "yard", sign_in=self.sign_in)

    @property
    def entry(self) -> dict[str, Any]:
        name = "-".join(filter(None, (self.protocol, self.variant)))
        return {
            "driver": "onvif_camera", "base_url": f"http://127.0.0.1:{self.device.port}",
            "username": "edge", "password": "secret", "device": name,
            "timeout_s": 0.8, "pull_s": 0.5, "lifetime_s": 10,
        }  # fmt: skip

    async def stir(self) -> tuple[str, str]:
        self.device.intrude(active=True)
        return "camera.intrusion", self.entry["device"]


class OnvifDigestPeer(OnvifCameraPeer):
    """The same with HTTP Digest in place of tokens."""

    variant = "digest"
    sign_in = "digest"

    @property
    def entry(self) -> dict[str, Any]:
        return {**super().entry, "auth": "digest"}


PEERS = (OnvifCameraPeer, OnvifDigestPeer)
