"""What never moves in a scene, and where its lamps shine."""

from __future__ import annotations

from random import Random
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simulators.devices.scene.layout import HEIGHT, WIDTH, Layout, Picture, Point, SceneKind
from simulators.seeds import stream

Lamps = npt.NDArray[np.float32]
_OUTDOOR_LAMPS = ((120, 150), (330, 220), (540, 160))


def ground(seed: int, kind: SceneKind, layout: Layout) -> tuple[Picture, Lamps]:
    """Draw the empty scene by day; return it and how bright the lamps are at night (0 to 1)."""
    random = stream(seed, kind, "ground")
    picture: Any = np.full((HEIGHT, WIDTH, 3), (112, 116, 118), np.uint8)
    grain = np.random.default_rng(seed).integers(-9, 10, (HEIGHT // 2, WIDTH // 2, 1))
    coarse = cv2.resize(grain.astype(np.float32), (WIDTH, HEIGHT))[..., None]
    picture = np.clip(picture + coarse, 0, 255).astype(np.uint8)
    if layout.indoors:
        _INSIDE[kind](picture, random)
    else:
        _houses(picture, random)
        if kind is SceneKind.GATE:
            _gate(picture)
        else:
            cv2.rectangle(picture, (0, 140), (WIDTH, 172), (138, 142, 146), cv2.FILLED)
        _lane(picture, layout)
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamps = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y in _OUTDOOR_LAMPS:
        lamps += 0.45 * np.exp(-(((xx - x) / 150) ** 2 + ((yy - y) / 110) ** 2))
    return picture, np.minimum(lamps, 0.6).astype(np.float32)


def pixels(points: tuple[Point, ...]) -> npt.NDArray[np.int32]:
    """Return normalised points in pixels."""
    return np.array([(x * WIDTH, y * HEIGHT) for x, y in points], np.int32)


def _houses(picture: Any, random: Random) -> None:
    cv2.rectangle(picture, (0, 0), (WIDTH, 96), (176, 168, 158), cv2.FILLED)
    for column in range(14):
        for row in range(3):
            x, y = 14 + column * 46, 8 + row * 29
            glass = random.choice(((92, 80, 70), (104, 92, 78), (130, 140, 150)))
            cv2.rectangle(picture, (x, y), (x + 24, y + 17), glass, cv2.FILLED)
    cv2.rectangle(picture, (0, 96), (WIDTH, 112), (70, 118, 82), cv2.FILLED)
    for _ in range(90):
        at = (random.randrange(WIDTH), random.randrange(96, 112))
        green = (48, 96 + random.randrange(40), 60)
        cv2.circle(picture, at, random.randrange(3, 8), green, cv2.FILLED)


def _gate(picture: Any) -> None:
    road = pixels(((0.30, 0.31), (0.52, 0.31), (0.56, 1.0), (0.28, 1.0)))
    cv2.fillPoly(picture, [road], (92, 94, 96))
    cv2.rectangle(picture, (176, 118), (196, 172), (60, 60, 70), cv2.FILLED)
    cv2.line(picture, (196, 140), (330, 140), (60, 60, 210), 4)
    cv2.rectangle(picture, (24, 100), (64, 150), (120, 120, 128), cv2.FILLED)


def _lane(picture: Any, layout: Layout) -> None:
    lane = pixels(layout.fire_lane)
    cv2.fillPoly(picture, [lane], (104, 106, 124))
    stripes: Any = np.zeros((HEIGHT, WIDTH), np.uint8)
    for offset in range(-HEIGHT, WIDTH, 44):
        cv2.line(stripes, (offset, HEIGHT), (offset + HEIGHT, 0), 255, 5)
    inside: Any = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.fillPoly(inside, [lane], 255)
    picture[(stripes > 0) & (inside > 0)] = (58, 160, 196)
    cv2.polylines(picture, [lane], isClosed=True, color=(52, 190, 226), thickness=4)
    centre = lane.mean(axis=0).astype(int)
    cv2.putText(
        picture, "FIRE LANE", (int(centre[0]) - 62, int(centre[1]) + 6),
        cv2.FONT_HERSHEY_DUPLEX, 0.8, (230, 230, 235), 2,
    )  # fmt: skip


def _door(picture: Any, random: Random) -> None:
    """A wall with a glass door; the floor leads to it."""
    cv2.rectangle(picture, (0, 0), (WIDTH, 196), (168, 178, 184), cv2.FILLED)
    for row in range(12, 196, 24):
        cv2.line(picture, (0, row), (WIDTH, row), (156, 165, 171), 1)
    _tiles(picture, 196, (128, 134, 140))
    cv2.rectangle(picture, (238, 24), (402, 198), (70, 74, 80), cv2.FILLED)
    cv2.rectangle(picture, (248, 34), (392, 198), (142, 132, 116), cv2.FILLED)
    cv2.line(picture, (320, 34), (320, 198), (70, 74, 80), 4)
    cv2.rectangle(picture, (424, 108), (446, 146), (44, 44, 48), cv2.FILLED)
    cv2.circle(picture, (435, 120), 4, (60, 200, 60), cv2.FILLED)
    _plant(picture, (110, 196), random)


def _lobby(picture: Any, random: Random) -> None:
    """A lobby with letter boxes, a lift's door and a bench."""
    cv2.rectangle(picture, (0, 0), (WIDTH, 170), (184, 190, 194), cv2.FILLED)
    _tiles(picture, 170, (136, 142, 148))
    for column in range(8):
        for row in range(4):
            x, y = 30 + column * 20, 60 + row * 18
            cv2.rectangle(picture, (x, y), (x + 17, y + 15), (120, 124, 130), cv2.FILLED)
            cv2.circle(picture, (x + 13, y + 8), 1, (60, 60, 66), cv2.FILLED)
    cv2.rectangle(picture, (260, 36), (344, 172), (104, 108, 114), cv2.FILLED)
    cv2.line(picture, (302, 36), (302, 172), (70, 72, 78), 2)
    cv2.rectangle(picture, (430, 134), (600, 146), (64, 84, 110), cv2.FILLED)
    for x in (440, 586):
        cv2.rectangle(picture, (x, 146), (x + 6, 178), (60, 62, 66), cv2.FILLED)
    _plant(picture, (390, 172), random)


def _lift_car(picture: Any, random: Random) -> None:
    """A car from its ceiling's corner: three walls, panel, mirror, floor."""
    cv2.rectangle(picture, (0, 0), (WIDTH, HEIGHT), (150, 154, 158), cv2.FILLED)
    cv2.fillPoly(
        picture, [pixels(((0.14, 0.60), (0.86, 0.60), (1.0, 1.0), (0.0, 1.0)))], (96, 92, 90)
    )
    for share in np.linspace(0.2, 0.8, 7):
        top, bottom = round(WIDTH * (0.14 + 0.72 * share)), round(WIDTH * share)
        cv2.line(picture, (top, round(HEIGHT * 0.60)), (bottom, HEIGHT), (84, 80, 78), 1)
    for a, b in (
        ((0.14, 0.0), (0.14, 0.60)),
        ((0.86, 0.0), (0.86, 0.60)),
        ((0.14, 0.60), (0.86, 0.60)),
    ):
        cv2.line(
            picture,
            tuple(pixels((a,))[0].tolist()),
            tuple(pixels((b,))[0].tolist()),
            (90, 94, 98),
            3,
        )
    cv2.rectangle(picture, (230, 30), (410, 150), (176, 180, 178), cv2.FILLED)
    cv2.rectangle(picture, (480, 60), (516, 170), (70, 72, 76), cv2.FILLED)
    for row in range(6):
        colour = random.choice(((120, 200, 240), (190, 190, 190)))
        cv2.circle(picture, (498, 74 + row * 16), 5, colour, cv2.FILLED)
    cv2.rectangle(picture, (100, 190), (560, 196), (112, 116, 120), cv2.FILLED)


def _tiles(picture: Any, top: int, colour: tuple[int, int, int]) -> None:
    cv2.rectangle(picture, (0, top), (WIDTH, HEIGHT), colour, cv2.FILLED)
    line = tuple(channel - 16 for channel in colour)
    y, step = float(top), 10.0
    while y < HEIGHT:
        cv2.line(picture, (0, round(y)), (WIDTH, round(y)), line, 1)
        y, step = y + step, step * 1.28
    for x in range(-640, 1281, 80):
        cv2.line(picture, (WIDTH // 2 + (x - WIDTH // 2) // 2, top), (x, HEIGHT), line, 1)


def _plant(picture: Any, at: tuple[int, int], random: Random) -> None:
    x, y = at
    cv2.rectangle(picture, (x - 14, y - 24), (x + 14, y), (70, 90, 150), cv2.FILLED)
    for _ in range(26):
        leaf = (x + random.randrange(-26, 27), y - 24 - random.randrange(50))
        green = (50, 96 + random.randrange(50), 60)
        cv2.circle(picture, leaf, random.randrange(4, 9), green, cv2.FILLED)


_INSIDE = {
    SceneKind.DOOR: _door,
    SceneKind.LOBBY: _lobby,
    SceneKind.LIFT_CAR: _lift_car,
}
