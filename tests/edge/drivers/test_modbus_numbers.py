"""Numbers in registers, and which reads bring them."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge.modbus.blocks import Image, Span, plan
from edge.modbus.fields import Source
from edge.modbus.numbers import BadValueError, decode, encode, tidy, width

ORDERS = st.sampled_from(["big", "little"])
RANGES = {
    "u16": (0, 2**16 - 1), "i16": (-(2**15), 2**15 - 1), "u32": (0, 2**32 - 1),
    "i32": (-(2**31), 2**31 - 1), "u64": (0, 2**64 - 1), "i64": (-(2**63), 2**63 - 1),
}  # fmt: skip


@given(st.sampled_from(sorted(RANGES)), st.data(), ORDERS, ORDERS)
def test_whole_numbers_come_back(kind: Any, data: st.DataObject, words: Any, octets: Any) -> None:
    value = data.draw(st.integers(*RANGES[kind]))
    registers = encode(kind, value, word_order=words, byte_order=octets)
    assert len(registers) == width(kind)
    assert all(0 <= register <= 0xFFFF for register in registers)
    assert decode(kind, registers, word_order=words, byte_order=octets) == value


@given(st.sampled_from(["f32", "f64"]), st.floats(width=32, allow_nan=False), ORDERS, ORDERS)
def test_floats_come_back(kind: Any, value: float, words: Any, octets: Any) -> None:
    registers = encode(kind, value, word_order=words, byte_order=octets)
    found = decode(kind, registers, word_order=words, byte_order=octets)
    assert found == (value if math.isfinite(value) else None)


@given(st.integers(1, 4), st.data(), ORDERS, ORDERS)
def test_bcd_comes_back(size: int, data: st.DataObject, words: Any, octets: Any) -> None:
    value = data.draw(st.integers(0, 10 ** (4 * size) - 1))
    registers = encode("bcd", value, registers=size, word_order=words, byte_order=octets)
    assert decode("bcd", registers, word_order=words, byte_order=octets) == value


@given(
    st.sampled_from([*RANGES, "f32", "f64", "bcd"]),
    st.lists(st.integers(0, 0xFFFF), min_size=4, max_size=4), ORDERS, ORDERS,
)  # fmt: skip
def test_any_registers_are_a_number_or_none(
    kind: Any, registers: list[int], words: Any, octets: Any
) -> None:
    registers = registers[: width(kind)]
    try:
        found = decode(kind, registers, word_order=words, byte_order=octets)
    except BadValueError:
        assert kind == "bcd"
    else:
        assert found is None or math.isfinite(found)


@pytest.mark.parametrize(
    ("kind", "registers", "orders", "value"),
    [
        ("u16", [0x8000], ("big", "big"), 32768),
        ("i16", [0xFFFE], ("big", "big"), -2),
        ("u16", [0x1234], ("big", "little"), 0x3412),
        ("u32", [0x0001, 0x0002], ("big", "big"), 65538),
        ("u32", [0x0002, 0x0001], ("little", "big"), 65538),
        ("u32", [0x0100, 0x0200], ("big", "little"), 65538),  # BADC
        ("u32", [0x0200, 0x0100], ("little", "little"), 65538),  # DCBA
        ("i32", [0xFFFF, 0xFFFE], ("big", "big"), -2),
        ("u64", [0, 1, 0, 0], ("big", "big"), 2**32),
        ("f32", [0x435C, 0x8000], ("big", "big"), 220.5),
        ("f32", [0x8000, 0x435C], ("little", "big"), 220.5),
        ("f64", [0x406B, 0x9000, 0, 0], ("big", "big"), 220.5),
        ("bcd", [0x1234, 0x5678], ("big", "big"), 12345678),
        ("f32", [0x7FC0, 0], ("big", "big"), None),
    ],
)
def test_vectors(kind: Any, registers: list[int], orders: Any, value: float | None) -> None:
    assert decode(kind, registers, word_order=orders[0], byte_order=orders[1]) == value


def test_what_does_not_fit_is_refused() -> None:
    for kind, value in (("u16", 65536), ("u16", -1), ("i16", 40_000), ("bcd", -1), ("f32", 1e300)):
        with pytest.raises(BadValueError):
            encode(kind, value)  # type: ignore[arg-type]
    with pytest.raises(BadValueError, match="not BCD"):
        decode("bcd", [0x12AB, 0])


def look(values: dict[int, int]) -> Any:
    def find(table: str, address: int, count: int) -> list[int] | None:
        words = [values.get(address + offset) for offset in range(count)]
        return None if None in words else words  # type: ignore[return-value]

    return find


def source(**raw: Any) -> Source:
    return Source.model_validate({"address": 0, **raw}).placed("holding", "big", "big")


@pytest.mark.parametrize(
    ("raw", "values", "expected"),
    [
        ({"scale": 0.1}, {0: 2205}, 220.5),
        ({"scale": 0.1}, {0: 3}, 0.3),
        ({"scale": 0.5, "offset": -40}, {0: 130}, 25),
        ({"type": "u32", "scale": 0.01, "times": [40, 2]}, {0: 0, 1: 100}, 80),
        ({"times": [{"address": 9, "scale": 0.1}]}, {0: 7, 9: 50}, 35),
        ({"times": [{"address": 9, "type": "u32"}]}, {0: 7, 9: 0, 10: 3}, 21),
        ({"times": [{"address": 9}]}, {0: 7}, None),  # the ratio could not be read
        ({"absent": 0xFFFF}, {0: 0xFFFF}, None),
        ({"absent": [0x7FFF, 0x8000]}, {0: 0x8000}, None),
        ({"type": "i16", "absent": -1}, {0: 0xFFFF}, None),
        ({"bit": 3}, {0: 0b1000}, True),
        ({"bit": 3, "invert": True}, {0: 0b1000}, False),
        ({"table": "discrete"}, {0: 1}, True),
        ({"table": "coil", "invert": True}, {0: 1}, False),
        ({"enum": {1: "up", 2: "down"}}, {0: 2}, "down"),
        ({"enum": {1: "up"}, "otherwise": "none"}, {0: 7}, "none"),
        ({}, {}, None),
    ],
)
def test_a_field_s_meaning(raw: dict[str, Any], values: dict[int, int], expected: Any) -> None:
    assert source(**raw).decode(look(values)) == expected


def test_a_bad_value_names_its_register() -> None:
    with pytest.raises(BadValueError, match="holding register 0: 9 is not in the register map"):
        source(enum={1: True}).decode(look({0: 9}))


@given(
    st.lists(
        st.tuples(st.sampled_from(["holding", "input", "discrete"]), st.integers(0, 400),
                  st.integers(1, 4)), min_size=1, max_size=30,
    ), st.integers(0, 20), st.integers(4, 125),
)  # fmt: skip
def test_every_value_is_read_and_no_read_is_too_long(
    needed: list[Any], gap: int, most: int
) -> None:
    spans = [Span(*item) for item in needed]
    image = Image()
    for block in plan(spans, gap=gap, most=most):
        assert block.span.count <= (2_000 if block.span.table == "discrete" else most)
        image.add(block.span, [7] * block.span.count)
        for part in block.parts:
            assert block.span.address <= part.address
            assert part.end <= block.span.end
    for span in spans:
        assert image.look(span.table, span.address, span.count) == [7] * span.count


def test_neighbours_are_merged_and_fixed_reads_are_kept() -> None:
    spans = [Span("holding", 0, 2), Span("holding", 6, 1), Span("holding", 40, 2)]
    merged = [(block.span.address, block.span.count) for block in plan(spans, gap=8)]
    assert merged == [(0, 7), (40, 2)]
    fixed = plan(spans, fixed=[Span("holding", 0, 20)])
    assert [(b.span.address, b.span.count) for b in fixed] == [(0, 20), (40, 2)]
    assert [block.span for block in fixed[0].split()] == [spans[0], spans[1]]


def test_tidy_keeps_what_counts() -> None:
    assert tidy(0.1 * 3) == 0.3
    assert tidy(123456789.01) == 123456789.01
    assert struct.unpack(">f", struct.pack(">f", tidy(220.5)))[0] == 220.5
