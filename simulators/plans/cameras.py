"""Cameras: RTSP at a door, MJPEG in a lift's car, and cameras that see by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from simulators.devices.camera import CameraPeer, PictureFeed
from simulators.devices.door_model import DoorController
from simulators.devices.isapi import Code, Identity
from simulators.devices.isapi_camera import IsapiCameraPeer
from simulators.devices.onvif import OnvifCamera, Rule
from simulators.devices.rtsp import RtspPeer
from simulators.devices.scene import LAYOUTS, Scene, SceneKind
from simulators.handles.base import Handle
from simulators.handles.cameras import (
    CameraHandle,
    DoorCameraHandle,
    IsapiCameraHandle,
    OnvifCameraHandle,
)
from simulators.handles.doors import IsapiDoorHandle
from simulators.plans.base import HOST, Entries, Fixture, Life, Simple, World

_INWARDS = frozenset({Code.FACE_OK, Code.CARD_OK})


@dataclass(frozen=True, slots=True)
class SceneCameraPlan(Simple):
    """A camera with a rendered scene; ``door``: it looks at that door, who passes is seen."""

    device: str
    edge: str
    kind: SceneKind
    label: str
    protocol: Literal["mjpeg", "rtsp"] = "mjpeg"
    fps: float = 5
    door: str | None = None
    line: str | None = None
    """Name of the line that people cross."""
    left_object: str | None = None
    """Name of the zone in which nothing may be left."""

    @property
    def id(self) -> str:
        """Return the name of the peer."""
        return self.device

    def handles(self) -> dict[str, type[Handle]]:
        """Return what the device is."""
        return {self.device: CameraHandle if self.door is None else DoorCameraHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the camera."""
        scene = Scene(world.seed, self.device, self.kind, self.label)
        peer: CameraPeer | RtspPeer
        if self.protocol == "rtsp":
            peer = RtspPeer(world.clock, scene, fps=self.fps, port=port)
        else:
            peer = CameraPeer(world.clock, scene, fps=self.fps, port=port)
        if self.door is None:
            return Fixture(peer, {self.device: CameraHandle(self.device, world.clock, peer)})
        door = world.handle(self.door)
        if not isinstance(door, IsapiDoorHandle):
            raise TypeError(f"{self.door} is no door of an ISAPI controller")
        handle = DoorCameraHandle(self.device, world.clock, peer, door)
        life: Life = partial(_follow, world, scene, door.controller, door.number)
        return Fixture(peer, {self.device: handle}, (life,))

    def entries(self, port: int) -> Entries:
        """Return the camera's entry."""
        scheme, path = ("rtsp", "live") if self.protocol == "rtsp" else ("http", "stream")
        layout = LAYOUTS[self.kind]
        found: dict[str, Any] = {
            "driver": "camera", "url": f"{scheme}://{HOST}:{port}/{path}", "device": self.device,
            "fps": self.fps, "idle_fps": min(2, self.fps), "tamper": True,
        }  # fmt: skip
        if self.line is not None and layout.line is not None:
            found["lines"] = [{"name": self.line, "points": [list(p) for p in layout.line]}]
        if self.left_object is not None:
            polygon = [list(point) for point in layout.zone]
            zone = {"name": self.left_object, "kind": "left_object", "polygon": polygon}
            found["zones"] = [zone]
        return [found]


async def _follow(world: World, scene: Scene, controller: DoorController, number: int) -> None:
    """Let whoever opens the door be seen: in with a credential, out with the button."""
    records = controller.listen()
    coming: Code | None = None
    try:
        while True:
            record = await records.get()
            if record.door != number or not isinstance(record.code, Code):
                continue
            if record.code in _INWARDS or record.code is Code.EXIT_BUTTON:
                coming = record.code
            elif record.code is Code.DOOR_OPENED and coming is not None:
                walk = scene.leave if coming is Code.EXIT_BUTTON else scene.enter
                walk(world.clock.now_ms(), seconds=5.0)
                coming = None
    finally:
        controller.unlisten(records)


@dataclass(frozen=True, slots=True)
class IsapiCameraPlan(Simple):
    """A camera that recognises things itself and tells over ISAPI."""

    device: str
    edge: str
    kind: SceneKind
    label: str
    password: str
    zone: str
    expect: tuple[str, ...] = ("fielddetection",)
    username: str = "edge"

    @property
    def id(self) -> str:
        """Return the name of the peer."""
        return self.device

    def handles(self) -> dict[str, type[Handle]]:
        """Return what the device is."""
        return {self.device: IsapiCameraHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the camera; its still pictures are rendered when they are asked for."""
        scene = Scene(world.seed, self.device, self.kind, self.label)
        feed = PictureFeed(world.clock, scene, fps=1)
        peer = IsapiCameraPeer(
            world.clock, identity=Identity(self.device, "192.0.2.80", "02:00:5e:10:00:80"),
            username=self.username, password=self.password, picture=feed.render, port=port,
        )  # fmt: skip
        return Fixture(peer, {self.device: IsapiCameraHandle(self.device, world.clock, peer)})

    def entries(self, port: int) -> Entries:
        """Return the camera's entry."""
        return [{
            "driver": "isapi_camera", "base_url": f"http://{HOST}:{port}",
            "username": self.username, "password": self.password, "cameras": {"1": self.device},
            "expect": list(self.expect), "check_period_s": 60, "zones": {"1": self.zone},
        }]  # fmt: skip


@dataclass(frozen=True, slots=True)
class OnvifCameraPlan(Simple):
    """A camera with rules that tells over ONVIF; something moves before it now and then."""

    device: str
    edge: str
    kind: SceneKind
    label: str
    password: str
    zones: tuple[tuple[str, str], ...] = ()
    """Rule of the camera -> name of the zone."""
    field_rule: str = "Yard"
    """Name of the rule that watches a field."""
    person_in: str | None = None
    """Whoever is in the field is a person where nobody may be: name of that zone."""
    username: str = "edge"

    @property
    def id(self) -> str:
        """Return the name of the peer."""
        return self.device

    def handles(self) -> dict[str, type[Handle]]:
        """Return what the device is."""
        return {self.device: OnvifCameraHandle}

    def build(self, world: World, port: int) -> Fixture:
        """Build the camera."""
        scene = Scene(world.seed, self.device, self.kind, self.label)
        feed = PictureFeed(world.clock, scene, fps=1)
        peer = OnvifCamera(
            world.clock, self.device, username=self.username, password=self.password,
            picture=feed.render, port=port,
            rules=(
                Rule("MyMotion", "tt:CellMotionDetector"),
                Rule(self.field_rule, "tt:FieldDetector"),
                Rule("Fence", "tt:LineDetector"), Rule("MyTamper", "tt:TamperDetector"),
            ),
        )  # fmt: skip
        return Fixture(peer, {self.device: OnvifCameraHandle(self.device, world.clock, peer)})

    def entries(self, port: int) -> Entries:
        """Return the camera's entry."""
        rules: dict[str, dict[str, str]] = {rule: {"zone": zone} for rule, zone in self.zones}
        if self.person_in is not None:
            rules[self.field_rule] = {
                "kind": "camera.object", "target": "person", "zone": self.person_in,
            }  # fmt: skip
        return [{
            "driver": "onvif_camera", "base_url": f"http://{HOST}:{port}",
            "username": self.username, "password": self.password, "device": self.device,
            "check_s": 30, "rules": rules,
        }]  # fmt: skip
