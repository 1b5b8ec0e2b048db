"""What stands and what was told: a state is told when it begins and when it ends, once each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from edge.drivers.onvif_camera.translate import Signal
from edge.observation import Observation

_Key = tuple[str, str | None]
#: A camera has a few dozen rules; one that invents names without end must not fill the memory.
_MOST_STATES, _MOST_SOURCES = 256, 64


@dataclass(slots=True)
class _Group:
    """One state of ours and the camera's sources that it stands by."""

    told: bool | None = None
    told_data: dict[str, Any] = field(default_factory=dict)
    standing: set[object] = field(default_factory=set)
    until: int | None = None
    """When what has no end of its own is over."""


class Tracker:
    """The states of one camera."""

    def __init__(self, device: str, pulse_s: float) -> None:
        self._device = device
        self._pulse_ms = round(pulse_s * 1000)
        self._groups: dict[_Key, _Group] = {}
        self._refreshed: set[object] = set()
        self.joined = 0
        """Times that something happened again while it still counted as going on."""

    def has_room(self, signal: Signal) -> bool:
        """Tell whether a signal's state can be kept; False for more than a camera can have."""
        group = self._groups.get((signal.kind, signal.part))
        if group is None:
            return len(self._groups) < _MOST_STATES
        known = signal.source in group.standing or not signal.active
        return known or len(group.standing) < _MOST_SOURCES

    def news(self, signal: Signal) -> Observation | None:
        """Return what a signal makes worth telling; nothing is remembered."""
        group = self._groups.get((signal.kind, signal.part), _Group())
        if signal.active is None:
            active = True
        else:
            others = group.standing - {signal.source}
            active = signal.active or bool(others) or group.until is not None
        if group.told is active:
            return None
        if group.told is None and not active and signal.kind == "camera.motion":
            return None
        # What ends is what began: the same cause, the same score.
        data = signal.data if active or not group.told_data else group.told_data
        return Observation(signal.kind, self._device, {**data, "active": active}, signal.at)

    def committed(self, signal: Signal, observation: Observation | None) -> None:
        """Remember a signal once what it says is in the journal."""
        group = self._groups.setdefault((signal.kind, signal.part), _Group())
        if signal.active is None:
            self.joined += group.until is not None
            group.until = max(group.until or 0, signal.at + self._pulse_ms)
        elif signal.active:
            group.standing.add(signal.source)
        else:
            group.standing.discard(signal.source)
        # (What is not active cannot have vanished.)
        (self._refreshed.add if signal.active else self._refreshed.discard)(signal.source)
        if observation is not None:
            group.told = bool(observation.data["active"])
            group.told_data = {k: v for k, v in observation.data.items() if k != "active"}

    def over(self, now: int) -> list[tuple[_Key, Observation | None]]:
        """Return what has no end of its own and is over at ``now``; see :meth:`ended`."""
        found: list[tuple[_Key, Observation | None]] = []
        for key, group in self._groups.items():
            if group.until is not None and now >= group.until:
                end = None
                if group.told and not group.standing:
                    data = {**group.told_data, "active": False}
                    end = Observation(key[0], self._device, data, group.until)
                found.append((key, end))
        return found

    def ended(self, key: _Key, observation: Observation | None) -> None:
        """Remember that something is over, once that is in the journal."""
        group = self._groups[key]
        group.until = None
        if observation is not None:
            group.told = False

    def synchronising(self) -> None:
        """Forget which sources have told their state: all are asked anew."""
        self._refreshed.clear()

    def vanished(self, now: int) -> list[tuple[_Key, Observation | None, set[object]]]:
        """Return the states whose sources were asked and no longer exist; see :meth:`gone`."""
        found: list[tuple[_Key, Observation | None, set[object]]] = []
        for key, group in self._groups.items():
            left = group.standing & self._refreshed
            lost = group.standing - left
            if lost:
                end = None
                if group.told and not left and group.until is None:
                    data = {**group.told_data, "active": False}
                    end = Observation(key[0], self._device, data, now)
                found.append((key, end, lost))
        return found

    def gone(self, key: _Key, observation: Observation | None, lost: set[object]) -> None:
        """Remember that sources are gone, once that is in the journal."""
        group = self._groups[key]
        group.standing -= lost
        if observation is not None:
            group.told = False
