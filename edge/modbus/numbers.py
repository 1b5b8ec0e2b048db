"""Numbers in registers: types, word order and byte order.

A register is 16 bits, sent high byte first. How a longer number is laid over registers is not
standardised, so a map names it: ``word_order`` big puts the high word first, ``byte_order``
little swaps the bytes inside each word. The four combinations are what vendors call ABCD, CDAB
(word order little), BADC (byte order little) and DCBA (both little).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from typing import Literal

Order = Literal["big", "little"]
NumberType = Literal["u16", "i16", "u32", "i32", "u64", "i64", "f32", "f64", "bcd"]

_WIDTHS = {"u16": 1, "i16": 1, "u32": 2, "i32": 2, "u64": 4, "i64": 4, "f32": 2, "f64": 4}


class BadValueError(Exception):
    """Registers that hold no value of their type."""


def width(kind: NumberType, registers: int | None = None) -> int:
    """Return the number of registers; for ``bcd`` as given, 2 where not."""
    return (registers or 2) if kind == "bcd" else _WIDTHS[kind]


def decode(
    kind: NumberType, words: Sequence[int], *, word_order: Order = "big", byte_order: Order = "big"
) -> int | float | None:
    """Return the number in some registers, None for a float that is no number.

    Raises :class:`BadValueError` for a ``bcd`` with a digit above 9.
    """
    ordered = words if word_order == "big" else words[::-1]
    raw = b"".join(word.to_bytes(2, byte_order) for word in ordered)
    if kind in ("f32", "f64"):
        value: float = struct.unpack(">f" if kind == "f32" else ">d", raw)[0]
        return value if math.isfinite(value) else None
    if kind == "bcd":
        digits = raw.hex()
        if not digits.isdecimal():
            raise BadValueError(f"{digits} is not BCD")
        return int(digits)
    return int.from_bytes(raw, "big", signed=kind.startswith("i"))


def encode(
    kind: NumberType,
    value: float,
    *,
    registers: int | None = None,
    word_order: Order = "big",
    byte_order: Order = "big",
) -> list[int]:
    """Return the registers of a number: the inverse of :func:`decode`.

    Raises :class:`BadValueError` where the number does not fit.
    """
    size = 2 * width(kind, registers)
    try:
        if kind in ("f32", "f64"):
            raw = struct.pack(">f" if kind == "f32" else ">d", value)
        elif kind == "bcd":
            raw = bytes.fromhex(f"{int(value):0{2 * size}d}")
        else:
            raw = int(value).to_bytes(size, "big", signed=kind.startswith("i"))
    except (OverflowError, ValueError, struct.error) as error:
        raise BadValueError(f"{value} does not fit into {kind}: {error}") from None
    if len(raw) != size:
        raise BadValueError(f"{value} does not fit into {kind} of {size // 2} registers")
    words = [int.from_bytes(raw[at : at + 2], byte_order) for at in range(0, size, 2)]
    return words if word_order == "big" else words[::-1]


def tidy(value: float) -> float:
    """Return a scaled number without the dust of binary fractions (0.1 · 3 is 0.3)."""
    return float(f"{value:.12g}")
