"""A snapshot of the camera: decoded within bounds, blurred, encoded again."""

from __future__ import annotations

import cv2
import numpy as np

from edge.driver import LinkError
from edge.vision.snapshot import SnapshotMaker

_MOST_PIXELS = 4096 * 3072
_SIZES = frozenset({0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF})
_BARE = frozenset({0x01, *range(0xD0, 0xD8)})


def blurred(content: bytes, maker: SnapshotMaker) -> bytes:
    """Return a JPEG that may leave the edge; raise :class:`LinkError` for what is none.

    A single picture shows nothing of what moves, so only faces are made unrecognisable.
    """
    size = jpeg_size(content)
    if size is None or size[0] * size[1] > _MOST_PIXELS or 0 in size:
        raise LinkError("the picture is no JPEG, or too large", "protocol")
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise LinkError("the picture cannot be decoded", "protocol")
    nothing = np.zeros(picture.shape[:2], bool)
    made = maker.make(picture.astype(np.uint8), nothing, nothing)
    if made is None:
        raise LinkError("the picture cannot be made small enough", "protocol")
    return made


def jpeg_size(content: bytes) -> tuple[int, int] | None:
    """Return width and height from a JPEG's frame header, None where there is none."""
    if content[:2] != b"\xff\xd8":
        return None
    at = 2
    while at + 9 <= len(content):
        if content[at] != 0xFF:
            return None
        marker = content[at + 1]
        if marker == 0xFF:
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _SIZES:
            height = int.from_bytes(content[at + 5 : at + 7], "big")
            return int.from_bytes(content[at + 7 : at + 9], "big"), height
        else:
            at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return None
