"""From frames to what began and ended: one camera's detectors and their states."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np

from edge.drivers.camera.settings import CameraSettings
from edge.drivers.camera.zones import LineJudge, Transition, View, build
from edge.vision.detection import Box, Detection
from edge.vision.latch import Latch
from edge.vision.motion import Motion, Restless
from edge.vision.picture import Grey, Mask, Picture
from edge.vision.quality import Frozen, Quality, Trouble
from edge.vision.still import Still, StillObjects
from edge.vision.tracks import Tracker, find_blobs

_TRACKED = ("count", "intrusion", "left_object")
_TAMPER_ON_MS, _TAMPER_OFF_MS = 2_000, 2_000
#: Tamper and frozen pictures are backed by so many frames, whatever the run's speed.
_QUALITY_FRAMES = 8
_FROZEN_FRAMES = 15
#: The quality of a picture that was good is judged so often (s, real time).
_QUALITY_EVERY_S = 0.35
#: Real time for which it goes on being lively after something has moved.
_LINGER_S = 2.0
#: Real time for which the detector's words are believed.
_WORDS_LIFE_S = 5.0


class Analyser:
    """Judges the frames of one camera; ``now`` is run time (ms), ``passed_s`` is real time."""

    def __init__(self, settings: CameraSettings) -> None:
        self._warm_up_s = settings.warm_up_s
        self._watch_tamper = settings.tamper
        self._judges = build(settings)
        self._tracks_wanted = any(isinstance(judge, LineJudge) for judge in self._judges) or any(
            zone.kind in _TRACKED for zone in settings.zones
        )
        self._stands_wanted = bool(settings.zones)
        self._still = StillObjects()
        self._motion = Motion()
        self._restless = Restless()
        self._tracker = Tracker()
        self._quality = Quality()
        self._frozen = Frozen()
        self._tamper = Latch(_TAMPER_ON_MS, _TAMPER_OFF_MS, _QUALITY_FRAMES)
        self._trouble: Trouble | None = None
        self._cause: Trouble | Literal["unknown"] = "unknown"
        self._judged_s = _QUALITY_EVERY_S
        self._frozen_latch = Latch(settings.frozen_s * 1000, 0, _FROZEN_FRAMES)
        self._warm_s = 0.0
        self._quiet_s = 0.0
        self._known = False
        self._people: list[Box] = []
        self._words_s = 0.0
        self.private: Mask = np.zeros((1, 1), bool)
        """What in the last frame moves or does not belong to the empty scene (people pause),
        at the analysis width: what is blurred outside of an event's zone."""

    @property
    def background(self) -> Grey | None:
        """Return the empty scene, None while it is not known."""
        return self._still.background if self._known else None

    @property
    def lively(self) -> bool:
        """Tell whether something moves, or moved a moment ago."""
        return self._quiet_s < _LINGER_S

    @property
    def busy(self) -> bool:
        """Tell whether each picture counts; else a few a second are enough."""
        return (
            self.lively
            or self._warm_s < self._warm_up_s
            or self._tamper.pending
            or any(judge.pending for judge in self._judges)
        )

    @property
    def held(self) -> bool:
        """Tell whether something is there that only the detector can see go."""
        return any(judge.held for judge in self._judges)

    def restore(self, background: Grey) -> None:
        """Begin with the empty scene that an earlier run had learned.

        Without it, whatever stands in the picture at the start is taken for a part of it.
        """
        self._still.restore(background)
        self._known = True

    def update(
        self, picture: Picture, now: int, passed_s: float, fresh: list[Detection] | None = None
    ) -> list[Transition]:
        """Judge one frame (BGR, at the analysis width); return what began or ended with it.

        ``fresh`` is what the detector has said since the last one, None: nothing new.
        """
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY).astype(np.uint8, copy=False)
        moving = self._motion.update(picture, passed_s)
        self.private = moving
        more = self._restless.is_more(moving, passed_s)
        self._quiet_s = 0.0 if more else self._quiet_s + passed_s
        self._listen(fresh, passed_s)
        transitions = self._judge_quality(grey, now, passed_s)
        if self._trouble is not None or self._tamper.state:
            # A picture that shows nothing says nothing about zones: their states stand.
            self._tracker.forget()
            return transitions
        self._warm_s += passed_s
        if self._warm_s < self._warm_up_s:
            if not self._known:
                self._still.learn(grey, passed_s)
            return transitions
        self._known = True
        still = self._stand(grey, moving, passed_s)
        self.private = moving | still.foreground
        blobs = find_blobs(moving) if self._tracks_wanted else []
        seen = self._tracker.update(blobs, moving.shape, passed_s)
        view = View(
            now, moving, still.foreground, still.standing, blobs, self._tracker.tracks, seen,
            fresh, self._people,
        )  # fmt: skip
        for judge in self._judges:
            transitions += judge.judge(view)
        return transitions

    def _stand(self, grey: Grey, moving: Mask, passed_s: float) -> Still:
        """Return what stands; a camera with lines only needs no such background."""
        if self._stands_wanted:
            return self._still.update(grey, passed_s)
        nothing = np.zeros(moving.shape, bool)
        return Still(nothing, nothing)

    def _listen(self, fresh: list[Detection] | None, passed_s: float) -> None:
        if fresh is not None:
            self._people = [item.box for item in fresh if item.target == "person"]
            self._words_s = 0.0
            return
        self._words_s += passed_s
        if self._words_s > _WORDS_LIFE_S:
            self._people = []

    def _judge_quality(self, grey: Grey, now: int, passed_s: float) -> list[Transition]:
        found: list[Transition] = []
        frozen = self._frozen_latch.update(now, present=self._frozen.update(grey))
        if frozen is not None:
            found.append(Transition("camera.frozen", {"active": frozen}))
        self._judged_s += passed_s
        unsure = self._trouble is not None or self._tamper.pending or self._tamper.state is None
        if not self._watch_tamper or (self._judged_s < _QUALITY_EVERY_S and not unsure):
            return found
        trouble = self._quality.update(grey, self._judged_s)
        self._judged_s = 0.0
        changed = self._tamper.update(now, present=trouble is not None)
        self._trouble = trouble
        if changed is not None:
            self._cause = trouble or self._cause
            found.append(Transition("camera.tamper", {"active": changed, "cause": self._cause}))
        return found
