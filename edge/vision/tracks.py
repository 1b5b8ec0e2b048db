"""Who moves where: blobs of motion joined from picture to picture into tracks."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import hypot

import numpy as np

from edge.vision.detection import Box
from edge.vision.picture import Mask, parts

_GATE = 0.05
"""How far (share of the width) a thing can be from where it was expected, standing still …"""
_GATE_PER_S = 0.30
"""… and how much farther for each second since it was seen."""
_MOST_GROWTH = 5.0
"""A blob whose area differs by more than this factor is another thing."""
_LIFE_S = 1.6
"""Real time that a track outlives its last picture (behind a post, or standing still)."""
_HITS = 3
_SMOOTH = 0.6
_MOST_BLOBS = 60
_SHARED, _GAP, _SLENDER = 0.6, 0.4, 5.0
"""Parts of one thing: they share so much of the smaller one's width, the gap is at most such a
share of the whole height, and the whole is at most so many times as tall as wide."""


@dataclass(slots=True)
class Track:
    """One moving thing; lengths are shares of the picture's width, in both directions."""

    id: int
    box: Box
    x: float
    y: float
    """Where it stands on the ground, smoothed."""
    speed: tuple[float, float] = (0.0, 0.0)
    hits: int = 1
    path: float = 0.0
    """How far it has come."""
    missed_s: float = 0.0
    sides: dict[str, tuple[int, float, float]] = field(default_factory=dict)
    """Line -> the side that it was last clearly on, and where."""

    @property
    def known(self) -> bool:
        """Tell whether it is more than a flicker."""
        return self.hits >= _HITS


class Tracker:
    """Joins blobs to the nearest track of about their size; ``passed_s`` is real time."""

    def __init__(self) -> None:
        self.tracks: list[Track] = []
        self._next = 1
        self._tall = 1.0

    def update(self, blobs: list[Box], shape: tuple[int, ...], passed_s: float) -> list[Track]:
        """Take one picture's blobs; return the tracks that were seen in it."""
        self._tall = shape[0] / shape[1]
        pairs = sorted(
            (cost, t, b)
            for t, track in enumerate(self.tracks)
            for b, blob in enumerate(blobs)
            if (cost := self._cost(track, blob, passed_s)) is not None
        )
        taken: dict[int, int] = {}
        used: set[int] = set()
        for _, t, b in pairs:
            if t not in taken and b not in used:
                taken[t] = b
                used.add(b)
        for t, track in enumerate(self.tracks):
            if t in taken:
                self._move(track, blobs[taken[t]], passed_s)
            else:
                track.missed_s += passed_s
        seen = [self.tracks[t] for t in taken]
        self.tracks = [track for track in self.tracks if track.missed_s < _LIFE_S]
        for b, blob in enumerate(blobs):
            if b not in used:
                x, y = self._ground(blob)
                self.tracks.append(Track(self._next, blob, x, y))
                self._next += 1
        return seen

    def forget(self) -> None:
        """End all tracks."""
        self.tracks = []

    def _ground(self, box: Box) -> tuple[float, float]:
        x, y = box.foot
        return x, y * self._tall

    def _cost(self, track: Track, blob: Box, passed_s: float) -> float | None:
        """Return the distance from where the track should be now, None when it is too far."""
        since = track.missed_s + passed_s
        x, y = self._ground(blob)
        distance = hypot(x - track.x - track.speed[0] * since, y - track.y - track.speed[1] * since)
        size = max(blob.width, blob.height * self._tall)
        if distance > _GATE + _GATE_PER_S * since * min(1.0, 0.4 + 2 * size):
            return None
        ratio = (blob.width * blob.height) / max(track.box.width * track.box.height, 1e-9)
        return distance if 1 / _MOST_GROWTH < ratio < _MOST_GROWTH else None

    def _move(self, track: Track, blob: Box, passed_s: float) -> None:
        since = max(track.missed_s + passed_s, 1e-3)
        x, y = self._ground(blob)
        dx, dy = (x - track.x) * _SMOOTH, (y - track.y) * _SMOOTH
        track.speed = (
            track.speed[0] * 0.5 + dx / since * 0.5,
            track.speed[1] * 0.5 + dy / since * 0.5,
        )
        track.x += dx
        track.y += dy
        track.path += hypot(dx, dy)
        track.box = blob
        track.hits += 1
        track.missed_s = 0.0


def find_blobs(moving: Mask, least: float = 0.04) -> list[Box]:
    """Return the boxes of what moves, the largest first; ``least`` is a share of the height."""
    height, width = moving.shape
    whole = parts(moving.view(np.uint8))
    found = [
        (area, Box(left / width, top / height, (left + wide) / width, (top + tall) / height))
        for left, top, wide, tall, area in (whole.boxes if whole else ())
        if max(tall, wide) >= least * height
    ]
    found.sort(key=lambda item: item[0], reverse=True)
    return _joined([box for _, box in found[:_MOST_BLOBS]], height / width)


def _joined(boxes: list[Box], tall: float) -> list[Box]:
    """Join what is one above the other: a coat in the wall's colour parts a head from its legs."""
    joined: list[Box] = []
    for box in sorted(boxes, key=lambda item: item.top):
        for index, other in enumerate(joined):
            if _is_one(other, box, tall):
                joined[index] = _around(other, box)
                break
        else:
            joined.append(box)
    return joined


def _is_one(above: Box, below: Box, tall: float) -> bool:
    shared = min(above.right, below.right) - max(above.left, below.left)
    if shared < _SHARED * min(above.width, below.width):
        return False
    whole = _around(above, below)
    gap = below.top - above.bottom
    return gap <= _GAP * whole.height and whole.height * tall <= _SLENDER * whole.width


def _around(a: Box, b: Box) -> Box:
    return Box(
        min(a.left, b.left), min(a.top, b.top), max(a.right, b.right), max(a.bottom, b.bottom)
    )
