"""Rendered pictures of a courtyard or a gate: people, cars, day and night, and disturbances."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import cos, pi
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from simulators.rhythms import RESIDENTIAL, Arrivals, hour_of_day, local
from simulators.seeds import stream

WIDTH, HEIGHT = 640, 360
Picture = npt.NDArray[np.uint8]
Point = tuple[float, float]
_NOISES = 6
_BRIGHTNESS_STEPS = 48


class SceneKind(StrEnum):
    """What the camera looks at."""

    COURTYARD = "courtyard"
    GATE = "gate"


class Disturbance(StrEnum):
    """What is wrong with the camera."""

    NONE = "none"
    COVERED = "covered"
    DARK = "dark"
    DEFOCUSED = "defocused"
    TURNED = "turned"
    FROZEN = "frozen"


@dataclass(frozen=True, slots=True)
class Path:
    """A way through the picture (normalised points) and how long it takes (s)."""

    points: tuple[Point, ...]
    seconds: float
    car: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a picture, all normalised; ``parking`` is where the lane is blocked."""

    fire_lane: tuple[Point, ...]
    parking: Point
    approach: Point
    paths: tuple[Path, ...]


LAYOUTS = {
    SceneKind.COURTYARD: Layout(
        fire_lane=((0.30, 0.52), (0.74, 0.52), (0.86, 0.86), (0.20, 0.86)),
        parking=(0.52, 0.69),
        approach=(1.15, 0.69),
        paths=(
            Path(((-0.05, 0.42), (0.45, 0.40), (1.05, 0.43)), 26),
            Path(((1.05, 0.46), (0.5, 0.44), (-0.05, 0.47)), 30),
            Path(((0.10, 1.08), (0.14, 0.70), (0.20, 0.42), (0.24, 0.28)), 24),
            Path(((0.78, 0.27), (0.84, 0.45), (0.93, 0.75), (0.97, 1.08)), 25),
        ),
    ),
    SceneKind.GATE: Layout(
        fire_lane=((0.58, 0.50), (0.90, 0.50), (1.0, 0.85), (0.62, 0.85)),
        parking=(0.775, 0.67),
        approach=(0.775, 1.25),
        paths=(
            Path(((0.05, 1.05), (0.12, 0.65), (0.20, 0.30)), 18),
            Path(((0.22, 0.30), (0.14, 0.62), (0.07, 1.05)), 18),
            Path(((0.38, 0.28), (0.40, 0.60), (0.42, 1.15)), 9, car=True),
            Path(((0.44, 1.15), (0.42, 0.60), (0.40, 0.28)), 9, car=True),
        ),
    ),
}

_CLOTHES = (
    (60, 60, 190),
    (170, 90, 50),
    (60, 140, 60),
    (40, 40, 40),
    (60, 170, 190),
    (200, 200, 205),
)
_PAINTS = ((225, 225, 230), (40, 40, 45), (150, 60, 40), (50, 50, 170), (150, 150, 155))


