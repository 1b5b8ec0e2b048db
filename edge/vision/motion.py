"""What moves: OpenCV's adaptive mixture of Gaussians (MOG2)."""

from __future__ import annotations

from math import exp

import cv2
import numpy as np

from edge.vision.picture import Grey, Mask

_HISTORY_S = 24.0
"""Time constant of what is learned as background (real time)."""
_THRESHOLD = 25
_SHADOW = 0.65
"""Share of its usual brightness down to which a pixel is in the shadow. In grey every dark coat
looks like a shadow, so only mild ones are taken for that; a hard shadow moves with its owner."""
_OPEN = np.ones((3, 3), np.uint8)
_JOIN = np.ones((7, 5), np.uint8)
"""Closes the gaps within a walking person: taller than wide."""
_SMALLEST = 24
"""Pixels at the analysis width; smaller ones are rain, leaves or noise."""
_SUDDEN = 0.25
"""Share of the picture from which on a change is looked at for light."""
_ALIKE = 0.6
"""Correlation of the edges from which on a sudden change is one of light."""


class Motion:
    """Finds moving pixels; shadows, specks and a light that is switched do not count."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(
            history=120, varThreshold=_THRESHOLD, detectShadows=True
        )
        self._model.setShadowThreshold(_SHADOW)
        self._frames = 0

    def update(self, grey: Grey, passed_s: float = 0.2) -> Mask:
        """Return what moves in this picture, which came ``passed_s`` after the last."""
        self._frames += 1
        rate = max(1 - exp(-min(passed_s, 2.0) / _HISTORY_S), 1 / self._frames)
        found = (self._model.apply(grey, learningRate=rate) == 255).astype(np.uint8)
        moving = cv2.morphologyEx(found, cv2.MORPH_OPEN, _OPEN)
        share = cv2.countNonZero(moving) / moving.size
        if not share:
            return moving.astype(bool)
        if share > _SUDDEN and self._is_light(grey):
            self._model.apply(grey, learningRate=0.5)
            return np.zeros(moving.shape, bool)
        return _without_specks(cv2.morphologyEx(moving, cv2.MORPH_CLOSE, _JOIN))

    def _is_light(self, grey: Grey) -> bool:
        """Tell whether the picture has the edges of the scene as it was, in another light."""
        known = self._model.getBackgroundImage()
        return known is not None and _alike(_edges(grey), _edges(known)) > _ALIKE


def _without_specks(moving: cv2.typing.MatLike) -> Mask:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(moving)
    large = stats[:count, cv2.CC_STAT_AREA] >= _SMALLEST
    large[0] = False
    result: Mask = large[labels]
    return result


def _edges(grey: cv2.typing.MatLike) -> cv2.typing.MatLike:
    small = cv2.resize(grey, (160, 90), interpolation=cv2.INTER_AREA)
    across = cv2.Sobel(small, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(small, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(across, down)
    # By rank, not by size: more light makes all edges stronger.
    return np.log1p(strength)


def _alike(a: cv2.typing.MatLike, b: cv2.typing.MatLike) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
