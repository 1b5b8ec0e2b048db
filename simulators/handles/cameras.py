"""What a scenario can do to cameras: to their rendered scene, and to what they say themselves."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

from core.contracts.errors import ContractError
from core.runtime.clock import Clock
from simulators.arguments import (
    Arguments,
    ArmArguments,
    CoverArguments,
    DriftArguments,
    RebootArguments,
    SeenArguments,
    WalkArguments,
    WalkThroughArguments,
)
from simulators.devices.camera import CameraPeer
from simulators.devices.isapi_camera import IsapiCameraPeer
from simulators.devices.onvif import OnvifCamera, Rule
from simulators.devices.onvif import camera as onvif
from simulators.devices.rtsp import RtspPeer
from simulators.devices.scene import Disturbance, Scene, Walk
from simulators.handles.base import Handle
from simulators.handles.doors import IsapiDoorHandle

#: What somebody takes from the grant to the first step (s), and to the next one's card.
_STEP_S = 1.0
#: How long it takes (s) to walk through the picture of a door.
_WALK_S = 5.0


class CameraHandle(Handle):
    """A camera with a rendered scene, over MJPEG or RTSP."""

    def __init__(self, device: str, clock: Clock, peer: CameraPeer | RtspPeer) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self._stay: list[Walk] = []

    @property
    def scene(self) -> Scene:
        """Return what the camera looks at."""
        return self.peer.scene

    async def block_lane(self, _: Arguments) -> None:
        """Park a car in the fire lane."""
        if not self.scene.layout.fire_lane:
            raise ContractError(f"{self.device} looks at no fire lane", field="target")
        if self.scene.blocked_since_ms is None:
            self.scene.blocked_since_ms = self.now_ms()

    async def clear_lane(self, _: Arguments) -> None:
        """Let it drive away."""
        self.scene.blocked_since_ms = None

    async def cover_camera(self, given: CoverArguments) -> None:
        """Cover, darken, defocus, turn or freeze it."""
        self.scene.disturbance = Disturbance(given.how)

    async def uncover_camera(self, _: Arguments) -> None:
        """Let it see again."""
        self.scene.disturbance = Disturbance.NONE

    async def freeze_picture(self, _: Arguments) -> None:
        """Send the same picture again and again."""
        self.scene.disturbance = Disturbance.FROZEN

    async def thaw_picture(self, _: Arguments) -> None:
        """Send fresh ones."""
        self.scene.disturbance = Disturbance.NONE

    async def stall_video(self, _: Arguments) -> None:
        """Half open: the connection stands, and no further picture comes."""
        self.peer.stalled = True

    async def resume_video(self, _: Arguments) -> None:
        """Send pictures again."""
        self.peer.stalled = False

    async def walk_in(self, given: WalkArguments) -> None:
        """Let people walk in."""
        self.scene.enter(self.now_ms(), given.people, seconds=given.takes)

    async def walk_out(self, given: WalkArguments) -> None:
        """Let people walk out."""
        self.scene.leave(self.now_ms(), given.people, seconds=given.takes)

    async def bring_e_bike(self, _: Arguments) -> None:
        """Let somebody bring an e-bike and stay with it."""
        self._stay.append(self.scene.bring_e_bike(self.now_ms()))

    async def leave_bag(self, _: Arguments) -> None:
        """Let somebody leave a bag."""
        self._stay.append(self.scene.leave_bag(self.now_ms()))

    async def take_away(self, _: Arguments) -> None:
        """Take away what was brought."""
        while self._stay:
            self.scene.take_away(self._stay.pop(), self.now_ms())


class DoorCameraHandle(CameraHandle):
    """A camera that looks at a door: who walks through it is seen."""

    def __init__(
        self, device: str, clock: Clock, peer: CameraPeer | RtspPeer, door: IsapiDoorHandle
    ) -> None:
        super().__init__(device, clock, peer)
        self.door = door

    async def walk_through(self, given: WalkThroughArguments) -> None:
        """Let people walk through the door, the first ones with a credential of their own."""
        for index in range(given.granted):
            self.door.admit(index)
            await self.clock.sleep(_STEP_S)
        self.scene.enter(self.now_ms(), given.persons, seconds=_WALK_S)


class IsapiCameraHandle(Handle):
    """A camera's own events over ISAPI."""

    _EVENTS: ClassVar[dict[str, tuple[str, str | None]]] = {
        "motion": ("VMD", None), "line": ("linedetection", None),
        "field": ("fielddetection", None), "left_object": ("unattendedBaggage", None),
        "person": ("fielddetection", "human"), "e_bike": ("fielddetection", "electricBicycle"),
        "fire": ("fireDetection", None), "smoke": ("smokeDetection", None),
        "parking": ("parking", None), "tamper": ("shelteralarm", None),
        "disk_full": ("diskfull", None),
    }  # fmt: skip
    #: A camera repeats what lasts so often (run time, s).
    _EVERY_S = 5.0

    def __init__(self, device: str, clock: Clock, peer: IsapiCameraPeer) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self._repeating: dict[tuple[str, int], asyncio.Task[None]] = {}

    async def camera_event(self, given: SeenArguments) -> None:
        """Let the camera say that something began; it repeats it while it lasts."""
        key = (self._EVENTS[given.event][0], given.zone)
        if key in self._repeating:
            raise ContractError(f"{self.device} says so already", field="event")
        self._repeating[key] = asyncio.ensure_future(self._repeat(given))
        await asyncio.sleep(0)

    async def end_camera_event(self, _: Arguments) -> None:
        """Let everything be over that it says."""
        for (name, zone), task in list(self._repeating.items()):
            task.cancel()
            self.peer.end(name, region=zone)
        self._repeating.clear()

    async def _repeat(self, given: SeenArguments) -> None:
        name, target = self._EVENTS[given.event]
        while True:
            self.peer.begin(name, region=given.zone, target=target)
            await self.clock.sleep(self._EVERY_S)

    async def disarm_camera(self, given: ArmArguments) -> None:
        """Switch a detection off, as a firmware update or somebody with the password does."""
        self.peer.arm(self._EVENTS[given.event][0], enabled=False, notified=False)

    async def arm_camera(self, _: Arguments) -> None:
        """Switch all detections on."""
        for channel, name in self.peer.detections:
            self.peer.arm(name, channel=channel)

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the camera's clock be wrong."""
        self.peer.drift_s = given.seconds

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.peer.drift_s = 0.0


