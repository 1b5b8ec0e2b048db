"""From one alert of a camera to an alarm in our words."""

from __future__ import annotations

from typing import Any

from edge.drivers.isapi_camera.event_types import (
    TARGETS,
    TELLING_TARGETS,
    TYPES,
    WITHOUT_EVENT,
    EventType,
    canonical,
)
from edge.drivers.isapi_camera.settings import IsapiCameraSettings
from edge.drivers.isapi_camera.states import Alarm
from edge.isapi import times
from edge.isapi.access import Skipped
from edge.isapi.values import branch, find, text, whole
from edge.observation import Observation

_READINGS = frozenset({"thermometry", "temperaturemeasurement"})
_COUNTS = frozenset({"regiontargetnumbercounting", "personqueuecounting", "persondensitydetection"})
_TEMPERATURES = ("currTemperature", "highestTemperature", "maxTemperature", "temperature")
_NUMBERS = ("peopleNum", "targetNum", "regionTargetNumber", "personNum", "count")


class Translator:
    """Translates the alerts of one camera or recorder."""

    def __init__(self, settings: IsapiCameraSettings) -> None:
        self._settings = settings
        own = {
            canonical(name): EventType("camera.object", {"target": target})
            for name, target in settings.objects.items()
        }
        self._types = {**TYPES, **own}

    def device(self, alert: dict[str, Any]) -> tuple[str, str] | None:
        """Return (channel, device) of an alert, None for a channel that is not configured.

        On a recorder ``dynChannelID`` is the channel that people see.
        """
        cameras = self._settings.cameras
        told = whole(alert.get("dynChannelID")) or whole(alert.get("channelID"))
        if told is None:
            return next(iter(cameras.items()))
        device = cameras.get(str(told))
        return None if device is None else (str(told), device)

    def translate(
        self, alert: dict[str, Any], offset_min: int, now: int
    ) -> Alarm | Observation | Skipped:
        """Return what an alert says; a reading is no alarm, and lasts no longer than itself."""
        told = text(alert.get("eventType"))
        if told is None:
            return Skipped("malformed_events")
        found = self.device(alert)
        if found is None:
            return Skipped("unknown_channels")
        channel, device = found
        name = canonical(told)
        moment = times.parse(alert.get("dateTime"), offset_min)
        at = now if moment is None else moment.at
        if name in _READINGS:
            return self._reading(alert, device, at)
        if name in _COUNTS:
            return self._count(alert, channel, device, at)
        type_ = self._types.get(name)
        if type_ is None:
            return Skipped("types_without_event" if name in WITHOUT_EVENT else "unknown_types")
        return self._alarm(alert, type_, name, told, channel, device, at, now)

    def _alarm(
        self,
        alert: dict[str, Any],
        type_: EventType,
        name: str,
        told: str,
        channel: str,
        device: str,
        at: int,
        now: int,
    ) -> Alarm:
        settings = self._settings
        seen = text(find(alert, "detectionTarget")) or text(find(alert, "targetType"))
        target = TARGETS.get((seen or "").lower())
        raw = (told if target is None else f"{told}/{seen}")[:64]
        if target in TELLING_TARGETS and type_.kind.startswith("camera."):
            type_ = EventType("camera.object", {"target": target})
        data: dict[str, Any] = {**type_.data, "raw_code": raw}
        zone = None
        if type_.kind.startswith("camera."):
            zone = self._zone(alert, channel)
            if zone is not None:
                data["zone"] = zone
        return Alarm(
            kind=type_.kind,
            device=device,
            type=name,
            zone=zone,
            data=data,
            at=at,
            heard=now,
            active=(text(alert.get("eventState")) or "active").lower() != "inactive",
            posts=whole(alert.get("activePostCount")),
            hold_ms=round((settings.fault_hold_s if type_.slow else settings.hold_s) * 1000),
            momentary=type_.momentary,
        )

    def _zone(self, alert: dict[str, Any], channel: str) -> str | None:
        """Return the name of the region or line of an alert; its number where it has no name."""
        number = next(
            (found for name in ("regionID", "lineID") if (found := text(find(alert, name)))), None
        )
        if number is None:
            return None
        zones = self._settings.zones
        return zones.get(f"{channel}/{number}") or zones.get(number) or number[:64]

    def _reading(self, alert: dict[str, Any], device: str, at: int) -> Observation | Skipped:
        value = next(
            (found for name in _TEMPERATURES
             if (found := _number(find(alert, name))) is not None), None,
        )  # fmt: skip
        if value is None:
            return Skipped("readings_without_value")
        unit = (text(find(alert, "thermometryUnit")) or "celsius").lower()
        celsius = (value - 32) / 1.8 if unit.startswith("f") else value
        data = {"quantity": "temperature", "value": round(celsius, 2), "unit": "Cel"}
        return Observation("sensor.reading", device, data, at)

    def _count(
        self, alert: dict[str, Any], channel: str, device: str, at: int
    ) -> Observation | Skipped:
        count = next(
            (found for name in _NUMBERS if (found := whole(find(alert, name))) is not None), None
        )
        if count is None:
            return Skipped("readings_without_value")
        data: dict[str, Any] = {"count": count, "target": "person"}
        if (zone := self._zone(alert, channel)) is not None:
            data["zone"] = zone
        return Observation("camera.count", device, data, at)


def _number(value: Any) -> float | None:
    told = text(branch({"value": value}, "value"))
    try:
        number = float(told) if told is not None else None
    except ValueError:
        return None
    return number if number is not None and -273.2 <= number <= 5000 else None
