"""The data identifiers that the driver reads, and where their values go in ``meter.reading``."""

from __future__ import annotations

from dataclasses import dataclass

from edge.drivers.dlt645.codec import CodecError, decode_bcd

STATUS_WORD_3 = 0x04000503
_RELAY_OPEN = 1 << 4


@dataclass(frozen=True, slots=True)
class Item:
    """One identifier: the fields it gives, each ``size`` bytes of BCD divided by ``divisor``.

    ``instead`` are the items to read where a meter does not have this one.
    """

    identifier: int
    fields: tuple[str, ...]
    size: int
    divisor: int
    signed: bool = False
    instead: tuple[Item, ...] = ()

    def decode(self, payload: bytes) -> dict[str, float | bool]:
        """Return the values of a reply (without its identifier); raise :class:`CodecError`."""
        if self.identifier == STATUS_WORD_3:
            if len(payload) != 2:
                raise CodecError(f"status word 3 has {len(payload)} bytes")
            word = int.from_bytes(payload, "little")
            return {"relay_closed": not word & _RELAY_OPEN}
        if len(payload) != self.size * len(self.fields):
            raise CodecError(f"{self.identifier:08X} has {len(payload)} bytes")
        values: dict[str, float | bool] = {}
        for index, name in enumerate(self.fields):
            raw = payload[index * self.size : (index + 1) * self.size]
            value = decode_bcd(raw, signed=self.signed)
            if value is not None:
                values[name] = value / self.divisor
        return values


def _phases(base: int, pattern: str, size: int, divisor: int, *, signed: bool) -> tuple[Item, ...]:
    return tuple(
        Item(base | phase << 8, (pattern.format(phase),), size, divisor, signed)
        for phase in (1, 2, 3)
    )


_VOLTAGES = _phases(0x02010000, "voltage_l{}_v", 2, 10, signed=False)
_CURRENTS = _phases(0x02020000, "current_l{}_a", 3, 1000, signed=True)
_ENERGY = Item(
    0x00010000, ("energy_kwh",), 4, 100,
    instead=(Item(0x00000000, ("energy_kwh",), 4, 100, signed=True),),
)  # fmt: skip
_TOTALS = (
    # 0.0001 kW is 0.1 W.
    Item(0x02030000, ("power_w",), 3, 10, signed=True),
    Item(0x02060000, ("power_factor",), 2, 1000, signed=True),
    Item(0x02800002, ("frequency_hz",), 2, 100),
    Item(STATUS_WORD_3, ("relay_closed",), 2, 1),
)


def _block(singles: tuple[Item, ...], identifier: int) -> Item:
    first = singles[0]
    fields = tuple(item.fields[0] for item in singles)
    return Item(identifier, fields, first.size, first.divisor, first.signed, instead=singles)


#: What is read of a meter, by its number of phases. Three phases come in one block read each;
#: a meter that refuses a block is asked phase by phase.
ITEMS: dict[int, tuple[Item, ...]] = {
    1: (_ENERGY, _VOLTAGES[0], _CURRENTS[0], *_TOTALS),
    3: (_ENERGY, _block(_VOLTAGES, 0x0201FF00), _block(_CURRENTS, 0x0202FF00), *_TOTALS),
}
