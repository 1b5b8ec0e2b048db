"""A camera's own events over ISAPI: alert stream, what is armed, a still picture.

``GET /ISAPI/Event/triggers`` lists what is notified; each detection has its own settings with
``enabled``; ``GET /ISAPI/Streaming/channels/<n>01/picture`` is a JPEG.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from core.runtime.clock import Clock
from simulators.devices import isapi
from simulators.devices.alert_peer import (
    AlertPeer,
    Handler,
    status_response,
    xml_part,
    xml_response,
)
from simulators.devices.http import Request, Response, Write
from simulators.devices.isapi import Identity, XmlTree

TRIGGERS_PATH = "/ISAPI/Event/triggers"
PICTURE_PATH = "/ISAPI/Streaming/channels/"
#: Event type -> where its switch is (without the channel), and the element's name.
SWITCHES = {
    "VMD": ("/ISAPI/System/Video/inputs/channels/{}/motionDetection", "MotionDetection"),
    "shelteralarm": ("/ISAPI/System/Video/inputs/channels/{}/tamperDetection", "TamperDetection"),
    "linedetection": ("/ISAPI/Smart/LineDetection/{}", "LineDetection"),
    "fielddetection": ("/ISAPI/Smart/FieldDetection/{}", "FieldDetection"),
    "regionEntrance": ("/ISAPI/Smart/regionEntrance/{}", "RegionEntrance"),
    "unattendedBaggage": ("/ISAPI/Smart/unattendedBaggage/{}", "UnattendedBaggage"),
}


@dataclass(slots=True)
class Detection:
    """One detection of a camera: switched on, and among what is notified."""

    enabled: bool = True
    notified: bool = True


class IsapiCameraPeer(AlertPeer):
    """One camera (channel 1), or a recorder with several channels."""

    def __init__(
        self,
        clock: Clock,
        *,
        identity: Identity,
        username: str,
        password: str,
        channels: int = 1,
        picture: Callable[[], bytes] | None = None,
        heartbeat_s: float = 5.0,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        super().__init__(
            clock,
            identity=identity,
            username=username,
            password=password,
            heartbeat_s=heartbeat_s,
            host=host,
            port=port,
        )
        self.channels = channels
        self.detections = {
            (channel, name): Detection() for channel in range(1, channels + 1) for name in SWITCHES
        }
        self.lists_triggers = True
        """Some cameras do not say what is notified."""
        self.ends = True
        """Some cameras never say that something is over."""
        self.drift_s = 0.0
        self._picture = picture
        self._posts: dict[tuple[str, int, str], int] = {}
        self._listeners: set[asyncio.Queue[bytes]] = set()

    def arm(
        self, name: str, *, enabled: bool = True, notified: bool = True, channel: int = 1
    ) -> None:
        """Switch a detection and its notification on or off."""
        self.detections[channel, name] = Detection(enabled, notified)

    def begin(
        self, name: str, *, channel: int = 1, region: int | None = None, target: str | None = None
    ) -> None:
        """Post an event as active; each call while it lasts is a repetition."""
        key = (name, channel, str(region))
        self._posts[key] = self._posts.get(key, 0) + 1
        self._post(name, "active", self._posts[key], channel, region, target)

    def end(self, name: str, *, channel: int = 1, region: int | None = None) -> None:
        """Let an event be over; the camera says so if it is one that does."""
        posts = self._posts.pop((name, channel, str(region)), 0)
        if self.ends:
            self._post(name, "inactive", posts, channel, region, None)

    def report(self, name: str, more: XmlTree, *, channel: int = 1) -> None:
        """Post an event with contents of its own (readings, counts)."""
        self._put(isapi.alert_xml(self.identity, self._now_ms(), name, "active", 1,
                                  {"channelID": channel, **more}))  # fmt: skip

    def heartbeat(self) -> bytes:
        """Return the heartbeat of a camera: no video loss, once more."""
        return xml_part(isapi.heartbeat_xml(self.identity, self._now_ms()))

    def handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the triggers and every detection's switch."""
        found: dict[tuple[str, str], Handler] = {("GET", TRIGGERS_PATH): self._triggers}
        for channel, name in self.detections:
            path = SWITCHES[name][0].format(channel)
            found["GET", path] = partial(self._switch, channel, name)
        return found

    def prefix_handlers(self) -> dict[tuple[str, str], Handler]:
        """Return the still pictures."""
        return {("GET", PICTURE_PATH): self._still}

    async def feed(self, write: Write) -> None:
        """Write what is posted."""
        queue: asyncio.Queue[bytes] = asyncio.Queue()
        self._listeners.add(queue)
        try:
            await self.tell(write, queue)
        finally:
            self._listeners.discard(queue)

    def _now_ms(self) -> int:
        return self.clock.now_ms() + round(self.drift_s * 1000)

    def _post(
        self, name: str, state: str, posts: int, channel: int, region: int | None,
        target: str | None,
    ) -> None:  # fmt: skip
        more: dict[str, str | int | bool | XmlTree | list[XmlTree]] = {"channelID": channel}
        if region is not None:
            entry: dict[str, str | int | bool | XmlTree | list[XmlTree]] = {"regionID": region}
            if target is not None:
                entry["detectionTarget"] = target
            more["DetectionRegionList"] = {"DetectionRegionEntry": entry}
        self._put(isapi.alert_xml(self.identity, self._now_ms(), name, state, posts, more))

    def _put(self, alert: bytes) -> None:
        for queue in self._listeners:
            queue.put_nowait(xml_part(alert))

    def _triggers(self, request: Request) -> Response:
        if not self.lists_triggers:
            return status_response(request, 4, "Invalid Operation", "notSupport", 403)
        triggers: list[XmlTree] = [
            {
                "id": f"{name}-{channel}", "eventType": name, "videoInputChannelID": channel,
                "EventTriggerNotificationList": {
                    "EventTriggerNotification": [
                        {"id": method, "notificationMethod": method,
                         "notificationRecurrence": "beginning"}
                        for method in (["record", "center"] if detection.notified else ["record"])
                    ],
                },
            }
            for (channel, name), detection in self.detections.items()
        ]  # fmt: skip
        return xml_response(
            isapi.xml("EventNotification", {"EventTriggerList": {"EventTrigger": triggers}})
        )

    def _switch(self, channel: int, name: str, _: Request) -> Response:
        detection = self.detections[channel, name]
        return xml_response(
            isapi.xml(SWITCHES[name][1], {"id": channel, "enabled": detection.enabled})
        )

    def _still(self, request: Request) -> Response:
        if self._picture is None or not request.path.endswith("/picture"):
            return status_response(request, 4, "Invalid Operation", "notSupport", 403)
        return Response(200, self._picture(), "image/jpeg")
