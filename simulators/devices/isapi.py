"""Hikvision ISAPI: the codes and the JSON of access-control events.

An event is keyed by (major, minor); the minors of different majors repeat.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple
from xml.sax.saxutils import escape

from simulators.rhythms import local

BOUNDARY = "MIME_boundary"
XML_NAMESPACE = "http://www.isapi.org/ver20/XMLSchema"
STREAM_PATH = "/ISAPI/Event/notification/alertStream"


class RawCode(NamedTuple):
    """Any (major, minor), also such as no table knows."""

    major: int
    minor: int


class Code(Enum):
    """(major, minor) of what a door controller reports."""

    CONTROLLER_TAMPER = (1, 0x404)
    CONTROLLER_CLOSED = (1, 0x405)
    READER_TAMPER = (1, 0x406)
    READER_CLOSED = (1, 0x407)
    DURESS = (1, 0x40A)
    FIRE_LINE_SHORT = (1, 0x415)
    FIRE_LINE_OPEN = (1, 0x416)
    FIRE_LINE_RESTORED = (1, 0x417)
    FIRE_BUTTON = (1, 0x418)
    FIRE_BUTTON_RELEASED = (1, 0x419)
    POWER_ON = (2, 0x400)
    POWER_OFF = (2, 0x401)
    MAINS_OFF = (2, 0x405)
    MAINS_ON = (2, 0x406)
    READER_OFFLINE = (2, 0x409)
    READER_ONLINE = (2, 0x40A)
    REMOTE_OPEN = (3, 0x400)
    CARD_OK = (5, 0x01)
    NO_RIGHT = (5, 0x06)
    WRONG_PERIOD = (5, 0x07)
    EXPIRED = (5, 0x08)
    INVALID = (5, 0x09)
    ANTI_PASSBACK = (5, 0x0A)
    UNLOCKED = (5, 0x15)
    LOCKED = (5, 0x16)
    EXIT_BUTTON = (5, 0x17)
    DOOR_OPENED = (5, 0x19)
    DOOR_CLOSED = (5, 0x1A)
    FORCED = (5, 0x1B)
    HELD_OPEN = (5, 0x1C)
    FIRE_RELEASE_ON = (5, 0x34)
    FIRE_RELEASE_OFF = (5, 0x35)
    FACE_OK = (5, 0x4B)
    FACE_FAILED = (5, 0x4C)
    BLACKLISTED = (5, 0x71)
    TRAILING = (5, 0x85)

    @property
    def major(self) -> int:
        """Return the major type."""
        return self.value[0]

    @property
    def minor(self) -> int:
        """Return the minor type."""
        return self.value[1]


@dataclass(frozen=True, slots=True)
class Holder:
    """The person whose credential was read, as the controller's own list names them."""

    number: str
    name: str
    card: str


@dataclass(frozen=True, slots=True)
class AccessRecord:
    """One access-control event in a controller's memory."""

    serial: int
    at_ms: int
    door: int
    code: Code | RawCode
    holder: Holder | None = None
    fields: Mapping[str, object] = field(default_factory=dict)
    """Further fields of this event, for example the number of an alarm input."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What a controller says about itself in every event."""

    name: str
    address: str
    mac: str
    port: int = 80


def timestamp(at_ms: int) -> str:
    """Return a local time with its offset and whole seconds, as the devices write it."""
    return local(at_ms).isoformat(timespec="seconds")


def event_json(identity: Identity, record: AccessRecord, *, current: bool | None = None) -> bytes:
    """Return an ``AccessControllerEvent`` notification.

    ``current`` is what newer firmware says of it: True for what just happened, False for what
    it tells once more; None leaves that out.
    """
    event: dict[str, object] = {
        "deviceName": identity.name,
        "majorEventType": record.code.major,
        "subEventType": record.code.minor,
        "doorNo": record.door,
        "serialNo": record.serial,
        "frontSerialNo": record.serial - 1,
        "attendanceStatus": "undefined",
        "mask": "unknown",
        **record.fields,
    }
    if current is not None:
        event["currentEvent"] = current
    if record.holder is not None:
        event |= _holder_fields(record)
    return _dump(
        {
            **_envelope(identity, record.at_ms, "AccessControllerEvent"),
            "eventState": "active",
            "eventDescription": "Access Controller Event",
            "AccessControllerEvent": event,
        }
    )


