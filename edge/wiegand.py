"""Wiegand card formats: bits from a reader to a number that names the card.

A reader sends the bits in the order in which they came over D0 and D1, the first one first; in
OSDP's RAW reply they are packed the same way, the first bit being the highest of the first
byte. Two formats are understood, each with a leading even and a trailing odd parity bit over
half of the data: 26 bits (H10301: 8 bits facility, 16 bits card) and 34 bits (32 bits card).
Of any other length nobody can say where its parity bits are, so its bits name the card as they
came.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The longest read that is taken: more than any format in use, less than a line's noise gives.
LONGEST_BITS = 256
_FACILITY_BITS = {26: 8, 34: 0}


class WiegandError(ValueError):
    """The bits are no card: wrong length, wrong parity, or too few bytes."""


@dataclass(frozen=True, slots=True)
class Card:
    """One card; ``facility`` is None where the format has none."""

    bits: int
    number: int
    facility: int | None = None

    @property
    def identifier(self) -> str:
        """Return the text that names the card, the same on every reader of this format."""
        if self.bits == 26:
            return f"w26-{self.facility}-{self.number}"
        if self.bits == 34:
            return f"w34-{self.number}"
        return f"raw{self.bits}-{self.number:x}"


def decode(bits: int, data: bytes) -> Card:
    """Return the card of a read; raise :class:`WiegandError`.

    ``bits`` says how many of the bits of ``data`` count, from the highest of the first byte on;
    what fills up the last byte is ignored.
    """
    if not 1 <= bits <= LONGEST_BITS:
        raise WiegandError(f"{bits} bits are no card")
    if len(data) != (bits + 7) // 8:
        raise WiegandError(f"{bits} bits in {len(data)} bytes")
    word = int.from_bytes(data) >> (-bits % 8)
    if bits not in _FACILITY_BITS:
        return Card(bits, word)
    half = bits // 2
    # Parity of each half together with its parity bit: the first even, the last odd.
    if (word >> half).bit_count() % 2 != 0:
        raise WiegandError("the leading parity bit is wrong")
    if (word & ((1 << half) - 1)).bit_count() % 2 != 1:
        raise WiegandError("the trailing parity bit is wrong")
    payload = (word >> 1) & ((1 << (bits - 2)) - 1)
    if bits == 26:
        return Card(26, payload & 0xFFFF, payload >> 16)
    return Card(34, payload)
