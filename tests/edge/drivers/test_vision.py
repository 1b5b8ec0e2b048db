"""The detectors on drawn scenes: what stands, what moves, what is wrong with the picture."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any

import cv2
import numpy as np
import pytest

from core.contracts.batch import MAX_MEDIA_BYTES
from edge.drivers.camera.analyser import Analyser
from edge.drivers.camera.settings import CameraSettings
from edge.vision.latch import Latch
from edge.vision.picture import ANALYSIS_WIDTH, Picture, polygon_mask, reduce
from edge.vision.snapshot import SnapshotMaker

from .support import START

WIDTH, HEIGHT = 640, 360
FPS = 5
LANE = {
    "name": "lane",
    "kind": "fire_lane",
    "polygon": [[0.2, 0.5], [0.8, 0.5], [0.8, 0.9], [0.2, 0.9]],
}
Draw = Callable[[Picture], None]
Event = tuple[int, str, dict[str, Any]]


@cache
def yard() -> Picture:
    """Return a yard: paving, a house, shrubs."""
    random = np.random.default_rng(1)
    picture = np.full((HEIGHT, WIDTH, 3), (120, 125, 130), np.uint8)
    cv2.rectangle(picture, (0, 0), (WIDTH, 130), (190, 180, 170), cv2.FILLED)
    for x in range(20, WIDTH, 80):
        cv2.rectangle(picture, (x, 20), (x + 40, 90), (90, 70, 60), cv2.FILLED)
    for y in range(140, HEIGHT, 30):
        cv2.line(picture, (0, y), (WIDTH, y), (105, 110, 112), 2)
    for _ in range(60):
        x, y = int(random.integers(0, WIDTH)), int(random.integers(140, HEIGHT))
        cv2.circle(picture, (x, y), 5, (95, 110, 100), cv2.FILLED)
    return picture


@cache
def noise(step: int) -> Picture:
    grain = np.random.default_rng(step).normal(0, 2, (HEIGHT, WIDTH, 3))
    return np.clip(grain, 0, 20).astype(np.uint8)


def scene(step: int, *draws: Draw, light: float = 1.0) -> Picture:
    """Return the yard with what is drawn into it, and with a sensor's noise."""
    picture = yard().copy()
    for draw in draws:
        draw(picture)
    picture = cv2.convertScaleAbs(picture, alpha=light).astype(np.uint8)
    return cv2.add(picture, noise(step % 7)).astype(np.uint8)


def car(x: int = 260, y: int = 210) -> Draw:
    def draw(picture: Picture) -> None:
        cv2.rectangle(picture, (x, y), (x + 130, y + 80), (40, 40, 160), cv2.FILLED)
        cv2.rectangle(picture, (x + 20, y + 10), (x + 110, y + 35), (20, 20, 20), cv2.FILLED)
        cv2.circle(picture, (x + 25, y + 78), 14, (15, 15, 15), cv2.FILLED)
        cv2.circle(picture, (x + 105, y + 78), 14, (15, 15, 15), cv2.FILLED)

    return draw


def person(x: int, y: int = 200) -> Draw:
    def draw(picture: Picture) -> None:
        cv2.rectangle(picture, (x, y), (x + 26, y + 80), (30, 90, 30), cv2.FILLED)
        cv2.circle(picture, (x + 13, y - 12), 13, (150, 170, 210), cv2.FILLED)

    return draw


def camera(*zones: dict[str, Any], **more: Any) -> CameraSettings:
    raw = {"driver": "camera", "url": "http://x/", "device": "c", "zones": zones, "warm_up_s": 1}
    return CameraSettings.model_validate(raw | more)