def heartbeat_json(identity: Identity, at_ms: int) -> bytes:
    """Return a heartbeat, which says that the stream lives."""
    return _dump(
        {
            **_envelope(identity, at_ms, "heartBeat"),
            "eventState": "active",
            "eventDescription": "Heartbeat",
        }
    )


def search_entry(record: AccessRecord) -> dict[str, object]:
    """Return an event as the answer to an ``AcsEvent`` search lists it."""
    entry: dict[str, object] = {
        "major": record.code.major,
        "minor": record.code.minor,
        "time": timestamp(record.at_ms),
        "doorNo": record.door,
        "serialNo": record.serial,
        **record.fields,
    }
    if record.holder is not None:
        entry |= _holder_fields(record)
    return entry


def part(
    body: bytes, kind: str = 'application/json; charset="UTF-8"', disposition: str = ""
) -> bytes:
    """Return one part of the multipart stream."""
    head = f"--{BOUNDARY}\r\n"
    if disposition:
        head += f"Content-Disposition: {disposition}\r\n"
    head += f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode("ascii") + body + b"\r\n"


XmlTree = Mapping[str, "str | int | bool | XmlTree | list[XmlTree]"]


def alert_xml(
    identity: Identity, at_ms: int, event_type: str, state: str, post_count: int, more: XmlTree
) -> bytes:
    """Return an ``EventNotificationAlert`` as cameras and barriers send it."""
    return xml("EventNotificationAlert", {
        "ipAddress": identity.address, "portNo": identity.port, "protocol": "HTTP",
        "macAddress": identity.mac, "channelID": 1, "dateTime": timestamp(at_ms),
        "activePostCount": post_count, "eventType": event_type, "eventState": state,
        "eventDescription": f"{event_type} alarm", **more,
    })  # fmt: skip


def heartbeat_xml(identity: Identity, at_ms: int) -> bytes:
    """Return the heartbeat of devices that have none of their own: no video loss, once more."""
    return alert_xml(identity, at_ms, "videoloss", "inactive", 0, {})


def response_status(path: str, code: int, words: str, sub: str) -> bytes:
    """Return a ``ResponseStatus``; ``code`` 1 is OK."""
    return xml("ResponseStatus", {
        "requestURL": path, "statusCode": code, "statusString": words, "subStatusCode": sub,
    })  # fmt: skip


def xml(root: str, content: XmlTree) -> bytes:
    """Return an XML document in the vendor's namespace."""
    body = f'<{root} version="2.0" xmlns="{XML_NAMESPACE}">\n{_elements(content)}</{root}>\n'
    return ('<?xml version="1.0" encoding="UTF-8"?>\n' + body).encode()


def _elements(content: XmlTree) -> str:
    return "".join(
        f"<{name}>{_content(item)}</{name}>\n"
        for name, value in content.items()
        for item in (value if isinstance(value, list) else [value])
    )


def _content(value: object) -> str:
    if isinstance(value, Mapping):
        return "\n" + _elements(value)
    return str(value).lower() if isinstance(value, bool) else escape(str(value))


def _holder_fields(record: AccessRecord) -> dict[str, object]:
    holder = record.holder
    if holder is None:
        return {}
    by_face = record.code in (Code.FACE_OK, Code.FACE_FAILED)
    return {
        "cardNo": "" if by_face else holder.card,
        "cardType": 1,
        "name": holder.name,
        "cardReaderNo": 1,
        "employeeNoString": holder.number,
        "userType": "normal",
        "currentVerifyMode": "face" if by_face else "cardOrFace",
    }


def _envelope(identity: Identity, at_ms: int, event_type: str) -> dict[str, object]:
    return {
        "ipAddress": identity.address,
        "portNo": identity.port,
        "protocol": "HTTP",
        "macAddress": identity.mac,
        "channelID": 1,
        "dateTime": timestamp(at_ms),
        "activePostCount": 1,
        "eventType": event_type,
    }


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent="\t").encode()
