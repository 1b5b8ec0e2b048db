"""Settings of the DL/T 645 driver."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.drivers.dlt645.codec import ANY_ADDRESS
from edge.drivers.dlt645.items import Group
from edge.drivers.settings import Period
from edge.meters.settings import BusMeterSettings, ClockLimit, MeterBusSettings

Medium = Literal["electricity", "water", "gas", "heat"]
#: How often a group of items is read: at each poll, every ``often_s``, every ``rarely_s``.
Pace = Literal["poll", "often", "rarely", "never"]
Profile = Literal["minimal", "standard", "full"]


class MeterSettings(BusMeterSettings):
    """One meter on the bus."""

    address: Annotated[str, Field(pattern=r"^([0-9]{12}|any)$")]
    """The 12 digits of its communication address, high digit first, as on its label; or ``any``
    for a line that has this one meter only, whatever its address."""
    phases: Literal[1, 3] = 1
    medium: Medium = "electricity"
    register_item: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{8}$")] = "00000000"
    """Where a gateway puts the register of a water, gas or heat meter: its data identifier."""
    register_decimals: Annotated[int, Field(ge=0, le=6)] = 2
    profile: Profile | None = None
    """In place of the driver's own."""

    @property
    def wire_address(self) -> str:
        """Return the address as requests carry it."""
        return ANY_ADDRESS if self.address == "any" else self.address


class Dlt645Settings(MeterBusSettings[MeterSettings]):
    """One line with its meters."""

    driver: Literal["dlt645"]
    period_s: Period = 60
    profile: Profile = "standard"
    items: dict[Group, Pace] = Field(default_factory=dict)
    """Group -> how often it is read, in place of what the profile says."""
    often_s: Annotated[float, Field(ge=0.1, le=86_400)] = 300
    rarely_s: Annotated[float, Field(ge=0.1, le=604_800)] = 3600
    clock_limit_s: ClockLimit = 300

    @field_validator("meters")
    @classmethod
    def _distinct(cls, meters: list[MeterSettings]) -> list[MeterSettings]:
        addresses = [meter.address for meter in meters]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"the address {address} stands twice on one bus")
        return meters

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if len(self.meters) > 1 and any(meter.address == "any" for meter in self.meters):
            raise ValueError("the address 'any' is for a line with one meter only")
        return self
