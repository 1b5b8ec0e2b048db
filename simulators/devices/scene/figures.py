"""What moves through a scene, drawn at a place on the ground in the size of its distance."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import pi, sin
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Colour = tuple[int, int, int]
_SKIN: Colour = (112, 138, 182)
_DARK: Colour = (38, 38, 42)
_GLASS: Colour = (120, 104, 88)
_LAMP: Colour = (150, 230, 250)
CLOTHES: tuple[Colour, ...] = (
    (60, 60, 190),
    (170, 90, 50),
    (60, 140, 60),
    (40, 40, 40),
    (60, 170, 190),
    (200, 200, 205),
)
PAINTS: tuple[Colour, ...] = (
    (225, 225, 230),
    (40, 40, 45),
    (150, 60, 40),
    (50, 50, 170),
    (150, 150, 155),
)


class Figure(StrEnum):
    """What somebody or something is."""

    PERSON = "person"
    CARRIER = "carrier"
    """A person with a bag in the hand."""
    CAR = "car"
    E_BIKE = "e_bike"
    """Ridden."""
    PUSHED_E_BIKE = "pushed_e_bike"
    CAT = "cat"
    BAG = "bag"


@dataclass(frozen=True, slots=True)
class Actor:
    """Something at a moment: its foot (pixels), its height as a person's, and how it goes."""

    figure: Figure
    foot: tuple[float, float]
    tall: float
    """Height (pixels) of a person at this place."""
    heading: tuple[float, float]
    colour: Colour
    gone: float = 0.0
    """Pixels it has come: the phase of its steps."""
    moves: bool = True


def draw(picture: Any, actor: Actor, *, light: float, shadow: float) -> None:
    """Draw an actor; ``shadow`` is to which side its shadow falls (-1 to 1)."""
    pen = _Pen(picture, actor, light)
    x, y = actor.foot
    reach = actor.tall * (0.9 if actor.figure is Figure.CAR else 0.34)
    if actor.figure in (Figure.CAT, Figure.BAG):
        reach *= 0.5
    pen.shade((x + shadow * reach * 0.6, y), (reach, reach * 0.28))
    _DRAWN[actor.figure](pen, actor)


