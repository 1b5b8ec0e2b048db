"""Register maps of lifts: ``default.yaml`` beside this file documents them.

The format is older than the general one of :mod:`edge.modbus.maps` and knows lifts: it is turned
into a general map, so that reading, decoding and telling are the same for all.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from core.contracts.errors import SettingsError
from core.contracts.vocabulary import ElevatorStatus
from core.runtime.settings import parse, read_yaml
from edge.drivers.elevator_modbus.fault_codes import FAULTS, FaultCodes, table
from edge.drivers.settings import Section
from edge.modbus import maps
from edge.modbus.blocks import Image
from edge.modbus.meaning import DeviceMap, Reading

DEFAULT = Path(__file__).with_name("default.yaml")
Address = Annotated[int, Field(ge=0, le=65_535)]
Word = Annotated[int, Field(ge=0, le=65_535)]
RegisterTable = Literal["holding", "input"]
_REQUIRED = frozenset(n for n, field in ElevatorStatus.model_fields.items() if field.is_required())
_MODE = "service_mode"


class FieldMap(Section):
    """Where one field of ``elevator.status`` is and what it means."""

    register_: Address = Field(alias="register")
    table: RegisterTable | None = None
    type: Literal["u16", "i16", "u32", "i32"] = "u16"
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    invert: bool = False
    scale: float = 1
    enum: dict[int, bool | int | str] | None = None
    otherwise: str | int | bool | None = None
    absent: int | None = None

    @property
    def width(self) -> int:
        """Return the number of registers."""
        return 2 if self.type.endswith("32") else 1

    def general(self) -> dict[str, Any]:
        """Return it as the general maps have it."""
        found = self.model_dump(exclude_none=True, exclude={"register_"}, exclude_defaults=True)
        return {**found, "address": self.register_}


class ReadMap(Section):
    """What one request reads."""

    table: RegisterTable = "holding"
    address: Address = 0
    count: Annotated[int, Field(ge=1, le=125)]


class FaultMap(Section):
    """Registers that hold one fault code each, and what the codes mean."""

    registers: Annotated[list[Address], Field(max_length=16)] = Field(default_factory=list)
    none: Word = 0
    variant: str | None = None
    codes: dict[Word, str] = Field(default_factory=dict)
    status_codes: list[Word] = Field(default_factory=list)
    alarm_codes: list[Word] = Field(default_factory=list)

    def meaning(self, variant: str | None, where: str) -> FaultCodes:
        """Return what the codes mean; ``variant`` replaces the map's own table and codes."""
        own = FaultCodes(codes=self.codes, alarms=self.alarm_codes)
        if variant is not None:
            return table(variant, where)
        return own.over(table(self.variant, where)) if self.variant is not None else own


class RegisterMap(Section):
    """A whole register map."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    read: ReadMap | list[ReadMap]
    word_order: Literal["big", "little"] = "big"
    fields: dict[str, FieldMap]
    faults: FaultMap = FaultMap()

    @property
    def reads(self) -> list[ReadMap]:
        """Return the reads, the first of which gives the table of what names none."""
        return self.read if isinstance(self.read, list) else [self.read]

    @model_validator(mode="after")
    def _consistent(self) -> RegisterMap:
        known = ElevatorStatus.model_fields
        if not self.reads:
            raise ValueError("read: at least one")
        for name in self.fields:
            if name not in known:
                raise ValueError(f"elevator.status has no field {name}; it has {', '.join(known)}")
        derived = {_MODE} if self.faults.registers else set()
        if missing := _REQUIRED - derived - self.fields.keys():
            raise ValueError(f"fields missing: {', '.join(sorted(missing))}")
        own = self.reads[0].table
        used = [(f.table or own, f.register_, f.width) for f in self.fields.values()]
        used += [(own, register, 1) for register in self.faults.registers]
        for where, register, width in used:
            if not any(_covers(read, where, register, width) for read in self.reads):
                ranges = ", ".join(f"{r.address} to {r.address + r.count - 1}" for r in self.reads)
                raise ValueError(f"register {register} is outside of read ({ranges})")
        for code, fault in self.faults.codes.items():
            if fault not in FAULTS:
                raise ValueError(f"faults.codes.{code}: {fault}; known: {sorted(FAULTS)}")
        return self


def _covers(read: ReadMap, where: str, register: int, width: int) -> bool:
    inside = read.address <= register <= read.address + read.count - width
    return read.table == where and inside


@dataclass(frozen=True, slots=True)
class LiftMap:
    """A lift's map as the driver works with it."""

    device_map: DeviceMap
    modes: dict[int, str]
    alarms: frozenset[int]
    has_mode: bool

    def complete(self, reading: Reading) -> dict[str, Any] | None:
        """Return the data of ``elevator.status``, None where it lacks a required field.

        What the codes say and the registers do not, is filled in.
        """
        status = next((d for kind, d in reading.observations if kind == "elevator.status"), None)
        codes = set().union(*reading.codes.values())
        if status is None:
            return None
        if status.get(_MODE, "unknown") == "unknown" and (not self.has_mode or codes):
            found = [self.modes[code] for code in sorted(codes, reverse=True) if code in self.modes]
            fallback = status.get(_MODE, "normal" if reading.codes else "unknown")
            status[_MODE] = found[0] if found else fallback
        if codes & self.alarms:
            status["alarm_button"] = True
        return None if reading.incomplete else status

    def read(self, image: Image) -> Reading:
        """Return what the registers say."""
        return self.device_map.read(image)


def load(name: str, base: Path, fault_codes: str | None = None) -> LiftMap:
    """Read ``default`` or a map's file; raise :class:`SettingsError`.

    ``fault_codes`` is a table of codes that holds in place of the map's own.
    """
    path = DEFAULT if name == "default" else base / name
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping")
    found = parse(RegisterMap, raw, str(path))
    codes = found.faults.meaning(fault_codes, str(path))
    general: dict[str, Any] = {
        "name": found.name,
        "table": found.reads[0].table,
        "word_order": found.word_order,
        "reads": [read.model_dump() for read in found.reads],
        "states": {
            "elevator.status": {name: field.general() for name, field in found.fields.items()}
        },
    }
    if found.faults.registers:
        plain = [code for code in codes.modes if code not in codes.codes]
        general["codes"] = [
            {
                "kind": "elevator.fault",
                "field": "fault",
                "addresses": found.faults.registers,
                "none": found.faults.none,
                "names": codes.codes,
                "ignore": [*found.faults.status_codes, *plain, *codes.alarms],
                "digits": codes.digits or 2,
            }
        ]
    filled_in = frozenset({_MODE}) if _MODE not in found.fields else frozenset()
    return LiftMap(
        maps.build(general, str(path), filled_in=filled_in),
        codes.modes,
        frozenset(codes.alarms),
        _MODE in found.fields,
    )
