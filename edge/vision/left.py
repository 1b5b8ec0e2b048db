"""An object that somebody left behind: it stands, it is small, and nobody is near it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.vision.detection import Box
from edge.vision.picture import Mask, parts

_NEAR = 1.2
"""How far around an object (in its own sizes) somebody still belongs to it."""
_ITSELF = 0.3
"""What moves so near around an object, and nowhere else, is the object itself, newly put down."""
_LINGER_MS = 2_000
"""Run time for which somebody who was near is taken to be still there."""
_LEAST = 0.03
"""Share of the picture's height or width that an object has at least."""
_JOIN = np.ones((7, 7), np.uint8)


@dataclass(slots=True)
class _Object:
    box: Box
    seen: int
    alone_ms: int = 0
    attended: int | None = None


class LeftObjects:
    """Adds up for how long each object has stood alone; ``now`` is run time (ms)."""

    def __init__(self, largest: float) -> None:
        """``largest`` is the greatest share of the picture's width or height of an object."""
        self._largest = largest
        self._objects: list[_Object] = []
        self._last: int | None = None

    def update(self, standing: Mask, near: list[Box], now: int) -> int:
        """Take what stands in a zone, and who is about; return the longest time alone (ms)."""
        passed = max(now - self._last, 0) if self._last is not None else 0
        self._last = now
        for box in self._candidates(standing):
            known = next((o for o in self._objects if o.box.touches(box)), None)
            if known is None:
                known = _Object(box, now)
                self._objects.append(known)
            known.box, known.seen = box, now
            # An object is its owner's first: what stands there may be a part of a person.
            around, itself = box.widened(_NEAR), box.widened(_ITSELF)
            if any(around.touches(other) and not itself.holds(other) for other in near):
                known.attended = now
            elif known.attended is None or now - known.attended >= _LINGER_MS:
                known.alone_ms += passed
        # Somebody who walks before an object hides it for a moment.
        self._objects = [o for o in self._objects if now - o.seen <= max(_LINGER_MS, 4 * passed)]
        return max((o.alone_ms for o in self._objects), default=0)

    def _candidates(self, standing: Mask) -> list[Box]:
        height, width = standing.shape
        if not standing.any():
            return []
        joined = cv2.morphologyEx(standing.view(np.uint8), cv2.MORPH_CLOSE, _JOIN)
        whole = parts(joined.astype(np.uint8, copy=False))
        found = []
        for left, top, wide, tall, _ in whole.boxes if whole else ():
            size = max(wide / width, tall / height)
            if _LEAST <= size <= self._largest:
                found.append(
                    Box(left / width, top / height, (left + wide) / width, (top + tall) / height)
                )
        return found
