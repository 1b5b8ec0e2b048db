"""Settings of the Modbus driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from edge.drivers.settings import DeviceId, Period, Section
from edge.modbus.settings import GatewaySettings, Unit

Scalar = bool | int | float | str


class ModbusDeviceSettings(Section):
    """One device behind the gateway."""

    device: DeviceId
    unit: Unit = 1
    map: Annotated[str, Field(min_length=1, max_length=300)]
    """The name of a map that comes with the driver, or the path of one of your own."""
    parameters: dict[str, Scalar] = Field(default_factory=dict)
    """What the map leaves to each device: a transformer's ratio, a pulse's worth."""
    inputs: dict[str | int, dict[str, Scalar]] = Field(default_factory=dict)
    """What the contacts mean: input -> ``kind`` and the event's own fields; ``invert: true``
    for a contact that opens."""
    outputs: Annotated[list[str | int], Field(max_length=256)] | None = None
    """The outputs that commands to this device may switch; none: all that the map has."""

    @field_validator("map")
    @classmethod
    def _plain(cls, name: str) -> str:
        if "\0" in name:
            raise ValueError("not a file name")
        return name


class ModbusSettings(GatewaySettings):
    """A gateway on TCP or a serial line, and the devices behind it."""

    driver: Literal["modbus"]
    period_s: Period = 60
    devices: Annotated[list[ModbusDeviceSettings], Field(min_length=1, max_length=247)]

    @model_validator(mode="after")
    def _distinct(self) -> ModbusSettings:
        ids = [item.device for item in self.devices]
        for device in ids:
            if ids.count(device) > 1:
                raise ValueError(f"the device {device} stands twice")
        return self

    def units(self) -> tuple[int, ...]:
        """Return the unit of each device."""
        return tuple(item.unit for item in self.devices)

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the devices."""
        return tuple(item.device for item in self.devices)
