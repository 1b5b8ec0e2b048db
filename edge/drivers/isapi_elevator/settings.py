"""Settings of the driver of lift controllers."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.drivers.settings import DeviceId
from edge.isapi.access_settings import AccessSettings

FloorNumber = Annotated[str, Field(pattern=r"^[0-9]{1,4}$")]
FloorName = Annotated[int, Field(ge=-20, le=200)]
FieldName = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")]


class IsapiElevatorSettings(AccessSettings):
    """One lift controller: the access control of one car."""

    driver: Literal["isapi_elevator"]
    device: DeviceId
    """The controller as a device of the lift."""
    floors: Annotated[dict[FloorNumber, FloorName], Field(min_length=1, max_length=221)]
    """The controller's floor number (its relay, from 1) -> the floor as people call it."""
    floor_field: FieldName = "doorNo"
    """The field of an event that names one floor; ``doorNo`` is the vendor's own."""
    granted_fields: Annotated[list[FieldName], Field(max_length=8)] = Field(
        default_factory=lambda: ["floorNoList", "floorList"]
    )
    """Fields that list all floors that were opened, where the firmware has one of them."""
    refused_fields: Annotated[list[FieldName], Field(max_length=8)] = Field(default_factory=list)
    """Fields that list the floors that were refused."""

    def device_ids(self) -> tuple[str, ...]:
        """Return the controller's id."""
        return (self.device,)
