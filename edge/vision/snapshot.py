"""Snapshots that may leave the edge: faces and passers-by are made unrecognisable first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from core.contracts.batch import MAX_MEDIA_BYTES
from edge.vision.detection import Box, stands_in
from edge.vision.picture import Mask, Picture, reduce

_QUALITIES = (80, 65, 50, 35)
_FACE_WIDTH = 480
"""Width at which faces are looked for in pictures of up to twice that; wider ones are halved. In
one of 640 pixels a face of 21 is found; in a smaller one nobody is recognised."""
_SCALE = 1.2
"""Step between the sizes of faces that are looked for."""
_MARGIN = 8
"""Pixels, beside a third of its size, by which what is blurred is widened on each side: a
detector often sees only a part of a person."""
_PERSON_MARGIN = 0.08
_HEAD = 0.25
"""Share of a person's height, from the top, in which the head is."""
_CASCADES = ("haarcascade_frontalface_default.xml", "haarcascade_profileface.xml")


class SnapshotMaker:
    """Blurs and encodes; loads OpenCV's Haar cascades at the first picture."""

    def __init__(
        self, width: int = 640, persons: Callable[[Picture], Sequence[Box]] | None = None
    ) -> None:
        """Take the width (pixels) of the pictures, and what finds persons in one (BGR).

        Without the latter only what is given as private is known.
        """
        self._width = width
        self._persons = persons
        self._cascades: list[cv2.CascadeClassifier] = []

    def make(self, picture: Picture, private: Mask, interest: Mask) -> bytes | None:
        """Return a JPEG of at most 256 kB, None when it cannot be made so small.

        Faces are blurred wherever they are, and what is ``private`` (passers-by) is blurred
        outside of ``interest``, the zone that the event is about. Both masks may be of
        another size than the picture. Persons that the detector finds are blurred whole where
        they do not stand in the zone, and their heads where they do.
        """
        image = reduce(picture, self._width).copy()
        outside = _fit(private & ~interest, image)
        outside = _boxes(outside) & (1 - _fit(interest, image))
        for person in self._persons(image) if self._persons else ():
            hidden = person if not stands_in(person, interest) else _head(person)
            left, top, right, bottom = hidden.widened(_PERSON_MARGIN).pixels(image.shape)
            outside[top:bottom, left:right] = 1
        for x, y, width, height in self._faces(image):
            # Heads are larger than the faces found in them.
            cv2.rectangle(
                outside,
                (x - width // 5, y - height // 3),
                (x + width * 6 // 5, y + height * 5 // 4),
                1,
                cv2.FILLED,
            )
        if outside.any():
            image[outside.astype(bool)] = _unrecognisable(image)[outside.astype(bool)]
        return _encode(image)

    def _faces(self, image: Picture) -> list[tuple[int, int, int, int]]:
        if not self._cascades:
            folder = Path(cv2.__file__).with_name("data")
            self._cascades = [cv2.CascadeClassifier(str(folder / name)) for name in _CASCADES]
        # The cascades' cost grows with the picture; faces that matter are large enough here.
        small = reduce(image, max(_FACE_WIDTH, image.shape[1] // 2))
        scale = image.shape[1] / small.shape[1]
        grey = cv2.equalizeHist(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY))
        found: list[tuple[int, int, int, int]] = []
        for cascade in self._cascades:
            # Better a blurred window too many than a face too few: two neighbours suffice.
            for box in cascade.detectMultiScale(grey, _SCALE, 2, minSize=(16, 16)):
                x, y, width, height = (round(int(value) * scale) for value in box)
                found.append((x, y, width, height))
        return found


def _head(person: Box) -> Box:
    return Box(person.left, person.top, person.right, person.top + person.height * _HEAD)


def _unrecognisable(image: Picture) -> Picture:
    """Return the picture in coarse blocks: unlike a light blur, that cannot be undone."""
    height, width = image.shape[:2]
    coarse = cv2.resize(
        image, (max(width // 20, 1), max(height // 20, 1)), interpolation=cv2.INTER_AREA
    )
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR).astype(np.uint8)


def _fit(mask: Mask, image: Picture) -> Picture:
    height, width = image.shape[:2]
    return cv2.resize(
        mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST
    ).astype(np.uint8)


def _boxes(mask: Picture) -> Picture:
    """Return the widened box of each connected part of a mask."""
    boxes = np.zeros_like(mask)
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask)
    for x, y, width, height, _ in stats[1:count].tolist():
        dx, dy = width // 3 + _MARGIN, height // 3 + _MARGIN
        cv2.rectangle(boxes, (x - dx, y - dy), (x + width + dx, y + height + dy), 1, cv2.FILLED)
    return boxes


def _encode(image: Picture) -> bytes | None:
    while min(image.shape[:2]) >= 64:
        for quality in _QUALITIES:
            good, coded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
            if good and coded.size <= MAX_MEDIA_BYTES:
                return coded.tobytes()
        image = reduce(image, image.shape[1] // 2)
    return None
