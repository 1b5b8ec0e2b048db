"""What stands still where nothing stood before: two backgrounds, a slow and a fast one.

The slow background learns only where the picture agrees with it, so that an object that stays
is never learned; it follows the light by a gain common to the whole picture. The fast one is
the last seconds' mean. Something that stands is where the fast differs from the slow and the
picture agrees with the fast. Two kinds of difference are learned at once: one without edges of
its own (a shadow, a lamp) is light, and one whose outline is in the slow background instead of
the picture is a place from which something was taken away.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.picture import Grey, Mask

_Float = npt.NDArray[np.float32]
_Bytes = npt.NDArray[np.uint8]
"""A mask of 0 and 255, as OpenCV makes them."""

_DIFFERENCE = 22.0
"""Grey levels from which on a pixel differs."""
_FAST_S, _SLOW_S = 1.2, 10.0
_EDGE = 40.0
"""Difference of the gradients (Sobel) from which on a pixel has an edge of its own."""
_LEAST_EDGES = 0.04
_GONE = 1.6
"""How much stronger the outline must be in the background than in the picture."""
_ANOTHER_SCENE, _ANOTHER_SCENE_S = 0.6, 5.0
"""Share of the picture that differs, and for how long, until the scene is learned anew."""
_SMALLEST_BLOB = 40
"""Pixels at the analysis width; smaller blobs are noise."""
_JOIN = np.ones((9, 9), np.uint8)
_RING = np.ones((5, 5), np.uint8)
_CORE = np.ones((3, 3), np.uint8)


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
            cv2.accumulateWeighted(frame, self._slow, _weight(passed_s, _FAST_S))
        self._fast = frame.copy()

    def update(self, grey: Grey, passed_s: float) -> Still:
        """Judge one frame that came ``passed_s`` real seconds after the last."""
        frame = _smooth(grey)
        if self._slow is None or self._slow.shape != frame.shape:
            self._slow = frame.copy()
        if self._fast is None or self._fast.shape != frame.shape:
            self._fast = frame.copy()
        slow, fast = self._slow, self._fast
        _follow_light(slow, frame)
        cv2.accumulateWeighted(frame, fast, _weight(passed_s, _FAST_S))
        foreground = _without_specks(_differs(frame, slow, _DIFFERENCE))
        share = cv2.countNonZero(foreground) / foreground.size
        self._strange_s = self._strange_s + passed_s if share > _ANOTHER_SCENE else 0.0
        if self._strange_s > _ANOTHER_SCENE_S:
            self.restore(np.clip(frame, 0, 255).astype(np.uint8))
            nothing = np.zeros(foreground.shape, bool)
            return Still(nothing, nothing)
        standing = foreground & (255 - _differs(frame, fast, _DIFFERENCE / 2))
        if cv2.countNonZero(standing):
            learned = _not_objects(frame, slow, standing)
            if learned is not None:
                np.copyto(slow, frame, where=learned.astype(bool))
                foreground &= 255 - learned
                standing &= 255 - learned
        agrees = 255 - cv2.dilate(foreground, _RING)
        cv2.accumulateWeighted(frame, slow, _weight(passed_s, _SLOW_S), agrees)
        return Still(foreground.astype(bool), standing.astype(bool))


def _follow_light(slow: _Float, frame: _Float) -> None:
    """Scale the empty scene by what the light of the whole picture has changed."""
    known, seen = slow[::4, ::4], frame[::4, ::4]
    lit = known > 12
    if int(lit.sum()) * 8 < lit.size:
        return
    gain = float(np.median(seen[lit] / known[lit]))
    if 0.3 < gain < 3:
        slow *= np.float32(gain)


def _not_objects(frame: _Float, slow: _Float, standing: _Bytes) -> _Bytes | None:
    """Return the parts (255) of what seems to stand that are light or places left empty."""
    here, there = _gradient(frame), _gradient(slow)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(cv2.dilate(standing, _JOIN))
    learned: _Bytes | None = None
    for label in range(1, count):
        left, top, wide, tall = stats[label, :4].tolist()
        window = (
            slice(max(top - 3, 0), top + tall + 3),
            slice(max(left - 3, 0), left + wide + 3),
        )
        group = ((labels[window] == label) & (standing[window] > 0)).astype(np.uint8) * 255
        a, b = here[window], there[window]
        if _is_light(a, b, group) or _is_gone(a, b, group):
            if learned is None:
                learned = np.zeros(standing.shape, np.uint8)
            learned[window] |= group
    return learned


def _is_light(here: _Float, there: _Float, group: _Bytes) -> bool:
    own = np.abs(here - there)[group > 0] > _EDGE
    return float(own.mean()) < _LEAST_EDGES if own.size else False


def _is_gone(here: _Float, there: _Float, group: _Bytes) -> bool:
    """Tell whether the outline is that of something that was there and is no longer."""
    on = (cv2.dilate(group, _RING) > 0) & (cv2.erode(group, _CORE) == 0)
    return bool(on.any()) and float(there[on].mean()) > _GONE * float(here[on].mean()) + 4


def _differs(a: _Float, b: _Float, by: float) -> _Bytes:
    return cv2.threshold(cv2.absdiff(a, b), by, 255, cv2.THRESH_BINARY)[1].astype(np.uint8)


def _weight(passed_s: float, constant_s: float) -> float:
    return float(1 - np.exp(-min(max(passed_s, 0.0), 2.0) / constant_s))


def _smooth(grey: Grey) -> _Float:
    return cv2.GaussianBlur(grey, (5, 5), 0).astype(np.float32)


def _gradient(frame: _Float) -> _Float:
    across = cv2.Sobel(frame, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(frame, cv2.CV_32F, 0, 1)
    return cv2.magnitude(across, down).astype(np.float32)


def _without_specks(mask: _Bytes) -> _Bytes:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    large = (stats[:count, cv2.CC_STAT_AREA] >= _SMALLEST_BLOB).astype(np.uint8) * 255
    large[0] = 0
    result: _Bytes = large[labels]
    return result
