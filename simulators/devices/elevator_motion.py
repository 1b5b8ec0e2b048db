"""Where a lift's car is, and how it gets from one floor to another."""

from __future__ import annotations

_ACCELERATION = 0.8


class Car:
    """A car in its shaft; positions are in floors above the lowest."""

    def __init__(self, at: float, *, speed_m_s: float, floor_height_m: float) -> None:
        self._speed = speed_m_s
        self._height = floor_height_m
        self._at = at
        self._goal = at
        self._left: int | None = None
        self._run_ms = 1
        self._moved_ms = 0

    @property
    def floor(self) -> int:
        """Return the index of the floor where it stands, or which it left."""
        return round(self._at)

    @property
    def direction(self) -> int:
        """Return 0 while it stands, 1 on the way up, 2 on the way down."""
        if self._left is None:
            return 0
        return 1 if self._goal > self._at else 2

    def position(self, now_ms: int) -> float:
        """Return where it is; eased at both ends of a run."""
        if self._left is None:
            return self._at
        share = min(max((now_ms - self._left) / self._run_ms, 0.0), 1.0)
        eased = share * share * (3 - 2 * share)
        return self._at + (self._goal - self._at) * eased

    def moved_ms(self, now_ms: int) -> int:
        """Return how long it has run in all."""
        return self._moved_ms + (0 if self._left is None else now_ms - self._left)

    def leave(self, now_ms: int, goal: int, seconds: float | None = None) -> int:
        """Leave for a floor; return how long (ms) the run lasts."""
        if seconds is None:
            metres = abs(goal - self._at) * self._height
            seconds = metres / self._speed + self._speed / _ACCELERATION
        self._goal = goal
        self._left = now_ms
        self._run_ms = round(seconds * 1000)
        return self._run_ms

    def arrive(self, now_ms: int) -> None:
        """Stand at the goal."""
        self._stand(now_ms, self._goal)

    def stop(self, now_ms: int) -> None:
        """Stand still where it is."""
        self._stand(now_ms, self.position(now_ms))

    def stop_between(self, now_ms: int, floors: int) -> None:
        """Stand still between two floors, clearly outside of the door zone."""
        position = self.position(now_ms)
        if abs(position - round(position)) < 0.2:
            inward = 0.35 if self.direction == 1 else -0.35
            position = min(max(position + inward, 0.35), floors - 1.35)
        self._stand(now_ms, position)

    def forget(self) -> None:
        """Stand level with the floor where it is, or which it left, as if it had not moved."""
        self._at, self._left = float(self.floor), None

    def _stand(self, now_ms: int, at: float) -> None:
        self._moved_ms = self.moved_ms(now_ms)
        self._at, self._left = float(at), None
