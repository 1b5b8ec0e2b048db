"""Settings of the CJ/T 188 driver."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from edge.drivers.cjt188.codec import Medium, Order, StatusBits, medium_of
from edge.drivers.settings import Period
from edge.meters.settings import BusMeterSettings, ClockLimit, MeterBusSettings

#: What a bit of ST that the maker defines can stand for.
MakersEvent = Literal[
    "leak", "reverse_flow", "empty_pipe", "magnetic_tamper", "cover_opened", "battery_low", "other"
]


class Cjt188MeterSettings(BusMeterSettings):
    """One meter on the bus."""

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


class Cjt188Settings(MeterBusSettings[Cjt188MeterSettings]):
    """One line with its meters."""

    driver: Literal["cjt188"]
    period_s: Period = 300
    identifier_order: Order = "low"
    """Which byte of a data identifier goes first: ``low`` 1F 90, ``high`` 90 1F."""
    clock_limit_s: ClockLimit = 600

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
