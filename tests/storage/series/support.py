"""What the tests of the series stores share: events, points and a clock that stands still."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass
from typing import Any

from core.contracts.codec import make_event
from core.contracts.ports import Point

DAY = 86_400_000
SITE = "jinxiu"
#: Midnight (UTC) three days ago: inside every retention of the tests.
BASE = (time.time_ns() // 1_000_000 // DAY - 3) * DAY
HOUR = 3_600_000


@dataclass
class StandingClock:
    """A clock that shows what it is told."""

    at: int = BASE + 3 * DAY

    def now_ms(self) -> int:
        return self.at

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        return event.is_set()


def point(
    kind: str, device: str, at: int, data: dict[str, Any], *, nth: int = 0, id: str | None = None
) -> Point:
    event = make_event(kind, device=device, at=at, seen=at + 40, data=data, id=id)
    return Point(at * 1_000_000 + nth, SITE, event)


def meter(device: str, at: int, power_w: float, *, nth: int = 0, **more: Any) -> Point:
    data = {"medium": "electricity", "power_w": power_w, **more}
    return point("meter.reading", device, at, data, nth=nth)


def door(device: str, at: int, *, nth: int = 0, **data: Any) -> Point:
    return point("access.granted", device, at, data, nth=nth)


def lift(device: str, at: int, floor: int, *, moving: bool, load_kg: float = 0.0) -> Point:
    data = {
        "service_mode": "normal", "moving": moving, "direction": "up" if moving else "none",
        "in_door_zone": not moving, "floor": floor, "door_closed": moving, "occupied": moving,
        "load_kg": load_kg,
    }  # fmt: skip
    return point("elevator.status", device, at, data)


def entry(position: int, *points: Point) -> list[tuple[int, Point]]:
    """All points of one log entry."""
    return [(position, item) for item in points]
