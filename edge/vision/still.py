"""What stands still where nothing stood before: two backgrounds, a slow and a fast one.

The slow background learns only where the picture agrees with it, so that an object that stays
is never learned; it follows the light by a gain common to the whole picture. The fast one is
the last seconds' mean. Something that stands is where the fast differs from the slow and the
picture agrees with the fast. A difference without edges of its own (a shadow, a lamp) is light
and is learned at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.picture import Grey, Mask

_Float = npt.NDArray[np.float32]

_DIFFERENCE = 22.0
"""Grey levels from which on a pixel differs."""
_FAST_S, _SLOW_S = 1.2, 10.0
_EDGE = 40.0
"""Difference of the gradients (Sobel) from which on a pixel has an edge of its own."""
_LEAST_EDGES = 0.04
_ANOTHER_SCENE, _ANOTHER_SCENE_S = 0.6, 5.0
"""Share of the picture that differs, and for how long, until the scene is learned anew."""
_SMALLEST_BLOB = 40
"""Pixels at the analysis width; smaller blobs are noise."""


@dataclass(frozen=True, slots=True)
class Still:
    """One frame's verdict: what differs from the empty scene, and what of it stands still."""

    foreground: Mask
    standing: Mask


class StillObjects:
    """Finds what has come to stand in the picture; ``passed_s`` is real time."""

    def __init__(self) -> None:
        self._slow: _Float | None = None
        self._fast: _Float | None = None
        self._strange_s = 0.0

    @property
    def background(self) -> Grey | None:
        """Return the empty scene as it is known, None before the first frame."""
        return None if self._slow is None else np.clip(self._slow, 0, 255).astype(np.uint8)

    def restore(self, background: Grey) -> None:
        """Begin with a known empty scene instead of the first picture."""
        self._slow = background.astype(np.float32)
        self._fast = None

    def learn(self, grey: Grey, passed_s: float) -> None:
        """Learn the empty scene without judging (the first seconds of a new camera)."""
        frame = _smooth(grey)
        if self._slow is None or self._slow.shape != frame.shape:
            self._slow = frame.copy()
        else:
            self._slow += (frame - self._slow) * _weight(passed_s, _FAST_S)
        self._fast = frame.copy()

    def update(self, grey: Grey, passed_s: float) -> Still:
        """Judge one frame that came ``passed_s`` real seconds after the last."""
        frame = _smooth(grey)
        if self._slow is None or self._slow.shape != frame.shape:
            self._slow = frame.copy()
        if self._fast is None or self._fast.shape != frame.shape:
            self._fast = frame.copy()
        self._follow_light(frame)
        slow, fast = self._slow, self._fast
        fast += (frame - fast) * _weight(passed_s, _FAST_S)
        foreground = _without_specks(np.abs(frame - slow) > _DIFFERENCE)
        self._strange_s = self._strange_s + passed_s if foreground.mean() > _ANOTHER_SCENE else 0.0
        if self._strange_s > _ANOTHER_SCENE_S:
            self.restore(np.clip(frame, 0, 255).astype(np.uint8))
            return Still(np.zeros_like(foreground), np.zeros_like(foreground))
        standing = foreground & (np.abs(frame - fast) < _DIFFERENCE / 2)
        if standing.any() and self._is_light(frame, standing):
            slow[standing] = frame[standing]
            foreground &= ~standing
            standing = np.zeros_like(standing)
        agrees = ~cv2.dilate(foreground.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
        slow[agrees] += (frame[agrees] - slow[agrees]) * _weight(passed_s, _SLOW_S)
        return Still(foreground, standing)

    def _follow_light(self, frame: _Float) -> None:
        if self._slow is None:
            return
        lit = self._slow > 12
        if lit.sum() < lit.size // 8:
            return
        gain = float(np.median(frame[lit] / self._slow[lit]))
        if 0.3 < gain < 3:
            self._slow *= gain

    def _is_light(self, frame: _Float, standing: Mask) -> bool:
        if self._slow is None:
            return False
        edges = np.abs(_gradient(frame) - _gradient(self._slow)) > _EDGE
        return float(edges[standing].mean()) < _LEAST_EDGES


def _weight(passed_s: float, constant_s: float) -> float:
    return float(1 - np.exp(-min(max(passed_s, 0.0), 2.0) / constant_s))


def _smooth(grey: Grey) -> _Float:
    return cv2.GaussianBlur(grey, (5, 5), 0).astype(np.float32)


def _gradient(frame: _Float) -> _Float:
    across = cv2.Sobel(frame, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(frame, cv2.CV_32F, 0, 1)
    return cv2.magnitude(across, down).astype(np.float32)


def _without_specks(mask: Mask) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    large = stats[:count, cv2.CC_STAT_AREA] >= _SMALLEST_BLOB
    large[0] = False
    result: Mask = large[labels]
    return result
