"""Who wants a lift, when and where to: out in the morning, home in the evening."""

from __future__ import annotations

from simulators.devices.elevator_model import Traffic, Trip
from simulators.rhythms import Arrivals, Rhythm, hour_of_day
from simulators.seeds import stream

#: Share of trips to the entrance floor and from it, by the local hour (residential).
_HOME = ((0, 6, 0.4, 0.5), (6, 10, 0.8, 0.12), (10, 16, 0.45, 0.45), (16, 22, 0.2, 0.7))
_WORK = ((7, 10, 0.06, 0.84), (10, 12, 0.4, 0.4), (12, 14, 0.45, 0.45), (17, 22, 0.85, 0.06))


def lift_traffic(
    seed: int, name: str, floors: list[int], rhythm: Rhythm, *, work: bool = False
) -> Traffic:
    """Return the calls of one lift; ``work`` turns the directions for an office building."""
    arrivals = Arrivals(seed, f"{name}/calls", rhythm)
    entrance = floors.index(1) if 1 in floors else 0
    others = [index for index in range(len(floors)) if index != entrance]
    shares = _WORK if work else _HOME

    def trip(at_ms: int) -> Trip:
        random = stream(seed, name, "trip", at_ms)
        hour = hour_of_day(at_ms)
        down, up = next(((d, u) for a, b, d, u in shares if a <= hour < b), (0.45, 0.45))
        persons = 1 + (random.random() < 0.3) + (random.random() < 0.12)
        draw = random.random()
        floor = random.choice(others)
        if draw < down:
            return Trip(floor, entrance, persons)
        if draw < down + up:
            return Trip(entrance, floor, persons)
        return Trip(floor, random.choice([i for i in range(len(floors)) if i != floor]), persons)

    return Traffic(arrivals.after, trip)
