"""Plate readings: as the alert stream tells them, and as the search in the camera lists them."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.drivers.isapi_barrier.settings import IsapiBarrierSettings
from edge.isapi import times
from edge.isapi.values import branch, text, whole
from edge.pseudonym import Pseudonyms

_UNREAD = frozenset({"", "UNKNOWN", "NOPLATE", "NONE", "无车牌", "车牌", "未识别"})
_LISTS: Mapping[str, str] = {
    "whitelist": "passed", "allowlist": "passed", "temporarylist": "passed",
    "templist": "passed", "temporary": "passed", "white": "passed",
    "blacklist": "blacklisted", "blocklist": "blacklisted", "black": "blacklisted",
}  # fmt: skip
_CLASSES: Mapping[str, str] = {
    "car": "car", "vehicle": "car", "smallcar": "car", "minicar": "car", "suvmpv": "car",
    "van": "car", "pickuptruck": "truck", "truck": "truck", "buggy": "truck",
    "smalltruck": "truck", "largetruck": "truck", "largebus": "bus", "mediumbus": "bus",
    "bus": "bus", "motorcycle": "motorcycle", "twowheelvehicle": "motorcycle",
    "threewheelvehicle": "motorcycle", "electricbicycle": "e_bike", "ebike": "e_bike",
    "ambulance": "emergency", "fireengine": "emergency", "policecar": "emergency",
}  # fmt: skip
_EMERGENCY_PLATES = frozenset({"emergency", "police", "firefighting"})


@dataclass(frozen=True, slots=True)
class Reading:
    """One vehicle at the barrier; ``vehicle`` is the plate's pseudonym, None where unsure."""

    at: int
    vehicle: str | None
    data: dict[str, Any]
    kind: str
    unsure: bool = False


class PlateReader:
    """Makes readings of what a camera says; a plate goes no further than this."""

    def __init__(self, settings: IsapiBarrierSettings, pseudonyms: Pseudonyms) -> None:
        self._settings = settings
        self._pseudonyms = pseudonyms
        self._lists = {**_LISTS, **{_key(k): v for k, v in settings.lists.items()}}

    def from_alert(self, alert: Mapping[str, Any], offset_min: int, now: int) -> Reading | None:
        """Return the reading of an alert of type ANPR, None when it is malformed."""
        anpr = alert.get("ANPR")
        if not isinstance(anpr, Mapping):
            return None
        moment = times.parse(alert.get("dateTime"), offset_min)
        return self._reading(
            plate=text(anpr.get("licensePlate")),
            at=now if moment is None else moment.at,
            way=text(anpr.get("direction")),
            listed=text(anpr.get("vehicleListName")) or text(anpr.get("listType")),
            gate=whole(anpr.get("barrierGateCtrlType")),
            confidence=whole(anpr.get("confidenceLevel")),
            vehicle_class=_class(anpr),
        )

    def from_search(self, plate: Any, offset_min: int) -> Reading | None:
        """Return the reading of an entry of a search, None when it is malformed."""
        moment = times.parse(branch(plate, "captureTime"), offset_min)
        if moment is None or not isinstance(plate, Mapping):
            return None
        return self._reading(
            plate=text(plate.get("plateNumber")),
            at=moment.at,
            way=text(plate.get("direction")),
            listed=text(plate.get("matchingResult")),
            gate=None,
            confidence=None,
            vehicle_class=None,
        )

    def _reading(
        self,
        *,
        plate: str | None,
        at: int,
        way: str | None,
        listed: str | None,
        gate: int | None,
        confidence: int | None,
        vehicle_class: str | None,
    ) -> Reading:
        unsure = confidence is not None and confidence < self._settings.min_confidence
        vehicle = None if unsure else self.pseudonym(plate)
        data: dict[str, Any] = {}
        if vehicle is not None:
            data["vehicle"] = vehicle
        if (direction := self._direction(way)) is not None:
            data["direction"] = direction
        if vehicle_class is not None:
            data["vehicle_class"] = vehicle_class
        data["raw_code"] = (listed or "ANPR")[:64]
        verdict = self._verdict(listed, gate)
        if verdict == "passed":
            return Reading(at, vehicle, data, "vehicle.passed", unsure)
        return Reading(at, vehicle, {**data, "reason": verdict}, "vehicle.denied", unsure)

    def pseudonym(self, plate: str | None) -> str | None:
        """Return the pseudonym of a plate however it is written, None where it was not read."""
        written = unicodedata.normalize("NFKC", plate or "").upper()
        bare = "".join(letter for letter in written if letter.isalnum())
        return None if bare in _UNREAD else self._pseudonyms.of("plate", bare)

    def _direction(self, way: str | None) -> str | None:
        forward = self._settings.forward
        if forward is None or way is None:
            return None
        back = "out" if forward == "in" else "in"
        return {"forward": forward, "reverse": back}.get(way.lower())

    def _verdict(self, listed: str | None, gate: int | None) -> str:
        verdict = self._lists.get(_key(listed or ""), self._settings.others)
        if self._settings.decision == "list" or gate is None:
            return verdict
        if gate == 0:
            return "passed"
        return "unknown" if verdict == "passed" else verdict


def _class(anpr: Mapping[str, Any]) -> str | None:
    if _key(text(anpr.get("plateType")) or "") in _EMERGENCY_PLATES:
        return "emergency"
    told = text(anpr.get("vehicleType"))
    if told is None or _key(told) == "unknown":
        return None
    return _CLASSES.get(_key(told), "other")


def _key(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())
