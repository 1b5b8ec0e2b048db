"""Registers that do not simply go on: begun again at their capacity, replaced, run backwards.

The next reading decides what a lower reading was. One that is too low, too high or exactly 0
is first withheld (that register only, the rest of the reading goes on): if the register is
back where it was with the next reading, it was a bad transmission and nothing is told. If it
stays, the reading that confirms it carries a ``mark``, and a ``meter.event`` says what
happened, active, and ended with the reading after that.

Not withheld is what is plain: a register that was within 1 % of its capacity and has begun
again within 1 % of 0. A step back of the last digits is a meter's rounding, and no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol, runtime_checkable

from edge.derive.derivation import Derived
from edge.observation import Observation

Mark = Literal["rollover", "replaced", "backwards"]

#: Register -> where it begins again (unless the device's settings say), how far it may step
#: back, and what it can count at most in an hour. Combined energy is none: it may run back.
_ENERGY = (1_000_000.0, 0.1, 10_000.0)
_REGISTERS: Mapping[str, tuple[float, float, float]] = {
    "energy_kwh": _ENERGY, "energy_export_kwh": _ENERGY, "energy_t1_kwh": _ENERGY,
    "energy_t2_kwh": _ENERGY, "energy_t3_kwh": _ENERGY, "energy_t4_kwh": _ENERGY,
    "heat_kwh": _ENERGY, "volume_m3": (1_000_000.0, 0.01, 5_000.0),
}  # fmt: skip
#: So much of the capacity a register may be away from its end and from 0 for a rollover.
_NEAR = 0.01
#: Registers of fewer digits begin again at a power of ten; then it must be nearer.
_NEAR_POWER = 0.001
_LEAST_POWER, _MOST_POWER = 4, 9
#: What a register can have counted without any time having passed (a reading that was late).
_GRACE = 100.0
#: A meter that is new to the place has counted at most so much, or this share of the old one's.
_NEW, _NEW_SHARE = 20.0, 0.01
#: A reading this much older than the last one comes late.
_OUT_OF_ORDER_MS = 3_600_000
_EVENTS: Mapping[Mark, str] = {
    "rollover": "register_rollover", "replaced": "meter_replaced",
    "backwards": "register_backwards",
}  # fmt: skip
#: Which mark a reading carries when its registers differ.
_RANK: tuple[Mark, ...] = ("replaced", "rollover", "backwards")


@runtime_checkable
class HasCapacities(Protocol):
    """Settings of a driver whose meters may have a capacity of their own."""

    def register_capacities(self) -> dict[str, float]:
        """Return device -> capacity of its register."""
        ...


def capacities_of(entries: Iterable[object]) -> dict[str, float]:
    """Return the capacities that the entries of an edge's configuration give, by device."""
    found: dict[str, float] = {}
    for entry in entries:
        if isinstance(entry, HasCapacities):
            found.update(entry.register_capacities())
    return found


@dataclass(slots=True)
class _Register:
    value: float
    at: int
    doubted: float | None = None
    """What the last reading said, where it is not believed yet."""


@dataclass(slots=True)
class _Meter:
    registers: dict[str, _Register] = field(default_factory=dict)
    at: int = 0
    """When the last reading was."""
    mark: Mark | None = None
    """What the last reading was marked with."""
    standing: list[str] = field(default_factory=list)
    """Events that began with the last mark and have not ended."""
    announced: bool = False
    """The driver itself told that another meter is there; the next reading is its first."""


