"""The topics of cameras in our words; without prefixes, as each device chooses its own.

Sources: ONVIF Analytics, Imaging and Recording service topics as public clients read them;
``MyRuleDetector``, ``TPSmartEventDetector`` and ``PeopleDetector`` are vendors' own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True, slots=True)
class Meaning:
    """The kind that a topic becomes, and the data that follows from the topic alone.

    ``items`` are the data items that carry the state; ``by_rule``: each rule of the camera is
    a zone of its own.
    """

    kind: str
    data: Mapping[str, Any] = field(default_factory=dict)
    items: tuple[str, ...] = ("State",)
    by_rule: bool = False


def _tamper(cause: str) -> Meaning:
    return Meaning("camera.tamper", {"cause": cause})


def _object(target: str, *items: str) -> Meaning:
    return Meaning("camera.object", {"target": target}, items or ("State",))


def _fault(fault: str, *items: str) -> Meaning:
    return Meaning("device.fault", {"fault": fault}, items)


_MOTION = Meaning("camera.motion", items=("IsMotion", "State"))
_INTRUSION = Meaning("camera.intrusion", items=("IsInside", "IsIntrusion"), by_rule=True)
_CROSSED = Meaning("camera.line_crossed", items=("IsLineCross", "State"), by_rule=True)
_SERVICES = ("AnalyticsService", "ImagingService", "RecordingService")
_FAILURES = "Device/HardwareFailure"

TOPICS: Mapping[str, Meaning] = MappingProxyType(
    {
        "VideoSource/MotionAlarm": _MOTION,
        "RuleEngine/CellMotionDetector/Motion": _MOTION,
        "RuleEngine/MotionRegionDetector/Motion": _MOTION,
        "RuleEngine/FieldDetector/ObjectsInside": _INTRUSION,
        "RuleEngine/CellMotionDetector/Intrusion": _INTRUSION,
        "RuleEngine/LineDetector/Crossed": _CROSSED,
        "RuleEngine/CellMotionDetector/LineCross": _CROSSED,
        "RuleEngine/LoiteringDetector/ObjectIsLoitering": Meaning(
            "camera.zone_occupied", items=("State",), by_rule=True
        ),
        "RuleEngine/TamperDetector/Tamper": Meaning(
            "camera.tamper", {"cause": "unknown"}, ("IsTamper", "State")
        ),
        "RuleEngine/CellMotionDetector/Tamper": Meaning(
            "camera.tamper", {"cause": "unknown"}, ("IsTamper",)
        ),
        **{f"VideoSource/ImageTooBlurry/{name}": _tamper("defocused") for name in _SERVICES},
        **{f"VideoSource/ImageTooDark/{name}": _tamper("dark") for name in _SERVICES},
        **{f"VideoSource/ImageTooBright/{name}": _tamper("bright") for name in _SERVICES},
        **{f"VideoSource/GlobalSceneChange/{name}": _tamper("turned") for name in _SERVICES},
        **{f"VideoSource/SignalLoss/{name}": Meaning("camera.video_loss") for name in _SERVICES},
        "VideoSource/SignalLoss": Meaning("camera.video_loss"),
        "VideoSource/ConnectionFailed": Meaning("camera.video_loss"),
        "RuleEngine/MyRuleDetector/PeopleDetect": _object("person"),
        "RuleEngine/MyRuleDetector/FaceDetect": _object("person"),
        "RuleEngine/MyRuleDetector/VehicleDetect": _object("vehicle"),
        "RuleEngine/MyRuleDetector/DogCatDetect": _object("animal"),
        "RuleEngine/CellMotionDetector/People": _object("person", "IsPeople"),
        "RuleEngine/PeopleDetector/People": _object("person", "IsPeople"),
        "RuleEngine/CountAggregation/Counter": Meaning(
            "camera.count", {"target": "other"}, ("Count",), by_rule=True
        ),
        f"{_FAILURES}/StorageFailure": _fault("storage_error", "Failed"),
        f"{_FAILURES}/FanFailure": _fault("fan", "Failed"),
        f"{_FAILURES}/PowerSupplyFailure": _fault("mains_off", "Failed"),
        f"{_FAILURES}/TemperatureCritical": _fault("temperature", "Critical"),
    }
)

#: One topic for everything, told apart by its item.
BY_ITEM: Mapping[str, Meaning] = MappingProxyType(
    {
        "IsPeople": _object("person", "IsPeople"),
        "IsVehicle": _object("vehicle", "IsVehicle"),
        "IsPet": _object("animal", "IsPet"),
        "IsLineCross": _CROSSED,
        "IsIntrusion": _INTRUSION,
        "IsTamper": Meaning("camera.tamper", {"cause": "unknown"}, ("IsTamper",)),
    }
)
ITEM_TOPICS = frozenset(
    {
        "RuleEngine/CellMotionDetector/TpSmartEvent",
        "RuleEngine/TPSmartEventDetector/TPSmartEvent",
    }
)

#: Objects with their classes in an item (profile M).
OBJECT_TOPIC = "RuleEngine/ObjectDetection/Object"
CLASSES: Mapping[str, str] = MappingProxyType(
    {
        "human": "person", "person": "person", "face": "person", "head": "person",
        "vehicle": "vehicle", "vehical": "vehicle", "car": "vehicle", "truck": "vehicle",
        "bus": "vehicle", "motorcycle": "vehicle", "licenseplate": "vehicle",
        "animal": "animal", "fire": "fire", "smoke": "smoke",
    }
)  # fmt: skip

#: State of a recording job: an error of it is a fault.
JOB_TOPIC = "RecordingConfig/JobState"

#: Kinds that an event must be of for the camera to count as watching.
DETECTIONS = frozenset(
    {
        "camera.motion", "camera.intrusion", "camera.line_crossed", "camera.zone_occupied",
        "camera.left_object", "camera.object",
    }
)  # fmt: skip

#: Topics that are understood and have no event of their own.
WITHOUT_EVENT = (
    "Device/Trigger/Relay", "Device/OperationMode", "Device/Time", "Monitoring/", "Media/",
    "Configuration/", "RecordingHistory/", "RecordingConfig/", "AudioAnalytics/", "PTZController/",
    "Device/Network", "UserAlarm/", "VideoEncoder/", "VideoAnalytics/", "AudioSource/",
)  # fmt: skip
