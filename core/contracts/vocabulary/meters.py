"""Meters for electricity, water, gas and heat (DL/T 645-2007, CJ/T 188, Modbus)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.contracts.vocabulary.base import (
    Amperes,
    Data,
    EpochMs,
    Name,
    Volts,
    Watts,
)

Energy = Annotated[float, Field(ge=0, le=1e12)]
Medium = Literal["electricity", "water", "gas", "heat"]


class MeterReading(Data):
    """Readings of one meter at one moment; energies and volumes are registers, never deltas."""

    medium: Medium
    energy_kwh: Energy | None = None
    """Forward active energy (DL/T 645 item 00010000 or 00000000)."""
    energy_export_kwh: Energy | None = None
    """Reverse active energy (00020000)."""
    energy_combined_kwh: Annotated[float, Field(ge=-1e12, le=1e12)] | None = None
    """Combined active energy (00000000), where the meter has forward energy, too."""
    energy_t1_kwh: Energy | None = None
    """Forward active energy of tariff 1 (00010100); t2 to t4 likewise."""
    energy_t2_kwh: Energy | None = None
    energy_t3_kwh: Energy | None = None
    energy_t4_kwh: Energy | None = None
    voltage_l1_v: Volts | None = None
    voltage_l2_v: Volts | None = None
    voltage_l3_v: Volts | None = None
    current_l1_a: Amperes | None = None
    current_l2_a: Amperes | None = None
    current_l3_a: Amperes | None = None
    power_w: Watts | None = None
    power_l1_w: Watts | None = None
    power_l2_w: Watts | None = None
    power_l3_w: Watts | None = None
    power_factor: Annotated[float, Field(ge=-1, le=1)] | None = None
    frequency_hz: Annotated[float, Field(ge=0, le=500)] | None = None
    demand_w: Watts | None = None
    """Active demand now (02800004)."""
    demand_max_w: Watts | None = None
    """Greatest forward active demand of the period (01010000)."""
    demand_max_at: EpochMs | None = None
    clock_offset_s: Annotated[float, Field(ge=-1e10, le=1e10)] | None = None
    """The meter's clock minus the edge's."""
    relay_closed: bool | None = None
    """The supply relay (DL/T 645 status word 3, bit 4 inverted)."""
    temperature_c: Annotated[float, Field(ge=-60, le=200)] | None = None
    volume_m3: Annotated[float, Field(ge=0, le=1e12)] | None = None
    flow_m3_h: Annotated[float, Field(ge=-1e6, le=1e6)] | None = None
    heat_kwh: Energy | None = None
    pressure_kpa: Annotated[float, Field(ge=-100, le=1e6)] | None = None
    valve_open: bool | None = None
    mark: Literal["rollover", "replaced", "backwards"] | None = None
    """The register did not simply go on from the reading before: it began again at its capacity,
    another meter is there, or it ran backwards. Consumption across a mark is not a difference."""


class MeterEvent(Data):
    """Something happened at a meter: began (active) or ended."""

    medium: Medium
    event: Literal[
        "relay_opened", "cover_opened", "terminal_cover_opened", "overload", "overcurrent",
        "overvoltage", "undervoltage", "phase_loss", "reverse_power", "power_off", "battery_low",
        "leak", "register_rollover", "meter_replaced", "register_backwards", "current_loss",
        "pre_trip_alarm", "programming_allowed", "clock_battery_low", "clock_wrong",
        "auxiliary_supply", "valve_closed", "reverse_flow", "empty_pipe", "magnetic_tamper",
        "other",
    ]  # fmt: skip
    active: bool
    raw_code: Name | None = None
