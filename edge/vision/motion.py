"""What moves: OpenCV's adaptive mixture of Gaussians (MOG2)."""

from __future__ import annotations

import cv2
import numpy as np

from edge.vision.picture import Grey, Mask

_HISTORY = 120
_THRESHOLD = 25
_KERNEL = np.ones((3, 3), np.uint8)


class Motion:
    """Finds moving pixels; shadows do not count."""

    def __init__(self) -> None:
        self._model = cv2.createBackgroundSubtractorMOG2(
            history=_HISTORY, varThreshold=_THRESHOLD, detectShadows=True
        )

    def update(self, grey: Grey) -> Mask:
        """Return what moves in this picture."""
        found = self._model.apply(grey)
        moving = cv2.morphologyEx((found == 255).astype(np.uint8), cv2.MORPH_OPEN, _KERNEL)
        return cv2.dilate(moving, _KERNEL).astype(bool)
