"""The fictional estate: its buildings, what they look like, and what is installed where.

The place is invented; its coordinates (WGS 84, about 30.27 N 120.15 E) only make the map
plausible. Lengths are metres east (x) and north (y) of the estate's middle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import cos, radians, sin

ORIGIN = (120.1500, 30.2700)
_METRES_PER_DEGREE_LAT = 110_860.0
_METRES_PER_DEGREE_LON = 96_250.0
FLOOR_M = 2.95

Position = tuple[float, float]
Outline = list[Position]


class Shape(StrEnum):
    """Footprints that are usual here."""

    SLAB = "slab"
    """板楼: long and thin, with a stairwell bay for each unit."""
    TOWER = "tower"
    """点式塔楼: a cross around the lifts."""
    PODIUM = "podium"
    """裙房: a low block."""


@dataclass(frozen=True, slots=True)
class Building:
    """One building; ``flats`` are flats on a floor of one unit, ``sampled`` meters of flats."""

    number: int
    shape: Shape
    x: float
    y: float
    floors: int
    units: int = 1
    flats: int = 2
    lifts: int = 0
    sampled: int = 0
    turned_deg: float = 0
    size: Position = (0, 0)

    @property
    def height_m(self) -> float:
        """Return the height above ground."""
        return round(self.floors * FLOOR_M + 1.5, 1)

    def outline(self) -> Outline:
        """Return the footprint as longitudes and latitudes."""
        return [place(x, y) for x, y in _turn(_footprint(self), self)]


#: 金绣家园: two rows of slabs, a row of towers, and shops at the gate.
JINXIU: tuple[Building, ...] = (
    Building(1, Shape.SLAB, -78, -62, 11, units=2, lifts=2, sampled=7, turned_deg=4),
    Building(2, Shape.SLAB, 4, -58, 11, units=2, lifts=2, sampled=7, turned_deg=4),
    Building(3, Shape.SLAB, -80, -6, 7, units=2, sampled=6, turned_deg=4),
    Building(4, Shape.SLAB, 2, -2, 7, units=2, sampled=6, turned_deg=4),
    Building(5, Shape.TOWER, -84, 58, 18, flats=4, lifts=1, sampled=9, turned_deg=8),
    Building(6, Shape.TOWER, -22, 62, 18, flats=4, lifts=1, sampled=9, turned_deg=8),
    Building(7, Shape.TOWER, 42, 64, 26, flats=4, lifts=2, sampled=10, turned_deg=8),
    Building(8, Shape.PODIUM, 86, -20, 3, turned_deg=4, size=(22, 64)),
)

#: 云栖中心: one small office tower across the road.
YUNQI = Building(1, Shape.PODIUM, 236, -18, 9, lifts=1, turned_deg=-3, size=(34, 26))


#: The edges: the gatehouse, the estate's south and north, the tower.
GATE, SOUTH, NORTH, TOWER = "jinxiu-gate", "jinxiu-south", "jinxiu-north", "yunqi-tower"


def place(x: float, y: float) -> Position:
    """Return the longitude and latitude of a point."""
    longitude = ORIGIN[0] + x / _METRES_PER_DEGREE_LON
    latitude = ORIGIN[1] + y / _METRES_PER_DEGREE_LAT
    return round(longitude, 7), round(latitude, 7)


def rectangle(x: float, y: float, width: float, depth: float) -> Outline:
    """Return a rectangle around a point, as longitudes and latitudes."""
    return [
        place(x + sx * width / 2, y + sy * depth / 2)
        for sx, sy in ((-1, -1), (1, -1), (1, 1), (-1, 1))
    ]


def _footprint(building: Building) -> list[Position]:
    if building.shape is Shape.TOWER:
        # A cross: four wings of flats around the core.
        arm, half = 15.0, 7.5
        return [
            (-half, -arm), (half, -arm), (half, -half), (arm, -half), (arm, half), (half, half),
            (half, arm), (-half, arm), (-half, half), (-arm, half), (-arm, -half), (-half, -half),
        ]  # fmt: skip
    if building.shape is Shape.PODIUM:
        width, depth = building.size
        return [
            (-width / 2, -depth / 2), (width / 2, -depth / 2),
            (width / 2, depth / 2), (-width / 2, depth / 2),
        ]  # fmt: skip
    # A slab: the south face is straight, each unit's stairwell stands out to the north.
    bay, depth, step = 31.0, 12.5, 1.8
    length = bay * building.units
    points = [(-length / 2, -depth / 2), (length / 2, -depth / 2), (length / 2, depth / 2)]
    for unit in reversed(range(building.units)):
        middle = -length / 2 + bay * (unit + 0.5)
        points += [
            (middle + 3.5, depth / 2), (middle + 3.5, depth / 2 + step),
            (middle - 3.5, depth / 2 + step), (middle - 3.5, depth / 2),
        ]  # fmt: skip
    points.append((-length / 2, depth / 2))
    return points


def _turn(points: list[Position], building: Building) -> list[Position]:
    angle = radians(building.turned_deg)
    return [
        (
            building.x + x * cos(angle) - y * sin(angle),
            building.y + x * sin(angle) + y * cos(angle),
        )
        for x, y in points
    ]
