"""What the devices say in a run: planned from the seed, whatever faults there will be."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

#: Before the runs' first moment (ms): so old that the series store refuses it.
ANCIENT_MS = 500 * 86_400_000


@dataclass(frozen=True, slots=True)
class Emission:
    """One observation: when it is made (s of the run), and what; ``at`` is unique in its edge."""

    when: float
    id: str
    kind: str
    device: str
    data: dict[str, Any]
    at: int

    @property
    def key(self) -> tuple[str, str, int]:
        """Return by what it is known wherever it gets to."""
        return self.device, self.kind, self.at

    def raw(self) -> dict[str, Any]:
        """Return an event of a kind that nobody knows."""
        return {
            "at": self.at, "seen": self.at, "device": self.device, "kind": self.kind,
            "data": self.data, "id": self.id,
        }  # fmt: skip


def devices_of(edge: str) -> list[tuple[str, str]]:
    """Return an edge's devices with their families."""
    return [(f"{edge}-fire", "fire_panel"), (f"{edge}-meter", "meter"), (f"{edge}-door", "door")]


def plan(
    edge: str, chance: random.Random, start_ms: int, seconds: float, *, brisk: bool
) -> list[Emission]:
    """Return an edge's observations over so many seconds, in their order."""
    rate = 9.0 if brisk else chance.choice([0.5, 1.0, 3.0])
    moment, number = chance.uniform(0.2, 2.0), 0
    alarms: dict[str, bool] = {}
    found: list[Emission] = []
    while moment < seconds:
        for _ in range(chance.choice([1, 1, 1, 2, 6])):
            number += 1
            found.append(_one(edge, number, moment, chance, start_ms, alarms))
        moment += chance.expovariate(rate)
    return found


def _one(
    edge: str, number: int, when: float, chance: random.Random, start_ms: int,
    alarms: dict[str, bool],
) -> Emission:  # fmt: skip
    # Unique in its edge: thousandths of the number of the event.
    at = start_ms + int(when * 100) * 10 + number
    pick = chance.random()
    device = f"{edge}-meter"
    data: dict[str, Any] = {"medium": "electricity", "energy_kwh": float(number)}
    kind = "meter.reading"
    if pick < 0.20:
        kind, device = "fire.alarm", f"{edge}-fire"
        point = chance.choice(["p1", "p2", "p3"])
        alarms[point] = not alarms.get(point, False)
        data = {"active": alarms[point], "point": point}
    elif pick < 0.40:
        kind, device, data = "access.granted", f"{edge}-door", {}
    elif pick < 0.55:
        kind, device, data = "device.health", f"{edge}-door", {"online": True}
    elif pick < 0.58:
        kind = "poison"
    elif pick < 0.63:
        at -= ANCIENT_MS
    return Emission(when, f"{edge}:{number}", kind, device, data, at)
