"""One value in a register map: where it is, and how its registers become it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from edge.drivers.settings import Section
from edge.modbus import numbers
from edge.modbus.numbers import BadValueError, NumberType, Order
from edge.modbus.questions import BIT_TABLES, Table

Address = Annotated[int, Field(ge=0, le=65_535)]
Scalar = bool | int | float | str
#: Reads some registers of a table: None where they were not read.
Look = Callable[[str, int, int], Sequence[int] | None]

_LAST = 65_536


class Factor(Section):
    """A register that another value is multiplied by (a transformer's ratio)."""

    table: Table | None = None
    address: Address
    type: NumberType = "u16"
    scale: float = 1


class Source(Section):
    """Where a value is, and what its raw number means."""

    table: Table | None = None
    """The map's own table where it is left out."""
    address: Address
    type: NumberType | None = None
    """``u16`` where it is left out; bits have none."""
    registers: Annotated[int, Field(ge=1, le=4)] | None = None
    """For ``bcd``: how many registers (2)."""
    word_order: Order | None = None
    byte_order: Order | None = None
    bit: Annotated[int, Field(ge=0, le=15)] | None = None
    """The value is this bit of the register, 0 the lowest."""
    invert: bool = False
    """A bit that means yes when it is 0."""
    absent: list[float] | float | None = None
    """Raw numbers that mean "not known": the value is left out."""
    enum: dict[int, Scalar] | None = None
    """Raw number -> value."""
    otherwise: Scalar | None = None
    """What a raw number that ``enum`` lacks means; without it, it is a bad value."""
    scale: float = 1
    offset: float = 0
    times: list[float | Factor] = Field(default_factory=list)
    """Numbers, or registers, that the scaled value is multiplied by."""

    @model_validator(mode="after")
    def _consistent(self) -> Source:
        if self.table in BIT_TABLES and (self.type or self.bit is not None or self.times):
            raise ValueError(f"a {self.table} is one bit: it has no type, bit or times")
        if self.invert and self.bit is None and self.table not in (None, *BIT_TABLES):
            raise ValueError("invert is for bits: give bit, or a table of bits")
        if self.bit is not None and (self.type not in (None, "u16") or self.enum):
            raise ValueError("bit is of one u16 register, and needs no enum")
        if self.registers is not None and self.type != "bcd":
            raise ValueError("registers is for bcd; the other types have their own length")
        if self.otherwise is not None and self.enum is None:
            raise ValueError("otherwise belongs to enum")
        scaled = self.scale != 1 or self.offset != 0 or self.times
        if scaled and (self.enum is not None or self.bit is not None):
            raise ValueError("a bit or an enum is not scaled")
        if self.address + self.width > _LAST:
            raise ValueError(f"{self.address}: beyond the last register")
        return self

    @property
    def is_bit(self) -> bool:
        """Tell whether the value is yes or no."""
        return self.bit is not None or self.table in BIT_TABLES

    @property
    def width(self) -> int:
        """Return the number of registers (or bits)."""
        return 1 if self.is_bit else numbers.width(self.type or "u16", self.registers)

    def placed(self, table: Table, word_order: Order, byte_order: Order) -> Source:
        """Return it with everything filled in that it takes from its map."""
        times: list[float | Factor] = [
            item.model_copy(update={"table": item.table or self.table or table})
            if isinstance(item, Factor)
            else item
            for item in self.times
        ]
        return self.model_copy(
            update={
                "table": self.table or table,
                "word_order": self.word_order or word_order,
                "byte_order": self.byte_order or byte_order,
                "times": times,
            }
        )

    def spans(self) -> list[tuple[Table, int, int]]:
        """Return the (table, address, count) that it needs; only of a placed one."""
        own: Table = self.table or "holding"
        return [
            (own, self.address, self.width),
            *(
                (item.table or own, item.address, numbers.width(item.type))
                for item in self.times
                if isinstance(item, Factor)
            ),
        ]

    def decode(self, look: Look) -> Any:
        """Return the value, None where it is absent or was not read.

        Raises :class:`BadValueError` that names the register.
        """
        own: Table = self.table or "holding"
        words = look(own, self.address, self.width)
        if words is None:
            return None
        try:
            return self._meaning(words, look)
        except BadValueError as error:
            raise BadValueError(f"{own} register {self.address}: {error}") from None

    def _meaning(self, words: Sequence[int], look: Look) -> Any:
        if self.is_bit:
            return bool(words[0] >> (self.bit or 0) & 1) is not self.invert
        raw = self._number(words, self.type or "u16")
        if raw is None or raw in self._absences:
            return None
        if self.enum is not None:
            if raw in self.enum:
                return self.enum[int(raw)]
            if self.otherwise is None:
                raise BadValueError(f"{raw} is not in the register map")
            return self.otherwise
        if self.scale == 1 and self.offset == 0 and not self.times:
            return raw
        value = raw * self.scale + self.offset
        for item in self.times:
            factor = self._factor(item, look) if isinstance(item, Factor) else item
            if factor is None:
                return None
            value *= factor
        return numbers.tidy(value)

    def _number(self, words: Sequence[int], kind: NumberType) -> float | None:
        return numbers.decode(
            kind, words, word_order=self.word_order or "big", byte_order=self.byte_order or "big"
        )

    def _factor(self, item: Factor, look: Look) -> float | None:
        words = look(item.table or "holding", item.address, numbers.width(item.type))
        if words is None:
            return None
        raw = self._number(words, item.type)
        return None if raw is None else raw * item.scale

    @property
    def _absences(self) -> Sequence[float]:
        if isinstance(self.absent, list):
            return self.absent
        return () if self.absent is None else (self.absent,)


class ReadSpec(Section):
    """Registers that are read in one go, because a device wants it so."""

    table: Table | None = None
    address: Address
    count: Annotated[int, Field(ge=1, le=2_000)]


class EventSpec(Section):
    """An event that begins when a value is true (or one of ``when``) and ends when it is not."""

    kind: str
    data: dict[str, Scalar] = Field(default_factory=dict)
    """What the event says beside ``active``."""
    when: list[int] | None = None
    """The raw numbers that mean that it is active; without it, a bit or any number but 0."""
    first: bool = False
    """Tell it once at the start, too, when it is not active."""
    value: Source


class CodesSpec(Section):
    """Registers that each hold one code; each code is an event that begins and ends."""

    kind: str
    data: dict[str, Scalar] = Field(default_factory=dict)
    field: str
    """The field of the event that the code's name goes into."""
    addresses: Annotated[list[Address], Field(min_length=1, max_length=32)]
    table: Table | None = None
    none: int = 0
    """The number that means that there is no code."""
    names: dict[int, str] = Field(default_factory=dict)
    """Code -> value of ``field``."""
    otherwise: str = "other"
    """The value for codes that ``names`` lacks; the raw code is kept."""
    ignore: list[int] = Field(default_factory=list)
    """Codes that are no event."""
    raw: Literal["decimal", "hex"] = "decimal"
    digits: Annotated[int, Field(ge=1, le=8)] = 2
    """How a code is written in ``raw_code``."""

    def written(self, code: int) -> str:
        """Return a code as ``raw_code`` has it."""
        return f"{code:0{self.digits}{'X' if self.raw == 'hex' else 'd'}}"


class SensorSpec(Section):
    """A number that has no kind of its own."""

    quantity: Annotated[str, Field(min_length=1, max_length=64)]
    unit: Annotated[str, Field(max_length=24)]
    value: Source


class OutputSpec(Section):
    """A relay that can be switched."""

    table: Literal["coil", "holding"] = "coil"
    address: Address
    value_on: Annotated[int, Field(ge=0, le=65_535)] = 1
    value_off: Annotated[int, Field(ge=0, le=65_535)] = 0
    """What is written; a coil takes 1 and 0 (exchange them for a normally closed contact)."""
    pulse: Address | None = None
    """A holding register that switches the output on for so many tenths of a second and off
    again by itself."""

    @model_validator(mode="after")
    def _coils_are_bits(self) -> OutputSpec:
        if self.table == "coil" and {self.value_on, self.value_off} != {0, 1}:
            raise ValueError("a coil takes 1 and 0 as value_on and value_off")
        if self.value_on == self.value_off:
            raise ValueError("value_on and value_off are the same")
        return self


class ProbeSpec(Section):
    """A value by which a device that does not name itself can be told, and its bounds."""

    value: Source
    least: float
    most: float


class IdentifySpec(Section):
    """How a scan tells this device: by what it says of itself, or by plausible values."""

    names: list[str] = Field(default_factory=list)
    """Parts of the vendor's or product's name (function 43/14), in lower case."""
    probes: list[ProbeSpec] = Field(default_factory=list)
    """All of them must hold."""


class Parameter(Section):
    """Something that a map leaves to each device; ``${name}`` stands for it in the map."""

    about: Annotated[str, Field(max_length=300)] = ""
    default: Scalar | None = None
    """None: every device must give it."""
    choices: list[Scalar] | None = None
