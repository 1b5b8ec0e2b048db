"""Pictures and masks as the detectors use them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""BGR, height x width x 3."""
Grey = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]

#: Width (pixels) at which pictures are judged.
ANALYSIS_WIDTH = 320


def reduce(picture: Picture, width: int) -> Picture:
    """Return the picture no wider than ``width``, its proportions kept."""
    if picture.shape[1] <= width:
        return picture
    height = max(round(picture.shape[0] * width / picture.shape[1]), 1)
    return cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)


def polygon_mask(polygon: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> Mask:
    """Return the pixels inside a polygon whose corners are shares of width and height."""
    height, width = shape[:2]
    corners = np.array([(x * (width - 1), y * (height - 1)) for x, y in polygon])
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], 1)
    return mask.astype(bool)


def share(found: Mask, zone: Mask) -> float:
    """Return the share of a zone's pixels that are in ``found`` (0 for an empty zone)."""
    size = int(zone.sum())
    return float((found & zone).sum() / size) if size else 0.0


Bytes = npt.NDArray[np.uint8]
"""A mask as OpenCV makes them: 0, and 1 or 255."""


@dataclass(frozen=True, slots=True)
class Parts:
    """The connected parts of a mask, looked for only where there is anything at all."""

    left: int
    top: int
    labels: npt.NDArray[np.int32]
    """Number of each pixel's part, 0 for none, in the window that begins at left, top."""
    boxes: list[tuple[int, int, int, int, int]]
    """Left, top, width, height and pixels of each part, from number 1 on."""

    @property
    def window(self) -> tuple[slice, slice]:
        """Return where in the mask the labels lie."""
        height, width = self.labels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


def parts(mask: Bytes) -> Parts | None:
    """Return the connected parts of a mask, None when it is empty."""
    left, top, width, height = cv2.boundingRect(mask)
    if not width:
        return None
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        mask[top : top + height, left : left + width]
    )
    boxes = [
        (left + x, top + y, wide, tall, area) for x, y, wide, tall, area in stats[1:count].tolist()
    ]
    return Parts(left, top, labels.astype(np.int32, copy=False), boxes)


def without_specks(mask: Bytes, least: int) -> Bytes:
    """Return a mask without its parts of less than ``least`` pixels."""
    found = parts(mask)
    if found is None:
        return mask
    large = np.zeros(len(found.boxes) + 1, np.uint8)
    large[1:] = [255 * (area >= least) for *_, area in found.boxes]
    clean = np.zeros_like(mask)
    clean[found.window] = large[found.labels]
    return clean
