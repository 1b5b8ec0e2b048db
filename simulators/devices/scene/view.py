"""One camera's view of a scene: who is in it at a moment, the light, the weather, the lens."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise
from math import cos, hypot, pi
from typing import Any

import cv2
import numpy as np

from simulators.devices.scene.figures import CLOTHES, PAINTS, Actor, Colour, Figure, draw
from simulators.devices.scene.ground import Lamps, ground
from simulators.devices.scene.layout import (
    HEIGHT,
    LAYOUTS,
    WIDTH,
    Layout,
    Path,
    Picture,
    Point,
    SceneKind,
)
from simulators.rhythms import RESIDENTIAL, Arrivals, hour_of_day, local
from simulators.seeds import stream

_NOISES = 6
_BRIGHTNESS_STEPS = 48
_FOLLOWER_MS = 1_300
"""Time between two who come in one behind the other, not quite in a line."""
_ASIDE = (0.0, 0.09, -0.09)
_STREAKS = 70


class Disturbance(StrEnum):
    """What is wrong with the camera."""

    NONE = "none"
    COVERED = "covered"
    DARK = "dark"
    DEFOCUSED = "defocused"
    TURNED = "turned"
    FROZEN = "frozen"


@dataclass(eq=False, slots=True)
class Walk:
    """Somebody who was sent along a way; who ``stays`` stands at its end until taken away."""

    figure: Figure
    way: tuple[Point, ...]
    start_ms: int
    seconds: float
    colour: Colour
    stays: bool = False
    until_ms: int | None = None
    """Run time at which it is gone, whatever else."""


class Scene:
    """One camera's view. ``rhythm_scale`` tells how busy it is, per hour of the usual rhythm."""

    def __init__(
        self, seed: int, name: str, kind: SceneKind, label: str, *, rhythm_scale: float = 6.0
    ) -> None:
        self.layout: Layout = LAYOUTS[kind]
        self.disturbance = Disturbance.NONE
        self.blocked_since_ms: int | None = None
        """Since when a car stands in the fire lane."""
        self.rain = False
        self.lamp = False
        """An extra lamp shines into the picture."""
        self.overlay = True
        """Time and name are burnt into the picture."""
        self.walks: list[Walk] = []
        self._seed = seed
        self._name = name
        self._kind = kind
        self._label = label
        self._arrivals = Arrivals(seed, f"{name}/passers", RESIDENTIAL.scaled(rhythm_scale))
        self._ground: tuple[Picture, Lamps] | None = None
        self._shaded: tuple[int, bool, Picture] | None = None
        self._noise: list[tuple[Picture, Picture]] = []
        self._frames = 0
        self._sent = 0

    # -- what a scenario does ----------------------------------------------------------------

    def send(
        self,
        figure: Figure,
        way: tuple[Point, ...],
        start_ms: int,
        seconds: float,
        *,
        stays: bool = False,
    ) -> Walk:
        """Send somebody along a way (normalised points), beside those who pass by themselves."""
        self._sent += 1
        random = stream(self._seed, self._name, "sent", self._sent)
        colour = random.choice(PAINTS if figure is Figure.CAR else CLOTHES)
        walk = Walk(figure, way, start_ms, seconds, colour, stays)
        self.walks.append(walk)
        return walk

    def enter(self, now_ms: int, people: int = 1, *, seconds: float = 7.0) -> list[Walk]:
        """Let people come in by the scene's entry, one close behind the other."""
        return self._file(self.layout.entry, now_ms, people, seconds)

    def leave(self, now_ms: int, people: int = 1, *, seconds: float = 7.0) -> list[Walk]:
        """Let people go out by the scene's entry."""
        return self._file(self.layout.entry[::-1], now_ms, people, seconds)

    def _file(self, way: tuple[Point, ...], now_ms: int, people: int, seconds: float) -> list[Walk]:
        walks = []
        for index in range(people):
            aside = _ASIDE[index % len(_ASIDE)]
            _, heading = _along(way, 0.5)
            level = abs(heading[0]) > abs(heading[1])
            shifted = tuple((x, y + aside / 2) if level else (x + aside, y) for x, y in way)
            start = now_ms + index * _FOLLOWER_MS
            walks.append(self.send(Figure.PERSON, shifted, start, seconds))
        return walks

    def bring_e_bike(self, now_ms: int) -> Walk:
        """Let somebody push an e-bike in, and stay with it."""
        return self.send(Figure.PUSHED_E_BIKE, self.layout.entry, now_ms, 5.0, stays=True)

    def leave_bag(self, now_ms: int) -> Walk:
        """Let somebody bring a bag to the scene's spot, stay three seconds and go without it."""
        spot = self.layout.spot
        first, last = self.layout.entry[0], self.layout.entry[-1]
        comes = self.send(Figure.CARRIER, (first, spot), now_ms, 5.0, stays=True)
        comes.until_ms = now_ms + 8_000
        goes = self.send(Figure.PERSON, (spot, last), now_ms + 8_000, 5.0)
        goes.colour = comes.colour
        return self.send(Figure.BAG, (spot,), now_ms + 6_500, 0.0, stays=True)

    def take_away(self, walk: Walk, now_ms: int, *, seconds: float = 5.0) -> None:
        """Let who stands somewhere go back; a thing is carried off by somebody."""
        walk.until_ms = now_ms
        figure = Figure.CARRIER if walk.figure is Figure.BAG else walk.figure
        way = (walk.way[-1], self.layout.entry[0]) if len(walk.way) == 1 else walk.way[::-1]
        gone = self.send(figure, way, now_ms, seconds)
        gone.colour = walk.colour

    # -- the picture -------------------------------------------------------------------------

    def render(self, now_ms: int) -> Picture:
        """Return the picture (BGR, 360 x 640) at a moment."""
        self._prepare()
        self._frames += 1
        if self.disturbance is Disturbance.COVERED:
            return self._add_noise(np.full((HEIGHT, WIDTH, 3), (9, 8, 10), np.uint8))
        light = 1.0 if self.layout.indoors else daylight(now_ms)
        picture: Any = self._background(light).copy()
        shadow = 0.3 if self.layout.indoors else (hour_of_day(now_ms) - 12.5) / 6
        shadow = min(max(shadow, -1.0), 1.0)
        for actor in self._actors(now_ms):
            draw(picture, actor, light=0.45 + 0.55 * light, shadow=shadow)
        if self.rain:
            self._draw_rain(picture)
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
        if self.overlay:
            self._overlay(grainy, now_ms)
        return grainy

    # -- who is there ------------------------------------------------------------------------

    def _actors(self, now_ms: int) -> list[Actor]:
        """Return everything that is in the picture, the farthest first."""
        actors = self._passers(now_ms)
        if self.blocked_since_ms is not None and self.layout.fire_lane:
            actors.append(self._parked(now_ms, self.blocked_since_ms))
        self.walks = [walk for walk in self.walks if not _is_over(walk, now_ms)]
        for walk in self.walks:
            passed_s = (now_ms - walk.start_ms) / 1000
            if passed_s >= 0:
                share = 1.0 if not walk.seconds else min(passed_s / walk.seconds, 1.0)
                actors.append(self._actor(walk.figure, walk.way, share, walk.colour))
        actors.sort(key=lambda actor: actor.foot[1])
        return actors

    def _passers(self, now_ms: int) -> list[Actor]:
        if not self.layout.paths:
            return []
        actors = []
        longest_ms = round(max(path.seconds for path in self.layout.paths) * 1300)
        for start in self._arrivals.between(now_ms - longest_ms, now_ms + 1):
            random = stream(self._seed, self._name, "passer", start)
            path: Path = random.choice(self.layout.paths)
            share = (now_ms - start) / (path.seconds * 1000 * random.uniform(0.8, 1.25))
            colour = random.choice(PAINTS if path.figure is Figure.CAR else CLOTHES)
            if share <= 1:
                actors.append(self._actor(path.figure, path.points, share, colour))
        return actors

    def _parked(self, now_ms: int, since_ms: int) -> Actor:
        share = min(max((now_ms - since_ms) / 4000, 0.0), 1.0)
        eased = 1 - (1 - share) ** 2
        paint = stream(self._seed, self._name, "parked", since_ms).choice(PAINTS)
        way = (self.layout.approach, self.layout.parking)
        return self._actor(Figure.CAR, way, eased, paint)

    def _actor(self, figure: Figure, way: tuple[Point, ...], share: float, colour: Colour) -> Actor:
        (x, y), heading = _along(way, share)
        far, near = self.layout.tall
        tall = max(far + (near - far) * y, 4.0)
        gone = share * _length(way)
        return Actor(
            figure, (x * WIDTH, y * HEIGHT), tall, heading, colour, gone, moves=0 < share < 1
        )

    # -- light and weather -------------------------------------------------------------------

    def _prepare(self) -> None:
        if self._ground is not None:
            return
        self._ground = ground(self._seed, self._kind, self.layout)
        generator = np.random.default_rng(self._seed)
        for _ in range(_NOISES):
            grain = generator.normal(0, 2.2, (HEIGHT, WIDTH, 3))
            up = np.clip(grain, 0, 20).astype(np.uint8)
            down = np.clip(-grain, 0, 20).astype(np.uint8)
            self._noise.append((up, down))

    def _background(self, light: float) -> Picture:
        """Return the empty scene in this light; it is drawn anew only when the light changes."""
        step = round(light * _BRIGHTNESS_STEPS)
        if self._shaded is None or self._shaded[:2] != (step, self.lamp):
            if self._ground is None:
                raise RuntimeError("the scene is not prepared")
            picture, lamps = self._ground
            level = step / _BRIGHTNESS_STEPS
            factor = np.minimum(level * 0.62 + 0.38 + (1 - level) * lamps, 1.1)[..., None]
            tint = np.array([1.0, 0.97, 0.92 + 0.08 * level])
            shaded: Any = picture * factor * tint
            if self.lamp:
                shaded = shaded + 60 * _glow()[..., None]
            self._shaded = (step, self.lamp, np.clip(shaded, 0, 255).astype(np.uint8))
        return self._shaded[2]

    def _draw_rain(self, picture: Any) -> None:
        drops = np.random.default_rng(self._frames).integers(0, (WIDTH, HEIGHT), (_STREAKS, 2))
        for x, y in drops.tolist():
            cv2.line(picture, (x, y), (x - 2, y + 13), (190, 186, 182), 1)

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


