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

from edge.vision.picture import Bytes, Grey, Mask, parts, without_specks

_Float = npt.NDArray[np.float32]

_DIFFERENCE = 22.0
"""Grey levels from which on a pixel differs."""
_FAST_S, _SLOW_S = 1.2, 10.0
_EDGE = 40.0
"""Difference of the gradients (Sobel) from which on a pixel has an edge of its own."""
_LEAST_EDGES = 0.04
_SHOWS_THROUGH = 0.6
"""Correlation of the gradients from which on the ground's own texture is still seen: what covers
nothing is light, however bright."""
_GONE = 1.6
"""How much more of the outline must be in the background than in the picture."""
_ANOTHER_SCENE, _ANOTHER_SCENE_S = 0.6, 5.0
"""Share of the picture that differs, and for how long, until the scene is learned anew."""
_SMALLEST_BLOB = 40
"""Pixels at the analysis width; smaller blobs are noise."""
_SAME, _SETTLED_S = 0.2, 2.0
"""Share of what stands that may change from picture to picture, and for how long (real time),
until it has settled."""
_LEAST_GROUP = 60
"""Pixels; smaller groups, as when something is just arriving, say nothing about light."""
_JOIN = np.ones((9, 9), np.uint8)
_WIDE, _SOFT = np.ones((21, 21), np.uint8), 6.0
_RING = np.ones((5, 5), np.uint8)


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
        self._stood: Bytes | None = None
        self._stood_s = 0.0

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
        foreground = without_specks(_differs(frame, slow, _DIFFERENCE), _SMALLEST_BLOB)
        share = cv2.countNonZero(foreground) / foreground.size
        self._strange_s = self._strange_s + passed_s if share > _ANOTHER_SCENE else 0.0
        if self._strange_s > _ANOTHER_SCENE_S:
            self.restore(np.clip(frame, 0, 255).astype(np.uint8))
            nothing = np.zeros(foreground.shape, bool)
            return Still(nothing, nothing)
        standing = foreground & (255 - _differs(frame, fast, _DIFFERENCE / 2))
        if cv2.countNonZero(standing):
            settled = self._settle(standing, passed_s)
            learned = _not_objects(frame, slow, standing, settled=settled)
            if learned is not None:
                foreground &= 255 - learned
                _blend(slow, frame, learned, foreground)
                standing &= 255 - learned
        agrees = 255 - cv2.dilate(foreground, _RING)
        cv2.accumulateWeighted(frame, slow, _weight(passed_s, _SLOW_S), agrees)
        return Still(foreground.astype(bool), standing.astype(bool))

    def _settle(self, standing: Bytes, passed_s: float) -> bool:
        """Tell whether what stands has been the same for a while: nothing is just arriving."""
        last, self._stood = self._stood, standing
        changed = standing.size
        if last is not None and last.shape == standing.shape:
            changed = cv2.countNonZero(cv2.bitwise_xor(last, standing))
        same = changed <= _SAME * cv2.countNonZero(standing)
        self._stood_s = self._stood_s + passed_s if same else 0.0
        return self._stood_s >= _SETTLED_S


def _follow_light(slow: _Float, frame: _Float) -> None:
    """Scale the empty scene by what the light of the whole picture has changed."""
    known, seen = slow[::4, ::4], frame[::4, ::4]
    lit = known > 12
    if int(lit.sum()) * 8 < lit.size:
        return
    gain = float(np.median(seen[lit] / known[lit]))
    if 0.3 < gain < 3:
        slow *= np.float32(gain)


def _not_objects(frame: _Float, slow: _Float, standing: Bytes, *, settled: bool) -> Bytes | None:
    """Return the parts (255) of what seems to stand that are light or places left empty.

    While something is only arriving, a part of it says nothing about an outline.
    """
    groups = parts(cv2.dilate(standing, _JOIN).astype(np.uint8, copy=False))
    learned: Bytes | None = None
    if groups is None:
        return None
    here, there = _Gradient(frame), _Gradient(slow)
    labels = np.zeros(standing.shape, np.int32)
    labels[groups.window] = groups.labels
    for label, (left, top, wide, tall, _) in enumerate(groups.boxes, 1):
        window = (
            slice(max(top - 4, 0), top + tall + 4),
            slice(max(left - 4, 0), left + wide + 4),
        )
        group = ((labels[window] == label) & (standing[window] > 0)).astype(np.uint8) * 255
        if cv2.countNonZero(group) < _LEAST_GROUP:
            continue
        inside = group > 0
        is_light = _shows_through(here.strength[window][inside], there.strength[window][inside])
        if is_light or (
            settled and there.outlines(group, window) > _GONE * here.outlines(group, window)
        ):
            if learned is None:
                learned = np.zeros(standing.shape, np.uint8)
            learned[window] |= group
    return learned


def _blend(slow: _Float, frame: _Float, learned: Bytes, foreground: Bytes) -> None:
    """Take over a part of the picture with soft edges: a seam would look like an object's."""
    soft = cv2.GaussianBlur(cv2.dilate(learned, _WIDE), (0, 0), _SOFT).astype(np.float32) / 255
    soft[foreground > 0] = 0
    slow += (frame - slow) * np.maximum(soft, learned.astype(np.float32) / 255)


class _Gradient:
    """A picture's gradient."""

    def __init__(self, frame: _Float) -> None:
        self._across = cv2.Sobel(frame, cv2.CV_32F, 1, 0).astype(np.float32)
        self._down = cv2.Sobel(frame, cv2.CV_32F, 0, 1).astype(np.float32)
        self.strength = cv2.magnitude(self._across, self._down).astype(np.float32)

    def outlines(self, group: Bytes, window: tuple[slice, slice]) -> float:
        """Return how strongly the picture changes across the outline of a group of pixels."""
        soft = cv2.GaussianBlur(group, (5, 5), 0).astype(np.float32)
        across, down = cv2.Sobel(soft, cv2.CV_32F, 1, 0), cv2.Sobel(soft, cv2.CV_32F, 0, 1)
        length = float(cv2.magnitude(across, down).sum())
        if not length:
            return 0.0
        along = across * self._across[window] + down * self._down[window]
        return float(np.abs(along).sum()) / length


def _shows_through(here: _Float, there: _Float) -> bool:
    """Tell from the strengths of the gradients whether the ground is still to be seen."""
    if float((np.abs(here - there) > _EDGE).mean()) < _LEAST_EDGES:
        return True
    # By their logarithms: more light makes all edges stronger.
    a, b = np.log1p(here), np.log1p(there)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return scale > 0 and float((a * b).sum()) / scale > _SHOWS_THROUGH


def _differs(a: _Float, b: _Float, by: float) -> Bytes:
    return cv2.threshold(cv2.absdiff(a, b), by, 255, cv2.THRESH_BINARY)[1].astype(np.uint8)


def _weight(passed_s: float, constant_s: float) -> float:
    return float(1 - np.exp(-min(max(passed_s, 0.0), 2.0) / constant_s))


def _smooth(grey: Grey) -> _Float:
    return cv2.GaussianBlur(grey, (5, 5), 0).astype(np.float32)
