"""What of an observation Home Assistant is shown: sensors and binary sensors, and nothing else.

Only fields that stand here are shown. None of them says anything about a person: no
pseudonyms, no credentials, and no duress, which must not appear on a panel in the hall.
Device classes and units are Home Assistant's own.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from core.contracts.codec import Event

Value = str | int | float


@dataclass(frozen=True, slots=True)
class Component:
    """One entity of a device: its key in the state's document, how it is announced, its value."""

    key: str
    platform: str
    name: str
    value: Value
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Number:
    field: str
    name: str
    device_class: str | None = None
    unit: str | None = None
    state_class: str | None = "measurement"


@dataclass(frozen=True, slots=True)
class _Switch:
    field: str
    name: str
    device_class: str | None = None
    inverted: bool = False


_TOTAL = "total_increasing"
_NUMBERS: dict[str, tuple[_Number, ...]] = {
    "meter.reading": (
        _Number("energy_kwh", "Energy", "energy", "kWh", _TOTAL),
        _Number("energy_export_kwh", "Energy exported", "energy", "kWh", _TOTAL),
        *(_Number(f"energy_t{n}_kwh", f"Energy tariff {n}", "energy", "kWh", _TOTAL)
          for n in (1, 2, 3, 4)),
        _Number("power_w", "Power", "power", "W"),
        *(_Number(f"power_l{n}_w", f"Power L{n}", "power", "W") for n in (1, 2, 3)),
        *(_Number(f"voltage_l{n}_v", f"Voltage L{n}", "voltage", "V") for n in (1, 2, 3)),
        *(_Number(f"current_l{n}_a", f"Current L{n}", "current", "A") for n in (1, 2, 3)),
        _Number("power_factor", "Power factor", "power_factor"),
        _Number("frequency_hz", "Frequency", "frequency", "Hz"),
        _Number("temperature_c", "Temperature", "temperature", "°C"),
        _Number("flow_m3_h", "Flow", "volume_flow_rate", "m³/h"),
        _Number("heat_kwh", "Heat", "energy", "kWh", _TOTAL),
        _Number("pressure_kpa", "Pressure", "pressure", "kPa"),
    ),
    "elevator.status": (
        _Number("floor", "Floor"),
        _Number("load_kg", "Load", "weight", "kg"),
        _Number("trips", "Trips", None, None, _TOTAL),
    ),
}  # fmt: skip
_SWITCHES: dict[str, tuple[_Switch, ...]] = {
    "meter.reading": (
        _Switch("relay_closed", "Supply", "power"),
        _Switch("valve_open", "Valve", "opening"),
    ),
    "elevator.status": (
        _Switch("moving", "Moving", "moving"),
        _Switch("door_closed", "Door", "door", inverted=True),
        _Switch("occupied", "Occupied", "occupancy"),
        _Switch("power_on", "Supply", "power"),
    ),
    "access.door": (_Switch("open", "Door", "door"),),
    "access.fire_release": (_Switch("active", "Fire release", "safety"),),
    "elevator.alarm_button": (_Switch("active", "Alarm button", "problem"),),
    "elevator.fault": (_Switch("active", "Fault", "problem"),),
    "fire.alarm": (_Switch("active", "Fire alarm", "smoke"),),
    "fire.fault": (_Switch("active", "Panel fault", "problem"),),
    "device.tamper": (_Switch("active", "Tamper", "tamper"),),
    "device.fault": (_Switch("active", "Device fault", "problem"),),
    "camera.motion": (_Switch("active", "Motion", "motion"),),
    "camera.intrusion": (_Switch("active", "Intrusion", "motion"),),
    "camera.zone_occupied": (_Switch("active", "Occupied", "occupancy"),),
    "camera.left_object": (_Switch("active", "Object left", "problem"),),
    "camera.tamper": (_Switch("active", "Tamper", "tamper"),),
    "camera.video_loss": (_Switch("active", "No picture", "problem"),),
    "camera.frozen": (_Switch("active", "Picture frozen", "problem"),),
}
#: Fields that tell several things of one kind apart; each gets an entity of its own.
_PARTS: dict[str, tuple[str, ...]] = {
    "elevator.fault": ("fault",),
    "fire.alarm": ("point",),
    "fire.fault": ("point",),
    "device.tamper": ("part",),
    "device.fault": ("fault", "part"),
    "camera.motion": ("zone",),
    "camera.intrusion": ("zone",),
    "camera.zone_occupied": ("zone",),
    "camera.left_object": ("zone",),
}
_VOLUMES = {"water": "water", "gas": "gas"}
_UNITS: dict[str, tuple[str, str | None]] = {
    "Cel": ("°C", "temperature"),
    "Pa": ("Pa", "pressure"),
    "kPa": ("kPa", "pressure"),
    "hPa": ("hPa", "pressure"),
    "V": ("V", "voltage"),
    "A": ("A", "current"),
    "W": ("W", "power"),
    "kW": ("kW", "power"),
    "kW.h": ("kWh", "energy"),
    "kWh": ("kWh", "energy"),
    "Hz": ("Hz", "frequency"),
    "lx": ("lx", "illuminance"),
    "[ppm]": ("ppm", None),
    "m/s": ("m/s", "speed"),
    "dB": ("dB", "sound_pressure"),
}
_HANDLERS: dict[str, Callable[[Any], Iterator[Component]]] = {}