class OnvifCameraHandle(Handle):
    """A camera's own events over ONVIF."""

    _ARMED: ClassVar[dict[str, str]] = {
        "line": "tt:LineDetector", "field": "tt:FieldDetector",
        "motion": "tt:CellMotionDetector", "tamper": "tt:TamperDetector",
    }  # fmt: skip

    def __init__(self, device: str, clock: Clock, peer: OnvifCamera) -> None:
        super().__init__(device, clock, peer.listener)
        self.peer = peer
        self._rules = tuple(peer.rules)
        self._field = next(r.name for r in peer.rules if r.type == "tt:FieldDetector")

    def state(self) -> dict[str, Any]:
        """Return the rules that are set up."""
        return {"rules": [rule.name for rule in self.peer.rules]}

    async def camera_event(self, given: SeenArguments) -> None:
        """Let the camera say that something began, or happened."""
        self._say(given.event, active=True)

    async def end_camera_event(self, _: Arguments) -> None:
        """Let everything be over."""
        for event in ("motion", "field", "person", "tamper", "disk_full"):
            self._say(event, active=False)

    def _say(self, event: str, *, active: bool) -> None:
        peer = self.peer
        if event == "motion":
            peer.move(active=active)
        elif event == "field":
            peer.intrude(active=active, rule=self._field)
        elif event == "line":
            peer.cross()
        elif event == "person":
            peer.see(onvif.PEOPLE, active=active)
        elif event == "tamper":
            peer.tamper(active=active)
        elif event == "disk_full":
            peer.fail_storage(active=active)
        else:
            raise ContractError(f"{self.device} cannot see {event}", field="event")

    async def disarm_camera(self, given: ArmArguments) -> None:
        """Delete a rule of the camera."""
        if given.event not in self._ARMED:
            raise ContractError(f"{self.device} has no rule for {given.event}", field="event")
        gone = self._ARMED[given.event]
        kept: list[Rule] = [rule for rule in self.peer.rules if rule.type != gone]
        self.peer.rules[:] = kept

    async def arm_camera(self, _: Arguments) -> None:
        """Set all rules up again."""
        self.peer.rules[:] = self._rules

    async def drift_clock(self, given: DriftArguments) -> None:
        """Let the camera's clock be wrong."""
        self.peer.faults.clock_offset_ms = round(given.seconds * 1000)

    async def correct_clock(self, _: Arguments) -> None:
        """Set it right."""
        self.peer.faults.clock_offset_ms = 0

    async def reboot(self, given: RebootArguments) -> None:
        """Restart the camera: subscriptions are forgotten."""
        await self.peer.listener.suspend()
        await asyncio.sleep(given.away)
        await self.peer.reboot()
        await self.peer.listener.start()
