"""From one ISAPI ``AccessControllerEvent`` to observations of our doors."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.drivers.isapi_door.codes import MEANINGS, WITHOUT_EVENT, Meaning
from edge.pseudonym import Pseudonyms

_REMEMBERED_SERIALS = 4096


@dataclass(frozen=True, slots=True)
class Observation:
    """One event to emit."""

    kind: str
    device: str
    data: dict[str, Any]
    at: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """Why an event gives no observation; ``reason`` is the name of a counter."""

    reason: str


class Translator:
    """Translates the events of one controller; remembers serials and when doors were released."""

    def __init__(
        self, doors: Mapping[str, str], pseudonyms: Pseudonyms, forced_grace_s: float
    ) -> None:
        self._doors = doors
        self._pseudonyms = pseudonyms
        self._grace_ms = int(forced_grace_s * 1000)
        self._seen: OrderedDict[int, str] = OrderedDict()
        self._last_serial: int | None = None
        self._released: dict[str, int] = {}
        self._fire_released: set[str] = set()
        self._opened: dict[str, int] = {}
        self.missed_serials = 0
        """Serial numbers that never came: events of the controller that were not delivered."""

    def translate(self, alert: Mapping[str, Any], now: int) -> list[Observation] | Skipped:
        """Return what an alert with an ``AccessControllerEvent`` says; nothing is remembered.

        Call :meth:`committed` once its observations are in the journal.
        """
        event = alert.get("AccessControllerEvent")
        if not isinstance(event, dict):
            return Skipped("malformed_events")
        code = (_whole(event.get("majorEventType")), _whole(event.get("subEventType")))
        if code[0] is None or code[1] is None:
            return Skipped("malformed_events")
        if self._is_duplicate(alert, event):
            return Skipped("duplicates")
        meaning = MEANINGS.get((code[0], code[1]))
        if meaning is None:
            return Skipped("codes_without_event" if code in WITHOUT_EVENT else "unknown_codes")
        devices = self._devices(event, meaning)
        if not devices:
            return Skipped("unknown_doors")
        at = _moment(alert.get("dateTime"))
        at = now if at is None else at
        if meaning.kind == "access.forced" and self._was_released(devices[0], at):
            return Skipped("forced_after_release")
        raw_code = f"{code[0]}/{code[1]}"
        return [
            Observation(meaning.kind, device, self._data(meaning, device, event, raw_code, at), at)
            for device in devices
        ]

    def committed(self, alert: Mapping[str, Any], observations: list[Observation]) -> None:
        """Remember an alert that has been dealt with, so that its repetition is dropped."""
        event = alert.get("AccessControllerEvent")
        serial = _whole(event.get("serialNo")) if isinstance(event, dict) else None
        if serial is not None:
            if self._last_serial is not None and serial > self._last_serial + 1:
                self.missed_serials += serial - self._last_serial - 1
            self._last_serial = serial
            self._seen[serial] = str(alert.get("dateTime"))
            if len(self._seen) > _REMEMBERED_SERIALS:
                self._seen.popitem(last=False)
        for observation in observations:
            self._follow(observation)

    def _is_duplicate(self, alert: Mapping[str, Any], event: Mapping[str, Any]) -> bool:
        """Tell whether this serial came before with this time (serials restart after a reset)."""
        serial = _whole(event.get("serialNo"))
        return serial is not None and self._seen.get(serial) == str(alert.get("dateTime"))

    def _devices(self, event: Mapping[str, Any], meaning: Meaning) -> list[str]:
        number = _whole(event.get("doorNo"))
        if number:
            device = self._doors.get(str(number))
            return [] if device is None else [device]
        every = list(self._doors.values())
        # The controller's own inputs have no door: a fire release opens all of them.
        return every if meaning.kind == "access.fire_release" else every[:1]

    def _data(
        self, meaning: Meaning, device: str, event: Mapping[str, Any], raw_code: str, at: int
    ) -> dict[str, Any]:
        data = {**meaning.data, "raw_code": raw_code}
        if not meaning.kind.startswith("access."):
            return data
        if (person := self._person(event)) is not None:
            data["person"] = person
        if (serial := _whole(event.get("serialNo"))) is not None:
            data["serial"] = serial
        if (reader := _whole(event.get("cardReaderNo"))) is not None:
            data["reader"] = str(reader)
        opened = self._opened.get(device)
        if meaning.kind == "access.held_open" and opened is not None and at >= opened:
            data["open_s"] = (at - opened) / 1000
        return data

    def _person(self, event: Mapping[str, Any]) -> str | None:
        for space, name in (("employee", "employeeNoString"), ("card", "cardNo")):
            value = event.get(name)
            if isinstance(value, str) and value.strip("0 "):
                return self._pseudonyms.of(space, value)
        return None

    def _was_released(self, device: str, at: int) -> bool:
        if not self._grace_ms:
            return False
        released = self._released.get(device)
        return device in self._fire_released or (
            released is not None and 0 <= at - released <= self._grace_ms
        )

    def _follow(self, observation: Observation) -> None:
        kind, device, data = observation.kind, observation.device, observation.data
        meaning = MEANINGS[_code(data["raw_code"])]
        if meaning.releases:
            self._released[device] = observation.at
        if kind == "access.fire_release":
            (self._fire_released.add if data["active"] else self._fire_released.discard)(device)
        if kind == "access.door":
            if data["open"]:
                self._opened[device] = observation.at
            else:
                self._opened.pop(device, None)


def _code(raw: str) -> tuple[int, int]:
    major, _, minor = raw.partition("/")
    return int(major), int(minor)


def _whole(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isdecimal() and value.isascii() and len(value) <= 15:
        return int(value)
    return value if isinstance(value, int) and 0 <= value <= 9_007_199_254_740_991 else None


def _moment(value: Any) -> int | None:
    """Return ms since the epoch, None where the time or its offset is missing."""
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    if moment.tzinfo is None or not 1970 < moment.year < 2100:
        return None
    return int(moment.timestamp() * 1000)