def components(event: Event) -> list[Component]:
    """Return what an observation says to Home Assistant; mostly nothing."""
    found = [*_numbers(event), *_switches(event)]
    special = _HANDLERS.get(event.kind)
    return found if special is None else [*found, *special(event.data)]


def _numbers(event: Event) -> Iterator[Component]:
    for spec in _NUMBERS.get(event.kind, ()):
        value = getattr(event.data, spec.field, None)
        if value is None:
            continue
        options = {
            "device_class": spec.device_class,
            "unit_of_measurement": spec.unit,
            "state_class": spec.state_class,
        }
        yield Component(spec.field, "sensor", spec.name, value, _given(options))


def _switches(event: Event) -> Iterator[Component]:
    parts = [
        str(part)
        for name in _PARTS.get(event.kind, ())
        if (part := getattr(event.data, name, None)) is not None
    ]
    for spec in _SWITCHES.get(event.kind, ()):
        value = getattr(event.data, spec.field, None)
        if value is None:
            continue
        base = spec.field if spec.field != "active" else event.kind.partition(".")[2]
        if event.kind == "access.door":
            base = "door"
        key = _slug("_".join([base, *parts]))
        name = " ".join([spec.name, *(f"({part})" for part in parts)])
        shown = "ON" if bool(value) is not spec.inverted else "OFF"
        options = _given({"device_class": spec.device_class})
        yield Component(key, "binary_sensor", name, shown, options)


def _volume(data: Any) -> Iterator[Component]:
    if data.volume_m3 is not None:
        options = {
            "device_class": _VOLUMES.get(data.medium, "volume"),
            "unit_of_measurement": "m³",
            "state_class": _TOTAL,
        }
        yield Component("volume_m3", "sensor", "Volume", data.volume_m3, options)


def _mode(data: Any) -> Iterator[Component]:
    yield Component("service_mode", "sensor", "Service mode", data.service_mode)


def _count(data: Any) -> Iterator[Component]:
    parts = [str(data.target), *([data.zone] if data.zone is not None else [])]
    key = _slug("_".join(["count", *parts]))
    options = {"state_class": "measurement"}
    yield Component(key, "sensor", f"Count ({', '.join(parts)})", data.count, options)


def _quantity(data: Any) -> Iterator[Component]:
    unit, device_class = _UNITS.get(data.unit, (data.unit or None, None))
    if data.unit == "%" and "humid" in data.quantity.lower():
        device_class = "humidity"
    options = {
        "device_class": device_class,
        "unit_of_measurement": unit,
        "state_class": "measurement",
    }
    key = _slug(f"value_{data.quantity}")
    yield Component(key, "sensor", data.quantity, data.value, _given(options))


_HANDLERS |= {
    "meter.reading": _volume,
    "elevator.status": _mode,
    "camera.count": _count,
    "sensor.reading": _quantity,
}


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _slug(text: str) -> str:
    """Return a key of letters, digits and underscores that differs where the text does."""
    plain = re.sub(r"[^a-z0-9_]+", "_", text.lower())
    if plain == text:
        return plain
    return f"{plain.strip('_')}_{zlib.crc32(text.encode()):08x}"
