"""What moves: OpenCV's adaptive mixture of Gaussians (MOG2)."""

from __future__ import annotations

from math import exp

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.picture import Mask, Picture, without_specks

_HISTORY_S = 20.0
"""Time constant of what is learned as background (real time) …"""
_BACKGROUND = 0.6
"""… and the share of it that is background: who walks slowly towards the camera, and so covers
one place for seconds, is not learned."""
_FIRST = 10
"""Pictures after which the first background is known."""
_THRESHOLD = 25
_SHADOW = 0.55
"""Share of its usual brightness down to which a pixel of unchanged colour is in the shadow. At
night, when a camera sees no colours, a coat can look like one."""
_OPEN = np.ones((3, 3), np.uint8)
_JOIN = np.ones((7, 5), np.uint8)
"""Closes the gaps within a walking person: taller than wide."""
_LEAST_VARIANCE = 12.0
"""Square of the grey levels by which a still pixel varies at least: JPEG's blocks flicker."""
_SMALLEST = 32
"""Pixels at the analysis width; smaller ones are rain, leaves or noise."""
_SUDDEN = 0.015
"""Share of the picture from which on a change is looked at for light."""
_OFTEN, _OFTEN_S, _FEW = 0.05, 30.0, 0.03
"""Share of the time (and its constant, real time) in which a restless place moves, and the share
of the picture that such places can be."""
_AROUND = np.ones((9, 9), np.uint8)
_EDGE_SIZE = (160, 90)
_ALIKE = 0.5
"""Correlation of the edges from which on a sudden change is one of light."""


class Motion:
    """Finds moving pixels; shadows, specks and a light that is switched do not count."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(
            history=120, varThreshold=_THRESHOLD, detectShadows=True
        )
        self._model.setShadowThreshold(_SHADOW)
        self._model.setBackgroundRatio(_BACKGROUND)
        self._model.setNMixtures(3)
        self._model.setVarMin(_LEAST_VARIANCE)
        self._frames = 0

    def update(self, picture: Picture, passed_s: float = 0.2) -> Mask:
        """Return what moves in this picture (BGR, at the analysis width).

        It came ``passed_s`` (real time) after the last.
        """
        self._frames += 1
        first = 1 / self._frames if self._frames <= _FIRST else 0.0
        rate = max(1 - exp(-min(passed_s, 2.0) / _HISTORY_S), first)
        found = (self._model.apply(picture, learningRate=rate) == 255).astype(np.uint8)
        moving = cv2.morphologyEx(found, cv2.MORPH_OPEN, _OPEN)
        share = cv2.countNonZero(moving) / moving.size
        if not share:
            return moving.astype(bool)
        if share > _SUDDEN and self._is_light(picture, moving):
            self._model.apply(picture, learningRate=0.5)
            return np.zeros(moving.shape, bool)
        joined = cv2.morphologyEx(moving, cv2.MORPH_CLOSE, _JOIN).astype(np.uint8, copy=False)
        return without_specks(joined, _SMALLEST) > 0

    def _is_light(self, picture: Picture, moving: cv2.typing.MatLike) -> bool:
        """Tell whether what seems to move has the edges of the scene as it was."""
        known = self._model.getBackgroundImage()
        where = cv2.resize(moving, _EDGE_SIZE, interpolation=cv2.INTER_NEAREST) > 0
        if known is None or not where.any():
            return False
        return _alike(_edges(picture)[where], _edges(known)[where]) > _ALIKE


class Restless:
    """Knows the small places where something always moves: the clock that a camera burns in.

    Only how often pictures are looked at depends on it, never what is found in them.
    """

    def __init__(self) -> None:
        self._often: npt.NDArray[np.float32] | None = None

    def is_more(self, moving: Mask, passed_s: float) -> bool:
        """Take what moves; tell whether anything beside those places does."""
        seen = moving.astype(np.float32)
        if self._often is None or self._often.shape != seen.shape:
            self._often = np.zeros_like(seen)
        often = self._often
        cv2.accumulateWeighted(seen, often, min(passed_s, 2.0) / _OFTEN_S)
        if not moving.any():
            return False
        places = cv2.dilate((often > _OFTEN).astype(np.uint8), _AROUND)
        if cv2.countNonZero(places) > _FEW * places.size:
            return True
        return int((moving & (places == 0)).sum()) >= _SMALLEST


def _edges(picture: cv2.typing.MatLike) -> cv2.typing.MatLike:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, _EDGE_SIZE, interpolation=cv2.INTER_AREA)
    across = cv2.Sobel(small, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(small, cv2.CV_32F, 0, 1)
    strength = cv2.magnitude(across, down)
    # By rank, not by size: more light makes all edges stronger.
    return np.log1p(strength)


def _alike(a: cv2.typing.MatLike, b: cv2.typing.MatLike) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
