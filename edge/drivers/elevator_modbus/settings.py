"""Settings of the lift driver."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from edge.drivers.settings import DeviceId, DriverSettings, Host, Period, Port, Timeout


class ElevatorModbusSettings(DriverSettings):
    """One lift behind a Modbus TCP gateway."""

    driver: Literal["elevator_modbus"]
    host: Host
    port: Port = 502
    unit: Annotated[int, Field(ge=0, le=255)] = 1
    period_s: Period = 1
    timeout_s: Timeout = 3
    map: str = "default"
    """``default``, or the path of a register map of one's own."""
    device: DeviceId

    def device_ids(self) -> tuple[str, ...]:
        """Return the lift's id."""
        return (self.device,)
