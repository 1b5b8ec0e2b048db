"""Settings of the door driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, Section
from edge.isapi.access_settings import AccessSettings

DoorNumber = Annotated[str, Field(pattern=r"^[0-9]{1,4}$")]
InputName = Annotated[str, Field(pattern=r"^(alarm|case):[0-9]{1,4}$")]
Label = Annotated[str, Field(min_length=1, max_length=64)]


class ContactSettings(Section):
    """A dry contact of a fire panel on one of the controller's inputs."""

    device: DeviceId
    """The fire panel."""
    kind: Literal["fire.alarm", "fire.fault"] = "fire.alarm"
    loop: Label | None = None
    point: Label | None = None
    active_on: Literal["short", "open", "both"] = "both"
    """Which state of the line means that the contact has operated. What of the two is not
    meant is a fault of the line."""


class FireSettings(Section):
    """The fire panel whose contact is wired to the controller's own fire input."""

    device: DeviceId
    loop: Label | None = None
    point: Label = "input"
    line: Literal["supervised", "short", "open"] = "supervised"
    """``supervised``: a short or a cut of the line is a fault; ``short`` or ``open``: that
    state is the alarm (a plain contact, normally open or normally closed)."""


class IsapiDoorSettings(AccessSettings):
    """One door controller and its doors."""

    driver: Literal["isapi_door"]
    doors: Annotated[dict[DoorNumber, DeviceId], Field(min_length=1, max_length=256)]
    """The controller's door number (``doorNo``) -> device id."""
    controller: DeviceId | None = None
    """The device that tampering, power, clock and readers are told of; none: the first door."""
    fire: FireSettings | None = None
    inputs: Annotated[dict[InputName, ContactSettings], Field(max_length=512)] = Field(
        default_factory=dict
    )
    """``alarm:<alarmInNo>`` or ``case:<caseSensorNo>`` -> what is wired to it."""
    forced_grace_s: Annotated[float, Field(ge=0, le=60)] = 8
    """Device time after an exit button, a grant, a remote opening or a fire release for which a
    "forced" of that door is counted instead of reported; 0 reports every one."""

    @model_validator(mode="after")
    def _distinct(self) -> IsapiDoorSettings:
        if len(set(self.doors.values())) != len(self.doors):
            raise ValueError("two door numbers have the same device id")
        if self.controller in self.doors.values():
            raise ValueError("controller: give it an id of its own, or leave it out")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the doors, the controller and the fire panels."""
        more = [contact.device for contact in self.inputs.values()]
        if self.fire is not None:
            more.append(self.fire.device)
        if self.controller is not None:
            more.append(self.controller)
        return tuple(dict.fromkeys([*self.doors.values(), *more]))
