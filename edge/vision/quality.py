"""Whether the picture shows anything: covered, dark, bright, defocused, turned, frozen."""

from __future__ import annotations

from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.picture import Grey

Trouble = Literal["covered", "dark", "bright", "defocused", "turned"]

_BLOCKS = (6, 8)
_DARK, _BRIGHT = 22.0, 235.0
_FLAT = 3.0
"""Median deviation (grey levels) of the blocks below which the picture has no structure."""
_DEFOCUSED = 0.25
"""Share of its usual sharpness below which a picture is defocused."""
_TURNED, _SAME = 0.5, 0.7
"""Correlation of the edges with the usual ones below which the camera looks elsewhere, and
above which the picture adds to what is usual."""
_EDGE_LIMIT = 40.0
_USUAL_FRAMES = 15
_LEARN_S = 20.0
"""Time constant (real time) of what is usual."""


class Quality:
    """Compares each picture with what this camera usually shows.

    Statistics are medians over blocks, so that a time stamp burnt into a covered picture does
    not pass for a scene.
    """

    def __init__(self) -> None:
        self._sharpness = 0.0
        self._edges: npt.NDArray[np.float32] | None = None
        self._frames = 0

    def update(self, grey: Grey, passed_s: float = 0.2) -> Trouble | None:
        """Return what is wrong with this picture, None when it shows a scene.

        ``passed_s`` is the real time since the last one.
        """
        sharp = cv2.Laplacian(grey, cv2.CV_32F).astype(np.float32)
        level, structure, sharpness = _blocks(grey, sharp)
        if structure < _FLAT and level < _BRIGHT:
            # A scene in the dark keeps some lights; a covered lens keeps nothing.
            return "covered"
        if level < _DARK:
            return "dark"
        if level > _BRIGHT:
            return "bright"
        edges = _edges(grey)
        if self._frames < _USUAL_FRAMES or self._edges is None:
            self._learn(sharpness, edges, 1 / (self._frames + 1))
            return None
        if self._edges.shape != edges.shape:
            self._frames = 0
            return None
        if sharpness < self._sharpness * _DEFOCUSED:
            return "defocused"
        alike = _correlation(edges, self._edges)
        if alike > _SAME:
            self._learn(sharpness, edges, min(passed_s / _LEARN_S, 0.1))
        return "turned" if alike < _TURNED else None

    def _learn(self, sharpness: float, edges: npt.NDArray[np.float32], weight: float) -> None:
        self._frames += 1
        self._sharpness += (sharpness - self._sharpness) * weight
        if self._edges is None or self._edges.shape != edges.shape:
            self._edges = edges.copy()
        else:
            self._edges += (edges - self._edges) * weight


class Frozen:
    """Tells whether a picture is the last one again; a live sensor has at least noise."""

    def __init__(self) -> None:
        self._last: Grey | None = None

    def update(self, grey: Grey) -> bool:
        """Return whether this picture equals the one before."""
        last, self._last = self._last, grey
        if last is None or last.shape != grey.shape:
            return False
        return not cv2.absdiff(last, grey).any()


def _blocks(grey: Grey, sharp: npt.NDArray[np.float32]) -> tuple[float, float, float]:
    """Return the medians over blocks of mean, standard deviation and Laplacian deviation."""
    rows, columns = _BLOCKS
    height, width = grey.shape[0] // rows * rows, grey.shape[1] // columns * columns
    split = (rows, height // rows, columns, width // columns)
    plain = grey[:height, :width].astype(np.float32).reshape(split)
    detail = sharp[:height, :width].reshape(split)
    return (
        float(np.median(plain.mean(axis=(1, 3)))),
        # The whole picture's spread of block means shows structure where each block is flat.
        float(max(np.median(plain.std(axis=(1, 3))), _spread(plain.mean(axis=(1, 3))))),
        float(np.median(detail.std(axis=(1, 3)))),
    )


def _spread(means: npt.NDArray[np.float32]) -> float:
    low, high = np.percentile(means, (15, 85))
    return float(high - low) / 2


def _edges(grey: Grey) -> npt.NDArray[np.float32]:
    blurred = cv2.GaussianBlur(grey, (0, 0), 2)
    across = cv2.Sobel(blurred, cv2.CV_32F, 1, 0)
    down = cv2.Sobel(blurred, cv2.CV_32F, 0, 1)
    # Cut off, so that a few strong edges (a burnt-in text) do not outvote the scene.
    strength = np.minimum(cv2.magnitude(across, down), _EDGE_LIMIT)
    return cv2.resize(strength, (80, 45), interpolation=cv2.INTER_AREA).astype(np.float32)


def _correlation(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> float:
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / scale if scale > 0 else 0.0
