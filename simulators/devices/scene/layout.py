"""Where things are in each kind of scene, and the ways on which people and cars move."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from simulators.devices.scene.figures import Figure

WIDTH, HEIGHT = 640, 360
Picture = npt.NDArray[np.uint8]
Point = tuple[float, float]


class SceneKind(StrEnum):
    """What the camera looks at."""

    COURTYARD = "courtyard"
    GATE = "gate"
    DOOR = "door"
    LOBBY = "lobby"
    LIFT_CAR = "lift_car"


@dataclass(frozen=True, slots=True)
class Path:
    """A way through the picture (normalised points) and how long it takes (s)."""

    points: tuple[Point, ...]
    seconds: float
    figure: Figure = Figure.PERSON


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in a picture, all normalised."""

    paths: tuple[Path, ...]
    """The ways of those who pass by themselves."""
    tall: tuple[float, float]
    """Height (pixels) of a person who stands at the picture's upper and lower edge."""
    fire_lane: tuple[Point, ...] = ()
    parking: Point = (0.5, 0.7)
    """Where the lane is blocked, from ``approach``."""
    approach: Point = (1.15, 0.7)
    entry: tuple[Point, ...] = ()
    """The way of those who are sent in."""
    line: tuple[Point, Point] | None = None
    """What they cross; walking in, from its left-hand to its right-hand side."""
    zone: tuple[Point, ...] = ()
    """The floor that matters: in a car, before a door, in a lobby."""
    spot: Point = (0.5, 0.8)
    """Where a bag is left."""
    indoors: bool = False
    """Lit by lamps, day and night."""


LAYOUTS = {
    SceneKind.COURTYARD: Layout(
        tall=(27, 72),
        fire_lane=((0.30, 0.52), (0.74, 0.52), (0.86, 0.86), (0.20, 0.86)),
        parking=(0.52, 0.69),
        approach=(1.15, 0.69),
        paths=(
            Path(((-0.05, 0.42), (0.45, 0.40), (1.05, 0.43)), 26),
            Path(((1.05, 0.46), (0.5, 0.44), (-0.05, 0.47)), 30),
            Path(((0.10, 1.18), (0.14, 0.70), (0.20, 0.42), (0.24, 0.28)), 24),
            Path(((0.78, 0.27), (0.84, 0.45), (0.93, 0.75), (0.97, 1.18)), 25),
            Path(((-0.08, 0.45), (0.5, 0.43), (1.08, 0.45)), 9, Figure.E_BIKE),
        ),
        entry=((0.10, 1.18), (0.14, 0.70), (0.20, 0.42), (0.24, 0.28)),
        line=((0.30, 0.60), (0.02, 0.60)),
        zone=((0.30, 0.52), (0.74, 0.52), (0.86, 0.86), (0.20, 0.86)),
        spot=(0.60, 0.66),
    ),
    SceneKind.GATE: Layout(
        tall=(27, 72),
        fire_lane=((0.58, 0.50), (0.90, 0.50), (1.0, 0.85), (0.62, 0.85)),
        parking=(0.775, 0.67),
        approach=(0.775, 1.25),
        paths=(
            Path(((0.05, 1.18), (0.12, 0.65), (0.20, 0.30)), 18),
            Path(((0.22, 0.30), (0.14, 0.62), (0.07, 1.18)), 18),
            Path(((0.38, 0.28), (0.40, 0.60), (0.42, 1.25)), 9, Figure.CAR),
            Path(((0.44, 1.25), (0.42, 0.60), (0.40, 0.28)), 9, Figure.CAR),
            Path(((0.25, 0.30), (0.24, 0.62), (0.24, 1.2)), 8, Figure.E_BIKE),
        ),
        entry=((0.05, 1.18), (0.12, 0.65), (0.20, 0.30)),
        line=((0.27, 0.62), (0.01, 0.62)),
        zone=((0.02, 0.45), (0.26, 0.45), (0.24, 0.98), (0.0, 0.98)),
        spot=(0.18, 0.70),
    ),
    SceneKind.DOOR: Layout(
        tall=(70, 150),
        paths=(),
        entry=((0.50, 1.60), (0.50, 0.90), (0.50, 0.55)),
        line=((0.76, 0.78), (0.24, 0.78)),
        zone=((0.30, 0.56), (0.70, 0.56), (0.80, 0.98), (0.20, 0.98)),
        spot=(0.78, 0.80),
        indoors=True,
    ),
    SceneKind.LOBBY: Layout(
        tall=(60, 150),
        paths=(
            Path(((-0.08, 0.70), (0.45, 0.66), (1.08, 0.72)), 12),
            Path(((1.08, 0.86), (0.50, 0.80), (0.46, 0.48)), 11),
        ),
        entry=((-0.08, 0.78), (0.40, 0.74), (1.08, 0.80)),
        line=((0.50, 0.98), (0.50, 0.50)),
        zone=((0.25, 0.50), (0.75, 0.50), (0.95, 0.98), (0.05, 0.98)),
        spot=(0.62, 0.74),
        indoors=True,
    ),
    SceneKind.LIFT_CAR: Layout(
        tall=(150, 250),
        paths=(),
        entry=((-0.30, 0.95), (0.10, 0.93), (0.42, 0.90)),
        line=((0.14, 1.0), (0.14, 0.55)),
        zone=((0.14, 0.60), (0.86, 0.60), (1.0, 1.0), (0.0, 1.0)),
        spot=(0.70, 0.88),
        indoors=True,
    ),
}
