"""Which groups of items are read when: not all at each poll, for the bus is slow."""

from __future__ import annotations

from collections.abc import Mapping

from edge.drivers.dlt645.items import GROUPS, Catalogue, Group, Item
from edge.drivers.dlt645.settings import Dlt645Settings, MeterSettings, Pace, Profile

#: The pace of each group that is not read at each poll; groups not named are never read.
_STANDARD: Mapping[Group, Pace] = {
    "energy": "poll", "power": "poll", "voltages": "poll", "currents": "poll", "factor": "poll",
    "frequency": "poll", "status": "poll", "status_rest": "often", "covers": "often",
    "tariffs": "often", "power_phases": "often", "demand": "often", "temperature": "often",
    "demand_max": "rarely", "clock": "rarely", "counters": "rarely", "number": "rarely",
}  # fmt: skip
_MINIMAL: Mapping[Group, Pace] = {"energy": "poll", "power": "poll", "status": "poll"}
_FULL: Mapping[Group, Pace] = {
    **dict.fromkeys(GROUPS, "poll"),
    "clock": "often", "counters": "often", "number": "often",
}  # fmt: skip
PROFILES: Mapping[Profile, Mapping[Group, Pace]] = {
    "minimal": _MINIMAL, "standard": _STANDARD, "full": _FULL,
}  # fmt: skip


class Plan:
    """The groups of one meter and when each is due; times are ms of the run's clock."""

    def __init__(self, settings: Dlt645Settings, meter: MeterSettings, catalogue: Catalogue):
        paces = {**PROFILES[meter.profile or settings.profile], **settings.items}
        self._catalogue = catalogue
        self._pause_ms: dict[Group, float] = {}
        self.always: tuple[Group, ...] = tuple(g for g in catalogue if paces.get(g) == "poll")
        for group in catalogue:
            if (pace := paces.get(group, "never")) in ("often", "rarely"):
                seconds = settings.often_s if pace == "often" else settings.rarely_s
                self._pause_ms[group] = seconds * 1000
        self._due: dict[Group, float] = dict.fromkeys(self._pause_ms, 0.0)

    def items(self, group: Group) -> tuple[Item, ...]:
        """Return the items of a group."""
        return self._catalogue[group]

    def due(self, now: int) -> list[Group]:
        """Return the groups whose time has come, the longest overdue first."""
        groups = [
            group
            for group, due in self._due.items()
            # A clock that was set back must not stop the reading until it has caught up.
            if due <= now or due - now > self._pause_ms[group]
        ]
        return sorted(groups, key=lambda group: self._due[group])

    def done(self, group: Group, now: int) -> None:
        """Note that a group was read."""
        self._due[group] = now + self._pause_ms[group]
