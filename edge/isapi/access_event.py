"""One event of an access controller, as the stream tells it and as a search lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge.isapi import times
from edge.isapi.serials import Stamp
from edge.isapi.values import flag, whole
from edge.pseudonym import Pseudonyms


@dataclass(frozen=True, slots=True)
class AccessEvent:
    """What both ways of telling have in common."""

    major: int
    minor: int
    serial: int | None
    previous: int | None
    """The number of the event that was sent before this one (``frontSerialNo``)."""
    at: int | None
    """The controller's time (ms), None where it cannot be read."""
    fresh: bool
    """It just happened, as far as the controller says; otherwise it was remembered."""
    fields: Mapping[str, Any]

    @property
    def raw_code(self) -> str:
        """Return the code as it is reported."""
        return f"{self.major}/{self.minor}"

    @property
    def stamp(self) -> Stamp | None:
        """Return what the bookkeeping needs, None without a serial number."""
        if not self.serial:
            return None
        return Stamp(self.serial, 0 if self.at is None else self.at // 1000)

    @property
    def door(self) -> int | None:
        """Return the number of the door (of a lift: of the floor), None without one."""
        return whole(self.fields.get("doorNo")) or None

    @property
    def reader(self) -> str | None:
        """Return the number of the reader, None without one."""
        number = whole(self.fields.get("cardReaderNo"))
        return None if not number else str(number)

    def person(self, pseudonyms: Pseudonyms) -> str | None:
        """Return the person's pseudonym, None where nobody is named."""
        for space, name in (("employee", "employeeNoString"), ("card", "cardNo")):
            value = self.fields.get(name)
            if isinstance(value, str) and value.strip("0 "):
                return pseudonyms.of(space, value)
        return None


def from_alert(alert: Mapping[str, Any], offset_min: int) -> AccessEvent | None:
    """Return the ``AccessControllerEvent`` of an alert, None when it is malformed.

    A time without an offset is the controller's local time, here and in :func:`from_entry`.
    """
    event = alert.get("AccessControllerEvent")
    if not isinstance(event, Mapping):
        return None
    fresh = flag(event.get("currentEvent")) is not False
    names = ("majorEventType", "subEventType")
    return _event(event, names, alert.get("dateTime"), offset_min, fresh=fresh)


def from_entry(entry: Any, offset_min: int) -> AccessEvent | None:
    """Return an entry of a search's ``InfoList``, None when it is malformed."""
    if not isinstance(entry, Mapping):
        return None
    return _event(entry, ("major", "minor"), entry.get("time"), offset_min, fresh=False)


def _event(
    fields: Mapping[str, Any], names: tuple[str, str], time: Any, offset_min: int, *, fresh: bool
) -> AccessEvent | None:
    major, minor = (whole(fields.get(name)) for name in names)
    if major is None or minor is None:
        return None
    moment = times.parse(time, offset_min)
    return AccessEvent(
        major=major,
        minor=minor,
        serial=whole(fields.get("serialNo")),
        previous=whole(fields.get("frontSerialNo")),
        at=None if moment is None else moment.at,
        fresh=fresh,
        fields=fields,
    )
