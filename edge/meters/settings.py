"""What the settings of meters on a bus have in common."""

from __future__ import annotations

from typing import Annotated, Generic, TypeVar

from pydantic import Field

from edge.drivers.settings import DeviceId, DriverSettings, Period, Section, Timeout
from edge.transport.settings import ChannelSettings

#: By how much (s) a meter's clock may be off.
ClockLimit = Annotated[float, Field(gt=0, le=1e9)]


class BusMeterSettings(Section):
    """One meter on the bus."""

    device: DeviceId
    capacity: Annotated[float, Field(gt=0, le=1e12)] | None = None
    """Where the register begins again at 0, in its unit (default: 1,000,000)."""


M = TypeVar("M", bound=BusMeterSettings)


class MeterBusSettings(ChannelSettings, DriverSettings, Generic[M]):
    """A TCP gateway or serial port and the meters behind it, asked one after the other."""

    period_s: Period
    timeout_s: Timeout = 3
    """Real time that a meter may take for one answer."""
    clock_limit_s: ClockLimit
    """A meter's clock that is off by more is told as ``clock_wrong``."""
    utc_offset_h: Annotated[float, Field(ge=-12, le=14)] = 8
    """The meters' clocks show this local time."""
    meters: Annotated[list[M], Field(min_length=1, max_length=256)]

    def device_ids(self) -> tuple[str, ...]:
        """Return the ids of the meters."""
        return tuple(meter.device for meter in self.meters)

    def register_capacities(self) -> dict[str, float]:
        """Return device -> capacity of its register, where it is given."""
        return {m.device: m.capacity for m in self.meters if m.capacity is not None}
