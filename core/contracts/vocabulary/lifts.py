"""Lifts: status and faults after GB/T 24476-2023 and GB/T 42616-2023, lift access (梯控)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from core.contracts.vocabulary.base import (
    Count,
    Credential,
    Data,
    Floor,
    Name,
    Pseudonym,
)


class ElevatorStatus(Data):
    """Status of a lift, after the status fields of GB/T 24476."""

    service_mode: Literal[
        "stopped", "normal", "inspection", "fire_return", "firefighter", "emergency_power",
        "earthquake", "unknown",
    ]  # fmt: skip
    moving: bool
    direction: Literal["none", "up", "down"]
    in_door_zone: bool
    floor: Floor
    door_closed: bool
    occupied: bool
    power_on: bool | None = None
    alarm_button: bool | None = None
    load_kg: Annotated[float, Field(ge=0, le=20_000)] | None = None
    running_h: Annotated[float, Field(ge=0, le=1e7)] | None = None
    trips: Count | None = None
    """Runs since commissioning."""
    door_cycles: Count | None = None


class ElevatorFault(Data):
    """A fault began (active) or ended; ``raw_code`` keeps what the lift said."""

    fault: Literal[
        "safety_circuit", "door_close", "door_open", "stopped_outside_zone",
        "unintended_movement", "run_time_limiter", "position_lost", "anti_restart", "overspeed",
        "overtravel_top", "overtravel_bottom", "door_open_running", "door_cycling", "entrapment",
        "main_power_off", "out_of_service", "controller", "drive", "drive_temperature",
        "safety_gear", "shaft", "power", "interlock", "button_stuck", "start_failure",
        "self_test", "load", "other",
    ]  # fmt: skip
    active: bool
    raw_code: Name
    """The lift's own code; ``derived`` where the edge concluded it from the status."""
    floor: Floor | None = None
    derived: bool | None = None
    """The edge concluded it; the lift did not report it."""


class ElevatorAccess(Data):
    """A credential in the car opened or was refused floors (智能梯控)."""

    person: Pseudonym | None = None
    credential: Credential | None = None
    granted_floors: Annotated[list[Floor], Field(max_length=200)]
    refused_floors: Annotated[list[Floor], Field(max_length=200)]
    serial: Count | None = None
    reader: Name | None = None
    raw_code: Name | None = None


class ElevatorAlarmButton(Data):
    """The alarm button in the car was pressed (active) or released."""

    active: bool
