"""Settings of the DL/T 645 driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from edge.drivers.settings import DeviceId, DriverSettings, Host, Period, Port, Section, Timeout


class MeterSettings(Section):
    """One meter on the bus."""

    device: DeviceId
    address: Annotated[str, Field(pattern=r"^[0-9]{12}$")]
    """The 12 digits of its communication address, high digit first, as on its label."""
    phases: Literal[1, 3] = 1


class Dlt645Settings(DriverSettings):
    """A TCP gateway and the meters behind it; they are asked one after the other."""

    driver: Literal["dlt645"]
    host: Host
    port: Port
    period_s: Period = 60
    timeout_s: Timeout = 3
    """Real time that a meter may take for one answer."""
    meters: Annotated[list[MeterSettings], Field(min_length=1, max_length=256)]

    @field_validator("meters")
    @classmethod
    def _distinct(cls, meters: list[MeterSettings]) -> list[MeterSettings]:
        addresses = [meter.address for meter in meters]
        for address in addresses:
            if addresses.count(address) > 1:
                raise ValueError(f"the address {address} stands twice on one bus")
        return meters

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the meters."""
        return tuple(meter.device for meter in self.meters)
