"""Pictures and masks as the detectors use them."""

from __future__ import annotations

from collections.abc import Sequence

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
