"""Trained detectors: persons on photographs, a YOLO head end to end, and files that do not fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.vision import person, yolo
from edge.vision.detection import Box, Detection, stands_in
from edge.vision.graph import GraphError, prune
from edge.vision.person import ModelMissingError, PersonDetector
from edge.vision.picture import Picture, polygon_mask
from edge.vision.snapshot import SnapshotMaker
from edge.vision.yolo import YoloDetector

from . import tiny_onnx
from .photos import clip, photo


@pytest.fixture(scope="module")
def detector() -> PersonDetector:
    cv2.setNumThreads(1)
    found = PersonDetector()
    try:
        found.load()
    except ModelMissingError as error:
        pytest.skip(str(error))
    return found


@pytest.mark.parametrize(
    ("name", "score", "box"),
    [
        ("camera.png", 0.99, (0.0, 0.13, 0.59, 1.0)),
        ("astronaut.png", 0.90, (0.01, 0.04, 0.71, 0.94)),
    ],
)
def test_the_persons_on_two_photographs(
    detector: PersonDetector, name: str, score: float, box: tuple[float, ...]
) -> None:
    (found,) = detector.find(photo(name), 0.5)
    assert found.score == pytest.approx(score, abs=0.01)
    assert found.box == pytest.approx(box, abs=0.02)


@pytest.mark.parametrize(
    "name", ["motorcycle_left.png", "coffee.png", "chelsea.png", "brick.png", "rocket.jpg"]
)
def test_no_persons_on_the_others(detector: PersonDetector, name: str) -> None:
    assert detector.find(photo(name), 0.5) == []


def test_the_cyclist_of_a_clip(detector: PersonDetector) -> None:
    capture = cv2.VideoCapture(str(clip()))
    found: dict[int, list[Detection]] = {}
    # Picture after picture: where a decoder lands that is told to seek is not always the same.
    for number in range(131):
        good, picture = capture.read()
        assert good
        if number == 60 or number > 120:
            found[number] = detector.find(picture.astype(np.uint8), 0.6)
    assert found.pop(60) == [], "taxis"
    seen = [
        number
        for number, items in found.items()
        if any(item.box.left > 0.4 and item.box.height > 0.9 for item in items)
    ]
    assert len(seen) >= 2, found


def test_anchors_and_their_decoding() -> None:
    anchors = person.anchors()
    assert anchors.shape == (1917, 4)
    assert anchors[0] == pytest.approx([0.5 / 19, 0.5 / 19, 0.1, 0.1])
    assert anchors[-1] == pytest.approx([0.5, 0.5, np.sqrt(0.95), np.sqrt(0.95)])
    nothing = person.decode(np.zeros((1, 4), np.float32), anchors[-1:])
    side = np.sqrt(0.95)
    assert nothing[0] == pytest.approx([0.5 - side / 2, 0.5 - side / 2, side, side])
    moved = person.decode(np.array([[1, 2, 0, 5 * np.log(0.5)]], np.float32), anchors[-1:])
    assert moved[0] == pytest.approx(
        [0.5 + 0.2 * side - side / 4, 0.5 + 0.1 * side - side / 2, side / 2, side]
    )


def test_a_network_that_is_not_there_or_not_the_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "frozen_inference_graph.pb"
    other.write_bytes(b"something else")
    with pytest.raises(ModelMissingError, match="not the frozen graph"):
        PersonDetector(other).load()
    with pytest.raises(ModelMissingError, match="No such file"):
        PersonDetector(tmp_path / "none.pb").load()
    monkeypatch.setattr(person, "PACKAGE", "no-such-package-at-all")
    with pytest.raises(ModelMissingError, match="pip install --no-deps no-such-package"):
        PersonDetector().find(np.zeros((9, 9, 3), np.uint8), 0.5)


def node(name: str, *inputs: str) -> bytes:
    parts = [tiny_onnx._field(1, name.encode()), tiny_onnx._field(2, b"Add")]
    parts += [tiny_onnx._field(3, item.encode()) for item in inputs]
    return tiny_onnx._field(1, b"".join(parts))


def test_a_graph_is_cut_between_its_ends() -> None:
    graph = node("image") + node("input", "image") + node("a", "input:0", "w") + node("w")
    graph += node("end", "^a") + node("other", "end") + tiny_onnx._number(4, 27)
    kept = prune(graph, "input", ["end"])
    assert [name in kept for name in (b"image", b"other")] == [False, False]
    assert kept.count(b"Placeholder") == 1
    assert node("end", "^a") in kept
    with pytest.raises(GraphError, match="no node nothing"):
        prune(graph, "input", ["nothing"])
    with pytest.raises(GraphError, match="nothing in the graph needs"):
        prune(graph, "input", ["w"])


@settings(max_examples=80)
@given(st.binary(max_size=80))
def test_bytes_that_are_no_graph_are_refused(garbage: bytes) -> None:
    with pytest.raises(GraphError):
        prune(garbage, "input", ["end"])


# -- YOLO ----------------------------------------------------------------------------------------


def squares(
    width: int, height: int, *places: tuple[int, int, int, tuple[int, int, int]]
) -> Picture:
    picture = np.zeros((height, width, 3), np.uint8)
    for x, y, side, colour in places:
        cv2.rectangle(picture, (x, y), (x + side - 1, y + side - 1), colour, cv2.FILLED)
    return picture


@pytest.mark.parametrize("head", ["columns", "rows"])
def test_a_yolo_head_from_the_file_to_the_box_in_the_picture(head: str, tmp_path: Path) -> None:
    file = tmp_path / "tiny.onnx"
    file.write_bytes(tiny_onnx.model(head))
    found = YoloDetector(file, {0: "e_bike", 1: "person"}, size=tiny_onnx.SIZE)
    found.load(hashlib.sha256(file.read_bytes()).hexdigest())
    # 640 x 320 in a square of 64: a tenth, with a margin of 16 above and below, one cell each.
    red, blue = (0, 0, 255), (255, 0, 0)
    told = found.find(squares(640, 320, (160, 0, 160, red), (480, 160, 160, blue)), 0.5)
    assert {(item.target, tuple(round(v, 3) for v in item.box)) for item in told} == {
        ("e_bike", (0.25, 0.0, 0.5, 0.5)), ("person", (0.75, 0.5, 1.0, 1.0)),
    }  # fmt: skip
    assert all(item.score == pytest.approx(1, abs=0.01) for item in told)
    only = YoloDetector(file, {1: "person"}, size=tiny_onnx.SIZE)
    only.load()
    assert [item.target for item in only.find(squares(64, 64, (0, 0, 16, red)), 0.5)] == []


def test_candidates_of_the_same_thing_are_one_and_objectness_counts() -> None:
    columns = np.zeros((1, 6, 40), np.float32)
    columns[0, :, 0] = [100, 100, 40, 80, 0.9, 0.1]
    columns[0, :, 1] = [104, 100, 40, 80, 0.8, 0.1]
    columns[0, :, 2] = [300, 100, 40, 80, 0.2, 0.7]
    boxes, scores, numbers = yolo.decode(columns)
    assert boxes[0].tolist() == [80, 60, 40, 80]
    assert scores[:3] == pytest.approx([0.9, 0.8, 0.7])
    assert numbers[:3].tolist() == [0, 0, 1]
    rows = np.zeros((1, 40, 7), np.float32)
    rows[0, 0] = [100, 100, 40, 80, 0.5, 0.9, 0.1]
    assert yolo.decode(rows)[1][0] == pytest.approx(0.45)
    for shape in ((1, 3, 4, 5), (1, 40, 5), (1, 4, 40)):
        with pytest.raises(ValueError, match="the head answers"):
            yolo.decode(np.zeros(shape, np.float32))


def test_an_onnx_file_that_does_not_fit(tmp_path: Path) -> None:
    file = tmp_path / "x.onnx"
    for content, reason in ((None, "No such file"), (b"no network", "not usable")):
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(ModelMissingError, match=reason):
            YoloDetector(file, {0: "person"}).load()
    file.write_bytes(tiny_onnx.model("columns"))
    with pytest.raises(ModelMissingError, match="sha256"):
        YoloDetector(file, {0: "person"}, size=64).load("0" * 64)
    with pytest.raises(ModelMissingError, match="not usable"):
        YoloDetector(file, {0: "person"}, size=96).load()
    with pytest.raises(ModelMissingError, match="not loaded"):
        YoloDetector(file, {0: "person"}).find(squares(8, 8), 0.5)


# -- what leaves the edge ------------------------------------------------------------------------


def seen(jpeg: bytes | None) -> Any:
    assert jpeg is not None
    return cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)


def detail(picture: Any, box: tuple[float, float, float, float]) -> float:
    left, top, right, bottom = Box(*box).pixels(picture.shape)
    grey = cv2.cvtColor(picture[top:bottom, left:right], cv2.COLOR_BGR2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_32F).std())


FACE = (0.38, 0.12, 0.50, 0.30)
BODY = (0.15, 0.45, 0.65, 0.85)


def test_a_face_is_never_recognisable(detector: PersonDetector) -> None:
    picture = photo("astronaut.png")
    nothing, everything = np.zeros((180, 180), bool), np.ones((180, 180), bool)
    before = detail(picture, FACE)
    for interest in (nothing, everything):
        shot = seen(SnapshotMaker().make(picture, nothing, interest))
        assert detail(shot, FACE) < before / 4, "by the cascades alone"


def persons_of(detector: PersonDetector) -> Any:
    return lambda picture: [item.box for item in detector.find(picture, 0.3)]


def test_a_person_is_kept_in_the_zone_and_blurred_outside_of_it(detector: PersonDetector) -> None:
    picture = photo("astronaut.png")
    still = np.zeros((180, 180), bool)
    maker = SnapshotMaker(persons=persons_of(detector))
    before = detail(picture, BODY)
    inside = polygon_mask([(0.0, 0.0), (0.8, 0.0), (0.8, 1.0), (0.0, 1.0)], still.shape)
    kept = seen(maker.make(picture, still, inside))
    assert detail(kept, BODY) > before / 2
    assert detail(kept, FACE) < detail(picture, FACE) / 4, "but not the head"
    beside = polygon_mask([(0.8, 0.0), (1.0, 0.0), (1.0, 1.0), (0.8, 1.0)], still.shape)
    blurred = seen(maker.make(picture, still, beside))
    assert detail(blurred, BODY) < before / 4
    assert detail(blurred, (0.75, 0.1, 0.95, 0.6)) > detail(picture, (0.75, 0.1, 0.95, 0.6)) / 2
    assert detector.find(blurred, 0.5) == [], "nobody is recognised any more"


def test_standing_in_a_zone() -> None:
    zone = polygon_mask([(0.5, 0.5), (1.0, 0.5), (1.0, 1.0), (0.5, 1.0)], (100, 100))
    assert stands_in(Box(0.6, 0.1, 0.8, 0.6), zone), "by its foot"
    assert stands_in(Box(0.5, 0.6, 1.0, 1.2), zone), "cut off by the picture's edge"
    assert not stands_in(Box(0.1, 0.5, 0.45, 0.9), zone)
    assert not stands_in(Box(0.9, 0.1, 1.3, 0.3), zone)
