"""What the properties of a BACnet Lift object say in our words (ANSI/ASHRAE 135, clause 12.59)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

from edge.driver import LinkError
from edge.drivers.bacnet.link import Unread
from edge.drivers.bacnet.settings import LiftSection

PROPERTIES = (
    "car-position",
    "car-moving-direction",
    "car-door-status",
    "car-door-zone",
    "car-mode",
    "car-load",
    "car-load-units",
    "car-drive-status",
    "registered-car-call",
    "passenger-alarm",
    "out-of-service",
    "fault-signals",
)
ENERGY = "energy-meter"
_REQUIRED = (
    "car-position", "car-moving-direction", "car-door-status", "passenger-alarm", "fault-signals",
)  # fmt: skip
_LISTS = frozenset({"car-door-status", "registered-car-call", "fault-signals"})
#: BACnetLiftCarMode. VIP, homing, parking and attendant are ways of normal service.
MODES = {
    1: "normal", 2: "normal", 3: "normal", 4: "normal", 5: "normal", 6: "firefighter",
    7: "emergency_power", 8: "inspection", 10: "earthquake", 11: "fire_return", 12: "stopped",
}  # fmt: skip
#: BACnetLiftFault.
FAULTS = {
    0: "controller", 1: "drive", 2: "safety_gear", 3: "shaft", 4: "power", 5: "interlock",
    6: "door_close", 7: "door_open", 8: "stopped_outside_zone", 9: "button_stuck",
    10: "start_failure", 11: "controller", 12: "self_test", 13: "run_time_limiter",
    14: "position_lost", 15: "drive_temperature", 16: "load",
}  # fmt: skip
_OUTSIDE_ZONE = 8
#: BACnetLiftCarDirection: unknown, none, stopped, up, down, up and down.
_DIRECTIONS = {1: "none", 2: "none", 3: "up", 4: "down", 5: "none"}
#: BACnetLiftCarDriveStatus: braking to multi-floor jump; 1 is stationary, 0 unknown.
_DRIVING = range(2, 10)
#: BACnetDoorStatus: closed, safety-locked; 4 (unused) and 5 (none) are no doors.
_SHUT, _NO_DOOR = frozenset({0, 8}), frozenset({4, 5})
_KG = {39: 1.0, 40: 0.453_592_37, 41: 1000.0}
_PERCENT = 98


@dataclass(frozen=True, slots=True)
class LiftReading:
    """One reading: the data of ``elevator.status``, the fault codes, what else is known."""

    status: dict[str, Any]
    faults: frozenset[int]
    decoupled: bool
    """Out_Of_Service: the object's values are not the lift's own."""
    energy_kwh: float | None
    unclear: list[str] = field(default_factory=list)
    """Names of counters: what the object left open."""


def decode(values: Mapping[str, Any], lift: LiftSection, before: int | None) -> LiftReading:
    """Return what a lift's properties say; raise :class:`LinkError` for what cannot be.

    ``before`` is the Car_Position of the reading before, for lifts that do not say whether
    they move.
    """
    for name in _REQUIRED:
        value = values.get(name)
        if value is None or not _usable(name, value):
            why = value.why if isinstance(value, Unread) else "it has none"
            raise LinkError(f"lift,{lift.object}: no {name}: {why}", "protocol")
    known = {n: v for n, v in values.items() if _usable(n, v)}
    unclear = [f"unread_{n.replace('-', '_')}" for n in values.keys() - known.keys()]
    faults = _codes(known["fault-signals"])
    moving = _moving(known, before, unclear)
    alarm = bool(known["passenger-alarm"])
    status: dict[str, Any] = {
        "service_mode": _mode(known, unclear),
        "moving": moving,
        "direction": _DIRECTIONS.get(known["car-moving-direction"], "none") if moving else "none",
        "in_door_zone": _zone(known, faults, moving=moving),
        "floor": _floor(known["car-position"], lift),
        "door_closed": _closed(known["car-door-status"], unclear),
        "alarm_button": alarm,
    }
    load_kg = _load(known, lift, unclear)
    if load_kg is not None:
        status["load_kg"] = load_kg
        status["occupied"] = load_kg > lift.occupied_above_kg
    else:
        # Without a load cell: somebody inside has chosen a floor, or rings.
        calls = known.get("registered-car-call") or []
        status["occupied"] = alarm or any(calls)
    if status["service_mode"] == "emergency_power":
        status["power_on"] = False
    energy = known.get(ENERGY)
    if not _number(energy) or energy < 0:
        energy = None
    return LiftReading(
        status, faults, bool(known.get("out-of-service")),
        None if energy is None else float(energy), unclear,
    )  # fmt: skip


def _usable(name: str, value: Any) -> bool:
    """Tell whether a value is of its property's type: lists only where there are several."""
    return not isinstance(value, Unread) and isinstance(value, list) is (name in _LISTS)


def _codes(raw: Any) -> frozenset[int]:
    if not isinstance(raw, list) or not all(isinstance(code, int) for code in raw):
        raise LinkError("fault-signals is no list of faults", "protocol")
    return frozenset(raw)


def _mode(known: Mapping[str, Any], unclear: list[str]) -> str:
    mode = known.get("car-mode")
    if known.get("out-of-service"):
        return "unknown"
    if mode is not None and mode not in MODES and mode not in (0, 9, 13):
        unclear.append("unknown_modes")
    return MODES.get(mode, "unknown") if isinstance(mode, int) else "unknown"


def _moving(known: Mapping[str, Any], before: int | None, unclear: list[str]) -> bool:
    drive, direction = known.get("car-drive-status", 0), known["car-moving-direction"]
    if drive in _DRIVING:
        return True
    if drive == 1:
        return False
    if direction in _DIRECTIONS:
        return direction in (3, 4, 5)
    unclear.append("unknown_directions")
    return before is not None and before != known["car-position"]


def _zone(known: Mapping[str, Any], faults: frozenset[int], *, moving: bool) -> bool:
    zone = known.get("car-door-zone")
    if zone is not None:
        return bool(zone)
    return not moving and _OUTSIDE_ZONE not in faults


def _floor(position: Any, lift: LiftSection) -> int:
    if lift.floors is None:
        return int(position)
    if not 1 <= position <= len(lift.floors):
        text = f"car-position {position}, but {len(lift.floors)} floors are configured"
        raise LinkError(f"lift,{lift.object}: {text}", "protocol")
    return lift.floors[int(position) - 1]


def _closed(doors: Any, unclear: list[str]) -> bool:
    if not isinstance(doors, list):
        raise LinkError("car-door-status is no list of doors", "protocol")
    there = [door for door in doors if door not in _NO_DOOR]
    if not there:
        unclear.append("no_doors")
    if any(door not in _SHUT and door not in (1, 6, 7, 9) for door in there):
        unclear.append("unknown_doors")
    # Only a door that says so is closed.
    return bool(there) and all(door in _SHUT for door in there)


def _load(known: Mapping[str, Any], lift: LiftSection, unclear: list[str]) -> float | None:
    load, unit = known.get("car-load"), known.get("car-load-units", 39)
    if not _number(load):
        return None
    if unit in _KG:
        return max(float(load) * _KG[unit], 0.0)
    if unit == _PERCENT and lift.rated_load_kg is not None:
        return max(float(load) / 100 * lift.rated_load_kg, 0.0)
    unclear.append("loads_without_unit")
    return None


def _number(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and math.isfinite(value)
