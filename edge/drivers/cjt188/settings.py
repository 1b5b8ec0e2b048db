"""Settings of the CJ/T 188 driver."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.drivers.cjt188.codec import Medium, Order, StatusBits, medium_of
from edge.drivers.settings import DeviceId, DriverSettings, Period, Section, Timeout
from edge.transport.settings import ChannelSettings

#: What a bit of ST that the maker defines can stand for.
MakersEvent = Literal[
    "leak", "reverse_flow", "empty_pipe", "magnetic_tamper", "cover_opened", "battery_low", "other"
]


class Cjt188MeterSettings(Section):
    """One meter on the bus."""

    device: DeviceId
    address: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{14}$")]
    """The 14 digits A6 to A0, high first: the maker's code (4), then the number (10)."""
    type: Annotated[str, Field(pattern=r"^[0-9A-Fa-f]{2}$")] = "10"
    """T: 10 cold water, 11 hot water, 12 drinking water, 13 reclaimed water, 20 heat, 30 gas."""
    medium: Medium | None = None
    """What it measures, for a type of the maker's own."""
    status_bits: StatusBits = "low"
    """ST: ``low`` has the valve in bits 0-1 and the battery in bit 2, ``high`` in 7-6 and 5."""
    status_events: dict[Annotated[int, Field(ge=0, le=15)], MakersEvent] = Field(
        default_factory=dict
    )
    """Bit of ST -> what the maker means by it (0 to 7 the first byte, 8 to 15 the second)."""
    capacity: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Where the register begins again at 0, in m³ or kWh (default: 1,000,000)."""

    @property
    def kind(self) -> int:
        """Return T."""
        return int(self.type, 16)

    @property
    def measures(self) -> Medium:
        """Return the medium."""
        return self.medium or medium_of(self.kind) or "water"

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.medium is None and medium_of(self.kind) is None:
            raise ValueError(f"the type {self.type} does not say what is measured: give medium")
        return self


class Cjt188Settings(ChannelSettings, DriverSettings):
    """A TCP gateway or serial port and the meters behind it, asked one after the other."""

    driver: Literal["cjt188"]
    period_s: Period = 300
    timeout_s: Timeout = 3
    """Real time that a meter may take for one answer."""
    identifier_order: Order = "low"
    """Which byte of a data identifier goes first: ``low`` 1F 90, ``high`` 90 1F."""
    clock_limit_s: Annotated[float, Field(gt=0, le=1e9)] = 600
    """A meter's clock that is off by more is told as ``clock_wrong``."""
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)] = 8
    """The meters' clocks show this local time."""
    meters: Annotated[list[Cjt188MeterSettings], Field(min_length=1, max_length=256)]

    @field_validator("meters")
    @classmethod
    def _distinct(cls, meters: list[Cjt188MeterSettings]) -> list[Cjt188MeterSettings]:
        seen: set[tuple[int, str]] = set()
        for meter in meters:
            key = (meter.kind, meter.address.upper())
            if key in seen:
                raise ValueError(f"the address {meter.address} stands twice on one bus")
            seen.add(key)
        return meters

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the meters."""
        return tuple(meter.device for meter in self.meters)

    def register_capacities(self) -> dict[str, float]:
        """Return device -> capacity of its register, where it is given."""
        return {m.device: m.capacity for m in self.meters if m.capacity is not None}