class Registers:
    """Marks readings whose registers did not go on from the one before."""

    name = "registers"
    kinds = frozenset({"meter.reading", "meter.event"})

    def __init__(self, capacities: Mapping[str, float] | None = None) -> None:
        """``capacities`` gives for a device where its register begins again, in its unit."""
        self._capacities = dict(capacities or {})
        self._meters: dict[str, _Meter] = {}

    def take(self, seen: Observation) -> Derived:
        """Judge one reading; a replacement that a driver tells is noted for the next one."""
        if seen.kind == "meter.event":
            data = seen.data
            if data.get("event") == _EVENTS["replaced"] and data.get("active"):
                self._meters.setdefault(seen.device, _Meter()).announced = True
            return Derived(seen)
        meter = self._meters.setdefault(seen.device, _Meter())
        if meter.at - _OUT_OF_ORDER_MS < seen.at < meter.at:
            # It says nothing about what came after it. (More is a clock that was set back.)
            return Derived(seen)
        if seen.at == meter.at:
            return Derived(self._again(meter, seen))
        return self._judge(meter, seen)

    def due(self) -> int | None:
        """Return None: only readings tell."""
        return None

    def wake(self, now: int) -> list[Observation]:
        """Return nothing."""
        del now
        return []

    def memory(self) -> Any:
        """Return each meter's registers."""
        return {
            device: {
                "at": meter.at, "mark": meter.mark, "standing": meter.standing,
                "announced": meter.announced,
                "registers": {
                    name: [register.value, register.at, register.doubted]
                    for name, register in meter.registers.items()
                },
            }
            for device, meter in self._meters.items()
        }  # fmt: skip

    def remember(self, memory: Any) -> None:
        """Take over each meter's registers; what cannot be read is forgotten."""
        if not isinstance(memory, dict):
            return
        for device, raw in memory.items():
            try:
                self._meters[str(device)] = _parse(raw)
            except (KeyError, TypeError, ValueError, AttributeError):
                continue

    def _again(self, meter: _Meter, seen: Observation) -> Observation:
        """Return the same reading as before, with the same mark; nothing follows twice."""
        data = dict(seen.data)
        for name, register in meter.registers.items():
            if register.doubted is not None and data.get(name) == register.doubted:
                del data[name]
        if meter.mark is not None:
            data["mark"] = meter.mark
        return replace(seen, data=data) if data != seen.data else seen

    def _judge(self, meter: _Meter, seen: Observation) -> Derived:
        medium = seen.data.get("medium", "electricity")
        data = dict(seen.data)
        marks: set[Mark] = set()
        doubt = False
        announced, meter.announced = meter.announced, False
        for name in _REGISTERS.keys() & data.keys():
            value = float(data[name])
            register = meter.registers.get(name)
            if register is None or announced:
                meter.registers[name] = _Register(value, seen.at)
                continue
            mark = self._register(seen.device, name, register, value, seen.at)
            if mark == "doubted":
                del data[name]
                doubt = True
            elif mark is not None:
                marks.add(mark)
        if announced:
            # Registers that this reading does not show belong to the meter that is gone.
            for name in meter.registers.keys() - data.keys():
                del meter.registers[name]
            marks = {"replaced"}
        told = next((mark for mark in _RANK if mark in marks), None)
        # While a register is in doubt it is open whether what began goes on.
        ended = [e for e in meter.standing if not doubt and (told is None or e != _EVENTS[told])]
        follows = [_event(seen, medium, event, active=False) for event in ended]
        if told is not None:
            data["mark"] = told
            if not announced and _EVENTS[told] not in meter.standing:
                follows.append(_event(seen, medium, _EVENTS[told], active=True))
        meter.at, meter.mark = seen.at, told
        standing = [event for event in meter.standing if event not in ended]
        if told is not None and _EVENTS[told] not in standing:
            standing.append(_EVENTS[told])
        meter.standing = standing
        observation = replace(seen, data=data) if data != seen.data else seen
        return Derived(observation, follows)

    def _register(
        self, device: str, name: str, register: _Register, value: float, at: int
    ) -> Mark | Literal["doubted"] | None:
        """Judge one register's value and remember it."""
        _, jitter, hourly = _REGISTERS[name]
        before, doubted = register.value, register.doubted
        most = _GRACE + hourly * max(at - register.at, 0) / 3_600_000
        if before - jitter <= value <= before + most:
            register.value, register.at, register.doubted = max(value, before), at, None
            return None
        rolled = self._rolled_over(device, name, before, value)
        # Near what was doubted, on either side: a register may go on running backwards.
        confirmed = doubted is not None and abs(value - doubted) <= most
        if not confirmed and not (rolled and value > 0):
            register.doubted = value
            return "doubted"
        register.value, register.at, register.doubted = value, at, None
        if rolled:
            return "rollover"
        new = value <= max(_NEW, _NEW_SHARE * before) and before - value > _NEW
        return "replaced" if new or value > before else "backwards"

    def _rolled_over(self, device: str, name: str, before: float, value: float) -> bool:
        own = self._capacities.get(device)
        capacity = _REGISTERS[name][0] if own is None else own
        if abs(capacity - before) <= _NEAR * capacity:
            return value <= _NEAR * capacity
        return own is None and any(
            10**power * (1 - _NEAR_POWER) <= before < 10**power and value <= 10**power * _NEAR_POWER
            for power in range(_LEAST_POWER, _MOST_POWER + 1)
            if 10**power != capacity
        )


def _event(seen: Observation, medium: str, event: str, *, active: bool) -> Observation:
    data = {"medium": medium, "event": event, "active": active}
    return Observation("meter.event", seen.device, data, seen.at)


def _parse(raw: dict[str, Any]) -> _Meter:
    mark = raw["mark"]
    return _Meter(
        registers={
            str(name): _Register(float(value), int(at), None if odd is None else float(odd))
            for name, (value, at, odd) in raw["registers"].items()
            if name in _REGISTERS
        },
        at=int(raw["at"]),
        mark=mark if mark in _RANK else None,
        standing=[str(event) for event in raw["standing"] if event in _EVENTS.values()],
        announced=bool(raw["announced"]),
    )
