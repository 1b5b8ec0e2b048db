"""One picture of a camera: small for judging, whole when somebody asks for it.

A JPEG picture is judged from a reduced decoding (its coefficients are scaled, not its pixels),
which costs a half to a quarter of a whole one; most pictures are never decoded whole.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from edge.vision.picture import ANALYSIS_WIDTH, Picture, reduce

_MOST_PIXELS = 4096 * 2304
_COLOUR = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class Frame:
    """One picture; :meth:`picture` may be called by another thread."""

    def __init__(self, small: Picture, whole: Callable[[int], Picture]) -> None:
        self.small = small
        """The picture (BGR) at the analysis width."""
        self._whole = whole

    def picture(self, width: int) -> Picture:
        """Return the picture (BGR), no wider than ``width`` pixels."""
        return reduce(self._whole(width), width)


def from_picture(picture: Picture) -> Frame:
    """Return the frame of a decoded picture (BGR)."""
    return Frame(reduce(picture, ANALYSIS_WIDTH), lambda _: picture)


def from_jpeg(jpeg: bytes) -> Frame | None:
    """Return the frame of a JPEG; None for one that is broken or absurdly large."""
    size = jpeg_size(jpeg)
    if size is None or not 0 < size[0] * size[1] <= _MOST_PIXELS:
        return None
    coded = np.frombuffer(jpeg, np.uint8)
    small = cv2.imdecode(coded, _COLOUR[_reduction(size[0], ANALYSIS_WIDTH)])
    if small is None:
        return None

    def whole(width: int) -> Picture:
        picture = cv2.imdecode(coded, _COLOUR[_reduction(size[0], width)])
        if picture is None:
            raise ValueError("the JPEG can be decoded in part only")
        return picture.astype(np.uint8, copy=False)

    return Frame(reduce(small.astype(np.uint8, copy=False), ANALYSIS_WIDTH), whole)


def jpeg_size(jpeg: bytes) -> tuple[int, int] | None:
    """Return (width, height) from the frame header, so that a bomb is not even decoded."""
    at = 2
    while at + 9 <= len(jpeg) and jpeg[at] == 0xFF:
        marker = jpeg[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = (
                int.from_bytes(jpeg[at + 5 : at + 7], "big"),
                int.from_bytes(jpeg[at + 7 : at + 9], "big"),
            )
            return width, height
        at += 2 + int.from_bytes(jpeg[at + 2 : at + 4], "big")
    return None


def _reduction(width: int, wanted: int) -> int:
    """Return by how much a picture can be reduced and still be as wide as wanted."""
    return next((by for by in (8, 4, 2) if width // by >= wanted), 1)