class Film:
    """Feeds an analyser and keeps what it said; ``speed`` is that of the run's clock."""

    def __init__(self, settings: CameraSettings, *, speed: float = 1) -> None:
        self.analyser = Analyser(settings)
        self.now = START
        self.step = 0
        self.events: list[Event] = []
        self._frame_ms = int(1000 / FPS * speed)

    def play(self, pictures: Iterable[Picture]) -> Film:
        for picture in pictures:
            self.step += 1
            self.now += self._frame_ms
            small = reduce(picture, ANALYSIS_WIDTH)
            for found in self.analyser.update(small, self.now, 1 / FPS):
                self.events.append((self.now, found.kind, found.data))
        return self

    def show(self, seconds: float, *draws: Draw, light: float = 1.0) -> Film:
        count = round(seconds * FPS)
        return self.play(scene(self.step + i, *draws, light=light) for i in range(count))

    def of(self, kind: str) -> list[tuple[bool, int]]:
        """Return (active, when) of a kind's transitions."""
        return [(data["active"], at) for at, name, data in self.events if name == kind]


def test_a_car_in_the_fire_lane_after_its_dwell_and_away_again() -> None:
    film = Film(camera(LANE | {"dwell_s": 6})).show(6)
    assert [active for active, _ in film.of("camera.zone_occupied")] == [False]
    came = film.now
    film.show(14, car())
    gone = film.now
    film.show(10)
    (_, (on, began), (off, ended)) = film.of("camera.zone_occupied")
    assert (on, off) == (True, False)
    assert 6_000 <= began - came <= 10_000
    assert 3_000 <= ended - gone <= 6_000
    data = next(d for _, k, d in film.events if k == "camera.zone_occupied" and d["active"])
    assert data["zone"] == "lane"
    assert data["dwell_s"] >= 6
    assert data["score"] > 0.1


def test_dwell_is_run_time() -> None:
    film = Film(camera(LANE | {"dwell_s": 120}), speed=20).show(8)
    came = film.now
    film.show(14, car())
    on, began = film.of("camera.zone_occupied")[-1]
    assert on
    assert 120_000 <= began - came <= 200_000


def test_people_who_walk_through_do_not_occupy_the_lane() -> None:
    film = Film(camera(LANE | {"dwell_s": 4})).show(4)
    for _ in range(3):
        film.play(scene(film.step + i, person(60 + 12 * i)) for i in range(45))
    assert [active for active, _ in film.of("camera.zone_occupied")] == [False]


def test_who_walks_before_a_parked_car_does_not_free_the_lane() -> None:
    film = Film(camera(LANE | {"dwell_s": 4})).show(4).show(10, car())
    for _ in range(2):
        film.play(scene(film.step + i, car(), person(60 + 12 * i)) for i in range(45))
    assert [active for active, _ in film.of("camera.zone_occupied")] == [False, True]


def test_a_change_of_light_is_not_an_object() -> None:
    def lamp(picture: Picture) -> None:
        glow = np.zeros(picture.shape, np.float32)
        cv2.circle(glow, (320, 250), 110, (60, 60, 60), cv2.FILLED)
        glow = cv2.GaussianBlur(glow, (0, 0), 30)
        picture[:] = np.clip(picture + glow, 0, 255).astype(np.uint8)

    film = Film(camera(LANE | {"dwell_s": 3})).show(4)
    for light in (0.9, 0.7, 0.5, 0.6, 0.9):
        film.show(2, light=light)
    film.show(8, lamp)
    assert [active for active, _ in film.of("camera.zone_occupied")] == [False]
    assert film.of("camera.tamper") == [(False, film.of("camera.tamper")[0][1])]


def test_a_car_is_still_there_after_a_restart() -> None:
    before = Film(camera(LANE | {"dwell_s": 4})).show(4).show(8, car())
    background = before.analyser.background
    assert background is not None
    after = Film(camera(LANE | {"dwell_s": 4}))
    after.analyser.restore(background)
    after.show(10, car())
    assert [active for active, _ in after.of("camera.zone_occupied")] == [True]


