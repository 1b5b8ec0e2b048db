"""From one event of a door controller to observations of doors, readers and fire panels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from edge.drivers.isapi_door.settings import IsapiDoorSettings
from edge.isapi.access import Skipped
from edge.isapi.access_event import AccessEvent
from edge.isapi.codes import MEANINGS, WITHOUT_EVENT, Meaning, Scope
from edge.isapi.values import whole
from edge.observation import Observation
from edge.pseudonym import Pseudonyms

_ALARM_INPUTS = range(0x400, 0x404)
_LOCKED = (5, 0x16)


class Translator:
    """Translates the events of one controller; remembers when doors were opened and released."""

    def __init__(self, settings: IsapiDoorSettings, pseudonyms: Pseudonyms) -> None:
        self._settings = settings
        self._doors = settings.doors
        self._speaker = settings.controller or next(iter(settings.doors.values()))
        self._pseudonyms = pseudonyms
        self._grace_ms = int(settings.forced_grace_s * 1000)
        self._released: dict[str, int] = {}
        self._unlocked: set[str] = set()
        self._fire_released: set[str] = set()
        self._opened: dict[str, int] = {}

    def translate(self, event: AccessEvent, now: int) -> Sequence[Observation] | Skipped:
        """Return what an event says; nothing is remembered (see :meth:`follow`)."""
        code = (event.major, event.minor)
        meaning = MEANINGS.get(code)
        if meaning is None:
            return Skipped("codes_without_event" if code in WITHOUT_EVENT else "unknown_codes")
        if not meaning.kind:
            return Skipped("codes_without_event")
        at = now if event.at is None else event.at
        told = self._by_scope[meaning.scope](self, meaning, event, at)
        if not isinstance(told, Skipped) and meaning.kind == "access.forced":
            told = [found for found in told if not self._was_released(found.device, at)]
            return told or Skipped("forced_after_release")
        return told

    def follow(self, event: AccessEvent, observations: Sequence[Observation]) -> None:
        """Remember what an event changes."""
        meaning = MEANINGS.get((event.major, event.minor))
        if meaning is None:
            if (event.major, event.minor) == _LOCKED:
                self._locked(event)
            return
        concerned = self._concerned(meaning, event)
        if meaning.stays_open is not None:
            (self._unlocked.update if meaning.stays_open else self._unlocked.difference_update)(
                concerned
            )
        for found in observations:
            self._follow(meaning, found)
        if meaning.releases:
            at = observations[0].at if observations else event.at
            for device in concerned if at is not None else ():
                self._released[device] = at or 0

    def _locked(self, event: AccessEvent) -> None:
        """A door that is shut and locked again has used up its grant."""
        device = self._doors.get(str(event.door))
        if device is not None and device not in self._opened:
            self._released.pop(device, None)

    def _follow(self, meaning: Meaning, found: Observation) -> None:
        if found.kind == "access.fire_release":
            (self._fire_released.add if found.data["active"] else self._fire_released.discard)(
                found.device
            )
        elif found.kind == "access.door":
            if found.data["open"]:
                self._opened[found.device] = found.at
            else:
                self._opened.pop(found.device, None)
        if meaning.kind == "access.fire_release" and not meaning.data["active"]:
            # The doors are closing again: what is still open then has not been forced.
            self._released[found.device] = found.at

    # -- by what it is about -----------------------------------------------------------------

    def _of_doors(
        self, meaning: Meaning, event: AccessEvent, at: int
    ) -> Sequence[Observation] | Skipped:
        devices = self._concerned(meaning, event)
        if not devices:
            return Skipped("unknown_doors")
        if meaning.scope is Scope.DOOR:
            devices = devices[:1]
        return [
            Observation(meaning.kind, device, self._data(meaning, device, event, at), at)
            for device in devices
        ]

    def _of_controller(
        self, meaning: Meaning, event: AccessEvent, at: int
    ) -> Sequence[Observation] | Skipped:
        data = {**meaning.data, "raw_code": event.raw_code}
        if event.reader is not None:
            if meaning.kind == "device.tamper" and data["part"] == "reader":
                data["reader"] = event.reader
            elif data.get("fault") == "reader_offline":
                data["part"] = event.reader
        device = self._speaker
        if event.door is not None and data.get("fault") == "sensor":
            device = self._doors.get(str(event.door), self._speaker)
        return [Observation(meaning.kind, device, data, at)]

    def _of_fire_panel(
        self, meaning: Meaning, event: AccessEvent, at: int
    ) -> Sequence[Observation] | Skipped:
        fire = self._settings.fire
        device = self._speaker if fire is None else fire.device
        loop = None if fire is None else fire.loop
        if meaning.kind != "fire_line":
            data = {**meaning.data, "raw_code": event.raw_code}
            return [Observation(meaning.kind, device, _labelled(data, loop, None), at)]
        point = "input" if fire is None else fire.point
        alarm_on = "" if fire is None else fire.line
        return _line(str(meaning.data["state"]), alarm_on, "fire.alarm", device, loop, point, event,
                     at)  # fmt: skip

    def _of_input(
        self, meaning: Meaning, event: AccessEvent, at: int
    ) -> Sequence[Observation] | Skipped:
        space, field = (
            ("alarm", "alarmInNo") if event.minor in _ALARM_INPUTS else ("case", "caseSensorNo")
        )
        contact = self._settings.inputs.get(f"{space}:{whole(event.fields.get(field))}")
        if contact is None:
            return Skipped("unknown_inputs")
        return _line(str(meaning.data["state"]), contact.active_on, contact.kind, contact.device,
                     contact.loop, contact.point, event, at)  # fmt: skip

    _by_scope: dict[Scope, Callable[..., Sequence[Observation] | Skipped]] = {  # noqa: RUF012 (a table, never changed)
        Scope.DOOR: _of_doors,
        Scope.EVERY_DOOR: _of_doors,
        Scope.CONTROLLER: _of_controller,
        Scope.FIRE: _of_fire_panel,
        Scope.INPUT: _of_input,
    }

    # -- details -----------------------------------------------------------------------------

    def _concerned(self, meaning: Meaning, event: AccessEvent) -> list[str]:
        """Return the doors that an event is about, or that it opens."""
        if event.door is not None:
            device = self._doors.get(str(event.door))
            return [] if device is None else [device]
        every = list(self._doors.values())
        one = meaning.scope is Scope.DOOR and meaning.stays_open is None
        return every[:1] if one else every

    def _data(self, meaning: Meaning, device: str, event: AccessEvent, at: int) -> dict[str, Any]:
        data = {**meaning.data, "raw_code": event.raw_code}
        if (person := event.person(self._pseudonyms)) is not None:
            data["person"] = person
        if event.serial is not None:
            data["serial"] = event.serial
        if event.reader is not None:
            data["reader"] = event.reader
        opened = self._opened.get(device)
        if meaning.kind == "access.held_open" and opened is not None and at >= opened:
            data["open_s"] = (at - opened) / 1000
        return data

    def _was_released(self, device: str, at: int) -> bool:
        if not self._grace_ms:
            return False
        released = self._released.get(device)
        return (
            device in self._fire_released
            or device in self._unlocked
            or (released is not None and 0 <= at - released <= self._grace_ms)
        )


def _line(
    state: str,
    alarm_on: str,
    kind: str,
    device: str,
    loop: str | None,
    point: str | None,
    event: AccessEvent,
    at: int,
) -> list[Observation]:
    """Return what the state of a line with a contact says.

    A line that is whole again ends both what the contact said and the fault of the line.
    """

    def told(which: str, *, active: bool) -> Observation:
        data = {"active": active, "raw_code": event.raw_code}
        return Observation(which, device, _labelled(data, loop, point), at)

    if state == "normal":
        ended = {"fire.fault"} if alarm_on in ("", "supervised") else {"fire.fault", kind}
        return [told(which, active=False) for which in sorted(ended)]
    if state in ("short", "open") and alarm_on in (state, "both"):
        return [told(kind, active=True)]
    return [told("fire.fault", active=True)]


def _labelled(data: dict[str, Any], loop: str | None, point: str | None) -> dict[str, Any]:
    more = {"loop": loop, "point": point}
    return {**{name: value for name, value in more.items() if value is not None}, **data}
