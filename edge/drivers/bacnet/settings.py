"""Settings of the BACnet driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from core.contracts.vocabulary.base import Floor, Name
from edge.drivers.settings import DeviceId, DriverSettings, Host, Period, Port, Section

#: 4194303 is the standard's "unknown".
Instance = Annotated[int, Field(ge=0, le=4_194_302)]
_MEASURED = "analog-input|analog-value|analog-output|integer-value|positive-integer-value"
_MEASURED += "|large-analog-value|accumulator|multi-state-input|multi-state-value"
_MEASURED += "|multi-state-output|binary-input|binary-value|binary-output"
MeasuredObject = Annotated[str, Field(pattern=rf"^({_MEASURED}),[0-9]{{1,7}}$")]
ContactObject = Annotated[str, Field(pattern=r"^binary-(input|value|output),[0-9]{1,7}$")]


class LiftSection(Section):
    """One Lift object."""

    device: DeviceId
    object: Instance = 1
    """The instance of the Lift object."""
    floors: Annotated[list[Floor], Field(min_length=1, max_length=220)] | None = None
    """The floors' numbers from the lowest (Car_Position 1); none: Car_Position as it is."""
    occupied_above_kg: Annotated[float, Field(ge=0, le=1_000)] = 20
    """A load above this is somebody in the car: the object has no presence of its own."""
    rated_load_kg: Annotated[float, Field(gt=0, le=20_000)] | None = None
    """For a Car_Load in percent."""
    energy_meter: DeviceId | None = None
    """The device that Energy_Meter is reported for as ``meter.reading``; none: not at all."""


class ContactSection(Section):
    """A contact of a fire panel on a binary object."""

    device: DeviceId
    object: ContactObject
    signal: Literal["alarm", "fault"] = "alarm"
    inverted: bool = False
    """The contact is closed in rest (normally closed): inactive is the alarm."""
    loop: Name | None = None
    point: Name | None = None


class PointSection(Section):
    """A number worth keeping: ``sensor.reading``."""

    device: DeviceId
    object: MeasuredObject
    quantity: Name
    unit: Annotated[str, Field(max_length=24)]
    """UCUM, for example ``Cel``; ``1`` for a state or a share."""
    scale: float = 1
    offset: float = 0


class BacnetSettings(DriverSettings):
    """One BACnet/IP device and what is read of it."""

    driver: Literal["bacnet"]
    host: Host
    """The device's IPv4 address."""
    port: Port = 47_808
    instance: Instance | None = None
    """The device's instance; given, another device at the address is refused."""
    local_host: str = "0.0.0.0"  # noqa: S104 (a client's source address, not a service)
    local_port: Annotated[int, Field(ge=0, le=65_535)] = 0
    """The edge's own port; 0: any. Some devices answer to 47808 only."""
    period_s: Period = 1
    """Between two looks at lifts and contacts."""
    points_period_s: Period = 30
    timeout_s: Annotated[float, Field(ge=0.05, le=10)] = 3
    """Real time that one answer may take; a request that is lost is sent once more."""
    cov: bool = False
    """Subscribe to changes, where the device can: it is then read when it tells of one, and
    every ``check_s`` all the same."""
    check_s: Period = 10
    lifts: Annotated[list[LiftSection], Field(max_length=64)] = Field(default_factory=list)
    contacts: Annotated[list[ContactSection], Field(max_length=500)] = Field(default_factory=list)
    points: Annotated[list[PointSection], Field(max_length=1_000)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _something(self) -> BacnetSettings:
        if not (self.lifts or self.contacts or self.points):
            raise ValueError("give lifts, contacts or points to read")
        lifts = [lift.device for lift in self.lifts]
        if len(set(lifts)) != len(lifts) or len({x.object for x in self.lifts}) != len(lifts):
            raise ValueError("two lifts have the same device id or the same object")
        meters = [lift.energy_meter for lift in self.lifts if lift.energy_meter]
        taken = [c.device for c in self.contacts] + [p.device for p in self.points]
        if set(lifts) & {*meters, *taken} or set(meters) & set(taken):
            raise ValueError("a lift, its meter and other points need device ids of their own")
        return self

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of lifts, their meters, contacts and points, each once."""
        found = [lift.device for lift in self.lifts]
        found += [lift.energy_meter for lift in self.lifts if lift.energy_meter]
        found += [contact.device for contact in self.contacts]
        found += [point.device for point in self.points]
        return tuple(dict.fromkeys(found))
