"""Doors, turnstiles and vehicle barriers (ISAPI, OSDP, ONVIF profiles A and C)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.contracts.vocabulary.base import (
    Count,
    Credential,
    Data,
    Direction,
    Name,
    Pseudonym,
    Seconds,
)


class DoorEvent(Data):
    """What every door event can carry."""

    person: Pseudonym | None = None
    """Keyed pseudonym of the person; a face image or template never leaves the edge."""
    credential: Credential | None = None
    direction: Direction | None = None
    reader: Name | None = None
    serial: Count | None = None
    """The controller's own serial number of the event, for spotting duplicates and holes."""
    raw_code: Name | None = None
    """The vendor's code as received, for example ``5/75`` (major/minor)."""


class AccessGranted(DoorEvent):
    """A door let somebody through."""


class AccessDenied(DoorEvent):
    """A door refused somebody."""

    reason: Literal[
        "unknown_credential", "no_permission", "wrong_time", "expired", "anti_passback",
        "interlock", "no_match", "liveness", "too_many_attempts", "other",
    ]  # fmt: skip


class AccessForced(DoorEvent):
    """A door opened without a grant, an exit button or a fire release."""


class AccessHeldOpen(DoorEvent):
    """A door has stood open for longer than it may."""

    open_s: Seconds | None = None


class AccessDuress(DoorEvent):
    """Somebody used the duress credential."""


class AccessTailgate(DoorEvent):
    """More people passed than were granted."""

    persons: Annotated[int, Field(ge=2, le=1000)] | None = None


class AccessBlacklisted(DoorEvent):
    """A credential on the blacklist was presented."""


class AccessExitButton(DoorEvent):
    """The exit button released the door."""


class AccessFireRelease(DoorEvent):
    """The fire input released the door (active) or let it lock again."""

    active: bool


class AccessDoor(DoorEvent):
    """The door leaf opened or closed."""

    open: bool


class VehiclePassed(Data):
    """A vehicle passed a barrier."""

    vehicle: Pseudonym | None = None
    direction: Direction | None = None
    vehicle_class: Literal["car", "truck", "bus", "motorcycle", "e_bike", "emergency", "other"] | (
        None
    ) = None
    serial: Count | None = None
    raw_code: Name | None = None


class VehicleDenied(VehiclePassed):
    """A barrier stayed shut."""

    reason: Literal["unknown", "blacklisted", "expired", "full", "unpaid", "other"]
