"""What is judged about each zone and line, picture by picture."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from dataclasses import dataclass
from statistics import median_high
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from edge.drivers.camera.settings import CameraSettings, LineSettings, ZoneSettings
from edge.vision.detection import Box, Detection, stands_in
from edge.vision.latch import Latch
from edge.vision.left import LeftObjects
from edge.vision.line import Line
from edge.vision.picture import Mask, polygon_mask, share
from edge.vision.schedule import Schedule
from edge.vision.tracks import Track

#: What holds is judged by this share of the threshold, so that it does not flicker.
_STAY = 0.5
#: A recognised thing is backed by so many looks, a count is the median of so many.
_LOOKS, _COUNTS = 2, 3
#: Real time after which a track that is not seen no longer counts.
_GONE_S = 0.5


@dataclass(frozen=True, slots=True)
class Transition:
    """A state began or ended; ``interest`` is the part of the picture that it is about."""

    kind: str
    data: dict[str, Any]
    interest: Mask | None = None


@dataclass(frozen=True, slots=True)
class View:
    """Everything that is known of one picture; ``now`` is run time (ms)."""

    now: int
    moving: Mask
    foreground: Mask
    standing: Mask
    blobs: list[Box]
    tracks: list[Track]
    """Everything under way, whether seen in this picture or not."""
    seen: list[Track]
    fresh: list[Detection] | None
    """What the detector has said since the last picture; None: nothing new."""
    people: list[Box]
    """Persons of the detector's last words."""


class Judge(ABC):
    """One zone or line. Outside of its schedule nothing is ever there."""

    def __init__(self, name: str, schedule: Schedule) -> None:
        self.name = name
        self._schedule = schedule

    @property
    def pending(self) -> bool:
        """Tell whether a change is under way, so that each further picture counts."""
        return False

    @property
    def held(self) -> bool:
        """Tell whether something that only the detector can see is, or may be, there."""
        return False

    @abstractmethod
    def judge(self, view: View) -> list[Transition]:
        """Judge one picture."""


class ZoneJudge(Judge):
    """A polygon with a state."""

    kind = ""
    looks: int | None = None

    def __init__(self, settings: ZoneSettings, schedule: Schedule) -> None:
        super().__init__(settings.name, schedule)
        self._settings = settings
        on_s = 0.0 if settings.kind == "motion" else settings.dwell_s
        frames = {} if self.looks is None else {"least_frames": self.looks}
        self._latch = Latch(on_s * 1000, settings.clear_s * 1000, **frames)
        self._mask: Mask | None = None

    @property
    def pending(self) -> bool:
        """Tell whether a change is under way."""
        return self._latch.pending

    def _zone(self, view: View) -> Mask:
        if self._mask is None or self._mask.shape != view.moving.shape:
            self._mask = polygon_mask(self._settings.polygon, view.moving.shape)
        return self._mask

    def _tell(
        self, view: View, score: float, *, present: bool, more: dict[str, Any] | None = None
    ) -> list[Transition]:
        """Return the transition, if the state changes with this verdict."""
        present = present and self._schedule.holds(view.now)
        changed = self._latch.update(view.now, present=present)
        if changed is None:
            return []
        data: dict[str, Any] = {
            "active": changed, "zone": self.name, "score": round(min(score, 1.0), 4),
            **(more or {}),
        }  # fmt: skip
        return [Transition(self.kind, data, self._zone(view))]


class MovingJudge(ZoneJudge):
    """Motion or intrusion: a share of the zone moves, or somebody walks in it."""

    def __init__(self, settings: ZoneSettings, schedule: Schedule) -> None:
        super().__init__(settings, schedule)
        self.kind = f"camera.{settings.kind}"

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture."""
        held = bool(self._latch.state)
        score = share(view.moving, self._zone(view))
        present = score >= self._settings.share * (_STAY if held else 1.0)
        if self._settings.kind == "intrusion" and not present:
            present = any(self._walks_in(track, view) for track in view.seen)
        told = self._tell(view, score, present=present)
        if self._settings.kind == "motion" and not held:
            return [t for t in told if t.data["active"]]  # still from the start: no news
        return told

    def _walks_in(self, track: Track, view: View) -> bool:
        tall_enough = track.box.height >= self._settings.least
        return track.known and tall_enough and stands_in(track.box, self._zone(view))


class LaneJudge(ZoneJudge):
    """A fire lane: something has come to stand in it."""

    kind = "camera.zone_occupied"

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture."""
        held = bool(self._latch.state)
        # What stands begins the state; while people walk before it, it still stands.
        score = share(view.foreground if held else view.standing, self._zone(view))
        present = score >= self._settings.share * (_STAY if held else 1.0)
        stood_s = self._latch.present_ms(view.now) / 1000
        told = self._tell(view, score, present=present)
        for transition in told:
            if transition.data["active"]:
                transition.data["dwell_s"] = stood_s
        return told


