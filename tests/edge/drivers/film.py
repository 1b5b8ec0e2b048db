"""A rendered scene before a camera's analyser, as fast as the machine can."""

from __future__ import annotations

from typing import Any

from edge.drivers.camera.analyser import Analyser
from edge.drivers.camera.settings import CameraSettings
from edge.vision.detection import Detection
from edge.vision.picture import ANALYSIS_WIDTH, Picture, reduce
from simulators.devices.scene import LAYOUTS, Scene, SceneKind

#: Noon and midnight of a Monday at UTC+8.
NOON = 1_763_956_800_000
MIDNIGHT = NOON + 12 * 3_600_000
FPS = 5


def settings(*zones: dict[str, Any], **more: Any) -> CameraSettings:
    raw: dict[str, Any] = {"driver": "camera", "url": "http://x/", "device": "c", "warm_up_s": 2}
    if zones:
        raw["zones"] = zones
    return CameraSettings.model_validate(raw | more)


class Cinema:
    """Plays a scene into an analyser; ``words`` stands for a detector's answer to each picture."""

    def __init__(
        self, kind: SceneKind, camera: CameraSettings, *, at: int = NOON, busy: float = 0
    ) -> None:
        self.scene = Scene(11, f"film-{kind}", kind, "FILM", rhythm_scale=busy)
        self.layout = LAYOUTS[kind]
        self.analyser = Analyser(camera)
        self.now = at
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.busy_frames = 0
        self.frames = 0
        self.words: list[Detection] | None = None
        self.picture: Picture

    def play(self, seconds: float, *, fps: float = FPS) -> Cinema:
        for _ in range(round(seconds * fps)):
            self.now += round(1000 / fps)
            self.picture = self.scene.render(self.now)
            small = reduce(self.picture, ANALYSIS_WIDTH)
            for found in self.analyser.update(small, self.now, 1 / fps, self.words):
                self.events.append((found.kind, found.data))
            self.frames += 1
            self.busy_frames += self.analyser.busy
        return self

    def told(self, kind: str, zone: str | None = None) -> list[Any]:
        """Return the states (crossings: directions, counts: counts) told of a kind."""
        word = {"camera.line_crossed": "direction", "camera.count": "count"}.get(kind, "active")
        return [
            data[word]
            for name, data in self.events
            if name == kind and zone in (None, data.get("zone"))
        ]


def zone_of(kind: SceneKind, what: str, **more: Any) -> dict[str, Any]:
    """Return a zone on the floor that matters in a scene (a fire lane: on the lane)."""
    layout = LAYOUTS[kind]
    polygon = layout.fire_lane if what == "fire_lane" else layout.zone
    return {"name": what, "kind": what, "polygon": polygon, **more}


def line_of(kind: SceneKind, **more: Any) -> dict[str, Any]:
    return {"name": "line", "points": LAYOUTS[kind].line, **more}
