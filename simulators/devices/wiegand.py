"""Wiegand bits as a reader sends them: 26 bits (H10301) and 34 bits, with their parity."""

from __future__ import annotations

from core.contracts.errors import ContractError


def w26(facility: int, card: int) -> tuple[int, bytes]:
    """Return (26, the bits from the highest of the first byte on) of a facility and a card."""
    if not (0 <= facility <= 0xFF and 0 <= card <= 0xFFFF):
        raise ContractError("a facility has 8 bits and a card 16")
    return 26, _packed(26, facility << 16 | card)


def w34(card: int) -> tuple[int, bytes]:
    """Return (34, the bits from the highest of the first byte on) of a card."""
    if not 0 <= card <= 0xFFFF_FFFF:
        raise ContractError("a card has 32 bits")
    return 34, _packed(34, card)


def _packed(bits: int, data: int) -> bytes:
    half = (bits - 2) // 2
    even = (data >> half).bit_count() & 1
    odd = 1 - ((data & ((1 << half) - 1)).bit_count() & 1)
    word = even << (bits - 1) | data << 1 | odd
    size = (bits + 7) // 8
    return (word << (size * 8 - bits)).to_bytes(size)
