"""From one event of a lift controller to ``elevator.access``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from edge.drivers.isapi_elevator.settings import IsapiElevatorSettings
from edge.isapi.access import Skipped
from edge.isapi.access_event import AccessEvent
from edge.isapi.codes import MEANINGS, WITHOUT_EVENT, Meaning, Scope
from edge.isapi.values import each, whole
from edge.observation import Observation
from edge.pseudonym import Pseudonyms

#: A visitor or a resident calls the lift from outside: floors are opened from afar.
_CALLS = frozenset({(3, 0x417), (3, 0x418)})
_CALLED = Meaning("access.granted", {"credential": "remote"})
_OWN_KINDS = ("device.", "fire.")
_NUMBERS = re.compile(r"\d{1,4}", re.ASCII)


class Translator:
    """Translates the events of one lift controller."""

    def __init__(self, settings: IsapiElevatorSettings, pseudonyms: Pseudonyms) -> None:
        self._settings = settings
        self._pseudonyms = pseudonyms

    def translate(self, event: AccessEvent, now: int) -> Sequence[Observation] | Skipped:
        """Return what an event says."""
        code = (event.major, event.minor)
        meaning = _CALLED if code in _CALLS else MEANINGS.get(code)
        if meaning is None:
            return Skipped("codes_without_event" if code in WITHOUT_EVENT else "unknown_codes")
        at = now if event.at is None else event.at
        device = self._settings.device
        if meaning.kind.startswith(_OWN_KINDS) and meaning.scope is not Scope.INPUT:
            data: dict[str, Any] = {**meaning.data, "raw_code": event.raw_code}
            return [Observation(meaning.kind, device, data, at)]
        if meaning.kind not in ("access.granted", "access.denied"):
            return Skipped("codes_without_event")
        return [Observation("elevator.access", device, self._data(meaning, event), at)]

    def nameless(self, event: AccessEvent) -> int:
        """Return how many floors of an event the settings do not know."""
        return sum(
            str(number) not in self._settings.floors
            for number in self._one(event) + self._listed(event, self._settings.granted_fields)
        )

    def _data(self, meaning: Meaning, event: AccessEvent) -> dict[str, Any]:
        settings = self._settings
        granted = self._listed(event, settings.granted_fields)
        refused = self._listed(event, settings.refused_fields)
        if meaning.kind == "access.granted":
            granted = granted or self._one(event)
        else:
            # A credential that is refused without a floor opens none of them.
            granted = []
            refused = refused or self._one(event) or [int(number) for number in settings.floors]
        data: dict[str, Any] = {
            "granted_floors": self._named(granted),
            "refused_floors": self._named(refused),
            "raw_code": event.raw_code,
        }
        if "credential" in meaning.data:
            data["credential"] = meaning.data["credential"]
        if (person := event.person(self._pseudonyms)) is not None:
            data["person"] = person
        if event.serial is not None:
            data["serial"] = event.serial
        if event.reader is not None:
            data["reader"] = event.reader
        return data

    def _one(self, event: AccessEvent) -> list[int]:
        number = whole(event.fields.get(self._settings.floor_field))
        return [number] if number else []

    def _listed(self, event: AccessEvent, fields: Sequence[str]) -> list[int]:
        """Return the numbers of the first field that has some: a list, or a text of numbers."""
        for name in fields:
            value = event.fields.get(name)
            items = _NUMBERS.findall(value) if isinstance(value, str) else each(value)
            numbers = [number for item in items if (number := whole(item))]
            if numbers:
                return numbers
        return []

    def _named(self, numbers: Sequence[int]) -> list[int]:
        known = self._settings.floors
        return sorted({known[str(number)] for number in numbers if str(number) in known})
