"""A Modbus gateway with meters, counters, sensors, fire contacts and relays behind it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from simulators.devices.io_module import IoModule
from simulators.devices.meter_model import MeterModel
from simulators.devices.modbus import Bank, Framing, ModbusPeer
from simulators.devices.modbus_meter import MeterBank, PulseBank, SensorBank
from simulators.handles.base import Handle
from simulators.handles.meters import ModbusMeterHandle, PulseHandle
from simulators.handles.things import FirePanelHandle, RelayHandle, SensorHandle
from simulators.loads import LoadPlan, LoadSpec
from simulators.plans.base import HOST, Entries, Fixture, Simple, World

Make = Literal["acrel", "eastron", "chint", "pulse", "sensor", "fire_contacts", "relay"]
_METERS = {"acrel": "acrel_adl3000", "eastron": "eastron_sdm630", "chint": "chint_dtsu666"}
_MAPS = {
    **_METERS, "pulse": "pulse_counter", "sensor": "th_sensor", "fire_contacts": "io_16in",
    "relay": "relay_8",
}  # fmt: skip
_HANDLES: dict[str, type[Handle]] = {
    **dict.fromkeys(_METERS, ModbusMeterHandle), "pulse": PulseHandle, "sensor": SensorHandle,
    "fire_contacts": FirePanelHandle, "relay": RelayHandle,
}  # fmt: skip
#: Ratio of the transformers that the bank of the make assumes, and what a pulse is worth (m³).
_CT, _PER_PULSE_M3 = 40, 0.01
_PULSES_H = 160.0
#: Input of the panel's fault contact (from 0), which is closed at rest.
_FAULT = 8
#: Contacts and relays are looked at each second; what only states are told says so each minute.
_CONTACTS_S, _HEARD_S = 1, 60


@dataclass(frozen=True, slots=True)
class UnitPlan:
    """One device behind the gateway; ``load`` is a meter's, ``points`` a panel's contacts."""

    device: str
    unit: int
    make: Make
    load: LoadSpec | None = None
    points: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ModbusPlan(Simple):
    """One gateway; ``framing`` rtu is a transparent serial server."""

    id: str
    edge: str
    units: tuple[UnitPlan, ...]
    framing: Framing = "tcp"
    period_s: float = 30

    def handles(self) -> dict[str, type[Handle]]:
        """Return what each device is."""
        return {unit.device: _HANDLES[unit.make] for unit in self.units}

    def build(self, world: World, port: int) -> Fixture:
        """Build the gateway."""
        banks = {unit.unit: _bank(unit, world) for unit in self.units}
        peer = ModbusPeer(banks, framing=self.framing, port=port)
        handles = {unit.device: _handle(unit, world, peer, banks[unit.unit]) for unit in self.units}
        return Fixture(peer, handles)

    def entries(self, port: int) -> Entries:
        """Return an entry for what is read now and then, and one for contacts and relays."""
        slow = [unit for unit in self.units if unit.make not in ("fire_contacts", "relay")]
        quick = [unit for unit in self.units if unit not in slow]
        line = {"driver": "modbus", "host": HOST, "port": port, "framing": self.framing}
        found: Entries = []
        if slow:
            devices = [_device(unit) for unit in slow]
            found.append({**line, "period_s": self.period_s, "devices": devices})
        if quick:
            found.append({
                **line, "period_s": _CONTACTS_S, "devices": [_device(unit) for unit in quick],
                "report": {"device.health": {"period_s": _HEARD_S}},
            })  # fmt: skip
        return found


def _bank(unit: UnitPlan, world: World) -> Bank:
    if unit.make in _METERS and unit.load is not None:
        load = LoadPlan(world.seed, unit.device, unit.load)
        model = MeterModel(world.seed, unit.device, load, phases=3)
        return MeterBank(world.clock, model, unit.make)
    if unit.make == "pulse":
        return PulseBank(world.clock, pulses_h=_PULSES_H, start=120_000)
    if unit.make == "sensor":
        return SensorBank(world.clock, world.seed, unit.device)
    return IoModule(world.clock)


def _handle(unit: UnitPlan, world: World, peer: ModbusPeer, bank: Bank) -> Handle:
    clock, line, wired = world.clock, peer.listener, peer.units[unit.unit]
    if isinstance(bank, MeterBank):
        return ModbusMeterHandle(unit.device, clock, line, bank.model, wired)
    if isinstance(bank, PulseBank):
        return PulseHandle(unit.device, clock, line, bank, wired)
    if isinstance(bank, SensorBank):
        return SensorHandle(unit.device, clock, line, bank, wired)
    if not isinstance(bank, IoModule):
        raise TypeError(unit.make)
    if unit.make == "relay":
        return RelayHandle(unit.device, clock, line, bank, wired)
    points = {name: index for index, name in enumerate(unit.points)}
    return FirePanelHandle(unit.device, clock, line, bank, wired, points=points, fault=_FAULT)


def _device(unit: UnitPlan) -> dict[str, Any]:
    found: dict[str, Any] = {"device": unit.device, "unit": unit.unit, "map": _MAPS[unit.make]}
    if unit.make == "acrel":
        found["parameters"] = {"ct": _CT}
    elif unit.make == "pulse":
        found["parameters"] = {"per_pulse": _PER_PULSE_M3}
    elif unit.make == "relay":
        found["outputs"] = [1]
    elif unit.make == "fire_contacts":
        alarms: dict[int, dict[str, Any]] = {
            index + 1: {"kind": "fire.alarm", "loop": "1", "point": point}
            for index, point in enumerate(unit.points)
        }
        alarms[_FAULT + 1] = {"kind": "fire.fault", "loop": "1", "invert": True}
        found["inputs"] = alarms
    return found