def _is_over(walk: Walk, now_ms: int) -> bool:
    if walk.until_ms is not None and now_ms >= walk.until_ms:
        return True
    return not walk.stays and now_ms > walk.start_ms + walk.seconds * 1000


def _along(points: tuple[Point, ...], share: float) -> tuple[Point, Point]:
    """Return the point at a share of a way's segments, and the heading there."""
    if len(points) == 1:
        return points[0], (1.0, 0.0)
    scaled = min(max(share, 0.0), 0.999999) * (len(points) - 1)
    index = int(scaled)
    (x0, y0), (x1, y1) = points[index], points[index + 1]
    part = scaled - index
    heading = ((x1 - x0) * WIDTH, (y1 - y0) * HEIGHT)
    return (x0 + (x1 - x0) * part, y0 + (y1 - y0) * part), heading


def _length(points: tuple[Point, ...]) -> float:
    """Return the length of a way in pixels."""
    return sum(hypot((b[0] - a[0]) * WIDTH, (b[1] - a[1]) * HEIGHT) for a, b in pairwise(points))


def _glow() -> Lamps:
    yy, xx = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    glow: Lamps = np.exp(-(((xx - 320) / 150) ** 2 + ((yy - 240) / 90) ** 2)).astype(np.float32)
    return glow
