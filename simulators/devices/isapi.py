"""Hikvision ISAPI: the codes and the JSON of access-control events.

An event is keyed by (major, minor); the minors of different majors repeat.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum

from simulators.rhythms import local

BOUNDARY = "MIME_boundary"


class Code(Enum):
    """(major, minor) of what a door controller reports."""

    CONTROLLER_TAMPER = (1, 0x404)
    DURESS = (1, 0x40A)
    REMOTE_OPEN = (3, 0x400)
    CARD_OK = (5, 0x01)
    NO_RIGHT = (5, 0x06)
    WRONG_PERIOD = (5, 0x07)
    EXPIRED = (5, 0x08)
    INVALID = (5, 0x09)
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
    code: Code
    holder: Holder | None = None


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


def event_json(identity: Identity, record: AccessRecord) -> bytes:
    """Return an ``AccessControllerEvent`` notification."""
    event: dict[str, object] = {
        "deviceName": identity.name,
        "majorEventType": record.code.major,
        "subEventType": record.code.minor,
        "doorNo": record.door,
        "serialNo": record.serial,
        "frontSerialNo": record.serial - 1,
        "attendanceStatus": "undefined",
        "mask": "unknown",
    }
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
    }
    if record.holder is not None:
        entry |= _holder_fields(record)
    return entry


def part(body: bytes) -> bytes:
    """Return one part of the multipart stream."""
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Type: application/json; charset="UTF-8"\r\n'
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode("ascii") + body + b"\r\n"


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
