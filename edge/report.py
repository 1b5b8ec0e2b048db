"""Report on change or period, and the standing states behind ``device.snapshot``.

The reporter stands between the drivers and the outbox. It lets an observation through when it
is the first, when a field changed by more than its deadband, or when the kind's period is
over; kinds without a rule always pass. What it holds back is counted, never queued.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from core.contracts.events import KINDS
from edge.driver import ReportRule, Sink

#: What makes two states of a kind the same one; other kinds compare all their fields.
_ESSENCE: dict[str, tuple[str, ...]] = {
    "access.door": ("open",),
    "device.health": ("online", "cause", "root"),
    "edge.gateway": ("online", "cause"),
}
#: Fields that tell apart the states that one device can have of one kind at a time.
_PARTS: dict[str, tuple[str, ...]] = {
    "elevator.fault": ("fault", "raw_code"),
    "meter.event": ("event",),
    "sensor.reading": ("quantity",),
    "fire.alarm": ("loop", "point"),
    "fire.fault": ("loop", "point"),
    "device.fault": ("fault", "part"),
    "device.tamper": ("part", "reader"),
    "edge.gateway": ("gateway",),
    "camera.object": ("zone", "target"),
    "camera.unarmed": ("reason",),
}
_CAMERA_PARTS = ("zone",)
_ALWAYS = ReportRule()
#: ``device.snapshot`` carries at most so many states.
MOST_STATES = 64

Key = tuple[str, str, tuple[Any, ...]]


@dataclass(slots=True)
class _Reported:
    data: dict[str, Any]
    at: int


@dataclass(slots=True)
class _Standing:
    essence: dict[str, Any]
    since: int
    data: dict[str, Any]


class Reporter:
    """Filters observations and remembers which states stand; one for all drivers of an edge."""

    def __init__(self, sink: Sink, now_ms: Callable[[], int]) -> None:
        self._sink = sink
        self._now_ms = now_ms
        self._rules: dict[tuple[str, str], ReportRule] = {}
        self._reported: dict[Key, _Reported] = {}
        self._standing: dict[Key, _Standing] = {}
        self.passed = 0
        self.held_back = 0

    def set_rules(self, devices: Iterable[str], rules: Mapping[str, ReportRule]) -> None:
        """Set for each device the rule of each kind that is not reported each time."""
        for device in devices:
            for kind, rule in rules.items():
                self._rules[device, kind] = rule

    async def emit(
        self,
        kind: str,
        device: str,
        data: dict[str, Any],
        at: int | None = None,
        id: str | None = None,
    ) -> None:
        """Pass one observation on if it is due; returns after the journal's commit if it is.

        Raises what the sink raises; the observation then counts as not reported.
        """
        now = self._now_ms()
        at = now if at is None else at
        key = (device, kind, _part(kind, data))
        rule = self._rules.get((device, kind))
        if rule is None or self._due(key, data, now, rule):
            await self._sink.emit(kind, device, data, at, id)
            self.passed += 1
            if rule is not None:
                self._reported[key] = _Reported(data, now)
        else:
            self.held_back += 1
        if KINDS[kind].standing:
            self._remember(key, data, at, rule or _ALWAYS)

    def renew(self, devices: Iterable[str]) -> None:
        """Let the next observation of each kind of these devices through, changed or not."""
        wanted = frozenset(devices)
        self._reported = {key: was for key, was in self._reported.items() if key[0] not in wanted}

    def forget(self, devices: Iterable[str], *, keep: frozenset[str] = frozenset()) -> None:
        """Forget rules and standing states of devices, but for the kinds that are kept."""
        gone = frozenset(devices)
        self._rules = {key: rule for key, rule in self._rules.items() if key[0] not in gone}

        def stays(key: Key) -> bool:
            return key[0] not in gone or key[1] in keep

        self._reported = {key: was for key, was in self._reported.items() if stays(key)}
        self._standing = {key: was for key, was in self._standing.items() if stays(key)}

    def forget_gateway(self, edge: str, gateway: str) -> None:
        """Forget a gateway on which nothing hangs any more."""
        self._standing.pop((edge, "edge.gateway", (gateway,)), None)

    async def snapshot(self, device: str, at: int, media_id: str, jpeg: bytes) -> None:
        """Pass a picture on."""
        await self._sink.snapshot(device, at, media_id, jpeg)

    def standing(self) -> list[tuple[str, dict[str, Any]]]:
        """Return (device, data of ``device.snapshot``) of every device with a standing state.

        The list is whole: a state of an earlier list that is not in it has ended.
        """
        states: dict[str, list[dict[str, Any]]] = {}
        for (device, kind, _), state in self._standing.items():
            entry = {"kind": kind, "since": state.since, "data": dict(state.data)}
            states.setdefault(device, []).append(entry)
        return [
            (device, {"states": sorted(found, key=_urgency)[:MOST_STATES]})
            for device, found in states.items()
        ]

    def _due(self, key: Key, data: dict[str, Any], now: int, rule: ReportRule) -> bool:
        last = self._reported.get(key)
        if last is None or changed(last.data, data, rule):
            return True
        # A clock that was set back must not silence a device until it has caught up.
        passed = abs(now - last.at)
        return rule.period_s is not None and passed >= rule.period_s * 1000

    def _remember(self, key: Key, data: dict[str, Any], at: int, rule: ReportRule) -> None:
        if data.get("active") is False:
            self._standing.pop(key, None)
            return
        essence = _essence(key[1], data)
        known = self._standing.get(key)
        if known is not None and not changed(known.essence, essence, rule):
            known.data = data
        else:
            self._standing[key] = _Standing(essence, at, data)


def changed(before: Mapping[str, Any], after: Mapping[str, Any], rule: ReportRule) -> bool:
    """Tell whether any field differs by more than the rule allows."""
    for name in before.keys() | after.keys():
        if name in rule.ignore:
            continue
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        band = rule.deadbands.get(name)
        if band is None or not _within(old, new, band):
            return True
    return False


def _within(old: Any, new: Any, band: float) -> bool:
    numbers = (int, float)
    return isinstance(old, numbers) and isinstance(new, numbers) and abs(new - old) <= band


def _part(kind: str, data: Mapping[str, Any]) -> tuple[Any, ...]:
    names = _PARTS.get(kind, _CAMERA_PARTS if kind.startswith("camera.") else ())
    return tuple(data.get(name) for name in names)


def _essence(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    names = ("active",) if "active" in data else _ESSENCE.get(kind)
    return data if names is None else {name: data.get(name) for name in names}


def _urgency(state: dict[str, Any]) -> tuple[bool, int]:
    """Order what is wrong before what is well, and by age."""
    return state["data"].get("online") is True, state["since"]
