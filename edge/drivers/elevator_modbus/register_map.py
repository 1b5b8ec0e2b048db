"""Register maps: which register means what. ``default.yaml`` beside this file documents them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from core.contracts.errors import SettingsError
from core.contracts.vocabulary import ElevatorFault, ElevatorStatus
from core.runtime.settings import parse, read_yaml
from edge.driver import LinkError
from edge.drivers.settings import Section

DEFAULT = Path(__file__).with_name("default.yaml")
Address = Annotated[int, Field(ge=0, le=65_535)]
Word = Annotated[int, Field(ge=0, le=65_535)]
_FAULTS = frozenset(get_args(ElevatorFault.model_fields["fault"].annotation))
#: Fields that come from the faults as well as from a register, or that a map may leave out.
_REQUIRED = frozenset(n for n, field in ElevatorStatus.model_fields.items() if field.is_required())


class FieldMap(Section):
    """Where one field of ``elevator.status`` is and what it means."""

    register_: Address = Field(alias="register")
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

    def decode(self, words: Sequence[int], *, high_first: bool) -> Any:
        """Return the value, None where it is not known; raise :class:`LinkError`."""
        raw = self._number(words, high_first=high_first)
        if self.absent is not None and raw == self.absent:
            return None
        if self.bit is not None:
            return bool(raw >> self.bit & 1) is not self.invert
        if self.enum is not None:
            if raw in self.enum:
                return self.enum[raw]
            if self.otherwise is None:
                text = f"register {self.register_}: {raw} is not in the register map"
                raise LinkError(text, "protocol")
            return self.otherwise
        return raw if self.scale == 1 else raw * self.scale

    def _number(self, words: Sequence[int], *, high_first: bool) -> int:
        if self.width == 1:
            return _signed(words[0], 16) if self.type == "i16" else words[0]
        high, low = (words[0], words[1]) if high_first else (words[1], words[0])
        value = high << 16 | low
        return _signed(value, 32) if self.type == "i32" else value


class ReadMap(Section):
    """What one poll reads."""

    table: Literal["holding", "input"] = "holding"
    address: Address = 0
    count: Annotated[int, Field(ge=1, le=125)]


class FaultMap(Section):
    """Registers that hold one fault code each, and what the codes mean."""

    registers: Annotated[list[Address], Field(max_length=16)] = Field(default_factory=list)
    none: Word = 0
    codes: dict[Word, str] = Field(default_factory=dict)
    status_codes: list[Word] = Field(default_factory=list)
    alarm_codes: list[Word] = Field(default_factory=list)


class RegisterMap(Section):
    """A whole register map."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    read: ReadMap
    word_order: Literal["big", "little"] = "big"
    fields: dict[str, FieldMap]
    faults: FaultMap = FaultMap()

    @model_validator(mode="after")
    def _consistent(self) -> RegisterMap:
        known = ElevatorStatus.model_fields
        for name in self.fields:
            if name not in known:
                raise ValueError(f"elevator.status has no field {name}; it has {', '.join(known)}")
        if missing := _REQUIRED - self.fields.keys():
            raise ValueError(f"fields missing: {', '.join(sorted(missing))}")
        first, last = self.read.address, self.read.address + self.read.count
        used = [(f.register_, f.width) for f in self.fields.values()]
        used += [(register, 1) for register in self.faults.registers]
        for register, width in used:
            if not first <= register <= last - width:
                raise ValueError(f"register {register} is outside of read ({first} to {last - 1})")
        for code, fault in self.faults.codes.items():
            if fault not in _FAULTS:
                raise ValueError(f"faults.codes.{code}: {fault}; known: {sorted(_FAULTS)}")
        return self

    def decode(self, words: Sequence[int]) -> LiftState:
        """Return what the registers of one read say; raise :class:`LinkError`."""
        if len(words) != self.read.count:
            raise LinkError(f"{len(words)} registers instead of {self.read.count}", "protocol")
        base = self.read.address
        status: dict[str, Any] = {}
        for name, field in self.fields.items():
            start = field.register_ - base
            value = field.decode(
                words[start : start + field.width], high_first=self.word_order == "big"
            )
            if value is not None:
                status[name] = float(value) if name in _FLOATS else value
        codes = {words[register - base] for register in self.faults.registers}
        codes.discard(self.faults.none)
        alarm = codes & set(self.faults.alarm_codes)
        if alarm:
            status["alarm_button"] = True
        faults = codes - alarm - set(self.faults.status_codes)
        return LiftState(status, {code: self.faults.codes.get(code, "other") for code in faults})


@dataclass(frozen=True, slots=True)
class LiftState:
    """One reading: the data of ``elevator.status``, and raw fault code -> normalised fault."""

    status: dict[str, Any]
    faults: dict[int, str]


_FLOATS = frozenset({"load_kg", "running_h"})


def load(name: str, base: Path) -> RegisterMap:
    """Read ``default`` or a map's file; raise :class:`SettingsError`."""
    path = DEFAULT if name == "default" else base / name
    raw = read_yaml(path)
    if not isinstance(raw, dict):
        raise SettingsError(f"{path}: expected a mapping")
    return parse(RegisterMap, raw, str(path))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value
