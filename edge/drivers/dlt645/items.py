"""The data identifiers that the driver reads, and where their values go.

Source: the data identifier tables of DL/T 645-2007 (annex A). Values are packed BCD, low byte
first; of signed ones the top bit is the sign.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from edge.drivers.dlt645.codec import decode_bcd
from edge.meters.frames import CodecError

Values = dict[str, Any]

#: Parts of a meter that can be read more or less often.
Group = Literal[
    "energy", "tariffs", "voltages", "currents", "power", "power_phases", "factor", "frequency",
    "demand", "demand_max", "temperature", "clock", "status", "status_rest", "covers", "counters",
    "number",
]  # fmt: skip
GROUPS: tuple[Group, ...] = get_args(Group)


@dataclass(frozen=True, slots=True)
class Item:
    """One identifier and how its bytes become values.

    ``instead`` are the items to read where a meter does not have this one. Names of values
    with an underscore in front are not fields of ``meter.reading``: the driver works with them.
    """

    identifier: int
    decode: Callable[[bytes], Values]
    instead: tuple[Item, ...] = ()
    unless: int | None = None
    """Not read while the meter has this identifier, which holds the same."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """Decodes numbers of ``size`` bytes each, in units of ``1/divisor``."""

    fields: tuple[str, ...]
    size: int
    divisor: int
    signed: bool = False
    short: bool = False
    """Whether fewer values than fields are right (a meter with two tariffs), or more."""

    def __call__(self, payload: bytes) -> Values:
        """Return the values that are there; raise :class:`CodecError`."""
        whole = len(payload) == self.size * len(self.fields)
        if not whole and not (self.short and payload and len(payload) % self.size == 0):
            raise CodecError(f"{len(payload)} bytes for {len(self.fields)} of {self.size}")
        values: Values = {}
        for index, name in enumerate(self.fields):
            raw = payload[index * self.size : (index + 1) * self.size]
            value = decode_bcd(raw, signed=self.signed) if raw else None
            if value is not None and name:
                values[name] = value / self.divisor
        return values


def _number(identifier: int, name: str, size: int, divisor: int, *, signed: bool = False) -> Item:
    return Item(identifier, Numbers((name,), size, divisor, signed))


def _phases(base: int, pattern: str, size: int, divisor: int, *, signed: bool) -> tuple[Item, ...]:
    return tuple(
        _number(base | phase << 8, pattern.format(phase), size, divisor, signed=signed)
        for phase in (1, 2, 3)
    )


def _demand(payload: bytes) -> Values:
    """Decode XX.XXXX kW and the time YYMMDDhhmm at which it was."""
    if len(payload) != 8:
        raise CodecError(f"{len(payload)} bytes of demand and time")
    value = decode_bcd(payload[:3], signed=True)
    if value is None:
        return {}
    return {"demand_max_w": value / 10, "_demand_max_at": payload[3:][::-1].hex()}


def _date(payload: bytes) -> Values:
    if len(payload) != 4:
        raise CodecError(f"{len(payload)} bytes of date")
    return {"_date": payload[1:][::-1].hex()}


def _time(payload: bytes) -> Values:
    if len(payload) != 3:
        raise CodecError(f"{len(payload)} bytes of time")
    return {"_time": payload[::-1].hex()}


def _meter_number(payload: bytes) -> Values:
    if len(payload) != 6:
        raise CodecError(f"{len(payload)} bytes of meter number")
    return {"_number": payload[::-1].hex().upper()}


def _word(number: int) -> Callable[[bytes], Values]:
    def decode(payload: bytes) -> Values:
        if len(payload) != 2:
            raise CodecError(f"status word {number} has {len(payload)} bytes")
        return {"_words": {number: int.from_bytes(payload, "little")}}

    return decode


def _words(payload: bytes) -> Values:
    if len(payload) != 14:
        raise CodecError(f"seven status words of {len(payload)} bytes")
    return {
        "_words": {
            number: int.from_bytes(payload[2 * number - 2 : 2 * number], "little")
            for number in range(1, 8)
        }
    }


def _count(identifier: int) -> Item:
    """Return a counter: 3 bytes, or for each phase 3 bytes and 3 of accumulated minutes."""

    def decode(payload: bytes) -> Values:
        if len(payload) == 3:
            counts = [decode_bcd(payload)]
        elif payload and len(payload) % 6 == 0:
            counts = [decode_bcd(payload[at : at + 3]) for at in range(0, len(payload), 6)]
        else:
            raise CodecError(f"{identifier:08X} has {len(payload)} bytes")
        return {"_counts": {identifier: [count or 0 for count in counts]}}

    return Item(identifier, decode)


COVER, TERMINAL_COVER = 0x03300D00, 0x03300E00
POWER_OFF = 0x03110000
#: Counter -> the event that each count is one of.
COUNTERS: Mapping[int, str] = {
    COVER: "cover_opened", TERMINAL_COVER: "terminal_cover_opened", POWER_OFF: "power_off",
    0x03010000: "phase_loss", 0x03020000: "undervoltage", 0x03030000: "overvoltage",
    0x03040000: "phase_loss", 0x03050000: "phase_loss", 0x030C0000: "overcurrent",
    0x030F0000: "overload",
}  # fmt: skip
STATUS_BLOCK, STATUS_WORD_1 = 0x040005FF, 0x04000501

_VOLTAGES = _phases(0x02010000, "voltage_l{}_v", 2, 10, signed=False)
_CURRENTS = _phases(0x02020000, "current_l{}_a", 3, 1000, signed=True)
# 0.0001 kW is 0.1 W.
_POWERS = _phases(0x02030000, "power_l{}_w", 3, 10, signed=True)
_POWER = _number(0x02030000, "power_w", 3, 10, signed=True)
_FORWARD = _number(0x00010000, "energy_kwh", 4, 100)
#: In place of forward energy, where a meter counts without direction.
_COMBINED = _number(0x00000000, "energy_kwh", 4, 100, signed=True)
_TARIFFS = ("energy_t1_kwh", "energy_t2_kwh", "energy_t3_kwh", "energy_t4_kwh")


def _block(singles: tuple[Item, ...], identifier: int, *, total: str | None = None) -> Item:
    numbers = [item.decode for item in singles]
    first = numbers[0]
    if not isinstance(first, Numbers):
        raise TypeError("a block is made of numbers")
    fields = tuple(n.fields[0] for n in numbers if isinstance(n, Numbers))
    lead = () if total is None else (total,)
    return Item(
        identifier, Numbers((*lead, *fields), first.size, first.divisor, first.signed),
        instead=singles,
    )  # fmt: skip


#: What a meter is asked for, by group.
Catalogue = Mapping[Group, tuple[Item, ...]]


def electricity(phases: int) -> Catalogue:
    """Return what an electricity meter with one or three phases is asked for.

    Three phases come in one block read each; a meter that refuses a block is asked one by one.
    """
    three = phases == 3
    # Word 3 has the relay; a meter without the block is asked for the others less often.
    word_3 = Item(STATUS_WORD_1 + 2, _word(3))
    rest = tuple(
        Item(STATUS_WORD_1 + number - 1, _word(number), unless=STATUS_BLOCK)
        for number in ((1, 2, 4, 5, 6, 7) if three else (1, 4, 7))
    )
    tariffs = Item(
        0x0001FF00,
        Numbers(("", *_TARIFFS), 4, 100, short=True),
        instead=tuple(
            _number(0x00010000 | tariff << 8, name, 4, 100)
            for tariff, name in enumerate(_TARIFFS, 1)
        ),
    )
    groups: dict[Group, tuple[Item, ...]] = {
        "energy": (replace(_FORWARD, instead=(_COMBINED,)),),
        "power": (_POWER,),
        "voltages": (_block(_VOLTAGES, 0x0201FF00) if three else _VOLTAGES[0],),
        "currents": (_block(_CURRENTS, 0x0202FF00) if three else _CURRENTS[0],),
        "factor": (_number(0x02060000, "power_factor", 2, 1000, signed=True),),
        "frequency": (_number(0x02800002, "frequency_hz", 2, 100),),
        "status": (Item(STATUS_BLOCK, _words, instead=(word_3,)),),
        "status_rest": rest,
        "tariffs": (
            tariffs,
            _number(0x00020000, "energy_export_kwh", 4, 100),
            _number(0x00000000, "energy_combined_kwh", 4, 100, signed=True),
        ),
        "demand": (_number(0x02800004, "demand_w", 3, 10, signed=True),),
        "temperature": (_number(0x02800007, "temperature_c", 2, 10, signed=True),),
        "covers": (_count(COVER), _count(TERMINAL_COVER)),
        "demand_max": (Item(0x01010000, _demand),),
        "clock": (Item(0x04000101, _date), Item(0x04000102, _time)),
        "counters": tuple(
            _count(identifier)
            for identifier in COUNTERS
            if identifier not in (COVER, TERMINAL_COVER)
        ),
        "number": (Item(0x04000402, _meter_number),),
    }  # fmt: skip
    if three:
        groups["power_phases"] = (_block(_POWERS, 0x0203FF00, total="power_w"),)
    return groups


def counter_of(medium: str, identifier: int, decimals: int) -> Catalogue:
    """Return what a water, gas or heat meter behind a DL/T 645 gateway is asked for.

    Such gateways put the meter's register where an electricity meter has its energy, in the
    same format; which identifier it is differs, and so it is a setting.
    """
    name = "heat_kwh" if medium == "heat" else "volume_m3"
    register = _number(identifier, name, 4, 10**decimals)
    status = Item(STATUS_WORD_1 + 2, _word(3), instead=(Item(STATUS_BLOCK, _words),))
    battery = Item(STATUS_WORD_1, _word(1))
    return {"energy": (register,), "status": (status,), "status_rest": (battery,)}
