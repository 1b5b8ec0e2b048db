"""Settings of the lift driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import DeviceId, Period, Section
from edge.modbus.settings import GatewaySettings, Unit


class LiftSettings(Section):
    """One lift behind a gateway."""

    device: DeviceId
    unit: Unit = 1
    map: str = "default"
    """``default``, or the path of a register map of one's own."""
    fault_codes: str | None = None
    """A table of fault codes in place of the map's: gbt24476, platform, chongqing, vendor_08,
    four_digits."""


class ElevatorModbusSettings(GatewaySettings):
    """A gateway with one lift (``device``, ``unit``, ``map``), or with several (``lifts``)."""

    driver: Literal["elevator_modbus"]
    period_s: Period = 1
    device: DeviceId | None = None
    unit: Unit = 1
    map: str = "default"
    fault_codes: str | None = None
    lifts: Annotated[list[LiftSettings], Field(max_length=64)] = Field(default_factory=list)

    @model_validator(mode="after")
    def _one_or_several(self) -> ElevatorModbusSettings:
        if (self.device is None) == (not self.lifts):
            raise ValueError("give either device (with unit and map), or lifts")
        devices = [lift.device for lift in self.all_lifts()]
        units = [lift.unit for lift in self.all_lifts()]
        for device, unit in zip(devices, units, strict=True):
            if devices.count(device) > 1:
                raise ValueError(f"the device {device} stands twice")
            if units.count(unit) > 1:
                raise ValueError(f"the unit {unit} stands twice")
        return self

    def all_lifts(self) -> list[LiftSettings]:
        """Return the lifts, however they are given."""
        if self.device is None:
            return self.lifts
        return [
            LiftSettings(
                device=self.device, unit=self.unit, map=self.map, fault_codes=self.fault_codes
            )
        ]

    def units(self) -> tuple[int, ...]:
        """Return the unit of each lift."""
        return tuple(lift.unit for lift in self.all_lifts())

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the lifts."""
        return tuple(lift.device for lift in self.all_lifts())