class LeftJudge(ZoneJudge):
    """A small thing that stands in the zone while nobody is near it."""

    kind = "camera.left_object"

    def __init__(self, settings: ZoneSettings, schedule: Schedule) -> None:
        super().__init__(settings.model_copy(update={"dwell_s": 0.0}), schedule)
        self._dwell_ms = settings.dwell_s * 1000
        self._objects = LeftObjects(settings.largest)
        self._alone_ms = 0

    @property
    def pending(self) -> bool:
        """Tell whether something stands alone already, or is about to go."""
        return self._latch.pending or 0 < self._alone_ms < self._dwell_ms

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture."""
        zone = self._zone(view)
        held = bool(self._latch.state)
        standing = (view.foreground if held else view.standing) & zone
        self._alone_ms = self._objects.update(standing, [*view.blobs, *view.people], view.now)
        present = self._alone_ms >= self._dwell_ms
        return self._tell(view, share(standing, zone), present=present)


class ObjectJudge(ZoneJudge):
    """Something that the detector recognises is in the zone."""

    looks = _LOOKS

    def __init__(self, settings: ZoneSettings, schedule: Schedule) -> None:
        super().__init__(settings, schedule)
        self.kind = "camera.object" if settings.kind == "object" else "camera.intrusion"

    @property
    def held(self) -> bool:
        """Tell whether it is, or may be, there."""
        return bool(self._latch.state) or self._latch.pending

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture; only the detector's words change anything."""
        if view.fresh is None:
            return []
        zone = self._zone(view)
        found = [
            item
            for item in view.fresh
            if item.target == self._settings.target and stands_in(item.box, zone)
        ]
        more: dict[str, Any] = {}
        if self.kind == "camera.object":
            more = {"target": self._settings.target, "count": len(found)}
        score = max((item.score for item in found), default=0.0)
        return self._tell(view, score, present=bool(found), more=more)


class CountJudge(ZoneJudge):
    """How many are in the zone: on change, and at the latest after the period."""

    def __init__(
        self, settings: ZoneSettings, schedule: Schedule, target: str, period_s: float
    ) -> None:
        super().__init__(settings, schedule)
        self._target = target
        self._period_ms = period_s * 1000
        self._last: deque[int] = deque(maxlen=_COUNTS if target != "other" else 2 * _COUNTS - 1)
        self._count: int | None = None
        self._told: int | None = None

    @property
    def held(self) -> bool:
        """Tell whether somebody is there who may leave unseen."""
        return self._target != "other" and (bool(self._count) or any(self._last))

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture."""
        if not self._schedule.holds(view.now):
            self._last.clear()
            self._count = self._told = None
            return []
        zone = self._zone(view)
        if self._target == "other":
            here = [t for t in view.tracks if t.known and t.missed_s < _GONE_S]
            self._last.append(sum(stands_in(track.box, zone) for track in here))
        elif view.fresh is not None:
            self._last.append(
                sum(d.target == self._target and stands_in(d.box, zone) for d in view.fresh)
            )
        if not self._last:
            return []
        count = median_high(self._last)
        due = self._told is None or abs(view.now - self._told) >= self._period_ms
        if count == self._count and not due:
            return []
        self._count, self._told = count, view.now
        data = {"count": count, "zone": self.name, "target": self._target}
        return [Transition("camera.count", data)]


class LineJudge(Judge):
    """A line on the ground."""

    def __init__(self, settings: LineSettings, schedule: Schedule) -> None:
        super().__init__(settings.name, schedule)
        self._least = settings.least
        first, second = settings.points
        self._line = Line(settings.name, first, second, right_is_in=settings.inwards == "right")

    def judge(self, view: View) -> list[Transition]:
        """Judge one picture: an event for each who crosses."""
        crossed = self._line.crossings(view.seen, view.moving.shape, self._least)
        if not crossed or not self._schedule.holds(view.now):
            return []
        return [
            Transition(
                "camera.line_crossed",
                {"active": True, "zone": self.name, "direction": direction},
                _around(track.box, view.moving.shape),
            )
            for direction, track in crossed
        ]


def build(settings: CameraSettings) -> list[Judge]:
    """Return what a camera's settings ask to be judged."""
    local = ZoneInfo(settings.time_zone)
    recognised = settings.detector.targets() if settings.detector else frozenset()
    judges: list[Judge] = []
    for zone in settings.zones:
        schedule = Schedule(zone.schedule, local)
        if zone.kind == "fire_lane":
            judges.append(LaneJudge(zone, schedule))
        elif zone.kind == "left_object":
            judges.append(LeftJudge(zone, schedule))
        elif zone.kind == "count":
            target = zone.target or ("person" if "person" in recognised else "other")
            judges.append(CountJudge(zone, schedule, target, settings.period_s))
        elif zone.target is not None:
            judges.append(ObjectJudge(zone, schedule))
        else:
            judges.append(MovingJudge(zone, schedule))
    judges += [LineJudge(line, Schedule(line.schedule, local)) for line in settings.lines]
    return judges


def _around(box: Box, shape: tuple[int, ...]) -> Mask:
    mask = np.zeros(shape, bool)
    left, top, right, bottom = box.widened(0.15).pixels(shape)
    mask[top:bottom, left:right] = True
    return mask