def test_motion_and_intrusion() -> None:
    left = [[0.0, 0.3], [0.45, 0.3], [0.45, 1.0], [0.0, 1.0]]
    right = [[0.55, 0.3], [1.0, 0.3], [1.0, 1.0], [0.55, 1.0]]
    film = Film(
        camera(
            {"name": "yard", "kind": "motion", "polygon": left, "share": 0.01},
            {"name": "roof", "kind": "intrusion", "polygon": right, "share": 0.01},
        )
    ).show(4)
    film.play(scene(film.step + i, person(40 + 8 * i)) for i in range(20)).show(5)
    assert [active for active, _ in film.of("camera.motion")] == [True, False]
    assert [active for active, _ in film.of("camera.intrusion")] == [False]
    film.play(scene(film.step + i, person(400 + 8 * i)) for i in range(20)).show(5)
    assert [active for active, _ in film.of("camera.intrusion")] == [False, True, False]


def blurred(picture: Picture) -> Picture:
    return cv2.GaussianBlur(picture, (0, 0), 6).astype(np.uint8)


TROUBLES: dict[str, Callable[[Picture, int], Picture]] = {
    "covered": lambda p, i: noise(i % 7) + np.uint8(20),
    "dark": lambda p, i: cv2.convertScaleAbs(p, alpha=0.1),
    "bright": lambda p, i: cv2.convertScaleAbs(p, beta=180),
    "defocused": lambda p, i: blurred(p),
    "turned": lambda p, i: np.ascontiguousarray(np.roll(p[::-1], 170, axis=1)),
}


@pytest.mark.parametrize("cause", TROUBLES)
def test_trouble_with_the_picture(cause: str) -> None:
    film = Film(camera(LANE | {"dwell_s": 2})).show(6)
    spoil = TROUBLES[cause]
    film.play(spoil(scene(film.step + i), i) for i in range(25)).show(5)
    told = [d for _, kind, d in film.events if kind == "camera.tamper"]
    assert [d["active"] for d in told] == [False, True, False]
    assert told[1]["cause"] == told[2]["cause"]
    assert told[1]["cause"] == cause or {cause, told[1]["cause"]} == {"covered", "dark"}
    # What cannot be seen says nothing about the lane.
    assert [active for active, _ in film.of("camera.zone_occupied")] == [False]


def test_a_frozen_picture() -> None:
    film = Film(camera(frozen_s=5)).show(5)
    still = scene(99)
    film.play([still] * 60).show(2)
    assert [active for active, _ in film.of("camera.frozen")] == [False, True, False]


def test_the_latch_needs_time_and_frames() -> None:
    latch = Latch(1_000, 500)
    said = [latch.update(t, present=t >= 1_000) for t in range(0, 3_000, 250)]
    assert [s for s in said if s is not None] == [False, True]
    assert latch.update(2_800, present=False) is None
    assert latch.update(2_900, present=True) is None, "a flicker does not end it"
    fast = Latch(1_000, 1_000)
    # One frame an hour: time alone does not make a state.
    assert [fast.update(t * 3_600_000, present=True) for t in range(3)] == [None, None, True]


def test_snapshots_are_small_and_blurred_outside_of_the_zone() -> None:
    zone = polygon_mask([(0.5, 0.0), (1.0, 0.0), (1.0, 1.0), (0.5, 1.0)], (180, 320))
    moving = np.zeros((180, 320), bool)
    moving[60:100, 40:80] = moving[60:100, 220:260] = True
    checks = (np.indices((360, 640)).sum(axis=0) // 8 % 2 * 255).astype(np.uint8)
    picture = np.dstack([checks] * 3)
    jpeg = SnapshotMaker().make(picture, moving, zone)
    assert jpeg is not None
    assert len(jpeg) <= MAX_MEDIA_BYTES
    seen = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_GRAYSCALE)
    assert seen[120:200, 80:160].std() < 40, "what moves outside is not recognisable"
    assert seen[120:200, 440:520].std() > 90, "what the event is about stays"
    assert seen[320:350, 40:300].std() > 90, "what does not move stays"


def test_a_noisy_picture_is_reduced_until_it_fits() -> None:
    noise = np.random.default_rng(3).integers(0, 256, (1080, 1920, 3)).astype(np.uint8)
    still = np.zeros((180, 320), bool)
    jpeg = SnapshotMaker(width=1920).make(noise, still, still)
    assert jpeg is not None
    assert len(jpeg) <= MAX_MEDIA_BYTES