class Scene:
    """One camera's view. ``rhythm_scale`` tells how busy it is, per hour of the usual rhythm."""

    def __init__(
        self, seed: int, name: str, kind: SceneKind, label: str, *, rhythm_scale: float = 6.0
    ) -> None:
        self.layout = LAYOUTS[kind]
        self.disturbance = Disturbance.NONE
        self.blocked_since_ms: int | None = None
        """Since when a car stands in the fire lane."""
        self._seed = seed
        self._name = name
        self._kind = kind
        self._label = label
        self._arrivals = Arrivals(seed, f"{name}/passers", RESIDENTIAL.scaled(rhythm_scale))
        self._ground: tuple[Picture, npt.NDArray[np.float32]] | None = None
        self._shaded: tuple[int, Picture] | None = None
        self._noise: list[tuple[Picture, Picture]] = []
        self._frames = 0

    def render(self, now_ms: int) -> Picture:
        """Return the picture (BGR, 360 x 640) at a moment."""
        self._prepare()
        self._frames += 1
        if self.disturbance is Disturbance.COVERED:
            return self._add_noise(np.full((HEIGHT, WIDTH, 3), (9, 8, 10), np.uint8))
        light = daylight(now_ms)
        picture: Any = self._background(light).copy()
        for actor in self._actors(now_ms):
            _draw(picture, *actor, light=0.45 + 0.55 * light)
        if self.disturbance is Disturbance.DARK:
            picture = cv2.convertScaleAbs(picture, alpha=0.06)
        elif self.disturbance is Disturbance.DEFOCUSED:
            small = cv2.resize(picture, (WIDTH // 8, HEIGHT // 8), interpolation=cv2.INTER_AREA)
            small = cv2.GaussianBlur(small, (0, 0), 2.0)
            picture = cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
        elif self.disturbance is Disturbance.TURNED:
            shift = np.array([[1, 0.08, -190], [-0.08, 1, 70]], np.float32)
            picture = cv2.warpAffine(
                picture, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT_101
            )
        grainy = self._add_noise(picture)
        self._overlay(grainy, now_ms)
        return grainy

    # -- what moves --------------------------------------------------------------------------

    def _actors(self, now_ms: int) -> list[tuple[Point, Point, tuple[int, int, int], bool]]:
        """Return (position, heading, colour, is a car) of everything in the picture, far first."""
        actors = []
        longest_ms = round(max(path.seconds for path in self.layout.paths) * 1300)
        for start in self._arrivals.between(now_ms - longest_ms, now_ms + 1):
            random = stream(self._seed, self._name, "passer", start)
            path = random.choice(self.layout.paths)
            share = (now_ms - start) / (path.seconds * 1000 * random.uniform(0.8, 1.25))
            colours = _PAINTS if path.car else _CLOTHES
            if share <= 1:
                where, heading = _along(path.points, share)
                actors.append((where, heading, random.choice(colours), path.car))
        if self.blocked_since_ms is not None:
            actors.append(self._parked(now_ms, self.blocked_since_ms))
        actors.sort(key=lambda actor: actor[0][1])
        return actors

    def _parked(
        self, now_ms: int, since_ms: int
    ) -> tuple[Point, Point, tuple[int, int, int], bool]:
        share = min(max((now_ms - since_ms) / 4000, 0.0), 1.0)
        eased = 1 - (1 - share) ** 2
        (x0, y0), (x1, y1) = self.layout.approach, self.layout.parking
        where = (x0 + (x1 - x0) * eased, y0 + (y1 - y0) * eased)
        paint = stream(self._seed, self._name, "parked", since_ms).choice(_PAINTS)
        return where, (x1 - x0, y1 - y0), paint, True

    # -- the picture -------------------------------------------------------------------------

    def _prepare(self) -> None:
        if self._ground is not None:
            return
        self._ground = _ground(self._seed, self._kind, self.layout)
        generator = np.random.default_rng(self._seed)
        for _ in range(_NOISES):
            grain = generator.normal(0, 2.2, (HEIGHT, WIDTH, 3))
            up = np.clip(grain, 0, 20).astype(np.uint8)
            down = np.clip(-grain, 0, 20).astype(np.uint8)
            self._noise.append((up, down))

    def _background(self, light: float) -> Picture:
        """Return the empty scene in this light; it is drawn anew only when the light changes."""
        step = round(light * _BRIGHTNESS_STEPS)
        if self._shaded is None or self._shaded[0] != step:
            if self._ground is None:
                raise RuntimeError("the scene is not prepared")
            ground, lamps = self._ground
            level = step / _BRIGHTNESS_STEPS
            factor = np.minimum(level * 0.62 + 0.38 + (1 - level) * lamps, 1.1)[..., None]
            tint = np.array([1.0, 0.97, 0.92 + 0.08 * level])
            shaded = np.clip(ground * factor * tint, 0, 255).astype(np.uint8)
            self._shaded = (step, shaded)
        return self._shaded[1]

    def _add_noise(self, picture: Any) -> Picture:
        up, down = self._noise[self._frames % _NOISES]
        noisy: Any = cv2.subtract(cv2.add(picture, up), down)
        result: Picture = noisy
        return result

    def _overlay(self, picture: Picture, now_ms: int) -> None:
        text = f"{local(now_ms):%Y-%m-%d %H:%M:%S}"
        for at, words in (((12, 24), text), ((12, HEIGHT - 12), self._label)):
            for colour, width in (((20, 20, 20), 3), ((240, 240, 240), 1)):
                cv2.putText(picture, words, at, cv2.FONT_HERSHEY_SIMPLEX, 0.5, colour, width)


def daylight(now_ms: int) -> float:
    """Return the daylight: 0 at night, 1 by day, with twilight from 5 to 7 and 17 to 19."""
    hour = hour_of_day(now_ms)
    if hour < 5 or hour >= 19:
        return 0.0
    if 7 <= hour < 17:
        return 1.0
    into = (hour - 5) / 2 if hour < 7 else (19 - hour) / 2
    return (1 - cos(pi * into)) / 2


def _along(points: tuple[Point, ...], share: float) -> tuple[Point, Point]:
    """Return the point at a share of a way's segments, and the heading there."""
    scaled = min(max(share, 0.0), 0.999) * (len(points) - 1)
    index = int(scaled)
    (x0, y0), (x1, y1) = points[index], points[index + 1]
    part = scaled - index
    return (x0 + (x1 - x0) * part, y0 + (y1 - y0) * part), (x1 - x0, y1 - y0)


def _pixels(points: tuple[Point, ...]) -> npt.NDArray[np.int32]:
    return np.array([(x * WIDTH, y * HEIGHT) for x, y in points], np.int32)


def _ground(seed: int, kind: SceneKind, layout: Layout) -> tuple[Picture, npt.NDArray[np.float32]]:
    """Draw what never moves, and where the lamps shine at night."""
    random = stream(seed, kind, "ground")
    picture: Any = np.full((HEIGHT, WIDTH, 3), (112, 116, 118), np.uint8)
    grain = np.random.default_rng(seed).integers(-9, 10, (HEIGHT // 2, WIDTH // 2, 1))
    coarse = cv2.resize(grain.astype(np.float32), (WIDTH, HEIGHT))[..., None]
    picture = np.clip(picture + coarse, 0, 255).astype(np.uint8)
    cv2.rectangle(picture, (0, 0), (WIDTH, 96), (176, 168, 158), -1)
    for column in range(14):
        for row in range(3):
            x, y = 14 + column * 46, 8 + row * 29
            glass = random.choice(((92, 80, 70), (104, 92, 78), (130, 140, 150)))
            cv2.rectangle(picture, (x, y), (x + 24, y + 17), glass, -1)
    cv2.rectangle(picture, (0, 96), (WIDTH, 112), (70, 118, 82), -1)
    for _ in range(90):
        at = (random.randrange(WIDTH), random.randrange(96, 112))
        cv2.circle(picture, at, random.randrange(3, 8), (48, 96 + random.randrange(40), 60), -1)
    if kind is SceneKind.GATE:
        cv2.fillPoly(
            picture, [_pixels(((0.30, 0.31), (0.52, 0.31), (0.56, 1.0), (0.28, 1.0)))], (92, 94, 96)
        )
        cv2.rectangle(picture, (176, 118), (196, 172), (60, 60, 70), -1)
        cv2.line(picture, (196, 140), (330, 140), (60, 60, 210), 4)
        cv2.rectangle(picture, (24, 100), (64, 150), (120, 120, 128), -1)
    else:
        cv2.rectangle(picture, (0, 140), (WIDTH, 172), (138, 142, 146), -1)
    lane = _pixels(layout.fire_lane)
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
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    lamps = np.zeros((HEIGHT, WIDTH), np.float32)
    for x, y in ((120, 150), (330, 220), (540, 160)):
        lamps += 0.45 * np.exp(-(((xx - x) / 150) ** 2 + ((yy - y) / 110) ** 2))
    return picture, np.minimum(lamps, 0.6).astype(np.float32)


def _draw(
    picture: Picture,
    where: Point,
    heading: Point,
    colour: tuple[int, int, int],
    is_car: bool,  # noqa: FBT001  (an actor's tuple is spread over the arguments)
    *,
    light: float,
) -> None:
    """Draw a person or a car; lower in the picture is nearer and so larger."""
    scale = 0.45 + 0.75 * where[1]
    x, y = int(where[0] * WIDTH), int(where[1] * HEIGHT)
    paint = tuple(int(channel * light) for channel in colour)
    dark = tuple(int(channel * 0.35 * light) for channel in (70, 70, 70))
    if not is_car:
        tall = int(46 * scale)
        cv2.ellipse(picture, (x + tall // 5, y), (tall // 3, tall // 10), 0, 0, 360, dark, -1)
        cv2.ellipse(picture, (x, y - tall // 3), (tall // 7, tall // 3), 0, 0, 360, paint, -1)
        cv2.circle(picture, (x, y - int(tall * 0.75)), max(tall // 9, 2), (96, 120, 160), -1)
        return
    along = abs(heading[0]) > abs(heading[1])
    half, high = (
        (int(105 * scale), int(44 * scale)) if along else (int(46 * scale), int(62 * scale))
    )
    cv2.ellipse(picture, (x, y + high // 2), (int(half * 1.08), high // 3), 0, 0, 360, dark, -1)
    cv2.rectangle(picture, (x - half, y - high // 3), (x + half, y + high // 2), paint, -1)
    roof = _roof(x, y, half, high)
    cv2.fillPoly(picture, [roof], paint)
    cv2.polylines(picture, [roof], isClosed=True, color=dark, thickness=2)
    inner = ((roof - (x, y - high // 2)) * 0.78 + (x, y - high // 2)).astype(np.int32)
    cv2.fillPoly(picture, [inner], (int(120 * light), int(104 * light), int(88 * light)))
    for side in (-1, 1):
        wheel = (x + side * int(half * 0.62), y + high // 2)
        cv2.circle(picture, wheel, max(high // 5, 2), dark, -1)
        cv2.circle(picture, (x + side * (half - 4), y), 4, (150, 230, 250), -1)


def _roof(x: int, y: int, half: int, high: int) -> npt.NDArray[np.int32]:
    low, top = y - high // 3, y - high
    return np.array(
        [
            (x - int(half * 0.7), low),
            (x - int(half * 0.45), top),
            (x + int(half * 0.45), top),
            (x + int(half * 0.7), low),
        ],
        np.int32,
    )
