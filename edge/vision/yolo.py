"""Any detector in ONNX with a YOLO head, run by OpenCV: the file is the user's own.

Two heads are understood, both as their exporters write them, in pixels of the network's input:
a row a candidate ``1 x N x (5+C)`` (centre, size, objectness, classes: YOLOv5 to v7), and a
column a candidate ``1 x (4+C) x N`` (centre, size, classes: YOLOv8 to v12).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np

from edge.vision.detection import Box, Detection, Floats, strongest
from edge.vision.person import ModelMissingError
from edge.vision.picture import Picture

Head = Literal["auto", "rows", "columns"]
_OVERLAP = 0.5
_GREY = 114
"""What the margin of a letterboxed picture is filled with, as these networks were trained."""


class YoloDetector:
    """A network from an ONNX file; ``classes`` maps its class numbers to targets."""

    def __init__(
        self, file: Path, classes: Mapping[int, str], *, size: int = 640, head: Head = "auto"
    ) -> None:
        """``size`` is the side (pixels) of the network's square input."""
        self._file = file
        self._classes = dict(classes)
        self._size = size
        self._head = head
        self._lock = threading.Lock()
        self._net: cv2.dnn.Net | None = None

    @property
    def targets(self) -> frozenset[str]:
        """Return what it can recognise."""
        return frozenset(self._classes.values())

    def load(self, sha256: str | None = None) -> None:
        """Read the file and try it on an empty picture; raise :class:`ModelMissingError`."""
        if self._net is not None:
            return
        try:
            content = self._file.read_bytes()
        except OSError as error:
            raise ModelMissingError(f"{self._file}: {error.strerror}") from None
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
            raise ModelMissingError(f"{self._file}: its sha256 is not the one in the settings")
        try:
            self._net = cv2.dnn.readNetFromONNX(np.frombuffer(content, np.uint8))
            self.find(np.zeros((self._size, self._size, 3), np.uint8), 0.5)
        except (cv2.error, ValueError) as error:
            self._net = None
            reason = str(error).strip().splitlines()[-1]
            raise ModelMissingError(f"{self._file}: not usable: {reason}") from None

    def find(self, picture: Picture, confidence: float) -> list[Detection]:
        """Return what of the mapped classes is in a picture (BGR).

        Raises :class:`ModelMissingError` before :meth:`load`, ValueError for another head.
        """
        fitted, scale, (dx, dy) = letterbox(picture, self._size)
        blob = cv2.dnn.blobFromImage(fitted, 1 / 255, swapRB=True)
        with self._lock:
            if self._net is None:
                raise ModelMissingError(f"{self._file} is not loaded")
            self._net.setInput(blob)
            answer = self._net.forward()
        boxes, scores, numbers = decode(answer, self._head)
        height, width = picture.shape[:2]
        found: list[Detection] = []
        for number, target in self._classes.items():
            mine = np.flatnonzero(numbers == number)
            for index, score in strongest(boxes[mine], scores[mine], confidence, _OVERLAP):
                left, top, wide, tall = (float(value) for value in boxes[mine[index]])
                left, top = (left - dx) / scale, (top - dy) / scale
                right, bottom = left + wide / scale, top + tall / scale
                box = Box(
                    max(left / width, 0.0), max(top / height, 0.0),
                    min(right / width, 1.0), min(bottom / height, 1.0),
                )  # fmt: skip
                found.append(Detection(target, min(score, 1.0), box))
        return found


def letterbox(picture: Picture, size: int) -> tuple[Picture, float, tuple[int, int]]:
    """Fit a picture into a square, its proportions kept; return it, the scale and the margin."""
    height, width = picture.shape[:2]
    scale = size / max(height, width)
    wide, tall = max(round(width * scale), 1), max(round(height * scale), 1)
    left, top = (size - wide) // 2, (size - tall) // 2
    square = np.full((size, size, 3), _GREY, np.uint8)
    square[top : top + tall, left : left + wide] = cv2.resize(picture, (wide, tall))
    return square, scale, (left, top)


def decode(answer: Any, head: Head = "auto") -> tuple[Floats, Floats, Floats]:
    """Return boxes (left, top, width, height), scores and class numbers of an answer.

    There are always more candidates than values in one, so the longer side is theirs. Raises
    ValueError for an answer of another shape.
    """
    table: Floats = np.asarray(answer, np.float32)
    if table.ndim == 3 and table.shape[0] == 1:
        table = table[0]
    if table.ndim != 2:
        raise ValueError(f"the head answers in the shape {np.shape(answer)}, not 1 x N x (5+C)")
    rows = table.shape[0] > table.shape[1] if head == "auto" else head == "rows"
    if not rows:
        table = table.T
    first = 5 if rows else 4
    if table.shape[1] <= first:
        raise ValueError(f"the head answers in the shape {np.shape(answer)}: no classes in it")
    likely = table[:, first:]
    numbers = likely.argmax(axis=1)
    scores = likely.max(axis=1)
    if rows:
        scores = scores * table[:, 4]
    boxes = table[:, :4].copy()
    boxes[:, :2] -= boxes[:, 2:] / 2
    return boxes, scores.astype(np.float32), numbers.astype(np.float32)
