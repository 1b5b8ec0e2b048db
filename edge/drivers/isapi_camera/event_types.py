"""ISAPI event types of cameras, in our words.

Source: the types that pyHik knows, and those of public clients; names of recognised objects
differ between firmwares, so a configuration can add its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class EventType:
    """The kind that a type becomes, and the data that follows from the type alone.

    ``momentary``: it happens and does not last. ``slow``: the camera repeats it rarely.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    momentary: bool = False
    slow: bool = False


def _tamper(cause: str) -> EventType:
    return EventType("camera.tamper", {"cause": cause})


def _fault(fault: str, part: str | None = None) -> EventType:
    data = {"fault": fault} if part is None else {"fault": fault, "part": part}
    return EventType("device.fault", data, slow=True)


def _object(target: str) -> EventType:
    return EventType("camera.object", {"target": target})


#: Names of the same thing: alert, trigger and configuration do not always agree.
ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "motiondetection": "vmd", "tamperdetection": "shelteralarm",
        "defocusdetection": "defocus", "scenechange": "scenechangedetection",
        "hdfull": "diskfull", "hderror": "diskerror", "illegallogin": "illaccess",
        "recordexception": "recordingfailure", "unattended-baggage": "unattendedbaggage",
        "firesmokedetection": "smokeandfiredetection",
    }
)  # fmt: skip

TYPES: Mapping[str, EventType] = MappingProxyType(
    {
        "vmd": EventType("camera.motion"),
        "pir": EventType("camera.motion"),
        "linedetection": EventType("camera.line_crossed", momentary=True),
        "fielddetection": EventType("camera.intrusion"),
        "regionentrance": EventType("camera.intrusion"),
        "regionexiting": EventType("camera.line_crossed", {"direction": "out"}, momentary=True),
        "parking": EventType("camera.zone_occupied"),
        "unattendedbaggage": EventType("camera.left_object"),
        "shelteralarm": _tamper("covered"),
        "scenechangedetection": _tamper("turned"),
        "defocus": _tamper("defocused"),
        "videoloss": EventType("camera.video_loss"),
        "badvideo": _fault("sensor", "video"),
        "videomismatch": _fault("configuration", "video"),
        "diskfull": _fault("storage_full"),
        "diskerror": _fault("storage_error"),
        "diskunformat": _fault("storage_error", "unformatted"),
        "nicbroken": _fault("network"),
        "ipconflict": _fault("address_conflict"),
        "illaccess": _fault("illegal_access"),
        "recordingfailure": _fault("recording"),
        "highhdtemperature": _fault("temperature", "disk"),
        "firedetection": _object("fire"),
        "smokedetection": _object("smoke"),
        "smokeandfiredetection": _object("fire"),
        # Names of e-bike detection in lifts are not public; these are guesses (see the docs).
        "electricbicycledetection": _object("e_bike"),
        "electromobiledetection": _object("e_bike"),
    }
)

#: Types that are understood and have no event of their own: faces are nobody's business here,
#: alarm inputs of cameras have no meaning by themselves, the rest is bookkeeping.
WITHOUT_EVENT = frozenset(
    {"facedetection", "facecapture", "facesnap", "attendedbaggage", "io", "duration",
     "audioexception", "heartbeat", "storagedetection"}
)  # fmt: skip

#: What a camera says was in its picture -> our word.
TARGETS: Mapping[str, str] = MappingProxyType(
    {
        "human": "person", "person": "person", "vehicle": "vehicle", "car": "vehicle",
        "animal": "animal", "electricbicycle": "e_bike", "electromobile": "e_bike",
        "ebike": "e_bike", "fire": "fire", "smoke": "smoke",
    }
)  # fmt: skip
#: What matters wherever it is seen, whatever rule of the camera noticed it.
TELLING_TARGETS = frozenset({"e_bike", "fire", "smoke"})

#: Where the switch of a type is: path with the channel, source as above.
SWITCHES: Mapping[str, str] = MappingProxyType(
    {
        "vmd": "/ISAPI/System/Video/inputs/channels/{channel}/motionDetection",
        "shelteralarm": "/ISAPI/System/Video/inputs/channels/{channel}/tamperDetection",
        "linedetection": "/ISAPI/Smart/LineDetection/{channel}",
        "fielddetection": "/ISAPI/Smart/FieldDetection/{channel}",
        "regionentrance": "/ISAPI/Smart/regionEntrance/{channel}",
        "regionexiting": "/ISAPI/Smart/regionExiting/{channel}",
        "unattendedbaggage": "/ISAPI/Smart/unattendedBaggage/{channel}",
        "scenechangedetection": "/ISAPI/Smart/SceneChangeDetection/{channel}",
        "defocus": "/ISAPI/Smart/DefocusDetection/{channel}",
        "parking": "/ISAPI/Smart/parking/{channel}",
    }
)


def canonical(name: str) -> str:
    """Return the one name of an event type."""
    lower = name.strip().lower()
    return ALIASES.get(lower, lower)
