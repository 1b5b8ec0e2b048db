"""Lets a detector look at a camera's pictures now and then, without anybody waiting for it."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import CancelledError, Future

from edge.drivers.camera.settings import DetectorSettings
from edge.vision.detection import Detection, Detector
from edge.vision.frame import Frame
from edge.vision.studio import Studio

#: Width (pixels) of the pictures that a detector gets; none of them looks at more.
_WIDTH = 640
#: How much less often it looks while something stands and nothing moves.
_PATIENT = 5
#: However quiet it is, so often (s) it looks all the same: something may have come unseen.
_AT_LEAST_S = 60.0


class Eye:
    """One camera's turns with a detector that all cameras share: never two pictures at once."""

    def __init__(self, detector: Detector, studio: Studio, settings: DetectorSettings) -> None:
        self._detector = detector
        self._studio = studio
        self._settings = settings
        self._under_way: Future[list[Detection]] | None = None
        self._looked = float("-inf")
        self.counts: Counter[str] = Counter()

    def words(self) -> list[Detection] | None:
        """Return what the detector has found in the last picture given, once; else None."""
        future = self._under_way
        if future is None or not future.done():
            return None
        self._under_way = None
        try:
            found = future.result()
        except CancelledError:
            return None
        except Exception:  # noqa: BLE001 (a user's network must not end the watching of a camera)
            self.counts["detector_failed"] += 1
            return None
        self.counts["looks"] += 1
        return found

    def look(self, frame: Frame, now: float, *, lively: bool, held: bool) -> None:
        """Give it this picture if it is time; ``now`` is real time (s)."""
        every_s = self._settings.every_s
        if not lively:
            every_s = every_s * _PATIENT if held else max(every_s, _AT_LEAST_S)
        if self._under_way is not None or now - self._looked < every_s:
            return
        self._looked = now
        confidence = self._settings.confidence
        self._under_way = self._studio.submit(
            lambda: self._detector.find(frame.picture(_WIDTH), confidence)
        )
        if self._under_way is None:
            self.counts["detector_busy"] += 1
