"""What a trained detector says of a picture: what, where and how sure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt

from edge.vision.picture import Mask, Picture

Floats = npt.NDArray[np.float32]


class Box(NamedTuple):
    """A rectangle in shares of the picture's width and height, from the top left."""

    left: float
    top: float
    right: float
    bottom: float

    @property
    def width(self) -> float:
        """Return the width (share of the picture's)."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Return the height (share of the picture's)."""
        return self.bottom - self.top

    @property
    def foot(self) -> tuple[float, float]:
        """Return where it stands on the ground: the middle of its lower edge."""
        return (self.left + self.right) / 2, self.bottom

    def widened(self, share: float) -> Box:
        """Return the box with so much of its size added on each side."""
        dx, dy = self.width * share, self.height * share
        return Box(self.left - dx, self.top - dy, self.right + dx, self.bottom + dy)

    def touches(self, other: Box) -> bool:
        """Tell whether two boxes have anything in common."""
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )

    def holds(self, other: Box) -> bool:
        """Tell whether another box lies within this one."""
        return (
            self.left <= other.left
            and other.right <= self.right
            and self.top <= other.top
            and other.bottom <= self.bottom
        )

    def pixels(self, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in the pixels of a picture of this shape."""
        height, width = shape[:2]
        left, top = max(round(self.left * width), 0), max(round(self.top * height), 0)
        return left, top, min(round(self.right * width), width), min(
            round(self.bottom * height), height
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Detection:
    """One thing that was recognised; ``score`` is the detector's confidence (0 to 1)."""

    target: str
    score: float
    box: Box


class Detector(Protocol):
    """Recognises things; used by one thread at a time, whoever asks waits for its turn."""

    @property
    def targets(self) -> frozenset[str]:
        """Return what it can recognise, in the words of ``camera.object``."""
        ...

    def find(self, picture: Picture, confidence: float) -> list[Detection]:
        """Return everything in a picture (BGR) that is at least so sure."""
        ...


def stands_in(box: Box, zone: Mask) -> bool:
    """Tell whether something stands in a zone: its foot, or most of it, is inside."""
    height, width = zone.shape
    x, y = box.foot
    column, row = min(int(x * width), width - 1), min(int(y * height), height - 1)
    if min(column, row) >= 0 and zone[row, column]:
        return True
    left, top, right, bottom = box.pixels(zone.shape)
    inside = zone[top:bottom, left:right]
    return bool(inside.size) and float(inside.mean()) > 0.5


def strongest(
    boxes: Floats, scores: Floats, confidence: float, overlap: float
) -> list[tuple[int, float]]:
    """Return (index, score) of what is left after non-maximum suppression.

    ``boxes`` are left, top, width, height; ``overlap`` is the share of union from which on two
    boxes are the same thing.
    """
    sure = np.flatnonzero(scores >= confidence)
    if not sure.size:
        return []
    kept = cv2.dnn.NMSBoxes(boxes[sure].tolist(), scores[sure].tolist(), confidence, overlap)
    indices = sure[np.asarray(kept, np.int64).reshape(-1)]
    return [(int(index), float(scores[index])) for index in indices]
