"""A line on the ground that somebody crosses, and in which direction."""

from __future__ import annotations

from math import hypot
from typing import Literal

from edge.vision.tracks import Track

Direction = Literal["in", "out"]
_MARGIN = 0.012
"""Share of the width by which a track must be beyond a line to be clearly on a side."""
_LEAST_PATH = 0.06
"""Share of the width that a track must have come before it can cross."""


class Line:
    """From one point to another (shares of width and height).

    Whoever crosses it towards the right-hand side, looking from the first point to the second,
    goes ``in`` (or ``out``, where the line says so).
    """

    def __init__(
        self,
        name: str,
        start: tuple[float, float],
        end: tuple[float, float],
        *,
        right_is_in: bool = True,
    ) -> None:
        self.name = name
        self._start = start
        self._end = end
        self._right_is_in = right_is_in

    def crossings(
        self, tracks: list[Track], shape: tuple[int, ...], least: float
    ) -> list[tuple[Direction, Track]]:
        """Return each track that has crossed the line with its last step, and in which direction.

        ``least`` is the smallest height (share of the picture's) that counts.
        """
        tall = shape[0] / shape[1]
        found: list[tuple[Direction, Track]] = []
        for track in tracks:
            if track.box.height < least:
                continue
            side, was = self._side(track, tall), track.sides.get(self.name)
            if side == 0:
                continue
            track.sides[self.name] = (side, track.x, track.y)
            if was is None or was[0] == side or not self._between((was[1], was[2]), track, tall):
                continue
            if track.known and track.path >= _LEAST_PATH:
                found.append(("in" if (side > 0) is self._right_is_in else "out", track))
        return found

    def _side(self, track: Track, tall: float) -> int:
        """Return 1 for the right-hand side, -1 for the left, 0 for too near to tell."""
        distance = _distance(self._start, self._end, (track.x, track.y), tall)
        return 0 if abs(distance) < _MARGIN else 1 if distance > 0 else -1

    def _between(self, before: tuple[float, float], track: Track, tall: float) -> bool:
        """Tell whether the step went through the line itself, not past one of its ends."""
        start = (self._start[0], self._start[1] * tall)
        end = (self._end[0], self._end[1] * tall)
        now = (track.x, track.y)
        return _turn(before, now, start) * _turn(before, now, end) <= 0


def _distance(
    start: tuple[float, float], end: tuple[float, float], point: tuple[float, float], tall: float
) -> float:
    """Return the signed distance from the endless line, in shares of the width."""
    ax, ay, bx, by = start[0], start[1] * tall, end[0], end[1] * tall
    length = max(hypot(bx - ax, by - ay), 1e-9)
    return ((bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax)) / length


def _turn(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> float:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
