"""From frames to what began and ended: one camera's detectors and their states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edge.drivers.camera.settings import CameraSettings, ZoneSettings
from edge.vision.latch import Latch
from edge.vision.motion import Motion
from edge.vision.picture import Grey, Mask, Picture, polygon_mask, share, to_grey
from edge.vision.quality import Frozen, Quality, Trouble
from edge.vision.still import StillObjects

KIND_OF_ZONE = {
    "fire_lane": "camera.zone_occupied",
    "motion": "camera.motion",
    "intrusion": "camera.intrusion",
}
#: What holds is judged by this share of the threshold, so that it does not flicker.
_STAY = 0.5
_TAMPER_ON_MS, _TAMPER_OFF_MS = 2_000, 2_000
#: Tamper and frozen pictures are backed by so many frames, whatever the run's speed.
_QUALITY_FRAMES = 8
_FROZEN_FRAMES = 15


@dataclass(frozen=True, slots=True)
class Transition:
    """A state began or ended; ``interest`` is the zone it is about, where there is one."""

    kind: str
    data: dict[str, Any]
    interest: Mask | None = None


@dataclass(slots=True)
class _Zone:
    settings: ZoneSettings
    latch: Latch
    mask: Mask | None = None

    @property
    def kind(self) -> str:
        return KIND_OF_ZONE[self.settings.kind]


class Analyser:
    """Judges the frames of one camera; ``now`` is run time (ms), ``passed_s`` is real time."""

    def __init__(self, settings: CameraSettings) -> None:
        self._warm_up_s = settings.warm_up_s
        self._watch_tamper = settings.tamper
        self._zones = [_Zone(zone, _latch(zone)) for zone in settings.zones]
        self._still = StillObjects()
        self._motion = Motion()
        self._quality = Quality()
        self._frozen = Frozen()
        self._tamper = Latch(_TAMPER_ON_MS, _TAMPER_OFF_MS, _QUALITY_FRAMES)
        self._trouble: Trouble | None = None
        self._cause: Trouble | Literal["unknown"] = "unknown"
        self._frozen_latch = Latch(settings.frozen_s * 1000, 0, _FROZEN_FRAMES)
        self._warm_s = 0.0
        self._known = False
        self._moving: Mask = np.zeros((1, 1), bool)
        self.private: Mask = self._moving
        """What in the last frame moves or does not belong to the empty scene (people pause),
        at the analysis width: what is blurred outside of an event's zone."""

    @property
    def background(self) -> Grey | None:
        """Return the empty scene, None while it is not known."""
        return self._still.background if self._known else None

    def restore(self, background: Grey) -> None:
        """Begin with the empty scene that an earlier run had learned.

        Without it, whatever stands in the picture at the start is taken for a part of it.
        """
        self._still.restore(background)
        self._known = True

    def update(self, picture: Picture, now: int, passed_s: float) -> list[Transition]:
        """Judge one frame and return what began or ended with it."""
        grey = to_grey(picture)
        self._moving = self.private = self._motion.update(grey)
        transitions = self._judge_quality(grey, now)
        if self._trouble is not None or self._tamper.state:
            # A picture that shows nothing says nothing about zones: their states stand.
            return transitions
        self._warm_s += passed_s
        if self._warm_s < self._warm_up_s:
            if not self._known:
                self._still.learn(grey, passed_s)
            return transitions
        self._known = True
        still = self._still.update(grey, passed_s)
        self.private = self._moving | still.foreground
        for zone in self._zones:
            transitions += self._judge_zone(zone, still.foreground, still.standing, now)
        return transitions

    def _judge_quality(self, grey: Grey, now: int) -> list[Transition]:
        found: list[Transition] = []
        frozen = self._frozen_latch.update(now, present=self._frozen.update(grey))
        if frozen is not None:
            found.append(Transition("camera.frozen", {"active": frozen}))
        if not self._watch_tamper:
            return found
        trouble = self._quality.update(grey)
        changed = self._tamper.update(now, present=trouble is not None)
        self._trouble = trouble
        if changed is not None:
            self._cause = trouble or self._cause
            found.append(Transition("camera.tamper", {"active": changed, "cause": self._cause}))
        return found

    def _judge_zone(
        self, zone: _Zone, foreground: Mask, standing: Mask, now: int
    ) -> list[Transition]:
        if zone.mask is None or zone.mask.shape != foreground.shape:
            zone.mask = polygon_mask(zone.settings.polygon, foreground.shape)
        held = bool(zone.latch.state)
        if zone.settings.kind == "fire_lane":
            # What stands begins the state; while people walk before it, it still stands.
            score = share(foreground if held else standing, zone.mask)
        else:
            score = share(self._moving, zone.mask)
        threshold = zone.settings.share * (_STAY if held else 1.0)
        present_ms = zone.latch.present_ms(now)
        changed = zone.latch.update(now, present=score >= threshold)
        if changed is None:
            return []
        if zone.settings.kind == "motion" and not changed and not held:
            return []  # nothing moves from the start: no news
        data: dict[str, Any] = {
            "active": changed, "zone": zone.settings.name, "score": round(min(score, 1.0), 4)
        }  # fmt: skip
        if zone.settings.kind == "fire_lane" and changed:
            data["dwell_s"] = present_ms / 1000
        return [Transition(zone.kind, data, zone.mask)]


def _latch(zone: ZoneSettings) -> Latch:
    on_s = 0.0 if zone.kind == "motion" else zone.dwell_s
    return Latch(on_s * 1000, zone.clear_s * 1000)
