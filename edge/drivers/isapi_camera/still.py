"""A snapshot on demand: two pictures, so that whoever moves can be made unrecognisable."""

from __future__ import annotations

import cv2
import numpy as np

from core.contracts.errors import DeviceError
from edge.vision.detection import Box
from edge.vision.person import ModelMissingError, PersonDetector
from edge.vision.picture import Mask, Picture, reduce
from edge.vision.snapshot import SnapshotMaker

#: Pictures are fetched so far apart (real seconds).
BETWEEN_S = 0.6
LARGEST_BYTES = 8 << 20
_MOST_PIXELS = 4096 * 3072
_WIDTH, _DIFFERS = 320, 18
#: Persons are blurred from this confidence on: better one too many.
_PERSON_CONFIDENCE = 0.3


def maker(width: int, detector: PersonDetector) -> SnapshotMaker:
    """Return a maker of snapshots that also finds persons, where the network is installed."""

    def persons(picture: Picture) -> list[Box]:
        try:
            return [found.box for found in detector.find(picture, _PERSON_CONFIDENCE)]
        except ModelMissingError:
            return []

    return SnapshotMaker(width, persons)


def blurred(maker: SnapshotMaker, first: bytes, second: bytes) -> bytes:
    """Return the second picture as a JPEG that may leave: persons, faces, what moves are blurred.

    Raises :class:`DeviceError` when the camera sent no pictures.
    """
    before, after = _decode(first), _decode(second)
    moving = _moving(before, after)
    jpeg = maker.make(after, moving, np.zeros_like(moving))
    if jpeg is None:
        raise DeviceError("the picture cannot be made small enough")
    return jpeg


def _decode(data: bytes) -> Picture:
    # The size stands in the head of the file: a bomb is not unpacked to be measured.
    if not 0 < _pixels(data) <= _MOST_PIXELS:
        raise DeviceError("the camera sent something that is no JPEG, or is too large")
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise DeviceError(f"no picture: {error}") from None
    if picture is None:
        raise DeviceError("the camera sent a JPEG that cannot be decoded")
    return picture.astype(np.uint8)


def _pixels(data: bytes) -> int:
    """Return the number of pixels that a JPEG announces, 0 where it announces none."""
    at = 2
    while data[:2] == b"\xff\xd8" and at + 9 < len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height = int.from_bytes(data[at + 5 : at + 7], "big")
            return height * int.from_bytes(data[at + 7 : at + 9], "big")
        at += 2 + length
    return 0


def _moving(before: Picture, after: Picture) -> Mask:
    """Return what differs between two pictures; everything, where they do not fit together."""
    if before.shape != after.shape:
        return np.ones(after.shape[:2], np.bool_)
    smooth = [
        cv2.GaussianBlur(cv2.cvtColor(reduce(p, _WIDTH), cv2.COLOR_BGR2GRAY), (5, 5), 0)
        for p in (before, after)
    ]
    found = cv2.absdiff(smooth[0], smooth[1]) > _DIFFERS
    grown = cv2.dilate(found.astype(np.uint8), np.ones((7, 7), np.uint8))
    return grown.astype(np.bool_)