class _Pen:
    """Draws around a foot in shares of a person's height, upwards and to the right."""

    def __init__(self, picture: Any, actor: Actor, light: float) -> None:
        self._picture = picture
        self._x, self._y = actor.foot
        self._unit = actor.tall
        self._light = light
        self.face = 1.0 if actor.heading[0] >= 0 else -1.0
        along, across = abs(actor.heading[0]), abs(actor.heading[1])
        self.sideways = 1.0 if along >= across else 0.4
        """How much of a step is seen: all from the side, little from the front."""

    def at(self, right: float, up: float) -> tuple[int, int]:
        x = self._x + right * self.face * self._unit
        return round(x), round(self._y - up * self._unit)

    def line(
        self, start: tuple[float, float], end: tuple[float, float], thick: float, colour: Colour
    ) -> None:
        width = max(round(thick * self._unit), 1)
        cv2.line(self._picture, self.at(*start), self.at(*end), self._lit(colour), width)

    def disc(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        size = max(round(radius * self._unit), 1)
        cv2.circle(self._picture, self.at(*centre), size, self._lit(colour), cv2.FILLED)

    def ring(self, centre: tuple[float, float], radius: float, colour: Colour) -> None:
        size, thick = max(round(radius * self._unit), 2), max(round(0.03 * self._unit), 1)
        cv2.circle(self._picture, self.at(*centre), size, self._lit(colour), thick)

    def shape(self, points: list[tuple[float, float]], colour: Colour) -> None:
        corners = np.array([self.at(*point) for point in points], np.int32)
        cv2.fillPoly(self._picture, [corners], self._lit(colour))

    def shade(self, centre: tuple[float, float], axes: tuple[float, float]) -> None:
        """Darken an ellipse on the ground; what is drawn there stays visible."""
        height, width = self._picture.shape[:2]
        x, y, a, b = round(centre[0]), round(centre[1]), round(axes[0]) + 1, round(axes[1]) + 1
        left, right = max(x - a, 0), min(x + a + 1, width)
        top, bottom = max(y - b, 0), min(y + b + 1, height)
        if left >= right or top >= bottom:
            return
        part = self._picture[top:bottom, left:right]
        mask: npt.NDArray[np.uint8] = np.zeros(part.shape[:2], np.uint8)
        cv2.ellipse(mask, (x - left, y - top), (a, b), 0, 0, 360, 255, cv2.FILLED)
        cv2.copyTo(cv2.convertScaleAbs(part, alpha=0.62), mask, part)

    def _lit(self, colour: Colour) -> Colour:
        b, g, r = (int(channel * self._light) for channel in colour)
        return b, g, r


def _person(pen: _Pen, actor: Actor, *, lift: float = 0.0, at: float = 0.0) -> None:
    """A walk cycle: legs and arms swing against each other, once for each two steps."""
    phase = actor.gone / max(actor.tall * 0.42, 1.0) * pi
    swing = (sin(phase) if actor.moves else 0.12) * 0.15 * pen.sideways
    hip, shoulder = 0.50 + lift, 0.80 + lift
    for side, tone in ((-1, (58, 52, 50)), (1, (74, 66, 62))):
        foot = (at + swing * side + 0.03 * side, lift + max(0.05 * swing * side, 0.0))
        knee = (at + swing * side * 0.5 + 0.03, 0.26 + lift)
        pen.line((at + 0.02 * side, hip), knee, 0.10, tone)
        pen.line(knee, foot, 0.085, tone)
    pen.line((at, shoulder), (at - swing * 0.8 - 0.07, 0.50 + lift), 0.065, actor.colour)
    wide = 0.13 if pen.sideways < 1 else 0.10
    neck = shoulder + 0.05
    pen.shape(
        [(at - wide, shoulder), (at - wide * 0.5, neck), (at + wide * 0.5, neck),
         (at + wide, shoulder), (at + wide * 0.85, hip - 0.04), (at - wide * 0.85, hip - 0.04)],
        actor.colour,
    )  # fmt: skip
    pen.line((at, shoulder), (at + swing * 0.8 + 0.07, 0.50 + lift), 0.065, actor.colour)
    pen.disc((at + 0.01, 0.92 + lift), 0.075, _SKIN)
    pen.disc((at - 0.015, 0.95 + lift), 0.065, _DARK)


def _carrier(pen: _Pen, actor: Actor) -> None:
    _person(pen, actor)
    pen.shape([(0.04, 0.42), (0.26, 0.42), (0.26, 0.18), (0.04, 0.18)], (40, 58, 120))


def _bag(pen: _Pen, _: Actor) -> None:
    pen.shape([(-0.17, 0.0), (-0.15, 0.26), (0.15, 0.26), (0.17, 0.0)], (40, 58, 120))
    pen.line((-0.15, 0.13), (0.15, 0.13), 0.03, (150, 160, 170))
    pen.line((-0.07, 0.26), (-0.04, 0.34), 0.03, _DARK)
    pen.line((-0.04, 0.34), (0.07, 0.26), 0.03, _DARK)


def _bike(pen: _Pen, actor: Actor, at: float) -> None:
    for wheel in (-0.33, 0.33):
        pen.ring((at + wheel, 0.17), 0.16, _DARK)
    pen.line((at - 0.33, 0.17), (at, 0.20), 0.05, actor.colour)
    pen.line((at, 0.20), (at + 0.27, 0.45), 0.06, actor.colour)
    pen.line((at + 0.33, 0.17), (at + 0.24, 0.62), 0.05, actor.colour)
    pen.line((at + 0.16, 0.64), (at + 0.28, 0.60), 0.04, _DARK)
    pen.shape(
        [(at - 0.26, 0.22), (at - 0.02, 0.22), (at - 0.02, 0.40), (at - 0.26, 0.40)], (52, 52, 60)
    )
    pen.line((at - 0.30, 0.46), (at + 0.02, 0.44), 0.07, _DARK)


def _ridden(pen: _Pen, actor: Actor) -> None:
    _bike(pen, actor, 0.0)
    pen.line((-0.10, 0.48), (0.08, 0.30), 0.09, (70, 62, 58))
    pen.line((0.08, 0.30), (0.02, 0.10), 0.08, (70, 62, 58))
    pen.line((-0.10, 0.46), (0.0, 0.80), 0.17, actor.colour)
    pen.line((0.0, 0.76), (0.20, 0.62), 0.06, actor.colour)
    pen.disc((0.04, 0.93), 0.08, _SKIN)
    pen.disc((0.03, 0.97), 0.075, (60, 60, 70))


def _pushed(pen: _Pen, actor: Actor) -> None:
    _person(pen, actor, at=-0.12)
    _bike(pen, actor, 0.22)


def _cat(pen: _Pen, actor: Actor) -> None:
    swing = sin(actor.gone / max(actor.tall * 0.1, 1.0) * pi) * 0.03
    for leg in (-0.10, 0.10):
        pen.line((leg, 0.08), (leg + swing, 0.0), 0.025, (60, 90, 130))
    pen.line((-0.11, 0.10), (0.11, 0.10), 0.09, (70, 110, 160))
    pen.disc((0.16, 0.15), 0.05, (70, 110, 160))
    pen.line((-0.13, 0.12), (-0.22, 0.20), 0.025, (60, 90, 130))


def _car(pen: _Pen, actor: Actor) -> None:
    side = pen.sideways == 1
    half, high = (1.48, 0.62) if side else (0.65, 0.88)
    low, top = high * 0.55, high * 1.5
    pen.shape([(-half, 0.0), (half, 0.0), (half, high * 0.83), (-half, high * 0.83)], actor.colour)
    for share, paint in ((1.0, actor.colour), (0.82, _GLASS)):
        base = high * 0.83 + (1 - share) * 0.1
        pen.shape(
            [(-half * 0.7 * share, base), (-half * 0.45 * share, base + (top - base) * share),
             (half * 0.45 * share, base + (top - base) * share), (half * 0.7 * share, base)],
            paint,
        )  # fmt: skip
    for end in (-1, 1):
        pen.disc((end * half * 0.62, 0.02), high * 0.24, _DARK)
        pen.disc((end * (half - 0.06), low), 0.05, _LAMP)


_DRAWN = {
    Figure.PERSON: _person,
    Figure.CARRIER: _carrier,
    Figure.CAR: _car,
    Figure.E_BIKE: _ridden,
    Figure.PUSHED_E_BIKE: _pushed,
    Figure.CAT: _cat,
    Figure.BAG: _bag,
}
